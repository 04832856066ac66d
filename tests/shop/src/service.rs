//! What both services do alike: start the agent, listen, stop when asked.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::client::Error;
use crate::tenant;

/// Which release this is.
pub const VERSION: &str = if cfg!(feature = "v2") { "v2" } else { "v1" };

/// The header that says how long the service took for its answer, in nanoseconds: once for each [`timed`], the innermost first.
const SERVED_NS: &str = "x-served-ns";

/// Profiles this process as `service`, and lets spans label its samples. `TEPHRA_ENDPOINT` says where the collector is
/// (by default on this machine), `SHOP_WINDOW_MS` how long a window lasts, `SHOP_HEAP_MEAN_BYTES` how far apart samples of the heap
/// are. Stops and flushes when dropped.
///
/// # Errors
/// When the agent refuses its settings.
pub fn profile(service: &str) -> Result<tephra_agent::Agent, Error> {
    let endpoint = std::env::var("TEPHRA_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:4040".to_owned());
    let mut agent = tephra_agent::Agent::builder(service).endpoint(&endpoint).label("version", VERSION);
    if let Ok(window) = std::env::var("SHOP_WINDOW_MS") {
        agent = agent.window(Duration::from_millis(window.parse()?));
    }
    if let Ok(mean) = std::env::var("SHOP_HEAP_MEAN_BYTES") {
        agent = agent.heap_mean_bytes(mean.parse()?);
    }
    let agent = agent.start()?;
    tracing_subscriber::registry().with(tephra_agent::tracing_layer()).try_init()?;
    Ok(agent)
}

/// Serves on `SHOP_LISTEN` until SIGTERM or Ctrl-C. Requests take their trace from the `traceparent` header.
///
/// # Errors
/// When the address is taken or malformed.
pub async fn serve(app: Router, default_listen: &str) -> Result<(), Error> {
    let listen = std::env::var("SHOP_LISTEN").unwrap_or_else(|_| default_listen.to_owned());
    let listener = TcpListener::bind(&listen).await.map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    let stop = asked_to_stop()?;
    let routes = tephra_agent::tower_layer()
        .route_by(|request| Some(request.get::<MatchedPath>()?.as_str()))
        .label_by("tenant", |headers, _| tenant::of(headers));
    // Whatever the agent's layer measures lies between the two.
    let app = timed(timed(app).layer(routes));
    println!("shop {VERSION} on http://{}", listener.local_addr()?);
    // Open connections would hold up a graceful end; a demo need not wait for them.
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        () = stop => Ok(()),
    }
}

/// Ends when this process should: on SIGTERM or Ctrl-C.
///
/// # Errors
/// When the operating system does not let us listen for them.
pub fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = tokio::signal::ctrl_c() => (),
        }
    })
}

/// Says in each answer how long it took, by a clock of the shop's own: what a profiler tells can be compared with it.
pub fn timed(app: Router) -> Router {
    app.layer(middleware::from_fn(say_how_long))
}

async fn say_how_long(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let mut answer = next.run(request).await;
    let served_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    answer.headers_mut().append(SERVED_NS, HeaderValue::from(served_ns));
    answer
}

/// How long the service says that it took for an answer with these headers, in nanoseconds: inside of the agent's layer, and around it.
pub fn served_ns(headers: &HeaderMap) -> Option<[u64; 2]> {
    let mut times = headers.get_all(SERVED_NS).iter().filter_map(|time| time.to_str().ok()?.parse().ok());
    Some([times.next()?, times.next()?])
}

/// What a handler answers when it cannot do what was asked.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

impl Refusal {
    /// The request makes no sense.
    pub fn invalid(why: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, why.to_string())
    }

    /// Another service failed.
    pub fn upstream(why: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_GATEWAY, why.to_string())
    }
}
