//! Whether samples stand for the CPU time that was used.

use std::time::Duration;

use tephra_agent::Agent;
use tephra_tests::bench::Report;

use crate::sink;
use crate::work::thread_cpu;

/// CPU time burnt in each setting.
const TOTAL: Duration = Duration::from_secs(8);

pub(crate) fn measure(report: &mut Report) {
    let sink = sink::Process::start();
    for threads in [1, 8, 64] {
        let off = covered(&sink.endpoint, || burn_on(threads, TOTAL / threads)) - 1.0;
        report.at_most(&format!("CPU time sampled, {threads} threads, off by"), off.abs() * 100.0, "%", 1.0);
    }
    let off = covered(&sink.endpoint, || (0..800).for_each(|_| burn_on(2, TOTAL / 1_600))) - 1.0;
    report.at_most("CPU time sampled, threads of 5 ms, off by", off.abs() * 100.0, "%", 1.0);
    sink.finish();
}

/// Sampled CPU time of the process's, the agent's own threads left out.
fn covered(endpoint: &str, work: impl FnOnce()) -> f64 {
    let agent = Agent::builder("accuracy").endpoint(endpoint).start().expect("the agent starts");
    work();
    // What the handlers left is collected.
    std::thread::sleep(Duration::from_millis(300));
    let stats = agent.stats();
    let sampled = stats.process_cpu.saturating_sub(stats.unsampled_cpu);
    sampled.as_secs_f64() / stats.process_cpu.saturating_sub(stats.agent_cpu).as_secs_f64()
}

fn burn_on(threads: u32, each: Duration) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while thread_cpu() < each {
                    std::hint::black_box((0..100_000u64).fold(0, |sum: u64, i| sum.wrapping_mul(31).wrapping_add(i)));
                }
            });
        }
    });
}
