//! A service that allocates too much, under the agent and on a real collector: found by its trace, and by comparing two times.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::Value;
use tephra_agent::{Agent, Drops, ProfAlloc, TraceContext, attach};
use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::Collector;

#[global_allocator]
static ALLOC: ProfAlloc = ProfAlloc::system();

const KIB: usize = 1024;

/// How long each release serves, in windows of a second.
const SERVES: Duration = Duration::from_secs(8);

#[inline(never)]
fn parse_order() -> usize {
    let fields: Vec<Vec<u8>> = (0..20).map(|i| black_box(vec![i; 10 * KIB])).collect();
    black_box(&fields).len()
}

/// What the second release does too much of.
#[inline(never)]
fn render_receipt(pages: usize) -> usize {
    let pages: Vec<Vec<u8>> = (0..pages).map(|i| black_box(vec![i as u8; 30 * KIB])).collect();
    black_box(&pages).len()
}

/// One request, and what it is known by.
#[inline(never)]
fn serve_order(pages: usize) -> TraceContext {
    let context = TraceContext::root();
    let _guard = attach(context);
    black_box(parse_order() + render_receipt(pages));
    context
}

/// Serves a release's requests; returns when it began and ended.
fn serve(pages: usize) -> (u64, u64) {
    // Whole windows: none shall hold two releases.
    std::thread::sleep(Duration::from_millis(1_000 - now_ms() % 1_000));
    let start = (now_ms(), Instant::now());
    while start.1.elapsed() < SERVES {
        serve_order(pages);
        std::thread::sleep(Duration::from_millis(15));
    }
    std::thread::sleep(Duration::from_millis(1_000 - now_ms() % 1_000));
    (start.0 - start.0 % 1_000, now_ms() - now_ms() % 1_000)
}

#[test]
fn a_request_that_allocates_too_much_is_found_by_its_trace_and_by_comparing_times() {
    let collector = Collector::start();
    let agent = Agent::builder("orders").endpoint(collector.endpoint()).heap_mean_bytes(64 << 10);
    let agent = agent.window(Duration::from_secs(1)).start().expect("the agent starts");
    // Its own threads are never sampled, and the one that starts it is not either.
    // The heavy request comes first: after the others' flood its samples might be thinned, and then they are too few to judge by.
    let (heavy, lean, wasteful) =
        std::thread::spawn(|| (serve_order(400), serve(1), serve(12))).join().expect("it serves");
    eventually("everything arrives", || agent.flush().then_some(()));
    let dropped = agent.stats().dropped;
    assert_eq!(dropped, Drops::default(), "every sample is told");
    the_trace_tells_what_it_allocated_and_where(&collector, heavy);
    the_comparison_names_the_function(&collector, lean, wasteful);
    drop(agent);
}

fn the_trace_tells_what_it_allocated_and_where(collector: &Collector, heavy: TraceContext) {
    let trace: String = heavy.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let span: String = heavy.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = format!("/api/v1/traces/{trace}");
    let kind = |answer: &Value| {
        let types = answer.pointer("/services/0/types").and_then(Value::as_array).cloned().unwrap_or_default();
        types.into_iter().find(|kind| kind["type"]["name"] == "alloc_space")
    };
    // Names follow the windows.
    let answer = eventually("the trace shows the function's name", || {
        let answer = collector.api.get(&path);
        let answer = (answer.status == 200).then(|| answer.json())?;
        kind(&answer)?["flame"]["names"].to_string().contains("render_receipt").then_some(answer)
    });
    assert_eq!(answer["services"][0]["service"], "orders");
    let kind = kind(&answer).expect("just found");
    // 12.5 MB in about 150 samples, each block one with a chance of 0.37: six standard deviations are 40 %.
    let (told, truth) = (kind["total"].as_f64().expect("a number"), ((20 * 10 + 400 * 30) * KIB) as f64);
    assert!((told / truth - 1.0).abs() < 0.4, "{told} of {truth} bytes");
    let samples = answer.pointer("/services/0/samples").and_then(Value::as_array).expect("samples");
    let of_heap: Vec<&Value> = samples.iter().filter(|sample| sample[2] == "alloc_space").collect();
    let sum: f64 = of_heap.iter().filter_map(|sample| sample[3].as_f64()).sum();
    assert!(!of_heap.is_empty() && sum == told, "{told} bytes in {of_heap:?}");
    assert!(of_heap.iter().all(|sample| sample[1] == span.as_str()), "each by the span it was made in: {of_heap:?}");
}

fn the_comparison_names_the_function(collector: &Collector, lean: (u64, u64), wasteful: (u64, u64)) {
    let path = format!(
        "/api/v1/diff?service=orders&type=alloc_space&a.from={}&a.until={}&b.from={}&b.until={}",
        lean.0, lean.1, wasteful.0, wasteful.1
    );
    let diff = collector.api.json(&path);
    let first = &diff["movers"][0];
    assert!(first["name"].as_str().is_some_and(|name| name.contains("render_receipt")), "{}", diff["movers"]);
    assert_eq!(first["state"], "grew", "{first}");
    let others = diff["movers"].as_array().expect("movers");
    assert!(
        !others.iter().any(|mover| mover["name"].as_str().is_some_and(|name| name.contains("parse_order"))),
        "{diff}"
    );
}
