//! What is sent here is read by its sender's clock: nobody else waits for it, and it waits for nobody's questions.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use tokio_stream::StreamExt;

use super::*;
use crate::http::error::ApiError;
use crate::ingest::{Full, PushError};
use crate::profile::pprof::testing::TestProfile;
use crate::query::Selection;

/// Every route that takes a body. That of symbols is streamed to disk.
const ROUTES: [&str; 4] = ["/api/v1/profiles?service=shop", "/api/v1/events", "/api/v1/alerts", "/api/v1/pins"];

/// More than may run and wait at a time.
const MANY: usize = 80;

/// A body of which one byte comes, and then nothing.
fn dribble() -> Body {
    Body::from_stream(tokio_stream::once(Ok::<_, Infallible>(Bytes::from_static(b"\n"))).chain(tokio_stream::pending()))
}

/// Ten seconds of CPU time in a few stacks: 30 + 12 samples.
fn profile() -> Bytes {
    const PERIOD: i64 = 10_000_000;
    let profile = TestProfile::of(&[("samples", "count"), ("cpu", "nanoseconds")]).period("cpu", "nanoseconds", PERIOD);
    let profile = profile.sample("main;serve;price", &[30, 30 * PERIOD]).sample("main;serve", &[12, 12 * PERIOD]);
    profile.lasting(10_000).body().into()
}

const SAMPLES: u64 = 42;

#[tokio::test]
async fn bodies_that_dribble_hold_up_neither_questions_nor_other_senders() {
    let lab = Arc::new(Lab::new().await);
    lab.push(regression("shop")).await;
    let body = profile();
    for route in ROUTES {
        let slow: Vec<_> = (0..MANY)
            .map(|_| {
                let lab = lab.clone();
                tokio::spawn(async move { lab.post(route, dribble()).await.status })
            })
            .collect();
        // All of them are being read.
        while lab.state.bodies.in_use_and_limit().0 < MANY << 14 {
            tokio::task::yield_now().await;
        }
        lab.json("/api/v1/flamegraph?service=shop&format=json&from=now-2h").await;
        let stored = lab.post("/api/v1/profiles?service=other", body.clone()).await;
        assert_eq!(stored.status, StatusCode::OK, "{route}: {}", stored.text());
        slow.iter().for_each(|slow| slow.abort());
    }
}

#[tokio::test]
async fn profiles_are_stored_while_every_turn_for_questions_is_taken() {
    let lab = Lab::new().await;
    let questions: Vec<_> = (0..MANY)
        .map(|_| {
            let state = lab.state.clone();
            tokio::spawn(async move { state.in_turn(std::future::pending::<Result<(), _>>()).await })
        })
        .collect();
    while lab.state.in_turn(async { Ok(()) }).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let stored = lab.post("/api/v1/profiles?service=other&at=now-1m", profile()).await;
    assert_eq!(stored.status, StatusCode::OK, "{}", stored.text());
    questions.iter().for_each(|question| question.abort());
}

/// What many senders bring at once is all there, once.
#[tokio::test]
async fn profiles_of_many_senders_add_up() {
    const SENDERS: u64 = 300;
    let lab = Arc::new(Lab::new().await);
    let posts: Vec<_> = (0..SENDERS)
        .map(|i| {
            let lab = lab.clone();
            let path = format!("/api/v1/profiles?service=other&at=now-1m&label.instance=host-{i}");
            tokio::spawn(async move { lab.post(&path, profile()).await.status })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    let engine = QueryEngine::new(lab.store.clone(), QueryLimits::default());
    let merged = engine.merge(&Selection::everything("other", "cpu")).await.unwrap();
    assert_eq!((merged.samples(), merged.total()), (SENDERS * SAMPLES, SENDERS * SAMPLES * 10_000_000));
    assert_eq!((merged.windows, merged.instances.len() as u64), (SENDERS, SENDERS));
    assert_eq!((lab.state.bodies.in_use_and_limit().0, lab.ingest.memory().0), (0, 0));
}

#[test]
fn whoever_finds_no_room_is_told_when_to_come_again() {
    let full = Full::OfService { service: "shop".to_owned(), what: "agents", limit: 7 };
    let response = ApiError::from(PushError::Full { full, retry_after_ms: 24_001 }).into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "25");
}
