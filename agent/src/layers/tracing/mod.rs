//! Spans of the `tracing` crate label the samples taken inside them.
//!
//! An instrumented future enters its span on every poll, so the label follows the task from thread to thread.

mod open_spans;

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use self::open_spans::{OpenSpans, Words};
use crate::context::{current, stack};
use crate::labels::Labels;
use crate::trace_context::{TraceContext, halves, whole};

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
    SpanLayer { read: None, labels: &[], open: None }
}

/// The layer that [`tracing_layer`] makes.
#[derive(Debug)]
pub struct SpanLayer {
    read: Option<fn() -> Option<TraceContext>>,
    labels: &'static [&'static str],
    /// Made when the layer is added to a registry, for its keys are that registry's.
    open: Option<OpenSpans>,
}

/// A layer with the same settings, for another registry.
impl Clone for SpanLayer {
    fn clone(&self) -> Self {
        Self { open: None, ..*self }
    }
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
        Self { read: Some(read), ..self }
    }

    /// Makes string labels of the fields with these names, for the span that has them and those inside it.
    ///
    /// ```
    /// use tracing_subscriber::layer::SubscriberExt;
    /// let layer = tephra_agent::tracing_layer().labels_from(&["tenant"]);
    /// let subscriber = tracing_subscriber::registry().with(layer);
    /// tracing::subscriber::with_default(subscriber, || {
    ///     let _span = tracing::info_span!("checkout", tenant = "acme").entered();
    ///     assert_eq!(tephra_agent::current_labels(), tephra_agent::Labels::of("tenant", "acme"));
    /// });
    /// ```
    #[must_use]
    pub fn labels_from(self, fields: &'static [&'static str]) -> Self {
        Self { labels: fields, ..self }
    }
}

/// A span's context and labels, kept with the span.
#[derive(Clone, Copy)]
struct SpanContext {
    /// None where another tracer is asked.
    context: Option<TraceContext>,
    labels: Labels,
}

impl SpanContext {
    fn words(self) -> Words {
        let labels = u64::from(self.labels.number()) << 16;
        let Some(context) = self.context else { return [0, 0, 0, labels] };
        let (high, low) = halves(context.trace_id);
        let flags = u64::from(context.flags) << 8 | 1;
        [high, low, u64::from_ne_bytes(context.span_id), labels | flags]
    }

    fn of_words([high, low, span_id, rest]: Words) -> Self {
        let context =
            TraceContext { trace_id: whole(high, low), span_id: span_id.to_ne_bytes(), flags: (rest >> 8) as u8 };
        Self { context: (rest & 1 == 1).then_some(context), labels: Labels::numbered((rest >> 16) as u16) }
    }
}

impl SpanLayer {
    /// Whether spans have something that the layer keeps.
    fn keeps_some(&self) -> bool {
        self.read.is_none() || !self.labels.is_empty()
    }

    fn kept<S>(&self, id: &Id, registry: &Context<'_, S>) -> Option<SpanContext>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let at_hand = self.open.as_ref().and_then(|open| open.get(id.into_u64()));
        at_hand.map(SpanContext::of_words).or_else(|| registry.span(id)?.extensions().get().copied())
    }

    /// The caller holds the span's extensions, where this is kept in any case.
    fn keep_at_hand(&self, id: &Id, context: SpanContext) {
        if let Some(open) = &self.open {
            open.set(id.into_u64(), context.words());
        }
    }
}

/// Picks labels out of a span's fields.
struct FieldLabels {
    wanted: &'static [&'static str],
    found: Labels,
}

impl Visit for FieldLabels {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = self.wanted.iter().find(|name| **name == field.name()) {
            self.found = self.found.with(name, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if self.wanted.contains(&field.name()) {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_layer(&mut self, _: &mut S) {
        self.open = self.keeps_some().then(OpenSpans::new);
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, registry: Context<'_, S>) {
        if !self.keeps_some() {
            return;
        }
        let Some(span) = registry.span(id) else { return };
        let parent = span.parent().and_then(|parent| parent.extensions().get::<SpanContext>().copied());
        let mut labels =
            FieldLabels { wanted: self.labels, found: parent.map_or(Labels::NONE, |parent| parent.labels) };
        if !self.labels.is_empty() {
            attributes.record(&mut labels);
        }
        let context = match self.read {
            Some(_) => None,
            None => {
                let outer = parent.and_then(|parent| parent.context).or_else(current);
                Some(outer.map_or_else(TraceContext::root, |outer| outer.child()))
            }
        };
        let context = SpanContext { context, labels: labels.found };
        let mut extensions = span.extensions_mut();
        extensions.insert(context);
        self.keep_at_hand(id, context);
    }

    /// A field may get its value after the span was made; it counts from the next time the span is entered.
    fn on_record(&self, id: &Id, values: &Record<'_>, registry: Context<'_, S>) {
        let Some(span) = registry.span(id).filter(|_| !self.labels.is_empty()) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(known) = extensions.get_mut::<SpanContext>() {
            let mut labels = FieldLabels { wanted: self.labels, found: known.labels };
            values.record(&mut labels);
            known.labels = labels.found;
            self.keep_at_hand(id, *known);
        }
    }

    fn on_enter(&self, id: &Id, registry: Context<'_, S>) {
        let own = if self.keeps_some() { self.kept(id, &registry) } else { None };
        let labels = own.map_or(Labels::NONE, |own| own.labels);
        let context = match self.read {
            Some(read) => read(),
            None => own.and_then(|own| own.context),
        };
        if context.is_some() || labels != Labels::NONE {
            stack::enter(key(id), context, labels);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        stack::leave(key(id));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(open) = &self.open {
            open.remove(id.into_u64());
        }
    }
}

/// Guards have the topmost bit; see `attach`.
fn key(id: &Id) -> u64 {
    id.into_u64() & !(1 << 63)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tracing::subscriber::with_default;
    use tracing::{Span, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::context::{attach, current_labels};

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

    #[test]
    fn fields_become_labels_of_the_span_and_those_inside() {
        let layer = tracing_layer().labels_from(&["tenant", "items"]);
        with_default(tracing_subscriber::registry().with(layer), || {
            let order = info_span!("order", tenant = tracing::field::Empty, items = 3, other = "x");
            assert_eq!(order.in_scope(current_labels), Labels::of("items", "3"));
            order.record("tenant", "acme");
            let both = Labels::of("items", "3").with("tenant", "acme");
            let inside = info_span!(parent: &order, "inside", tenant = "umbrella");
            assert_eq!(order.in_scope(current_labels), both);
            assert_eq!(inside.in_scope(current_labels), both.with("tenant", "umbrella"));
            assert_eq!(current_labels(), Labels::NONE);
        });
    }

    #[test]
    fn a_span_is_itself_among_more_than_are_kept_at_hand() {
        let layer = tracing_layer().labels_from(&["number"]);
        with_default(tracing_subscriber::registry().with(layer), || {
            let spans: Vec<Span> = (0..5_000).map(|number| info_span!("one", number = number % 50)).collect();
            let contexts: HashSet<[u8; 8]> = spans.iter().map(|span| context_in(span).span_id).collect();
            assert_eq!(contexts.len(), spans.len());
            for (number, span) in spans.iter().enumerate() {
                let label = Labels::of("number", &(number % 50).to_string());
                assert_eq!(span.in_scope(current_labels), label);
            }
        });
    }

    #[test]
    fn spans_of_two_registries_are_strangers_however_alike_their_numbers() {
        let layer = tracing_layer();
        let both = [layer.clone(), layer].map(|layer| tracing_subscriber::registry().with(layer));
        let seen = both.map(|registry| {
            with_default(registry, || {
                let span = info_span!("first");
                (span.id(), context_in(&span).span_id)
            })
        });
        assert_eq!(seen[0].0, seen[1].0, "else this shows nothing");
        assert_ne!(seen[0].1, seen[1].1);
    }

    #[test]
    fn another_tracers_ids_and_our_labels_go_together() {
        const THEIRS: TraceContext = TraceContext { trace_id: [7; 16], span_id: [8; 8], flags: 1 };
        let layer = tracing_layer().context_by(|| Some(THEIRS)).labels_from(&["tenant"]);
        with_default(tracing_subscriber::registry().with(layer), || {
            let span = info_span!("order", tenant = "acme");
            let seen = span.in_scope(|| (current(), current_labels()));
            assert_eq!(seen, (Some(THEIRS), Labels::of("tenant", "acme")));
        });
    }
}
