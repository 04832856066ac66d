//! Memory, and bytes on the wire. The rows of both profilers are not the same ones: how the same window compares as gzipped pprof is
//! what `bench-wire` measures.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos::Message as _;
use tephra_tests::bench::Report;

use crate::sink;
use crate::work::Work;

/// How long each sampler watches the same work.
const WATCH: Duration = Duration::from_secs(20);

/// A whole agent around 64 threads that take turns, and one that is always busy.
pub(crate) fn agent(report: &mut Report) {
    let sink = sink::Process::start();
    let mut work = Work::new();
    let crowd = Crowd::start();
    // Everything the work itself needs is there before the first look at the memory.
    work.run(Duration::from_secs(4));
    let before = Memory::now();
    let agent = tephra_agent::Agent::builder("bench").endpoint(&sink.endpoint).start().expect("the agent starts");
    work.run(WATCH);
    let now = Memory::now();
    report.at_most("agent memory, 65 threads and heap", now.all - before.all, "MiB", 8.0);
    report.note("agent memory: of that its own, not files mapped", now.anonymous - before.anonymous, "MiB");
    agent.flush();
    let stats = agent.stats();
    drop(agent);
    drop(crowd);
    report.note("handler in situ, p50, without the kernel's part", stats.handler_p50.as_secs_f64() * 1e6, "µs");
    report.note("handler in situ, p99, without the kernel's part", stats.handler_p99.as_secs_f64() * 1e6, "µs");
    let share = |time: Duration, samples: u64| time.as_secs_f64() / samples.max(1) as f64 * 1e6;
    report.note("handler in situ, mean", share(stats.handler_time, stats.cpu_samples), "µs");
    report.note("allocation sample in situ, mean", share(stats.alloc_time, stats.alloc_samples), "µs");
    report.note("allocation samples per CPU sample", stats.alloc_samples as f64 / stats.cpu_samples.max(1) as f64, "");
    let agent_share = stats.agent_cpu.as_secs_f64() / stats.process_cpu.as_secs_f64() * 100.0;
    report.note("the agent's own threads, of the process's CPU time", agent_share, "%");
    let (bytes, rows) = sink.finish();
    assert!(rows > 0, "windows arrived without a row");
    report.note("bytes per row on the wire: CPU, allocations, live heap", bytes as f64 / rows as f64, "B");
}

/// The same work under the `pprof` crate at the same rate.
pub(crate) fn pprof_crate(report: &mut Report) {
    let mut work = Work::new();
    work.run(Duration::from_secs(2));
    let before = Memory::now();
    let guard = pprof::ProfilerGuard::new(99).expect("the pprof crate starts");
    work.run(WATCH);
    let profile = guard.report().build().expect("a report");
    let rows = profile.data.len();
    report.note("pprof crate: memory", Memory::now().all - before.all, "MiB");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(&profile.pprof().expect("as pprof").encode_to_vec()).expect("memory takes bytes");
    let bytes = gzip.finish().expect("memory takes bytes").len();
    report.note("pprof crate: bytes per row of its gzipped pprof", bytes as f64 / rows.max(1) as f64, "B");
}

/// Threads that mostly sleep, as those of a service do. They end when dropped.
struct Crowd {
    _open: std::sync::Arc<()>,
}

impl Crowd {
    fn start() -> Self {
        let open = std::sync::Arc::new(());
        for number in 0..64 {
            let open = std::sync::Arc::downgrade(&open);
            std::thread::spawn(move || {
                while open.upgrade().is_some() {
                    // Allocates and computes, and keeps nothing: what grows is the agent's.
                    let words: Vec<String> = (0..200).map(|i| format!("{i} {number}")).collect();
                    std::hint::black_box(words.iter().map(String::len).sum::<usize>());
                    std::thread::sleep(Duration::from_millis(100 + number));
                }
            });
        }
        Self { _open: open }
    }
}

/// Resident memory, in MiB.
struct Memory {
    all: f64,
    anonymous: f64,
}

impl Memory {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let read = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
            kib / 1024.0
        };
        Self { all: read("VmRSS:"), anonymous: read("RssAnon:") }
    }
}
