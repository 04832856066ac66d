//! What it costs to sample where requests wait: a poll that is not sampled, and one that is, with the wake and the next poll that end the wait.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tephra_agent::{Agent, TraceContext, attach, in_context};
use tephra_proto::trace_share::hash;
use tephra_tests::bench::Report;

const ROUNDS: u32 = 200_000;
/// Waits between two pauses: what rings have room for.
const BATCH: u32 = 60;
const BATCHES: u32 = 30;
/// In which the agent thread empties the rings.
const PAUSE: Duration = Duration::from_millis(150);
/// Between the wrapper and the leaf: a handler, a client, a pool, a connection.
const DEPTH: usize = 20;

pub(crate) fn measure(report: &mut Report) {
    let agent = Agent::builder("waits").endpoint("http://127.0.0.1:9").heap_mean_bytes(0);
    let agent = agent.start().expect("the agent starts");
    let context = not_chosen();
    let bare = best(pin!(Guarded { context, leaf: leaf() }));
    let wrapped = best(pin!(in_context(context, leaf())));
    report.at_most("a poll that is not sampled: the check", (wrapped - bare).max(0.0), "ns", 10.0);
    assert_eq!(agent.stats().waits.polls, 0, "none was chosen");
    drop(agent);

    let off = sampled_ns(0);
    let on = sampled_ns(100_000);
    report.note("a wait with its two polls, not sampled", off / 1e3, "µs");
    report.at_most("a wait with its two polls, sampled at 20 frames more", on / 1e3, "µs", 15.0);
    // At the default rate, of one processor.
    report.at_most("200 waits a second, of one processor", (on - off) * 200.0 / 1e9 * 100.0, "%", 0.3);
}

/// A request that the agent does not choose soon after its start.
fn not_chosen() -> TraceContext {
    std::iter::repeat_with(TraceContext::root)
        .find(|context| hash(&context.trace_id).leading_zeros() == 0)
        .unwrap_or_else(TraceContext::root)
}

/// Never ready, and asks for no waker.
fn leaf() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        black_box(cx);
        Poll::Pending
    })
}

/// What the wrapper does without sampling waits.
struct Guarded<F> {
    context: TraceContext,
    leaf: F,
}

impl<F: Future + Unpin> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _label = attach(self.context);
        Pin::new(&mut self.leaf).poll(cx)
    }
}

/// The least mean of several runs, in nanoseconds.
fn best(mut future: Pin<&mut impl Future>) -> f64 {
    let mut cx = Context::from_waker(Waker::noop());
    let runs = (0..9).map(|_| {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            let _ = black_box(future.as_mut().poll(&mut cx));
        }
        started.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    });
    runs.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of a poll that leaves its task waiting, the wake, and the share of the next poll, at `waits_per_second`.
fn sampled_ns(waits_per_second: u32) -> f64 {
    let agent = Agent::builder("waits").endpoint("http://127.0.0.1:9").heap_mean_bytes(0);
    let agent = agent.waits_per_second(waits_per_second).start().expect("the agent starts");
    let mut kept = None;
    let mut future = pin!(in_context(TraceContext::root(), poll_fn(|cx| descend(DEPTH, cx, &mut kept))));
    let mut cx = Context::from_waker(Waker::noop());
    let mut best = f64::INFINITY;
    for _ in 0..BATCHES {
        let started = Instant::now();
        for _ in 0..BATCH {
            let _ = black_box(future.as_mut().poll(&mut cx));
        }
        best = best.min(started.elapsed().as_nanos() as f64 / f64::from(BATCH));
        std::thread::sleep(PAUSE);
    }
    assert_eq!(agent.stats().waits.polls > 0, waits_per_second > 0, "{:?}", agent.stats());
    best
}

/// Under `depth` frames: wakes the task by the waker of before, and keeps a new one.
#[inline(never)]
fn descend(depth: usize, cx: &Context<'_>, kept: &mut Option<Waker>) -> Poll<()> {
    if depth > 0 {
        return black_box(descend(black_box(depth - 1), cx, kept));
    }
    let waker = cx.waker().clone();
    waker.wake_by_ref();
    *kept = Some(waker);
    Poll::Pending
}
