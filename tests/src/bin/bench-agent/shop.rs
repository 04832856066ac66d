//! What profiling costs the demo shop: throughput and latency, the agent on and off in turns, in one process under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{MatchedPath, State};
use axum::routing::post;
use axum::{Json, Router};
use shop::archive::Archive;
use shop::cart::{Cart, Confirmation, Line};
use shop::catalog::Catalog;
use shop::client::Client;
use shop::tax::{TaxOffice, TaxRules};
use shop::{fingerprint, receipt, tax};
use tephra_agent::hooks;
use tephra_tests::bench::{Random, Report, percentile_ms};

use crate::sink;

/// Rounds of each kind, a minute.
const ROUNDS: u64 = 70;
/// How long one lasts.
const ROUND: Duration = Duration::from_millis(400);
/// A window and more: by then the agent has settled how densely it samples, as it has in a service that runs for longer.
const WARM_UP: Duration = Duration::from_secs(21);
/// People who order at once, each as soon as the last order is answered.
const PEOPLE: usize = 8;

struct Checkout {
    catalog: Catalog,
    taxes: Box<dyn TaxOffice>,
    archive: Archive,
}

/// Orders per second, the time that 99 of 100 did not exceed, and the CPU time that one took, of server, client and agent.
struct Round {
    rate: f64,
    p99_ms: f64,
    cpu: f64,
}

/// How many samples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Density {
    /// As by default.
    Usual,
    /// Ten times as many of CPU time, eight times as many of allocations: what samples cost shows above the noise, of which a
    /// ninth is the price of the usual ones. Or up to twice that, for rarer samples find less of what they need in the caches.
    Dense,
}

/// Takes turns for so many minutes.
pub(crate) fn measure(report: &mut Report, density: Density, minutes: u64) {
    let sink = sink::Process::start();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let agent = tephra_agent::Agent::builder("bench-shop").endpoint(&sink.endpoint);
    let agent = match density {
        Density::Usual => agent,
        Density::Dense => agent.cpu_hz(990).heap_mean_bytes(64 << 10),
    };
    let agent = agent.start().expect("the agent starts");
    let (mut rates, mut tails, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    let mut own = Own::default();
    runtime.block_on(async {
        let client = Client::new(&serve().await);
        let orders = orders();
        let started = Instant::now();
        while started.elapsed() < WARM_UP {
            round(&client, &orders).await;
        }
        for pair in 0..minutes * ROUNDS {
            // Neither comes first more often: what drifts, drifts for both.
            let (mut on, mut off) = (None, None);
            for sampled in [pair % 2 == 0, pair % 2 != 0] {
                if sampled {
                    agent.resume()
                } else {
                    agent.pause()
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                let before = Own::now(&agent);
                *(if sampled { &mut on } else { &mut off }) = Some(round(&client, &orders).await);
                if sampled {
                    own.add(&Own::now(&agent), &before);
                }
            }
            if let (Some(on), Some(off)) = (on, off) {
                rates.push((on.rate / off.rate - 1.0) * 100.0);
                tails.push((on.p99_ms / off.p99_ms - 1.0) * 100.0);
                costs.push((on.cpu / off.cpu - 1.0) * 100.0);
            }
        }
    });
    let stats = agent.stats();
    drop(agent);
    sink.finish();
    let [rate, cost, tail] = [rates, costs, tails].map(|differences| Interval::of(&differences));
    let shop = match density {
        Density::Usual => {
            report.at_least("shop orders per second, CPU + heap + labels on", rate.mean, "%", -0.5);
            report.at_most("shop p99 latency, CPU + heap + labels on", tail.mean, "%", 1.0);
            "shop"
        }
        Density::Dense => {
            report.note("shop, dense: orders per second, CPU + heap + labels on", rate.mean, "%");
            report.note("shop, dense: p99 latency, CPU + heap + labels on", tail.mean, "%");
            "shop, dense"
        }
    };
    let due = stats.alloc_samples + stats.alloc_left_out;
    let per_second = own.samples as f64 / own.process.as_secs_f64();
    let of_cpu = |time: Duration| time.as_secs_f64() / own.process.as_secs_f64() * 100.0;
    for (what, value, unit) in [
        ("orders per second, 95 % interval, plus or minus", rate.half_width, "%"),
        ("CPU time per order, CPU + heap + labels on", cost.mean, "%"),
        ("CPU time per order, 95 % interval, plus or minus", cost.half_width, "%"),
        ("p99 latency, 95 % interval, plus or minus", tail.half_width, "%"),
        ("CPU samples per second of CPU time", f64::from(stats.cpu_hz), ""),
        (
            "allocation samples taken, of those that were due",
            stats.alloc_samples as f64 / due.max(1) as f64 * 100.0,
            "%",
        ),
        ("CPU and allocation samples per second of CPU time", per_second, ""),
        ("one of them, on average, without the kernel's part", of_cpu(own.sampling) * 1e4 / per_second, "µs"),
        ("samples, without the kernel's part, of the CPU time", of_cpu(own.sampling), "%"),
        ("the agent's threads, of the CPU time", of_cpu(own.threads), "%"),
    ] {
        report.note(&format!("{shop}: {what}"), value, unit);
    }
}

/// What the agent says that it used, while it sampled: far less than what a comparison can tell apart, so each part shows.
#[derive(Default)]
struct Own {
    /// CPU and allocation samples.
    samples: u64,
    sampling: Duration,
    threads: Duration,
    /// All CPU time of this process.
    process: Duration,
}

impl Own {
    fn now(agent: &tephra_agent::Agent) -> Self {
        let (samples, _, ns) = hooks::sampler::totals();
        let threads = agent.stats().agent_cpu;
        Self { samples, sampling: Duration::from_nanos(ns), threads, process: process_cpu() }
    }

    fn add(&mut self, now: &Self, before: &Self) {
        self.samples += now.samples - before.samples;
        self.sampling += now.sampling - before.sampling;
        self.threads += now.threads - before.threads;
        self.process += now.process - before.process;
    }
}

/// The mean of paired differences, the most extreme fifth at either end left out, as machines are shared, and how far it may be off.
struct Interval {
    mean: f64,
    half_width: f64,
}

impl Interval {
    fn of(differences: &[f64]) -> Self {
        let mut sorted = differences.to_vec();
        sorted.sort_by(f64::total_cmp);
        let cut = sorted.len() / 5;
        let kept = &sorted[cut..sorted.len() - cut];
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        // The spread of a trimmed mean counts the ends as if they lay where the cut is.
        let (low, high) = (kept[0], kept[kept.len() - 1]);
        let winsorized: f64 = sorted.iter().map(|value| (value.clamp(low, high) - mean).powi(2)).sum();
        let deviation = (winsorized / (sorted.len() - 1) as f64).sqrt();
        Self { mean, half_width: 1.96 * deviation / (0.6 * (sorted.len() as f64).sqrt()) }
    }
}

/// The checkout, as the demo runs it.
async fn serve() -> String {
    let checkout =
        Checkout { catalog: Catalog::generate(3_000), taxes: Box::new(TaxRules::load()), archive: Archive::default() };
    let routes = tephra_agent::tower_layer().route_by(|request| Some(request.get::<MatchedPath>()?.as_str()));
    let app = Router::new().route("/orders", post(order)).with_state(Arc::new(checkout)).layer(routes);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}")
}

async fn order(State(checkout): State<Arc<Checkout>>, body: Bytes) -> Json<Confirmation> {
    let cart: Cart = serde_json::from_slice(&body).expect("our own order");
    let order = fingerprint::of(&body);
    let quote = tax::quote(&cart, &checkout.catalog, checkout.taxes.as_ref());
    let shipping_cents = tax::shipping_cents(&cart, checkout.taxes.as_ref());
    let receipt = receipt::render(&quote, shipping_cents);
    tokio::task::yield_now().await;
    let archived_bytes = checkout.archive.keep(&serde_json::to_vec(&quote).expect("serializes"));
    let total_cents = quote.net_cents + quote.tax_cents + shipping_cents;
    Json(Confirmation { order, total_cents, receipt, archived_bytes })
}

/// Orders of one size, so that rounds compare.
fn orders() -> Arc<Vec<Vec<u8>>> {
    let mut random = Random::seeded(11);
    let mut line = || Line { product: (random.next() % 2_000) as u32, quantity: 1 + (random.next() % 5) as u32 };
    let cart =
        |number: u32, lines| Cart { customer: number.to_string(), region: tax::region(number), day: 20260105, lines };
    let orders = (0..64).map(|number| serde_json::to_vec(&cart(number, (0..20).map(|_| line()).collect())));
    Arc::new(orders.map(|order| order.expect("serializes")).collect())
}

async fn round(client: &Client, orders: &Arc<Vec<Vec<u8>>>) -> Round {
    let (started, cpu_before) = (Instant::now(), process_cpu());
    let people = (0..PEOPLE).map(|person| {
        let (client, orders) = (client.clone(), Arc::clone(orders));
        tokio::spawn(async move {
            let mut took = Vec::new();
            let trace = format!("00-4bf92f3577b34da6a3ce929d0e0e{person:04x}-00f067aa0ba902b7-01");
            for order in orders.iter().cycle().skip(person * 8) {
                let sent = Instant::now();
                let answer = client.send("/orders", Some(order.clone()), &[("traceparent", Some(&trace))]).await;
                assert!(answer.is_ok_and(|answer| answer.status.is_success()), "the shop takes every order");
                took.push(sent.elapsed());
                if started.elapsed() >= ROUND {
                    break;
                }
            }
            took
        })
    });
    let mut took = Vec::new();
    for person in people.collect::<Vec<_>>() {
        took.extend(person.await.expect("orders go through"));
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    let cpu = (process_cpu() - cpu_before).as_secs_f64() / took.len() as f64;
    Round { rate, p99_ms: percentile_ms(&mut took, 0.99), cpu }
}

/// CPU time that this process has used.
fn process_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}
