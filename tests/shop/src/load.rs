//! The people: an open loop, so that a slow shop gets no mercy, with bursts, bounded in rate and in number.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::cart::{Cart, Line};
use crate::client::Client;
use crate::{service, tax, tenant};

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

/// What became of the requests of one route, to the last one.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests that were sent. Those that got no answer may have reached the shop or not.
    pub sent: u64,
    /// Of those, the ones that got an answer, with success or not.
    pub answered: u64,
    /// Of those, the ones without success.
    pub failed: u64,
    /// Never sent: too many waited already.
    pub turned_away: u64,
    /// How long each of the answered took for whoever waited, in nanoseconds.
    pub took_ns: Vec<u64>,
    /// How long each of the answered took by the shop's own clocks, in nanoseconds: inside of the agent's layer, and around it.
    pub served_ns: Vec<[u64; 2]>,
}

/// What the shop calls its routes, each with what became of its requests.
pub type Outcomes = BTreeMap<&'static str, Outcome>;

/// Sends requests until the plan's time is over or `stop` ends, and says what became of them.
pub async fn run(plan: &Plan, stop: impl Future<Output = ()>) -> Outcomes {
    let mut stop = pin!(stop);
    let client = Client::new(&plan.target);
    let outcomes = Arc::new(Mutex::new(Outcomes::new()));
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let mut random = Random(plan.seed | 1);
    let start = Instant::now();
    let mut due = Duration::ZERO;
    while plan.lasts.is_none_or(|lasts| due < lasts) {
        let in_burst = due.as_millis() % BURST_EVERY.as_millis() < BURST_LASTS.as_millis();
        let rate = if in_burst { plan.rate * BURST_FACTOR } else { plan.rate };
        due += Duration::from_secs_f64(-(1.0 - random.unit()).ln() / rate);
        tokio::select! {
            () = tokio::time::sleep_until((start + due).into()) => (),
            () = &mut stop => break,
        }
        let Request { route, path, body, traceparent, tenant } = Request::draw(&mut random);
        let Ok(place) = Arc::clone(&waiting).try_acquire_owned() else {
            on(&outcomes, route, |outcome| outcome.turned_away += 1);
            continue;
        };
        on(&outcomes, route, |outcome| outcome.sent += 1);
        let (client, outcomes) = (client.clone(), Arc::clone(&outcomes));
        tokio::spawn(async move {
            let sent = Instant::now();
            let headers = [("traceparent", Some(traceparent.as_str())), (tenant::HEADER, Some(tenant))];
            if let Ok(answer) = client.send(&path, body, &headers).await {
                let took_ns = u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let served_ns = service::served_ns(&answer.headers);
                on(&outcomes, route, |outcome| outcome.answer(answer.status.is_success(), took_ns, served_ns));
            }
            drop(place);
        });
    }
    // The last ones get their answer, unless the shop is gone.
    let _ = tokio::time::timeout(Duration::from_secs(5), waiting.acquire_many(WAITING_MAX as u32)).await;
    outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A load that never ends must not grow for ever.
const TIMES_MAX: usize = 100_000;

impl Outcome {
    fn answer(&mut self, is_good: bool, took_ns: u64, served_ns: Option<[u64; 2]>) {
        self.answered += 1;
        self.failed += u64::from(!is_good);
        if self.took_ns.len() < TIMES_MAX {
            self.took_ns.push(took_ns);
            self.served_ns.extend(served_ns);
        }
    }
}

fn on(outcomes: &Mutex<Outcomes>, route: &'static str, change: impl FnOnce(&mut Outcome)) {
    change(outcomes.lock().unwrap_or_else(PoisonError::into_inner).entry(route).or_default());
}

struct Request {
    route: &'static str,
    path: String,
    body: Option<Vec<u8>>,
    traceparent: String,
    tenant: &'static str,
}

impl Request {
    fn draw(random: &mut Random) -> Self {
        let traceparent = format!("00-{:016x}{:016x}-{:016x}-01", random.next() | 1, random.next(), random.next() | 1);
        let customer = random.below(20_000);
        let (route, path, lines) = match random.below(1_000) {
            0..400 => ("GET /products/{id}", format!("/products/{}?customer={customer}", random.below(2_000)), 0),
            400..550 => {
                let word = ["kettle", "alpine+rope", "quiet+radio+map", "iron"][random.below(4) as usize];
                ("GET /search", format!("/search?customer={customer}&q={word}"), 0)
            }
            550..555 => ("GET /report", "/report".to_owned(), 0),
            555..700 => ("POST /quote", "/quote".to_owned(), 4 + random.below(20)),
            // A wholesaler, now and then.
            700..710 => ("POST /checkout", "/checkout".to_owned(), 250 + random.below(150)),
            _ => ("POST /checkout", "/checkout".to_owned(), 4 + random.below(36)),
        };
        let body = (lines > 0).then(|| serde_json::to_vec(&cart(random, customer, lines)).unwrap_or_default());
        Self { route, path, body, traceparent, tenant: tenant::of_customer(customer) }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};

    use super::*;

    #[tokio::test]
    async fn the_people_know_of_every_request_that_was_served() {
        let [served, of_umbrella] = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let counts = (Arc::clone(&served), Arc::clone(&of_umbrella));
        // Every third one is refused.
        let answer = move |headers: HeaderMap| async move {
            let number = counts.0.fetch_add(1, Ordering::Relaxed);
            let tenant = tenant::of(&headers).unwrap_or_else(|| panic!("no tenant in {headers:?}"));
            counts.1.fetch_add(u64::from(tenant == tenant::UMBRELLA), Ordering::Relaxed);
            if number % 3 == 2 { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap());
        let app = service::timed(service::timed(Router::new().fallback(answer)));
        tokio::spawn(async { axum::serve(listener, app).await });

        let plan = Plan { target, rate: 1_000.0, lasts: None, seed: 7 };
        let enough = async {
            while served.load(Ordering::Relaxed) < 300 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let outcomes = run(&plan, enough).await;
        let sum = |of: fn(&Outcome) -> u64| outcomes.values().map(of).sum::<u64>();
        let all = served.load(Ordering::Relaxed);
        assert_eq!([sum(|o| o.sent), sum(|o| o.answered), sum(|o| o.failed)], [all, all, all / 3], "{outcomes:?}");
        for (route, Outcome { answered, took_ns, served_ns, .. }) in &outcomes {
            assert_eq!([took_ns.len() as u64, served_ns.len() as u64], [*answered; 2], "{route}");
            let mut times = served_ns.iter().zip(took_ns);
            assert!(times.all(|([inside, around], took)| inside <= around && around <= took), "{route}");
        }
        let umbrella = of_umbrella.load(Ordering::Relaxed) as f64 / all as f64;
        assert!((0.1..0.3).contains(&umbrella), "{umbrella} of the requests are one tenant's, who should have a fifth");
    }
}
