//! The interruption, signal included, at a depth of 50 frames.

use std::time::Duration;

use tephra_agent::hooks::sampler::{Session, cpu_sample_ns, foreign_signal_ns, varied_cpu_sample_ns, varied_functions};
use tephra_tests::bench::{Report, percentile_ms};

const DEPTH: usize = 50;
const SAMPLES: u64 = 20_000;

pub(crate) fn measure(report: &mut Report) {
    let session = Session::start(99);
    let mut warm: Vec<Duration> = (0..SAMPLES).filter_map(|_| cpu_sample_ns(DEPTH)).map(Duration::from_nanos).collect();
    let mut varied: Vec<Duration> =
        (0..SAMPLES).filter_map(|path| varied_cpu_sample_ns(path, DEPTH)).map(Duration::from_nanos).collect();
    drop(session);
    assert!(warm.len().min(varied.len()) > 10_000, "only {} and {} samples were taken", warm.len(), varied.len());
    report.note("CPU handler at 50 frames of one function, p50", micros(&mut warm, 0.5), "µs");
    let functions = varied_functions();
    let name = |quantile: &str| format!("CPU handler at 50 frames of {functions} functions, {quantile}");
    report.at_most(&name("p50"), micros(&mut varied, 0.5), "µs", 5.0);
    report.at_most(&name("p99"), micros(&mut varied, 0.99), "µs", 15.0);
}

/// The same stacks under the `pprof` crate's handler.
pub(crate) fn pprof_crate(report: &mut Report) {
    // Its own timer hardly ever fires; the signals are ours.
    let guard = pprof::ProfilerGuard::new(1).expect("the pprof crate starts");
    let mut took: Vec<Duration> = (0..2_000).map(|path| Duration::from_nanos(foreign_signal_ns(path, DEPTH))).collect();
    drop(guard);
    report.note("pprof crate: handler on the same stacks, p50", micros(&mut took, 0.5), "µs");
    report.note("pprof crate: handler on the same stacks, p99", micros(&mut took, 0.99), "µs");
}

fn micros(took: &mut [Duration], share: f64) -> f64 {
    percentile_ms(took, share) * 1e3
}
