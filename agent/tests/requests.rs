//! What a collector hears of requests: how many there were, to the last one.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use support::payload::Window;
use support::{Collector, alone, wait_for};
use tephra_agent::Agent;
use tephra_proto::v1::SpanStatus;
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

/// A collector, and an agent that ships to it each second.
struct Pair {
    collector: Collector,
    agent: Agent,
}

impl Pair {
    fn start() -> Self {
        let collector = Collector::start();
        let agent = Agent::builder("shop").endpoint(collector.endpoint()).window(Duration::from_secs(1));
        Self { agent: agent.heap_mean_bytes(0).start().unwrap(), collector }
    }

    /// How many requests of each route and status were told of.
    fn counted(&self) -> BTreeMap<(String, i32), u64> {
        let mut counted = BTreeMap::new();
        for of in self.collector.windows().iter().flat_map(Window::requests) {
            *counted.entry((of.route.clone(), of.status.into())).or_default() += of.count();
        }
        counted
    }
}

#[test]
fn every_request_is_counted_however_many_threads_report_at_once() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let _alone = alone();
    let pair = Pair::start();
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
