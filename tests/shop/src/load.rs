//! The people: an open loop, so that a slow shop gets no mercy, with bursts, bounded in rate and in number.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::cart::{Cart, Line};
use crate::client::Client;
use crate::tax;

/// People who wait at once; beyond that they go away.
const WAITING_MAX: usize = 256;

/// Every so often comes a burst, so that each profile window holds the same mix.
const BURST_EVERY: Duration = Duration::from_secs(5);
const BURST_LASTS: Duration = Duration::from_secs(1);
const BURST_FACTOR: f64 = 2.5;

/// How much load, and for how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The gateway, such as `http://127.0.0.1:4051`.
    pub target: String,
    /// Requests per second between bursts.
    pub rate: f64,
    /// When to stop; `None`: never.
    pub lasts: Option<Duration>,
    /// Equal seeds make equal requests.
    pub seed: u64,
}

/// What became of the requests of one route.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Answered with success, how long each took.
    pub took: Vec<Duration>,
    /// Refused, failed or never sent.
    pub failed: usize,
}

/// Sends requests until the plan's time is over, and says what became of them.
pub async fn run(plan: &Plan) -> BTreeMap<&'static str, Outcome> {
    let client = Client::new(&plan.target);
    let outcomes = Arc::new(Mutex::new(BTreeMap::<&'static str, Outcome>::new()));
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let mut random = Random(plan.seed | 1);
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while plan.lasts.is_none_or(|lasts| due < lasts) {
        let in_burst = due.as_millis() % BURST_EVERY.as_millis() < BURST_LASTS.as_millis();
        let rate = if in_burst { plan.rate * BURST_FACTOR } else { plan.rate };
        due += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / rate);
        tokio::time::sleep_until((start + due).into()).await;
        let request = Request::draw(&mut random);
        let route = request.route;
        let (client, outcomes) = (client.clone(), Arc::clone(&outcomes));
        let Ok(place) = Arc::clone(&waiting).try_acquire_owned() else {
            record(&outcomes, route, None);
            continue;
        };
        tokio::spawn(async move {
            let sent = Instant::now();
            let answer = client.send(&request.path, request.body, Some(&request.traceparent)).await;
            let good = matches!(answer, Ok((status, _)) if status.is_success());
            record(&outcomes, route, good.then(|| sent.elapsed()));
            drop(place);
        });
    }
    // The last ones get their answer, unless the shop is gone.
    let _ = tokio::time::timeout(Duration::from_secs(5), waiting.acquire_many(WAITING_MAX as u32)).await;
    outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A load that never ends must not grow for ever.
const TIMES_MAX: usize = 100_000;

fn record(outcomes: &Mutex<BTreeMap<&'static str, Outcome>>, route: &'static str, took: Option<Duration>) {
    let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = outcomes.entry(route).or_default();
    match took {
        Some(took) if outcome.took.len() < TIMES_MAX => outcome.took.push(took),
        Some(_) => (),
        None => outcome.failed += 1,
    }
}

struct Request {
    route: &'static str,
    path: String,
    body: Option<Vec<u8>>,
    traceparent: String,
}

impl Request {
    fn draw(random: &mut Random) -> Self {
        let traceparent = format!("00-{:016x}{:016x}-{:016x}-01", random.next() | 1, random.next(), random.next() | 1);
        let customer = random.below(20_000);
        let (route, path, lines) = match random.below(1_000) {
            0..400 => ("/products", format!("/products/{}?customer={customer}", random.below(2_000)), 0),
            400..550 => {
                let word = ["kettle", "alpine+rope", "quiet+radio+map", "iron"][random.below(4) as usize];
                ("/search", format!("/search?customer={customer}&q={word}"), 0)
            }
            550..555 => ("/report", "/report".to_owned(), 0),
            555..700 => ("/quote", "/quote".to_owned(), 4 + random.below(20)),
            // A wholesaler, now and then.
            700..710 => ("/checkout", "/checkout".to_owned(), 250 + random.below(150)),
            _ => ("/checkout", "/checkout".to_owned(), 4 + random.below(36)),
        };
        let body = (lines > 0).then(|| serde_json::to_vec(&cart(random, customer, lines)).unwrap_or_default());
        Self { route, path, body, traceparent }
    }
}

fn cart(random: &mut Random, customer: u64, lines: u64) -> Cart {
    let line = |random: &mut Random| Line { product: random.below(2_000) as u32, quantity: 1 + random.below(5) as u32 };
    Cart {
        customer: customer.to_string(),
        region: tax::region(random.below(3_000) as u32),
        day: 20260101 + random.below(28) as u32,
        lines: (0..lines).map(|_| line(random)).collect(),
    }
}

/// SplitMix64: small, seeded, good enough to shop with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// In [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
