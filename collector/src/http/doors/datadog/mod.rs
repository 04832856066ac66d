//! What Datadog's libraries send to the agent on their machine: profiles are stored; traces, statistics and telemetry, which they send along,
//! are read to their end, counted and dropped.
//!
//! Written after what `dd-trace-go`, `dd-trace-py` and `libdatadog` send.

mod event;
mod input;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::body::{TIME_MAX, failed};
use crate::http::error::ApiError;
use crate::ingest::Allowance;
use crate::profile::pprof::PPROF_BYTES_MAX;

pub(in crate::http) use self::input::input;

/// A profile with its attachments, or what is dropped. Of the latter nothing is kept in memory but what has just come.
pub(in crate::http) const BODY: Allowance = Allowance::whole(PPROF_BYTES_MAX, TIME_MAX);

/// Where traces arrive: each version has its own address.
pub(in crate::http) const TRACES: [&str; 4] = ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.7/traces"];

/// Where their statistics do.
pub(in crate::http) const STATS: &str = "/v0.6/stats";

/// And what libraries tell of themselves.
pub(in crate::http) const TELEMETRY: &str = "/telemetry/proxy/api/v2/apmtelemetry";

/// Where profiles arrive.
pub(in crate::http) const INPUT: &str = "/profiling/v1/input";

/// What was dropped since the start, in requests. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::http) struct Dropped(Arc<[AtomicU64; 3]>);

const KINDS: [&str; 3] = ["traces", "stats", "telemetry"];

impl Dropped {
    fn count(&self, kind: usize) {
        if let Some(counter) = self.0.get(kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// By kind.
    pub(in crate::http) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS
            .into_iter()
            .zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
            .collect::<Vec<_>>()
            .into_iter()
    }
}

/// What libraries ask first: where profiles and the rest can be sent.
pub(in crate::http) async fn info() -> Json<Value> {
    let endpoints: Vec<&str> = TRACES.into_iter().chain([STATS, TELEMETRY, INPUT]).collect();
    Json(json!({ "version": env!("CARGO_PKG_VERSION"), "endpoints": endpoints, "client_drop_p0s": true }))
}

/// Takes traces for dropped, and says to send fewer of them.
pub(in crate::http) async fn traces(State(state): State<AppState>, body: Body) -> Result<Response, ApiError> {
    drop_all(body).await?;
    state.dropped.count(0);
    Ok(Json(json!({ "rate_by_service": { "service:,env:": 0 } })).into_response())
}

/// Takes statistics of traces.
pub(in crate::http) async fn stats(State(state): State<AppState>, body: Body) -> Result<Response, ApiError> {
    drop_all(body).await?;
    state.dropped.count(1);
    Ok(Json(json!({})).into_response())
}

/// Takes telemetry.
pub(in crate::http) async fn telemetry(State(state): State<AppState>, body: Body) -> Result<Response, ApiError> {
    drop_all(body).await?;
    state.dropped.count(2);
    Ok(Json(json!({})).into_response())
}

async fn drop_all(mut body: Body) -> Result<(), ApiError> {
    while !body.is_end_stream() {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed(&error)),
            None => break,
        }
    }
    Ok(())
}
