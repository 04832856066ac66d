//! End to end, in process: windows go in by the door agents use, answers come out of the router.

mod alerts;
mod allocations;
mod answers;
mod caching;
mod cards;
mod costs;
mod damaged;
mod doors;
mod filters;
mod foreign_pages;
mod functions;
mod growth;
mod headers;
mod imports;
mod kept;
mod observed;
mod openapi;
mod proxied;
mod round_trip;
mod same_answers;
mod slow_requests;
mod strangers;
mod tenants;
mod uploads;
mod waits;
mod walk;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::{AppState, router};
use crate::access::Access;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::query::{QueryEngine, QueryLimits};
use crate::store::testing::TestPlace;
use crate::store::{Options, Store};
use crate::symbols::{Symbols, Worker};

/// A collector on a folder of its own.
pub(super) struct Lab {
    pub(super) ingest: Ingest,
    pub(super) store: Arc<Store>,
    pub(super) state: AppState,
    app: Router,
    place: TestPlace,
}

/// Status, headers and body.
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Got {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Lab {
    pub(super) async fn new() -> Self {
        Self::with_limits(QueryLimits::default()).await
    }

    pub(super) async fn with_limits(limits: QueryLimits) -> Self {
        Self::with_options(limits, crate::store::testing::options()).await
    }

    pub(super) async fn with_options(limits: QueryLimits, options: Options) -> Self {
        Self::at(TestPlace::new().await, limits, options).await
    }

    /// On a folder that `fill` puts data into, also where other tests have servers.
    pub(super) async fn on_folder(fill: impl FnOnce(&Path)) -> Self {
        let place = TestPlace::folder();
        fill(place.data());
        Self::at(place, QueryLimits::default(), crate::store::testing::options()).await
    }

    async fn at(place: TestPlace, limits: QueryLimits, options: Options) -> Self {
        let store = place.open_with(options).await;
        let symbols = Symbols::open(place.data(), Worker::this_program().unwrap()).unwrap();
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        let engine = QueryEngine::new(store.clone(), limits);
        let state = AppState::new(store.clone(), engine, symbols, ingest.clone(), [], Access::default());
        let app = router(state.clone());
        Self { ingest, store, state, app, place }
    }

    pub(super) async fn push(&self, windows: impl IntoIterator<Item = TestWindow>) {
        let pushes = windows.into_iter().map(|window| {
            let ingest = self.ingest.clone();
            tokio::spawn(async move { ingest.push(window.request()).await })
        });
        for push in pushes.collect::<Vec<_>>() {
            push.await.unwrap().unwrap();
        }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Got {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Got { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(super) async fn get(&self, path: &str) -> Got {
        self.send(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
    }

    /// Asks with the tag of an earlier answer.
    pub(super) async fn get_unless(&self, path: &str, tag: &HeaderValue) -> Got {
        let request = Request::get(path).header("host", "localhost").header("if-none-match", tag);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Got {
        self.send(Request::post(path).header("host", "localhost").body(body.into()).unwrap()).await
    }

    /// The answer, which must be a success.
    pub(super) async fn json(&self, path: &str) -> Value {
        let got = self.get(path).await;
        assert_eq!(got.status, StatusCode::OK, "{path}: {}", got.text());
        got.json()
    }
}

/// When the planted regression starts: the same moment for the whole run.
pub(super) fn turn_ms() -> u64 {
    static TURN: OnceLock<u64> = OnceLock::new();
    *TURN.get_or_init(recent_ms)
}

/// Thirty windows before and thirty after the moment at which `tax::rate_for` starts to cost five times as much.
pub(super) fn regression(service: &str) -> Vec<TestWindow> {
    regression_at(service, turn_ms())
}

/// The same, with the moment given.
pub(super) fn regression_at(service: &str, turn: u64) -> Vec<TestWindow> {
    (0..60u64)
        .map(|i| {
            let jitter = |salt: u64| (i * 7 + salt * 13) % 11;
            let cost = if i < 30 { 20 + jitter(1) } else { 100 + jitter(1) };
            let mut stacks = Vec::new();
            // 99 Hz: one row per sample, as an agent's rows have one sample each here.
            for (stack, samples) in [
                ("main;serve;checkout;tax::rate_for", cost),
                ("main;serve;checkout;receipt::render", 60 + jitter(2)),
                ("main;serve;catalog;search", 50 + jitter(3)),
            ] {
                stacks.extend((0..samples).map(|_| row(stack, 10_101_010)));
            }
            let version = if i < 30 { "v1" } else { "v2" };
            TestWindow::new(service, 1, i + 1, turn - 300_000 + i * 10_000).label("version", version).cpu(&stacks).span(
                1 + (i % 50) as u8,
                "/checkout",
                100,
                if i < 30 { 90_000 } else { 400_000 } + i,
            )
        })
        .collect()
}
