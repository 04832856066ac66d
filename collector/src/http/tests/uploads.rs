//! What is sent here is read by its sender's clock: nobody else waits for it, and it waits for nobody's questions.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use tokio_stream::StreamExt;

use axum::response::IntoResponse;

use super::*;
use crate::http::error::ApiError;
use crate::ingest::{Full, PushError};
use crate::profile::pprof;
use crate::query::Selection;

/// Every route that takes a body. That of symbols is streamed to disk.
const ROUTES: [&str; 4] = ["/api/v1/profiles?service=shop", "/api/v1/events", "/api/v1/alerts", "/api/v1/pins"];

/// More than may run and wait at a time.
const MANY: usize = 80;

/// A body of which one byte comes, and then nothing.
fn dribble() -> Body {
    Body::from_stream(tokio_stream::once(Ok::<_, Infallible>(Bytes::from_static(b"\n"))).chain(tokio_stream::pending()))
}

/// A pprof profile of what the service sent so far.
async fn profile(lab: &Lab, service: &str) -> Bytes {
    let got = lab.get(&format!("/api/v1/flamegraph?service={service}&format=pprof&from=now-2h")).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert!(pprof::decode(&got.body).is_ok());
    got.body
}

#[tokio::test]
async fn bodies_that_dribble_hold_up_neither_questions_nor_other_senders() {
    let lab = Arc::new(Lab::new().await);
    lab.push(regression("shop")).await;
    let body = profile(&lab, "shop").await;
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
    lab.push(regression("shop")).await;
    let body = profile(&lab, "shop").await;
    let questions: Vec<_> = (0..MANY)
        .map(|_| {
            let state = lab.state.clone();
            tokio::spawn(async move { state.bench.run(std::future::pending::<Result<(), _>>()).await })
        })
        .collect();
    while lab.state.bench.run(async { Ok(()) }).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let stored = lab.post("/api/v1/profiles?service=other&at=now-1m", body).await;
    assert_eq!(stored.status, StatusCode::OK, "{}", stored.text());
    questions.iter().for_each(|question| question.abort());
}

/// What a thousand senders bring at once is all there, and what is asked of it is what was asked of the original.
#[tokio::test]
async fn profiles_of_many_senders_add_up() {
    let lab = Arc::new(Lab::new().await);
    lab.push(regression("shop")).await;
    let body = profile(&lab, "shop").await;
    let posts: Vec<_> = (0..300)
        .map(|i| {
            let (lab, body) = (lab.clone(), body.clone());
            let path = format!("/api/v1/profiles?service=other&at=now-1m&label.instance=host-{i}");
            tokio::spawn(async move { lab.post(&path, body).await.status })
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap(), StatusCode::OK);
    }
    let engine = QueryEngine::new(lab.store.clone(), QueryLimits::default());
    let sum = async |service| engine.merge(&Selection::everything(service, "cpu")).await.unwrap();
    let (one, many) = (sum("shop").await, sum("other").await);
    assert_eq!(many.total(), 300 * one.total());
    // Each is ten minutes long, and in minutes of its own.
    assert!((300 * 10..=300 * 11).contains(&many.windows), "{} windows", many.windows);
    assert_eq!(many.instances.len(), 300);
    assert_eq!(lab.state.bodies.in_use_and_limit().0, 0);
    assert_eq!(lab.ingest.memory().0, 0);
}

#[test]
fn whoever_finds_no_room_is_told_when_to_come_again() {
    let full = Full::OfService { service: "shop".to_owned(), what: "agents", limit: 7 };
    let response = ApiError::from(PushError::Full { full, retry_after_ms: 24_001 }).into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "25");
}
