//! What arrives: ingest, acks, bytes at rest, and questions about it while it is being compacted.
//!
//! The service is made up: 2 000 distinct stacks 24 deep, visited unevenly; each 10 s window has 990 CPU samples (one busy
//! core), a fifth of them with one of 64 trace ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tephra_proto::v1::PushRequest;
use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_tests::bench::{Random, Report, percentile_ms};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::synthetic::{Agent, Link, Window, aligned, request};
use tonic::transport::Endpoint;

const STACKS: u64 = 2_000;
const DEPTH: u64 = 24;
pub(crate) const SAMPLES_PER_WINDOW: u64 = 990;
const TRACES_PER_WINDOW: u64 = 64;

/// A day of one instance, as far as a collector takes windows this late: 23.5 hours.
const DAY_WINDOWS: u64 = 8_460;

/// Agents that push at once. Each waits for its ack, which takes as long as a batch is collected: fewer of them measure that time and not the
/// collector.
const CONNECTIONS: usize = 256;

/// Distinct windows; each is sent many times under different numbers and times, so that making them costs nothing.
pub(crate) const VARIANTS: u64 = 256;

pub(crate) fn measure(report: &mut Report) {
    let collector = Collector::start();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let end = aligned(now_ms(), 0);
    let requests = Arc::new(day(end));

    let start = Instant::now();
    let (mut acks, mut memory, cpu_before) = (Vec::new(), Vec::new(), collector.cpu_seconds());
    for part in requests.chunks(requests.len().div_ceil(3)) {
        acks.extend(runtime.block_on(push_all(&collector.endpoint(), Arc::new(part.to_vec()))));
        memory.push(collector.memory() as f64 / f64::from(1 << 20));
    }
    let took = start.elapsed().as_secs_f64();
    let samples = (DAY_WINDOWS * SAMPLES_PER_WINDOW) as f64;
    // The goal is half of what four cores should do: this machine's two also run the client.
    report.at_least("ingest over gRPC, samples per second", samples / took, "1/s", 125_000.0);
    report.note("ingest over gRPC, windows per second", DAY_WINDOWS as f64 / took, "1/s");
    report.note(
        "ingest, samples per second of the collector's CPU",
        samples / (collector.cpu_seconds() - cpu_before),
        "1/s",
    );
    // At full speed an ack takes as long as the queue is.
    report.note("ack p99 at full speed", percentile_ms(&mut acks, 0.99), "ms");
    for (name, memory) in ["a third", "two thirds", "all of it"].iter().zip(memory) {
        report.note(&format!("resident memory after {name}"), memory, "MiB");
    }
    report.note("resident memory at most", collector.peak_memory() as f64 / f64::from(1 << 20), "MiB");

    let status = collector.api.json("/api/v1/status");
    let bytes = status.pointer("/store/bytes").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let wire: usize = requests.iter().map(|request| request.payload.len()).sum();
    report.note("bytes per sample on the wire, one in five with a trace", wire as f64 / samples, "B");
    report.at_most("bytes per sample at rest, as ingested", bytes / samples, "B", 24.0);

    let from = end - DAY_WINDOWS * 10_000;
    let day = format!("/api/v1/flamegraph?service=bench&from={from}&until={end}&format=flame");
    report.at_most("flame graph of 23.5 h, 1 instance, first", time(|| get(&collector, &day)), "ms", 300.0);
    report.at_most("flame graph of 23.5 h, 1 instance, median of 5", median(5, || get(&collector, &day)), "ms", 300.0);
    let hour = format!("/api/v1/flamegraph?service=bench&from={}&until={end}&format=flame", end - 3_600_000);
    report.at_most("flame graph of 1 h, median of 5", median(5, || get(&collector, &hour)), "ms", 300.0);
    let middle = end - 1_800_000;
    let diff = format!(
        "/api/v1/diff?service=bench&a.from={}&a.until={middle}&b.from={middle}&b.until={end}&format=flame",
        end - 3_600_000
    );
    report.at_most("diff of 30 min with 30 min, median of 5", median(5, || get(&collector, &diff)), "ms", 2_000.0);
    let mut random = Random::seeded(3);
    let lookup = median(7, || {
        let trace = trace_id(random.next() % VARIANTS, random.next() % TRACES_PER_WINDOW);
        let hex: String = trace.iter().map(|byte| format!("{byte:02x}")).collect();
        get(&collector, &format!("/api/v1/traces/{hex}"));
    });
    report.at_most("trace to flame graph among 8 460 windows, median of 7", lookup, "ms", 100.0);
}

/// One instance's day, ending at `end`.
fn day(end: u64) -> Vec<PushRequest> {
    let mut random = Random::seeded(1);
    let windows: Vec<Window> = (0..VARIANTS).map(|variant| window(&mut random, variant)).collect();
    let mut agent = Agent::new("bench", 1).label("version", "v1");
    let packed: Vec<PushRequest> =
        windows.iter().map(|w| request(agent.clone().next_header(end, w), &w.payload())).collect();
    let start = end - DAY_WINDOWS * 10_000;
    (0..DAY_WINDOWS)
        .map(|i| {
            let variant = (i % VARIANTS) as usize;
            let header = agent.next_header(start + i * 10_000, &windows[variant]);
            PushRequest { header: Some(header), ..packed[variant].clone() }
        })
        .collect()
}

pub(crate) fn window(random: &mut Random, variant: u64) -> Window {
    (0..SAMPLES_PER_WINDOW).fold(Window::new(), |window, i| {
        let stack = stack(random.skewed(STACKS));
        let stack: Vec<&str> = stack.iter().map(String::as_str).collect();
        let link: Option<Link> = (i % 5 == 0).then(|| {
            let trace = trace_id(variant, i / 5 % TRACES_PER_WINDOW);
            (trace, [1, 2, 3, 4, 5, 6, 7, trace[15]])
        });
        window.cpu_in(&stack, 1, link)
    })
}

/// Stacks share their upper half, as those of a service do.
fn stack(number: u64) -> Vec<String> {
    let name = |depth: u64| {
        let width = 1 << (depth / 2).min(11);
        format!("service::layer_{depth}::function_{}", number % width)
    };
    (0..DEPTH).map(name).collect()
}

fn trace_id(variant: u64, number: u64) -> [u8; 16] {
    let mut id = [0x11; 16];
    id[..8].copy_from_slice(&Random::seeded(variant * 1_000 + number).next().to_be_bytes());
    id[15] = number as u8;
    id
}

/// Pushes all of them over a number of connections; returns how long each ack took.
async fn push_all(endpoint: &str, requests: Arc<Vec<PushRequest>>) -> Vec<Duration> {
    let next = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (next, requests) = (Arc::clone(&next), Arc::clone(&requests));
            let channel = Endpoint::from_shared(endpoint.to_owned()).expect("a URL").connect_lazy();
            tokio::spawn(async move {
                let mut client = ProfileServiceClient::new(channel);
                let mut acks = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let sent = Instant::now();
                    client.push(request.clone()).await.expect("an ack");
                    acks.push(sent.elapsed());
                }
                acks
            })
        })
        .collect();
    let mut acks = Vec::new();
    for sender in senders {
        acks.extend(sender.await.expect("a sender does not panic"));
    }
    acks
}

pub(crate) fn get(collector: &Collector, path: &str) {
    let answer = collector.api.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
}

pub(crate) fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

pub(crate) fn median(times: usize, mut work: impl FnMut()) -> f64 {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    percentile_ms(&mut taken, 0.5)
}
