//! What it costs to say which trace a thread works for.

use std::hint::black_box;
use std::time::Instant;

use tephra_agent::{TraceContext, attach};
use tephra_tests::bench::Report;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt as _;

const ROUNDS: u32 = 200_000;

pub(crate) fn measure(report: &mut Report) {
    let context = TraceContext::root();
    report.at_most("a label by guard, attached and dropped", best(|| drop(black_box(attach(context)))), "ns", 40.0);
    let bare = in_a_span(tracing_subscriber::registry());
    let labelled = in_a_span(tracing_subscriber::registry().with(tephra_agent::tracing_layer()));
    report.at_most("a span's label, entered and left", labelled - bare, "ns", 40.0);
}

/// Nanoseconds to enter and leave a span.
fn in_a_span(subscriber: impl tracing::Subscriber + Send + Sync) -> f64 {
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("work");
        best(|| span.in_scope(|| black_box(())))
    })
}

/// The least mean of several runs, in nanoseconds: what interrupts a run is not what is measured.
fn best(mut work: impl FnMut()) -> f64 {
    let runs = (0..9).map(|_| {
        let started = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        started.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    });
    runs.fold(f64::INFINITY, f64::min)
}
