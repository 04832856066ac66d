//! Measures what the agent costs its host: the interruption, throughput, memory, and the bytes it ships; and beside it, in
//! the same run, what the `pprof` crate costs.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::protos::Message as _;
use tephra_proto::codec;
use tephra_proto::limits::PAYLOAD_BYTES_MAX;
use tephra_proto::v1::{PushRequest, WindowPayload};
use tephra_tests::bench::{Random, Report, percentile_ms};
use tephra_tests::sink::Sink;

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

/// How long each sampler watches the same work.
const WATCH: Duration = Duration::from_secs(20);

/// How long the work runs with sampling on, then off, in turns.
const TURN: Duration = Duration::from_millis(500);

fn main() {
    let mut report = Report::default();
    handler(&mut report);
    let ours = agent(&mut report);
    pprof_crate(&mut report, ours);
    report.print();
}

/// The interruption, signal included, at a depth of 50 frames.
fn handler(report: &mut Report) {
    let session = tephra_agent::bench_hooks::Session::start(99);
    let mut taken: Vec<Duration> =
        (0..20_000).filter_map(|_| tephra_agent::bench_hooks::cpu_sample_ns(50)).map(Duration::from_nanos).collect();
    drop(session);
    assert!(taken.len() > 10_000, "only {} samples were taken", taken.len());
    report.at_most("CPU handler at 50 frames, p50", percentile_ms(&mut taken, 0.5) * 1e3, "µs", 5.0);
    report.at_most("CPU handler at 50 frames, p99", percentile_ms(&mut taken, 0.99) * 1e3, "µs", 15.0);
}

/// A whole agent around a busy thread: memory, throughput, wire. Returns bytes per row.
fn agent(report: &mut Report) -> f64 {
    let sink = Sink::start();
    let mut work = Work::new();
    // Everything the work itself needs is there before the first look at the memory.
    work.run(Duration::from_secs(2));
    let before = resident_mib();
    let agent = tephra_agent::Agent::builder("bench").endpoint(sink.endpoint()).start().expect("the agent starts");
    work.run(WATCH);
    report.at_most("agent memory, busy thread and heap", resident_mib() - before, "MiB", 8.0);

    let mut changes = Vec::new();
    for _ in 0..30 {
        let on = work.run(TURN);
        agent.pause();
        let off = work.run(TURN);
        agent.resume();
        changes.push((on / off - 1.0) * 100.0);
    }
    changes.sort_by(f64::total_cmp);
    report.at_least("work per CPU second with CPU and heap sampling on, median", changes[changes.len() / 2], "%", -0.5);

    agent.flush();
    let stats = agent.stats();
    let share = stats.handler_time.as_secs_f64() / stats.cpu_samples.max(1) as f64 * 1e6;
    report.note("time in the sampler per CPU sample, in this run", share, "µs");
    drop(agent);
    let ours = bytes_per_row(&sink.windows());
    report.note("bytes per row on the wire", ours, "B");
    ours
}

/// Bytes that one row of a window costs: its share of stacks, frames, names of modules and labels included.
fn bytes_per_row(windows: &[PushRequest]) -> f64 {
    let (mut bytes, mut rows) = (0, 0);
    for window in windows {
        let payload = codec::decompress(&window.payload, PAYLOAD_BYTES_MAX).expect("our own frame");
        let payload: WindowPayload = prost::Message::decode(&payload[..]).expect("our own payload");
        rows += payload.series.iter().map(|series| series.stack.len()).sum::<usize>();
        bytes += window.payload.len();
    }
    bytes as f64 / rows.max(1) as f64
}

/// The same work under the `pprof` crate at the same rate, last, because its memory stays.
fn pprof_crate(report: &mut Report, ours: f64) {
    let mut work = Work::new();
    work.run(Duration::from_secs(2));
    let before = resident_mib();
    let guard = pprof::ProfilerGuard::new(99).expect("the pprof crate starts");
    work.run(WATCH);
    let profile = guard.report().build().expect("a report");
    let rows = profile.data.len();
    report.note("pprof crate: memory", resident_mib() - before, "MiB");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(&profile.pprof().expect("as pprof").encode_to_vec()).expect("memory takes bytes");
    let bytes = gzip.finish().expect("memory takes bytes").len();
    let theirs = bytes as f64 / rows.max(1) as f64;
    report.note("pprof crate: bytes per row of its gzipped pprof", theirs, "B");
    report.at_most("bytes per row on the wire, of a gzipped pprof's", ours / theirs, "", 0.2);
}

/// Recursion over uneven paths, hashing, maps and short-lived strings: many distinct stacks, steady allocation.
struct Work {
    random: Random,
    kept: BTreeMap<u64, String>,
}

impl Work {
    fn new() -> Self {
        Self { random: Random::seeded(5), kept: BTreeMap::new() }
    }

    /// Rounds per second of CPU time, interruptions included: what other processes take is not the agent's doing.
    fn run(&mut self, lasts: Duration) -> f64 {
        let start = Instant::now();
        let on_cpu = thread_cpu();
        let mut rounds = 0;
        while start.elapsed() < lasts {
            for _ in 0..50 {
                let path = self.random.next();
                black_box(self.walk(path, 28));
                rounds += 1;
            }
        }
        f64::from(rounds) / (thread_cpu() - on_cpu).as_secs_f64()
    }

    #[inline(never)]
    fn walk(&mut self, path: u64, depth: u32) -> u64 {
        if depth == 0 {
            return self.leaf(path);
        }
        match path >> depth & 3 {
            0 => self.left(path, depth - 1),
            1 => self.right(path, depth - 1),
            _ => self.walk(path, depth - 1).wrapping_add(1),
        }
    }

    #[inline(never)]
    fn left(&mut self, path: u64, depth: u32) -> u64 {
        self.walk(path, depth).rotate_left(3)
    }

    #[inline(never)]
    fn right(&mut self, path: u64, depth: u32) -> u64 {
        self.walk(path, depth) ^ 0x55
    }

    #[inline(never)]
    fn leaf(&mut self, path: u64) -> u64 {
        let text = format!("{path:x}").repeat(8);
        let hash = text.bytes().fold(path, |hash, byte| hash.wrapping_mul(31) ^ u64::from(byte));
        self.kept.insert(path % 4_096, text);
        hash
    }
}

/// CPU time of this thread so far.
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0))
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    kib / 1024.0
}
