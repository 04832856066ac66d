//! What both services do alike: start the agent, listen, stop when asked.

use std::time::Duration;

use axum::Router;
use axum::extract::MatchedPath;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::client::Error;

/// Which release this is.
pub const VERSION: &str = if cfg!(feature = "v2") { "v2" } else { "v1" };

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
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = tokio::signal::ctrl_c() => (),
        }
    };
    let routes = tephra_agent::tower_layer().route_by(|request| Some(request.get::<MatchedPath>()?.as_str()));
    let app = app.layer(routes);
    println!("shop {VERSION} on http://{}", listener.local_addr()?);
    // Open connections would hold up a graceful end; a demo need not wait for them.
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        () = stop => Ok(()),
    }
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
