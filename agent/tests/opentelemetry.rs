//! Beside OpenTelemetry's layer, samples carry the ids that its exporter ships.

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tephra_agent::{TraceContext, attach, current};
use tracing::{Instrument as _, info_span};
use tracing_subscriber::layer::SubscriberExt as _;

/// What OpenTelemetry holds to be current.
fn of_opentelemetry() -> Option<TraceContext> {
    let context = Context::current();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| TraceContext {
        trace_id: span.trace_id().to_bytes(),
        span_id: span.span_id().to_bytes(),
        flags: span.trace_flags().to_u8(),
    })
}

#[test]
fn spans_are_labelled_with_opentelemetrys_ids() {
    let provider = SdkTracerProvider::builder().build();
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
        .with(tephra_agent::tracing_layer().context_by(of_opentelemetry));
    tracing::subscriber::with_default(subscriber, || {
        let outer = info_span!("outer").entered();
        let label = current().expect("a label");
        assert_eq!(Some(label), of_opentelemetry());
        info_span!("inner").in_scope(|| {
            let inner = current().expect("a label");
            assert_eq!(Some(inner), of_opentelemetry());
            assert_eq!(inner.trace_id, label.trace_id);
            assert_ne!(inner.span_id, label.span_id);
        });
        assert_eq!(current(), Some(label));
        drop(outer);
        assert_eq!(current(), None);

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let task = async {
            let before = current();
            tokio::task::yield_now().await;
            assert_eq!((current(), before), (of_opentelemetry(), of_opentelemetry()));
        };
        runtime.block_on(task.instrument(info_span!("task")));
        assert_eq!(current(), None);
    });
}

/// A tracer that was never set up has no current span, and takes no label away.
#[test]
fn without_a_current_span_the_label_stays() {
    let subscriber = tracing_subscriber::registry().with(tephra_agent::tracing_layer().context_by(of_opentelemetry));
    tracing::subscriber::with_default(subscriber, || {
        let request = TraceContext::root();
        let _label = attach(request);
        let _span = info_span!("work").entered();
        assert_eq!(current(), Some(request));
    });
}
