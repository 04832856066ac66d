//! What a collector hears of requests: how many there were, to the last one; examples, the same of every service; and on demand what
//! completes a slow trace. Whatever it asks for, the agent keeps within its bounds.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use support::payload::{Span, Window};
use support::{Collector, alone, wait_for};
use tephra_agent::Agent;
use tephra_proto::trace_share::{HALVINGS_MAX, hash, holds};
use tephra_proto::v1::{PushResponse, SpanStatus, TraceShare};
use tower_layer::Layer;
use tower_service::Service;

/// Fails where it is asked to.
#[derive(Clone)]
struct Shop;

impl Service<Request<()>> for Shop {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let code = if request.uri().path().ends_with("/fail") { 500 } else { 200 };
        ready(Ok(Response::builder().status(code).body(()).unwrap()))
    }
}

fn shop() -> impl Service<Request<()>> {
    tephra_agent::tower_layer().route_by_path(|path| Some(path.into())).layer(Shop)
}

fn id(trace: u64) -> [u8; 16] {
    // Spread over both halves, as tracers do.
    (u128::from(trace.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(trace + 1)).to_be_bytes()
}

/// Serves a request of that trace.
fn serve(shop: &mut impl Service<Request<()>>, path: &str, trace: u64) {
    let traceparent = format!("00-{:032x}-00f067aa0ba902b7-01", u128::from_be_bytes(id(trace)));
    let request = Request::builder().uri(path).header("traceparent", traceparent).body(()).unwrap();
    let mut served = pin!(shop.call(request));
    assert!(served.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// A collector whose answer can be changed, and an agent that ships to it each second.
struct Pair {
    collector: Collector,
    answer: Arc<Mutex<PushResponse>>,
    agent: Agent,
}

impl Pair {
    fn start(answer: PushResponse) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let answered = Arc::clone(&answer);
        let collector = Collector::answering(move |_, _| Ok(answered.lock().unwrap().clone()));
        let agent = Agent::builder("shop").endpoint(collector.endpoint()).window(Duration::from_secs(1));
        Self { agent: agent.heap_mean_bytes(0).start().unwrap(), collector, answer }
    }

    /// Serves requests until two more windows were answered: the open one knows the answer.
    fn until_heard(&self) {
        let (mut shop, before) = (shop(), self.agent.stats().windows_delivered);
        wait_for("two answers", || {
            serve(&mut shop, "/idle", u64::MAX - 1);
            self.agent.stats().windows_delivered >= before + 2
        });
    }

    /// How many requests of each route and status were told of.
    fn counted(&self) -> BTreeMap<(String, i32), u64> {
        let mut counted = BTreeMap::new();
        for of in self.collector.windows().iter().flat_map(Window::requests) {
            *counted.entry((of.route.clone(), of.status.into())).or_default() += of.count();
        }
        counted
    }

    fn wait_until_counted(&self, route: &str, requests: u64) {
        let key = (route.to_owned(), SpanStatus::Ok.into());
        wait_for("all requests to be told", || self.counted().get(&key).is_some_and(|count| *count >= requests));
    }

    fn spans(&self) -> Vec<Span> {
        self.collector.windows().iter().flat_map(Window::spans).collect()
    }
}

fn share(halvings: u32, from_unix_ms: u64) -> PushResponse {
    PushResponse { trace_share: Some(TraceShare { halvings, from_unix_ms }), ..PushResponse::default() }
}

#[test]
fn every_request_is_counted_however_many_threads_report_at_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let _alone = alone();
    let pair = Pair::start(PushResponse::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut shop = shop();
                for n in 0..EACH {
                    let path = ["/orders", "/orders/fail", "/cart"][n as usize % 3];
                    serve(&mut shop, path, thread << 32 | n);
                }
            });
        }
    });
    let route = |path: &str, status: SpanStatus| (format!("GET {path}"), status.into());
    let expected = BTreeMap::from([
        (route("/orders", SpanStatus::Ok), THREADS * EACH.div_ceil(3)),
        (route("/orders/fail", SpanStatus::Error), THREADS * (EACH - 1).div_ceil(3)),
        (route("/cart", SpanStatus::Ok), THREADS * (EACH - 2).div_ceil(3)),
    ]);
    wait_for("all requests to be told", || pair.counted().values().sum::<u64>() >= THREADS * EACH);
    assert_eq!(pair.counted(), expected);
    for window in pair.collector.windows() {
        let spans = window.spans();
        assert!(spans.len() <= 1_024 + 3 * 2, "{}", spans.len());
        for of in window.requests() {
            let slowest = spans.iter().filter(|span| span.route == of.route).map(|span| span.duration_us).max();
            assert_eq!(slowest, Some(of.max_us), "the slowest is told of: {of:?}");
            assert!(of.sum_us >= of.max_us && of.sum_us <= of.max_us * of.count(), "{of:?}");
            assert!(of.bins.is_sorted_by(|a, b| a.0 < b.0) && of.bins.iter().all(|(_, count)| *count > 0), "{of:?}");
        }
    }
    assert!(pair.agent.stats().shares_halved > 0, "20 000 a second are more than can be told of one by one");
}

#[test]
fn services_that_hear_of_the_same_share_tell_of_the_same_traces() {
    const HALVINGS: u32 = 4;
    const TRACES: u64 = 2_000;
    let _alone = alone();
    let held: BTreeSet<_> = (0..TRACES).map(id).filter(|id| holds(hash(id), HALVINGS)).collect();
    assert!((80..180).contains(&held.len()), "{}", held.len());
    // One has a route, the other many, and everything takes a different time.
    for routes in [1, 5] {
        let pair = Pair::start(share(HALVINGS, 0));
        pair.until_heard();
        let mut shop = shop();
        for trace in 0..TRACES {
            serve(&mut shop, &format!("/{}", trace % routes), trace);
        }
        pair.wait_until_counted("GET /0", TRACES.div_ceil(routes));
        pair.wait_until_counted(&format!("GET /{}", routes - 1), TRACES / routes);
        let spans = pair.spans();
        let told: BTreeSet<_> = spans.iter().map(|span| span.trace_id).collect();
        assert!(held.is_subset(&told), "of {} traces {} are missing", held.len(), held.difference(&told).count());
        let others = (0..TRACES).map(id).filter(|id| told.contains(id) && !held.contains(id)).count();
        // The slowest of each route, and a few where a window's end left few.
        assert!(others <= 2 * routes as usize * 10, "{others} of {}", told.len());
        let weighted: Vec<&Span> = spans.iter().filter(|span| held.contains(&span.trace_id)).collect();
        assert!(weighted.iter().all(|span| (1.0..=16.0).contains(&span.weight)));
        assert!(weighted.iter().any(|span| span.weight == 16.0));
    }
}

#[test]
fn a_slow_trace_that_is_named_is_told_of_by_whoever_still_knows_it() {
    const TRACES: u64 = 300;
    let _alone = alone();
    let pair = Pair::start(share(HALVINGS_MAX, 0));
    pair.until_heard();
    let mut shop = shop();
    for trace in 0..TRACES {
        serve(&mut shop, "/orders", trace);
    }
    pair.wait_until_counted("GET /orders", TRACES);
    let told: BTreeSet<_> = pair.spans().iter().map(|span| span.trace_id).collect();
    let untold: Vec<_> = (0..TRACES).map(id).filter(|id| !told.contains(id)).collect();
    assert!(untold.len() > 200, "{} of {TRACES}", untold.len());
    let example = (0..TRACES).map(id).find(|id| told.contains(id)).unwrap();
    // Two that it knows, one that it told of, and one that it never heard of.
    let named = [untold[3], untold[4], example, id(TRACES)];
    pair.answer.lock().unwrap().slow_traces = named.concat();
    let asked_for = || -> Vec<Span> { pair.spans().into_iter().filter(|span| span.weight == 0.0).collect() };
    pair.until_heard();
    wait_for("the slow traces", || {
        serve(&mut shop, "/idle", u64::MAX - 1);
        !asked_for().is_empty()
    });
    // They are named in every answer, and told of once.
    pair.until_heard();
    let mut found: Vec<_> = asked_for().into_iter().map(|span| (span.trace_id, span.route, span.status)).collect();
    found.sort();
    let mut expected = [untold[3], untold[4]].map(|id| (id, "GET /orders".to_owned(), SpanStatus::Ok));
    expected.sort();
    assert_eq!(found, expected);
    assert!(asked_for().iter().all(|span| span.start_ms < 0), "they began before the window that tells of them");
    assert_eq!(pair.spans().iter().filter(|span| span.trace_id == example).count(), 1);
    assert_eq!(pair.agent.stats().odd_answers, 0);
}

#[test]
fn an_answer_that_makes_no_sense_is_counted_and_changes_nothing_beyond_its_bounds() {
    let _alone = alone();
    let answers: [(PushResponse, f32); 2] = [
        (PushResponse { slow_traces: vec![7; 65 * 16], ..share(u32::MAX, 0) }, (1u64 << HALVINGS_MAX) as f32),
        (PushResponse { slow_traces: vec![7; 100_001], ..share(5, u64::MAX) }, 64.0),
    ];
    for (answer, weight_max) in answers {
        let pair = Pair::start(answer);
        pair.until_heard();
        let mut shop = shop();
        (0..20_000).for_each(|trace| serve(&mut shop, &format!("/{}", trace % 100), trace));
        pair.until_heard();
        let stats = pair.agent.stats();
        assert!(stats.odd_answers >= 2 * 2 && stats.windows_refused == 0, "{stats:?}");
        for window in pair.collector.windows() {
            let (spans, requests) = (window.spans(), window.requests());
            assert!(spans.len() <= 1_024 + 64 * 2 && requests.len() <= 64, "{} {}", spans.len(), requests.len());
            assert!(spans.iter().all(|span| (1.0..=weight_max).contains(&span.weight)));
        }
    }
}
