//! What it costs to say which trace a thread works for, and that a request ended.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tephra_agent::hooks::requests;
use tephra_agent::{Agent, TraceContext, attach};
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
    // Nobody takes its windows: they wait.
    let agent = Agent::builder("requests").endpoint("http://127.0.0.1:9").heap_mean_bytes(0).start();
    report.at_most("a request, reported", best(request(0)), "ns", 200.0);
    let threads: Vec<_> = (1..=4).map(|seed| std::thread::spawn(move || best(request(seed)))).collect();
    let times = threads.into_iter().map(|thread| thread.join().expect("it ends"));
    report.note("a request, reported by one of four threads", times.fold(0.0, f64::max), "ns");
    drop(agent);
}

/// Reports requests of ever other traces and durations.
fn request(seed: u64) -> impl FnMut() {
    const ROUTES: [&str; 5] = ["GET /", "GET /orders", "GET /orders/{id}", "POST /orders", "GET /health"];
    let mut number = seed;
    move || {
        number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let trace_id = (u128::from(number) << 64 | u128::from(!number)).to_be_bytes();
        let context = TraceContext { trace_id, span_id: number.to_be_bytes(), flags: 1 };
        requests::report(ROUTES[(number >> 60) as usize % 5], context, Duration::from_nanos(number >> 40));
    }
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
