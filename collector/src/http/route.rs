//! One path of the port: what it answers to, and what a request to it may cost. All there is to answer is made of these, so that no
//! path can be without limits.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, post_service};
use tokio::time::timeout;
use tower::Service;

use super::AppState;
use super::body;
use super::error::{ApiError, ErrorKind};
use crate::ingest::{Allowance, CallBounds, Gate, through_gate};

/// What reads the catalog answers by then, once it has the whole request.
const QUICK: Duration = Duration::from_secs(30);

/// And a gRPC call: what waits for its ack longer is sent again.
const CALL: Duration = Duration::from_secs(20);

/// A path with its handlers.
#[derive(Debug)]
pub(super) struct Route {
    /// As the router takes it.
    pub(super) path: &'static str,
    /// The methods it has handlers for.
    pub(super) methods: Vec<Method>,
    /// What a body may be.
    pub(super) body: Allowance,
    kind: Kind,
    handlers: MethodRouter<AppState>,
}

/// How its requests are answered, and how long that may take once the body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// From memory and the catalog.
    Quick,
    /// By a query, when its turn comes.
    Heavy,
    /// By gRPC.
    Call,
}

impl Route {
    /// A path without handlers, whose requests have no body.
    pub(super) fn at(path: &'static str) -> Self {
        let body = Allowance::whole(0, body::TIME_MAX);
        Self { path, methods: Vec::new(), body, kind: Kind::Quick, handlers: MethodRouter::new() }
    }

    /// The path of a gRPC method.
    pub(super) fn call<S>(path: &'static str, body: Allowance, service: S) -> Self
    where
        S: Service<Request, Error = Infallible, Response: IntoResponse, Future: Send> + Clone + Send + Sync + 'static,
    {
        let handlers = post_service(service);
        Self { path, methods: vec![Method::POST], body, kind: Kind::Call, handlers }
    }

    /// Answers GET, and HEAD.
    pub(super) fn get<T: 'static>(self, handler: impl Handler<T, AppState>) -> Self {
        self.on(Method::GET, MethodFilter::GET, handler)
    }

    /// Answers DELETE.
    pub(super) fn delete<T: 'static>(self, handler: impl Handler<T, AppState>) -> Self {
        self.on(Method::DELETE, MethodFilter::DELETE, handler)
    }

    /// Answers POST, with a body of at most so much.
    pub(super) fn post<T: 'static>(self, body: Allowance, handler: impl Handler<T, AppState>) -> Self {
        Self { body, ..self.on(Method::POST, MethodFilter::POST, handler) }
    }

    /// Answers PUT as it answers POST, whose body it takes.
    pub(super) fn put<T: 'static>(self, handler: impl Handler<T, AppState>) -> Self {
        self.on(Method::PUT, MethodFilter::PUT, handler)
    }

    /// Its answers wait for a turn, and take what a query may take.
    pub(super) fn heavy(self) -> Self {
        Self { kind: Kind::Heavy, ..self }
    }

    /// How long a request may take, from its head to its answer.
    pub(super) fn time_max(&self, state: &AppState) -> Duration {
        let answer = match self.kind {
            Kind::Quick => QUICK,
            Kind::Heavy => state.bench.time_max(),
            Kind::Call => CALL,
        };
        self.body.time + answer
    }

    /// Its handlers behind its limits.
    pub(super) fn bounded(self, state: &AppState) -> MethodRouter<AppState> {
        let (body, time) = (self.body, self.time_max(state));
        if self.kind == Kind::Call {
            let bounds = CallBounds { gate: state.ingest.gate(), body, time };
            return self.handlers.layer(from_fn_with_state(bounds, through_gate));
        }
        let bounds = Bounds { gate: state.bodies.clone(), body, time };
        self.handlers.layer(from_fn_with_state(bounds, within))
    }

    /// The same path and bounds before other handlers.
    #[cfg(test)]
    pub(super) fn instead(self, handlers: MethodRouter<AppState>) -> Self {
        Self { handlers, ..self }
    }

    /// Whether it is one of gRPC's.
    #[cfg(test)]
    pub(super) fn is_call(&self) -> bool {
        self.kind == Kind::Call
    }

    fn on<T: 'static>(mut self, method: Method, filter: MethodFilter, handler: impl Handler<T, AppState>) -> Self {
        self.methods.push(method);
        Self { handlers: self.handlers.on(filter, handler), ..self }
    }
}

/// What a request may cost.
#[derive(Debug, Clone)]
struct Bounds {
    gate: Gate,
    body: Allowance,
    time: Duration,
}

/// Answers within the bounds: the body is counted until then, and fails where it goes beyond them.
async fn within(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    let answer = async {
        let (request, _memory) = body::admit(&bounds.gate, bounds.body, request).await?;
        Ok(next.run(request).await)
    };
    let answer = timeout(bounds.time, answer).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            ErrorKind::Unavailable,
            format!("the answer took longer than {} s", bounds.time.as_secs()),
            "ask again, for less if that is possible; GET /readyz says when the store cannot answer",
        ))
    });
    answer.unwrap_or_else(|error: ApiError| error.into_response())
}
