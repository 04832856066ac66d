//! pprof over HTTP, as it comes from services that are profiled by others' agents: 10 000 instances of 40 services, each of which sends ten
//! seconds of itself every 9.5 s over one of 1 000 connections.
//!
//! The load is open: a profile is due whether or not acks come in time, and its ack is timed from then. The collector's CPU time is that of
//! the whole process until everything is compacted.

use std::io::{Read, Write};
use std::net::TcpStream as BlockingStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tephra_tests::bench::{Report, percentile_ms};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tokio::net::TcpStream;

use crate::pprof::{SAMPLES, profile};

const CONNECTIONS: u64 = 1_000;
/// Each connection's turn: 1 052 profiles a second in all.
const APART: Duration = Duration::from_millis(950);
const SERVICES: u64 = 40;
/// Of one service.
const INSTANCES: u64 = 250;
/// Distinct profiles of one service.
const VARIANTS: u64 = 32;
/// What was sent is compacted by then.
const SETTLED: Duration = Duration::from_secs(35);
/// How often memory and bodies are looked at.
const LOOK: Duration = Duration::from_secs(2);

const MIB: f64 = (1 << 20) as f64;

/// Sends for so long.
pub(crate) fn measure(report: &mut Report, seconds: u64) {
    let bodies: Vec<Arc<Vec<u8>>> =
        (0..SERVICES * VARIANTS).map(|i| Arc::new(profile(i / VARIANTS, i % VARIANTS))).collect();
    let mean = bodies.iter().map(|body| body.len()).sum::<usize>() as f64 / bodies.len() as f64;
    report.note("pprof over HTTP: bytes of one profile, gzipped", mean, "B");
    report.note("pprof over HTTP: samples of one profile", SAMPLES as f64, "");
    let collector = Collector::start();
    let port = collector.port();
    let stop = Arc::new(AtomicBool::new(false));
    let health = std::thread::spawn({
        let stop = stop.clone();
        move || watch_health(port, &stop)
    });

    let (cpu_before, own_before, start) = (collector.cpu_seconds(), own_cpu_seconds(), Instant::now());
    let sender = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(send_all(port, bodies, Duration::from_secs(seconds)))
    });
    let (mut memory, mut bodies_bytes) = (Vec::new(), 0.0f64);
    while !sender.is_finished() {
        std::thread::sleep(LOOK);
        memory.push(collector.memory() as f64 / MIB);
        let status = collector.api.json("/api/v1/status");
        bodies_bytes = bodies_bytes.max(status["ingest"]["bodies_bytes"].as_f64().expect("bodies_bytes"));
    }
    let Sent { mut acks, refused, took } = sender.join().expect("the sender does not panic");
    stop.store(true, Ordering::SeqCst);
    let mut health = health.join().expect("the prober does not panic");
    let own_cpu = own_cpu_seconds() - own_before;
    let busy = collector.cpu_seconds() - cpu_before;
    std::thread::sleep(SETTLED);
    let cpu = collector.cpu_seconds() - cpu_before;

    let acked = acks.len() as f64;
    assert_eq!(collector.windows(), acks.len() as u64, "what was acked is there, once");
    report.note("pprof over HTTP: seconds", start.elapsed().as_secs_f64() - SETTLED.as_secs_f64(), "s");
    report.at_least("pprof over HTTP: profiles acked per second", acked / took.as_secs_f64(), "1/s", 1_000.0);
    report.at_most("pprof over HTTP: profiles not acked", refused as f64, "", 0.0);
    report.at_most("pprof over HTTP: collector's CPU per profile, with compaction", cpu / acked * 1e6, "µs", 350.0);
    report.note("pprof over HTTP: of it while they came", busy / acked * 1e6, "µs");
    report.note("pprof over HTTP: sender's CPU per profile", own_cpu / acked * 1e6, "µs");
    report.note("pprof over HTTP: ack p50", percentile_ms(&mut acks, 0.5), "ms");
    report.at_most("pprof over HTTP: ack p99", percentile_ms(&mut acks, 0.99), "ms", 600.0);
    report.note("pprof over HTTP: /healthz p50 meanwhile", percentile_ms(&mut health, 0.5), "ms");
    report.note("pprof over HTTP: /healthz p99 meanwhile", percentile_ms(&mut health, 0.99), "ms");
    report.at_most("pprof over HTTP: /healthz at most", percentile_ms(&mut health, 1.0), "ms", 150.0);
    report.at_most("pprof over HTTP: bodies in flight", bodies_bytes / MIB, "MiB", 256.0);
    for (n, part) in (1..).zip(memory.chunks(memory.len().div_ceil(6))) {
        report.note(&format!("pprof over HTTP: resident memory in sixth {n}"), mean_of(part), "MiB");
    }
    let (middle, last) = (memory.len() / 3, memory.len() * 2 / 3);
    let growth = mean_of(&memory[last..]) / mean_of(&memory[middle..last]) - 1.0;
    report.at_most("pprof over HTTP: resident memory, last third over the one before", growth * 100.0, "%", 10.0);
    report.note("pprof over HTTP: resident memory at most", collector.peak_memory() as f64 / MIB, "MiB");
    let bytes = collector.api.json("/api/v1/status")["store"]["bytes"].as_f64().expect("bytes");
    report.note("pprof over HTTP: bytes of one profile at rest", bytes / acked, "B");
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// What became of all that was sent.
#[derive(Default)]
struct Sent {
    acks: Vec<Duration>,
    refused: u64,
    took: Duration,
}

impl Sent {
    fn note(&mut self, status: Option<u16>, took: Duration) {
        match status {
            Some(200) => self.acks.push(took),
            _ => self.refused += 1,
        }
    }
}

async fn send_all(port: u16, bodies: Vec<Arc<Vec<u8>>>, length: Duration) -> Sent {
    let (bodies, sent) = (Arc::new(bodies), Arc::new(Mutex::new(Sent::default())));
    let start = tokio::time::Instant::now() + Duration::from_millis(500);
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let (bodies, sent) = (bodies.clone(), sent.clone());
            let first = start + APART * connection as u32 / CONNECTIONS as u32;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
                stream.set_nodelay(true).expect("an option");
                let turns = length.as_millis() / APART.as_millis();
                for turn in 0..turns as u64 {
                    let due = first + APART * turn as u32;
                    tokio::time::sleep_until(due).await;
                    let (head, body) = request(connection, turn, &bodies);
                    let status = exchange(&mut stream, &head, &body).await;
                    sent.lock().expect("not poisoned").note(status, due.elapsed());
                    if status.is_none() {
                        stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
                    }
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("a sender does not panic");
    }
    let took = start.elapsed();
    let mut sent = sent.lock().expect("not poisoned");
    sent.took = took;
    std::mem::take(&mut *sent)
}

/// The profile that this connection sends at this turn: of each of its instances in turn.
fn request(connection: u64, turn: u64, bodies: &[Arc<Vec<u8>>]) -> (String, Arc<Vec<u8>>) {
    let instances = SERVICES * INSTANCES / CONNECTIONS;
    let number = connection * instances + turn % instances;
    let (service, instance) = (number / INSTANCES, number % INSTANCES);
    let body = bodies[(service * VARIANTS + (instance * 7 + turn) % VARIANTS) as usize].clone();
    let head = format!(
        "POST /api/v1/profiles?service=shop-{service}&at={}&label.instance=shop-{service}-{instance}&label.version=v1 HTTP/1.1\r\n\
         host: 127.0.0.1\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        now_ms() - 10_000,
        body.len()
    );
    (head, body)
}

/// Sends a request, and answers the status; `None`: the connection is of no more use.
async fn exchange(stream: &mut TcpStream, head: &str, body: &[u8]) -> Option<u16> {
    let whole = [head.as_bytes(), body].concat();
    let mut rest = whole.as_slice();
    while !rest.is_empty() {
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => stream.writable().await.ok()?,
            Err(_) => return None,
        }
    }
    let (mut answer, mut filled) = ([0; 16 << 10], 0);
    loop {
        match stream.try_read(&mut answer[filled..]) {
            Ok(0) => return None,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.readable().await.ok()?;
                continue;
            }
            Err(_) => return None,
        }
        let text = std::str::from_utf8(&answer[..filled]).ok()?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
        if body.len() >= length {
            return head.split(' ').nth(1)?.parse().ok();
        }
    }
}

/// How long a load balancer waits for an answer, over a connection of its own each time.
fn watch_health(port: u16, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        let mut stream = BlockingStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        took.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    took
}

fn own_cpu_seconds() -> f64 {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    usage.tv_sec as f64 + usage.tv_nsec as f64 * 1e-9
}
