//! How long acks take at the rate that is promised, and what memory the collector takes meanwhile: with little else to do, and while it
//! compacts ten million stacks.
//!
//! The load is open: 1 263 instances send a window of 990 samples every ten seconds, evenly spread, whether or not acks come in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tephra_proto::v1::PushRequest;
use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_tests::bench::{Random, Report, percentile_ms};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::synthetic::{Agent, aligned, request};
use tokio::runtime::Runtime;
use tonic::transport::Endpoint;

use crate::ingest::{SAMPLES_PER_WINDOW, VARIANTS, window};
use crate::memory;

/// So many make 125 000 samples a second.
const INSTANCES: u64 = 1_263;
const WINDOW: Duration = Duration::from_secs(10);
/// Connections they share, as behind a proxy.
const CHANNELS: usize = 32;
/// How often memory is looked at, with little else to do: memory that grows with what was sent would show.
const LOOKS: u64 = 6;
/// Windows of each instance while compacting.
const BUSY_ROUNDS: u64 = 6;

/// With little else to do for so many minutes.
pub(crate) fn measure(report: &mut Report, minutes: u64) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let collector = Collector::start();
    let mut quiet = Load::new(&runtime, &collector);
    let mut memory = Vec::new();
    let cpu_before = collector.cpu_seconds();
    let rounds = minutes * 6;
    for look in 0..LOOKS {
        quiet.rounds(look * rounds / LOOKS..(look + 1) * rounds / LOOKS);
        let resident = collector.memory() as f64 / f64::from(1 << 20);
        eprintln!("resident after {}/{LOOKS} of {minutes} min: {resident:.0} MiB", look + 1);
        memory.push(resident);
    }
    let seconds = (rounds * 10) as f64;
    quiet.report(report, "at 125 000 samples/s");
    report.note("at 125 000 samples/s: processors used", (collector.cpu_seconds() - cpu_before) / seconds, "");
    for (n, memory) in (1..).zip(memory) {
        report.note(&format!("at 125 000 samples/s: resident memory after {n}/{LOOKS} of {seconds} s"), memory, "MiB");
    }
    report.note(
        "at 125 000 samples/s: resident memory at most",
        collector.peak_memory() as f64 / f64::from(1 << 20),
        "MiB",
    );
    drop(collector);

    let data = tempfile::tempdir().expect("a temporary folder");
    memory::write(data.path());
    let collector = Collector::start_on(data.path());
    let segments = |collector: &Collector| collector.api.json("/api/v1/status")["store"]["segments"].clone();
    let before = segments(&collector);
    let mut busy = Load::new(&runtime, &collector);
    let cpu_before = collector.cpu_seconds();
    busy.rounds(0..BUSY_ROUNDS);
    let seconds = (BUSY_ROUNDS * 10) as f64;
    busy.report(report, "at 125 000 samples/s, compacting 10 M stacks");
    let cpu = (collector.cpu_seconds() - cpu_before) / seconds;
    report.note("at 125 000 samples/s, compacting 10 M stacks: processors used", cpu, "");
    eprintln!("segments before and after: {before} {}", segments(&collector));
}

/// Instances that push.
struct Load<'a> {
    runtime: &'a Runtime,
    clients: Vec<ProfileServiceClient<tonic::transport::Channel>>,
    agents: Vec<Agent>,
    packed: Arc<Vec<PushRequest>>,
    acks: Vec<Duration>,
    refused: u64,
}

impl<'a> Load<'a> {
    fn new(runtime: &'a Runtime, collector: &Collector) -> Self {
        let mut random = Random::seeded(1);
        let mut any = Agent::new("bench", 1);
        let mut pack = |variant| {
            let window = window(&mut random, variant);
            request(any.next_header(0, &window), &window.payload())
        };
        let packed = (0..VARIANTS).map(&mut pack).collect();
        let agents = (0..INSTANCES).map(|number| {
            let mut agent = Agent::new("bench", 1).label("version", "v1");
            agent.id[..8].copy_from_slice(&(number + 1).to_be_bytes());
            agent.instance = format!("bench-{number}");
            agent
        });
        let _guard = runtime.enter();
        let channel = || Endpoint::from_shared(collector.endpoint()).expect("a URL").connect_lazy();
        let clients = (0..CHANNELS).map(|_| ProfileServiceClient::new(channel())).collect();
        Self { runtime, clients, agents: agents.collect(), packed: Arc::new(packed), acks: Vec::new(), refused: 0 }
    }

    /// A window of each instance in each round.
    fn rounds(&mut self, rounds: std::ops::Range<u64>) {
        let apart = WINDOW / INSTANCES as u32;
        let mut sent = Vec::new();
        self.runtime.block_on(async {
            let mut clock = tokio::time::interval(apart);
            clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
            for round in rounds {
                for (number, agent) in self.agents.iter_mut().enumerate() {
                    clock.tick().await;
                    let variant = (number as u64 * 31 + round * 7) % VARIANTS;
                    let packed = &self.packed[variant as usize];
                    let header = packed.header.clone().map(|header| agent.renumbered(aligned(now_ms(), 0), header));
                    let request = PushRequest { header, ..packed.clone() };
                    let mut client = self.clients[number % CHANNELS].clone();
                    sent.push(tokio::spawn(async move {
                        let start = Instant::now();
                        client.push(request).await.map(|_| start.elapsed())
                    }));
                }
            }
            for ack in sent.drain(..) {
                match ack.await.expect("a sender does not panic") {
                    Ok(took) => self.acks.push(took),
                    Err(_) => self.refused += 1,
                }
            }
        });
    }

    fn report(&mut self, report: &mut Report, name: &str) {
        report.note(&format!("{name}: windows acked"), self.acks.len() as f64, "");
        report.note(&format!("{name}: samples in them"), (self.acks.len() as u64 * SAMPLES_PER_WINDOW) as f64, "");
        report.at_most(&format!("{name}: windows refused"), self.refused as f64, "", 0.0);
        report.note(&format!("{name}: ack p50"), percentile_ms(&mut self.acks, 0.5), "ms");
        report.at_most(&format!("{name}: ack p99"), percentile_ms(&mut self.acks, 0.99), "ms", 500.0);
    }
}
