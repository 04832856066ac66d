//! The stand-in sampler: CPU profiles with names, without labels.
#![cfg(any(not(target_os = "linux"), feature = "pprof-fallback"))]

mod support;

use std::time::{Duration, Instant};

use support::Collector;
use tephra_agent::Agent;

#[inline(never)]
fn busy_without_a_timer() {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        std::hint::black_box((0..1_000u64).sum::<u64>());
    }
}

#[test]
fn the_busy_function_is_named() {
    let collector = Collector::start();
    let agent =
        Agent::builder("fallback").endpoint(collector.endpoint()).window(Duration::from_secs(3600)).start().unwrap();
    busy_without_a_timer();
    drop(agent);
    let windows = collector.windows();
    let [window] = &windows[..] else { panic!("{} windows", windows.len()) };
    let named = |part: &str| window.payload.strings.iter().any(|name| name.contains(part));
    assert!(named("busy_without_a_timer"), "{:?}", window.payload.strings);
    assert!(!named("perf_signal_handler"));
    assert!(window.rows("cpu").iter().map(|row| row.value).sum::<u64>() > 50);
    assert!(window.header.sampled > 0);
}
