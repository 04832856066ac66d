//! A walk along every path the router is made of: whatever stands behind a path, a request to it is bounded in bytes, memory and time.

use std::future::pending;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tower::ServiceExt;

use super::Lab;
use crate::http::route::Route;
use crate::http::{AppState, body, router_of, routes};

const CHUNK: usize = 16 << 10;

/// Bytes that were counted as held for bodies when a handler was done.
#[derive(Clone, Copy)]
struct Held(usize);

/// Sends something to every path by every method, with `handler` in the place of what stands behind them. The clock must be paused: time
/// passes only while everything waits.
async fn walk(
    state: &AppState,
    handler: MethodRouter<AppState>,
    body: impl Fn() -> Body,
) -> Vec<(Route, Method, Response)> {
    let routes = || routes::all().into_iter().map(|route| route.instead(handler.clone()));
    let app = router_of(routes().collect(), state.clone());
    let mut answers = Vec::new();
    for method in [Method::GET, Method::POST, Method::DELETE] {
        for route in routes().filter(|route| route.methods.contains(&method)) {
            let path: Vec<&str> =
                route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let request = Request::builder().method(&method).uri(path.join("/")).header("host", "localhost");
            let sent = Instant::now();
            let response = app.clone().oneshot(request.body(body()).unwrap()).await.unwrap();
            // Timers go off on the next whole millisecond.
            let late = sent.elapsed().saturating_sub(route.time_max(state));
            assert!(late.as_millis() <= 1, "{method} {}: {:?}", route.path, sent.elapsed());
            assert_eq!(state.bodies.in_use_and_limit().0, 0, "{method} {}: memory is given back", route.path);
            answers.push((route, method.clone(), response));
        }
    }
    assert!(answers.iter().filter(|(route, ..)| route.body.bytes > 0).count() >= 5, "there are routes with bodies");
    answers
}

/// Reads what comes, to its end.
async fn read(State(state): State<AppState>, mut body: Body) -> Response {
    let mut answer = loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break body::failed(&error).into_response(),
            None => break StatusCode::NO_CONTENT.into_response(),
        }
    };
    answer.extensions_mut().insert(Held(state.bodies.in_use_and_limit().0));
    answer
}

fn chunk() -> Result<Bytes, axum::Error> {
    Ok(Bytes::from_static(&[7; CHUNK]))
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_off_and_counted_until_then() {
    let lab = Lab::new().await;
    tokio::time::pause();
    let begun = || Body::from_stream(tokio_stream::iter([chunk(), chunk()]).chain(tokio_stream::pending()));
    for (route, method, response) in walk(&lab.state, any(read), begun).await {
        let Held(held) = *response.extensions().get().unwrap();
        if route.body.bytes == 0 {
            assert_eq!((response.status(), held), (StatusCode::NO_CONTENT, 0), "{method} {}", route.path);
        } else {
            assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT, "{method} {}", route.path);
            assert!(held >= 2 * CHUNK, "{method} {}: {held} bytes", route.path);
        }
    }
}

#[tokio::test]
async fn a_body_that_never_stops_coming_is_cut_off() {
    let lab = Lab::new().await;
    tokio::time::pause();
    let endless = || Body::from_stream(tokio_stream::iter(std::iter::repeat_with(chunk)));
    for (route, method, response) in walk(&lab.state, any(read), endless).await {
        let expected = if route.body.bytes == 0 { StatusCode::NO_CONTENT } else { StatusCode::PAYLOAD_TOO_LARGE };
        assert_eq!(response.status(), expected, "{method} {}", route.path);
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let lab = Lab::new().await;
    tokio::time::pause();
    for (route, method, response) in walk(&lab.state, any(pending::<()>), Body::empty).await {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{method} {}", route.path);
    }
}
