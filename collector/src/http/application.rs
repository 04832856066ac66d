//! All that is answered from one store, by path, without the door before it. The door has one for each tenant.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use tower::ServiceExt;

use super::error::ApiError;
use super::measured::Measured;
use super::rate::Rate;
use super::{AppState, routes};
use crate::base::tenant::TenantName;

/// The handlers of all paths, over one store. Cheap to clone.
#[derive(Clone)]
pub struct Application {
    handlers: Arc<HashMap<&'static str, MethodRouter>>,
    measured: Measured,
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("paths", &self.handlers.len()).finish_non_exhaustive()
    }
}

impl Application {
    /// What `state` answers.
    pub fn of(state: &AppState) -> Self {
        let handlers = |route: super::route::Route| (route.path, route.bounded(state).with_state(state.clone()));
        let handlers = routes::all(state).into_iter().map(handlers).collect();
        Self { handlers: Arc::new(handlers), measured: state.measured.clone() }
    }

    /// Answers a request that the router has found this path for.
    async fn answer(&self, path: &str, request: Request) -> Response {
        let Some(handler) = self.handlers.get(path) else {
            return ApiError::internal(&"a path of the router is none of the application's").into_response();
        };
        let mut answer = match handler.clone().oneshot(request).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        answer.extensions_mut().insert(self.measured.clone());
        answer
    }
}

/// The application of a tenant, which stays open as long as this lives.
pub struct Opened {
    /// What answers.
    pub application: Application,
    /// How much the tenant may send.
    pub rate: Rate,
    /// Keeps it open.
    pub stay: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("application", &self.application).finish_non_exhaustive()
    }
}

impl Opened {
    /// Answers a request, and is there until the last of its answer was handed on.
    pub(super) async fn answer(self, path: &str, request: Request) -> Response {
        let answer = self.application.answer(path, request).await;
        let stay = self.stay;
        answer.map(|body| Body::new(Held { body, _stay: stay }))
    }
}

/// Where the applications of tenants come from.
pub trait Applications: fmt::Debug + Send + Sync {
    /// That of a tenant, opened if it is not.
    fn open<'a>(&'a self, tenant: &'a TenantName) -> BoxFuture<'a, Result<Opened, ApiError>>;
}

/// A body, and what must not go before it.
struct Held {
    body: Body,
    _stay: Box<dyn Any + Send + Sync>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
