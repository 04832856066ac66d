//! A request that is being served.

use std::time::Instant;

use super::span::{Span, Status};
use crate::clock;
use crate::trace_context::TraceContext;

/// A request that is being served. Reports itself once: when finished, or when dropped.
#[derive(Debug)]
pub(crate) struct OpenSpan(Option<Begun>);

#[derive(Debug)]
struct Begun {
    context: TraceContext,
    route: String,
    start_ms: u64,
    started: Instant,
}

impl OpenSpan {
    /// Starts the clock. Without a route the request is not reported.
    pub(crate) fn start(context: TraceContext, route: Option<String>) -> Self {
        Self(route.map(|route| Begun { context, route, start_ms: clock::unix_ms(), started: Instant::now() }))
    }

    /// It turned out what the request's route is called.
    pub(crate) fn rename(&mut self, route: String) {
        if let Some(begun) = &mut self.0 {
            begun.route = route;
        }
    }

    /// Reports the request; what follows is not part of it.
    pub(crate) fn finish(&mut self, status: Status) {
        if let Some(Begun { context, route, start_ms, started }) = self.0.take() {
            let duration_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            super::report(&route, Span { context, start_ms, duration_ns, status });
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.finish(Status::Unset);
    }
}
