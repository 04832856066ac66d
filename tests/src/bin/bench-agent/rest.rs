//! What the agent costs a process that does nothing, and how soon one that begins to work is sampled.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tephra_agent::Agent;
use tephra_agent::hooks::sampler::totals;
use tephra_tests::bench::{Report, percentile_ms};

use crate::sink;
use crate::work::thread_cpu;

/// Three windows, sealed and sent.
const WATCH: Duration = Duration::from_secs(30);
/// After this a process that does nothing is taken to rest.
const SETTLED: Duration = Duration::from_secs(4);
const STARTS: u32 = 20;
/// No thread is sampled so late.
const NEVER: Duration = Duration::from_secs(5);

pub(crate) fn measure(report: &mut Report) {
    let sink = sink::Process::start();
    let agent = Agent::builder("rest").endpoint(&sink.endpoint).start().expect("the agent starts");
    std::thread::sleep(SETTLED);

    let (cpu, wakes, started) = (agent.stats().agent_cpu, wakes(), Instant::now());
    std::thread::sleep(WATCH);
    let seconds = started.elapsed().as_secs_f64();
    let share = (agent.stats().agent_cpu - cpu).as_secs_f64() / seconds;
    report.at_most("at rest: the agent's threads, of one processor", share * 100.0, "%", 0.02);
    report.at_most("at rest: wakes of the agent's threads", (self::wakes() - wakes) as f64 / seconds, "/s", 2.0);

    let mut used: Vec<Duration> = (0..STARTS).map(|_| first_sample()).collect();
    let quantile = |used: &mut [Duration], share| percentile_ms(used, share);
    report.at_most("after a rest: CPU time used at the first sample, p50", quantile(&mut used, 0.5), "ms", 10.0);
    report.note("after a rest: CPU time used at the first sample, most", quantile(&mut used, 1.0), "ms");
    drop(agent);
    sink.finish();
}

/// How often the agent's threads have begun to wait for something.
fn wakes() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let own = statuses.filter(|status| status.starts_with("Name:\ttephra-"));
    let waits = |status: String| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
    };
    own.filter_map(waits).sum()
}

/// What a thread that waited through a rest has used when it is first sampled.
fn first_sample() -> Duration {
    let thread = std::thread::spawn(|| {
        std::thread::sleep(SETTLED);
        let (taken, before) = (totals().0, thread_cpu());
        loop {
            black_box((0..2_000u64).fold(0, |sum: u64, i| sum.wrapping_mul(31).wrapping_add(i)));
            let used = thread_cpu() - before;
            if totals().0 > taken || used > NEVER {
                return used;
            }
        }
    });
    thread.join().expect("it works")
}
