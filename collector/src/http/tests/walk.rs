//! A walk along every path the router is made of, gRPC's included: whatever stands behind a path, a request to it passes the same guard, and
//! is bounded in bytes, memory and time.

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
use tonic::{Code, Status};
use tower::ServiceExt;

use super::Lab;
use crate::http::door::Front;
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::http::{AppState, guard, router_of, routes};
use crate::ingest::Excess;

const CHUNK: usize = 16 << 10;

/// Bytes that were counted as held for bodies when a handler was done.
#[derive(Clone, Copy)]
struct Held(usize);

/// What was answered by one path.
struct Answer {
    route: Route,
    method: Method,
    response: Response,
}

impl Answer {
    /// Of HTTP, or of a gRPC call.
    fn expect(&self, http: StatusCode, call: Code) {
        let Self { route, method, response } = self;
        if route.is_call() {
            let code = Status::from_header_map(response.headers()).map(|status| status.code());
            assert_eq!(code, Some(call), "{method} {}: {response:?}", route.path);
        } else {
            assert_eq!(response.status(), http, "{method} {}", route.path);
        }
    }
}

/// Sends a request to every path by every method, with `handler` in the place of what stands behind them, and `change` in the place of what
/// every client says.
async fn walk_with(
    state: &AppState,
    handler: MethodRouter<AppState>,
    change: impl Fn(&Route, &mut Request<Body>),
) -> Vec<Answer> {
    let routes = || routes::all(state).into_iter().map(|route| route.instead(handler.clone()));
    let app = router_of(routes().collect(), Front { state: state.clone(), others: None });
    let mut answers = Vec::new();
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        for route in routes().filter(|route| route.methods.contains(&method)) {
            let path: Vec<&str> =
                route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
            let content_type = if route.is_call() { "application/grpc" } else { "application/json" };
            let request = Request::builder().method(&method).uri(path.join("/")).header("host", "localhost");
            let mut request = request.header("content-type", content_type).body(Body::empty()).unwrap();
            change(&route, &mut request);
            let sent = Instant::now();
            let response = app.clone().oneshot(request).await.unwrap();
            // Timers go off on the next whole millisecond.
            let late = sent.elapsed().saturating_sub(route.time_max(state));
            assert!(late.as_millis() <= 1, "{method} {}: {:?}", route.path, sent.elapsed());
            assert_eq!(held(state), 0, "{method} {}: memory is given back", route.path);
            answers.push(Answer { route, method: method.clone(), response });
        }
    }
    assert!(answers.iter().filter(|answer| answer.route.body.bytes > 0).count() >= 8, "there are routes with bodies");
    answers
}

/// The same with a body. The clock must be paused: time passes only while everything waits.
async fn walk(state: &AppState, handler: MethodRouter<AppState>, body: impl Fn() -> Body) -> Vec<Answer> {
    walk_with(state, handler, |_, request| *request.body_mut() = body()).await
}

fn held(state: &AppState) -> usize {
    state.bodies.in_use_and_limit().0 + state.ingest.gate().in_use_and_limit().0
}

/// Reads what comes, to its end.
async fn read(State(state): State<AppState>, mut body: Body) -> Response {
    let mut answer = loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                // As tonic finds it.
                break match Excess::of(&error) {
                    Some(excess) => ApiError::from(excess).into_response(),
                    None => Status::from_error(Box::new(error)).into_http(),
                };
            }
            None => break StatusCode::NO_CONTENT.into_response(),
        }
    };
    answer.extensions_mut().insert(Held(held(&state)));
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
    for answer in walk(&lab.state, any(read), begun).await {
        let Held(held) = *answer.response.extensions().get().unwrap();
        if answer.route.body.bytes == 0 {
            assert_eq!((answer.response.status(), held), (StatusCode::NO_CONTENT, 0), "{}", answer.route.path);
        } else {
            answer.expect(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded);
            assert!(held >= 2 * CHUNK, "{}: {held} bytes", answer.route.path);
        }
    }
}

#[tokio::test]
async fn a_body_that_never_stops_coming_is_cut_off() {
    let lab = Lab::new().await;
    tokio::time::pause();
    let endless = || Body::from_stream(tokio_stream::iter(std::iter::repeat_with(chunk)));
    for answer in walk(&lab.state, any(read), endless).await {
        let none = answer.route.body.bytes == 0;
        answer.expect(if none { StatusCode::NO_CONTENT } else { StatusCode::PAYLOAD_TOO_LARGE }, Code::OutOfRange);
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let lab = Lab::new().await;
    tokio::time::pause();
    for answer in walk(&lab.state, any(pending::<()>), Body::empty).await {
        answer.expect(StatusCode::SERVICE_UNAVAILABLE, Code::DeadlineExceeded);
    }
}

/// Headers in the place of those that every client sends; an empty value takes one away.
type Said = &'static [(&'static str, &'static str)];

async fn walk_saying(lab: &Lab, said: Said) -> Vec<Answer> {
    let reached = any(async || (StatusCode::IM_A_TEAPOT, [("grpc-status", "13")]));
    let change = |_: &Route, request: &mut Request<Body>| {
        for (name, value) in said {
            match *value {
                "" => drop(request.headers_mut().remove(*name)),
                value => drop(request.headers_mut().insert(*name, value.parse().unwrap())),
            }
        }
    };
    walk_with(&lab.state, reached, change).await
}

#[tokio::test]
async fn every_path_passes_the_same_guard() {
    let lab = Lab::new().await;
    let ours: [Said; 5] = [
        &[],
        &[("host", "10.1.2.3:4040")],
        &[("host", "tephra.monitoring.svc")],
        &[("host", "[::1]:4040"), ("origin", "http://[::1]:4040")],
        &[("sec-fetch-site", "same-origin")],
    ];
    for said in ours {
        for answer in walk_saying(&lab, said).await {
            answer.expect(StatusCode::IM_A_TEAPOT, Code::Internal);
        }
    }
    let strange: [Said; 7] = [
        &[("host", "evil.com")],
        &[("host", "")],
        &[("origin", "http://evil.com")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    ];
    for said in strange {
        for answer in walk_saying(&lab, said).await {
            let is_probe = matches!(answer.route.path, "/healthz" | "/readyz") && said[0].0 == "host";
            // Load balancers write any name.
            answer
                .expect(if is_probe { StatusCode::IM_A_TEAPOT } else { StatusCode::FORBIDDEN }, Code::PermissionDenied);
        }
    }
}

#[tokio::test]
async fn a_call_is_made_by_post_and_by_grpc_clients_only() {
    let lab = Lab::new().await;
    let foreign: [Said; 4] = [
        &[("content-type", "")],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/grpc-web+proto")],
    ];
    for said in foreign {
        let calls = walk_saying(&lab, said).await.into_iter().filter(|answer| answer.route.is_call());
        let refused: Vec<_> = calls.map(|answer| (answer.route.path, answer.response.status())).collect();
        assert!(
            refused.len() >= 3 && refused.iter().all(|(_, status)| *status == StatusCode::UNSUPPORTED_MEDIA_TYPE),
            "{refused:?}"
        );
    }
    for route in routes::all(&lab.state).into_iter().filter(Route::is_call) {
        let get = Request::get(route.path).header("host", "localhost").header("content-type", "application/grpc");
        assert_eq!(
            lab.send(get.body(Body::empty()).unwrap()).await.status,
            StatusCode::METHOD_NOT_ALLOWED,
            "{}",
            route.path
        );
    }
}

/// The contract names every method there is: each has a route, and no other path of its service has.
#[tokio::test]
async fn every_method_of_the_contract_is_in_the_list() {
    let lab = Lab::new().await;
    let calls: Vec<&str> =
        routes::all(&lab.state).iter().filter(|route| route.is_call()).map(|route| route.path).collect();
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/tephra/v1");
    let mut methods = Vec::new();
    for file in std::fs::read_dir(contract).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.trim_end_matches(" {");
            } else if let Some((name, _)) = line.strip_prefix("rpc ").and_then(|rest| rest.split_once('(')) {
                methods.push(format!("/tephra.v1.{service}/{name}"));
            }
        }
    }
    methods.sort();
    assert_eq!(calls, methods);
    for path in calls {
        assert!(guard::is_call(path), "{path}");
        let unknown =
            Request::post(format!("{path}s")).header("host", "localhost").header("content-type", "application/grpc");
        let got = lab.send(unknown.body(Body::empty()).unwrap()).await;
        assert_eq!(Status::from_header_map(&got.headers).unwrap().code(), Code::Unimplemented);
    }
}
