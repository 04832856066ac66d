//! Spans of the `tracing` crate label the samples taken inside them.
//!
//! An instrumented future enters its span on every poll, so the label follows the task from thread to thread.

use tracing::Subscriber;
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::{TraceContext, current, stack};

/// Labels the samples taken inside each span with the span's trace.
///
/// A span's trace is its parent span's; else the one the thread works for when the span is created, such as the request
/// that [`tower_layer`](crate::tower_layer) serves; else a new one.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
/// let subscriber = tracing_subscriber::registry().with(tephra_agent::tracing_layer());
/// tracing::subscriber::with_default(subscriber, || {
///     let _span = tracing::info_span!("checkout").entered();
///     assert!(tephra_agent::current().is_some());
/// });
/// assert!(tephra_agent::current().is_none());
/// ```
pub fn tracing_layer() -> SpanLayer {
    SpanLayer { read: None }
}

/// See [`tracing_layer`].
#[derive(Debug, Clone)]
pub struct SpanLayer {
    read: Option<fn() -> Option<TraceContext>>,
}

impl SpanLayer {
    /// Labels with the ids of another tracer, so that its traces and these samples are of one name. `read` tells what that
    /// tracer holds to be current; it is asked whenever a span is entered, so add this layer after the tracer's. While it
    /// says `None`, the label stays as it was.
    ///
    /// With OpenTelemetry:
    /// ```
    /// use opentelemetry::Context;
    /// use opentelemetry::trace::TraceContextExt as _;
    /// use tephra_agent::TraceContext;
    ///
    /// let layer = tephra_agent::tracing_layer().context_by(|| {
    ///     let context = Context::current();
    ///     let span = context.span().span_context().clone();
    ///     span.is_valid().then(|| TraceContext {
    ///         trace_id: span.trace_id().to_bytes(),
    ///         span_id: span.span_id().to_bytes(),
    ///         flags: span.trace_flags().to_u8(),
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn context_by(self, read: fn() -> Option<TraceContext>) -> Self {
        Self { read: Some(read) }
    }
}

/// A span's context, kept with the span.
struct SpanContext(TraceContext);

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, registry: Context<'_, S>) {
        if self.read.is_some() {
            return;
        }
        let Some(span) = registry.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<SpanContext>().map(|context| context.0));
        let context = parent.or_else(current).map_or_else(TraceContext::root, |outer| outer.child());
        span.extensions_mut().insert(SpanContext(context));
    }

    fn on_enter(&self, id: &Id, registry: Context<'_, S>) {
        if let Some(read) = self.read {
            if let Some(context) = read() {
                stack::enter(key(id), context);
            }
            return;
        }
        let Some(span) = registry.span(id) else { return };
        if let Some(context) = span.extensions().get::<SpanContext>() {
            stack::enter(key(id), context.0);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        stack::leave(key(id));
    }
}

/// Guards have the topmost bit; see `attach`.
fn key(id: &Id) -> u64 {
    id.into_u64() & !(1 << 63)
}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;
    use tracing::{Span, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::context::attach;

    fn traced(test: impl FnOnce()) {
        with_default(tracing_subscriber::registry().with(tracing_layer()), test);
        assert_eq!(current(), None);
    }

    fn context_in(span: &Span) -> TraceContext {
        span.in_scope(current).unwrap()
    }

    #[test]
    fn a_span_inherits_its_parents_trace() {
        traced(|| {
            let parent = info_span!("parent");
            let child = info_span!(parent: &parent, "child");
            assert_eq!(context_in(&child).trace_id, context_in(&parent).trace_id);
            assert_ne!(context_in(&child).span_id, context_in(&parent).span_id);
            assert_ne!(context_in(&info_span!("stranger")).trace_id, context_in(&parent).trace_id);
        });
    }

    #[test]
    fn a_root_span_joins_the_trace_the_thread_works_for() {
        traced(|| {
            let request = TraceContext::root();
            let _label = attach(request);
            let span = info_span!("handler");
            assert_eq!(context_in(&span).trace_id, request.trace_id);
            assert_eq!(current(), Some(request), "leaving the span brings the request's label back");
        });
    }

    #[test]
    fn spans_left_out_of_order_label_rightly() {
        traced(|| {
            let (first, second) = (info_span!("first"), info_span!("second"));
            let (a, b) = (context_in(&first), context_in(&second));
            let first = first.entered();
            let second = second.entered();
            assert_eq!(current(), Some(b));
            drop(first);
            assert_eq!(current(), Some(b));
            drop(second);
            assert_eq!(current(), None);
            assert_ne!(a, b);
        });
    }
}
