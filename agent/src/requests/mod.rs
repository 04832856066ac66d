//! Requests that ended: how many there were and how long they took, of all of them; and one by one the slowest of each route, those of
//! the traces that every service tells of, and what completes slow traces of others.

mod asked;
#[cfg(test)]
mod completeness;
mod examples;
mod histogram;
#[cfg(feature = "test-hooks")]
pub mod hooks;
mod memory;
mod open_span;
mod route;
mod shards;
mod span;
mod tally;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use self::asked::Asked;
#[cfg(test)]
pub(crate) use self::histogram::Counts;
#[cfg(feature = "tower")]
pub(crate) use self::open_span::OpenSpan;
pub(crate) use self::span::{Selected, Span, Status};
pub(crate) use self::tally::RouteCounts;

use self::memory::Memory;
use self::shards::{Shards, Taken};
use crate::clock::Slot;
use crate::sampler;

/// So many threads report at once without waiting for each other.
const SHARDS: usize = 8;

const _: () = assert!(
    examples::EXAMPLES_MAX + memory::TOLD_MAX <= tephra_proto::limits::WINDOW_SPANS_MAX
        && route::ROUTES_MAX * span::STATUSES <= tephra_proto::limits::WINDOW_REQUEST_ROWS_MAX,
    "whatever is kept fits the window"
);

static RECORDING: AtomicBool = AtomicBool::new(false);
static REPORTED: Shards = Shards::new();

/// True while an agent wants to hear of requests.
pub(crate) fn are_recorded() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// Turns reporting on or off; off forgets what was reported.
pub(crate) fn record(on: bool) {
    RECORDING.store(on, Ordering::Relaxed);
    if on { REPORTED.open() } else { REPORTED.close() }
}

fn report(route: &str, span: Span) {
    // In a child, places may have been left busy by threads that are not there.
    if are_recorded() && !sampler::in_child() {
        REPORTED.report(route, span);
    }
}

/// What a window tells of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Of all of them, in no order.
    pub(crate) counts: Vec<RouteCounts>,
    /// Those that are told of one by one, in no order.
    pub(crate) spans: Vec<Selected>,
}

impl Requests {
    /// No requests ended, and nobody asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.spans.is_empty()
    }
}

/// Examples that had to be cut, counted since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    /// How often a window's share of traces was halved for it.
    pub(crate) shares_halved: u64,
    /// Requests that could not be told of although their traces are.
    pub(crate) left_out: u64,
}

/// The agent thread's side: takes what was reported, window by window.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    asked: Arc<Asked>,
    memory: Memory,
    cut: Cut,
}

impl Reader {
    /// Does what collectors ask.
    pub(crate) fn new(asked: Arc<Asked>) -> Self {
        Self { asked, ..Self::default() }
    }

    /// Ends the `window`, and begins the one that it is time for now.
    pub(crate) fn take(&mut self, window: Slot, now_ms: u64) -> Requests {
        let next = Slot::at(now_ms, window.length_ms);
        // In this order: the share of the earlier window is forgotten with that of the later.
        let (halvings, next) = (self.asked.halvings(window.start_ms), self.asked.halvings(next.start_ms));
        self.read(REPORTED.take(halvings, next), now_ms)
    }

    fn read(&mut self, taken: Taken, now_ms: u64) -> Requests {
        let Taken { contents, latest } = taken;
        self.cut.shares_halved += contents.cut.0;
        self.cut.left_out += contents.cut.1;
        let examples = contents.examples.iter().filter_map(|example| {
            let route = Arc::clone(contents.names.get(usize::from(example.route))?);
            Some(Selected { route, span: example.span, weight: example.weight })
        });
        let mut spans: Vec<Selected> = examples.collect();
        self.memory.add(contents.names, latest, &spans, now_ms);
        spans.extend(self.memory.tell(self.asked.take_slow()));
        // Last, for what is too old by now may have been named only now.
        self.memory.forget(now_ms);
        Requests { counts: contents.counts, spans }
    }

    /// Examples that had to be cut so far.
    pub(crate) fn cut(&self) -> Cut {
        self.cut
    }

    /// How often a collector asked for what makes no sense.
    pub(crate) fn odd_answers(&self) -> u64 {
        self.asked.odd()
    }
}

#[cfg(test)]
mod tests {
    use tephra_proto::v1::PushResponse;

    use super::testing::{mix, span, span_of};
    use super::*;

    fn name(asked: &Asked, trace: u64) {
        let slow_traces = u128::from(trace).to_be_bytes().to_vec();
        asked.hear(&PushResponse { slow_traces, ..PushResponse::default() }, 0);
    }

    #[test]
    fn a_slow_trace_that_was_named_is_told_by_the_next_window_unless_it_was_an_example() {
        let (shards, asked) = (Shards::new(), Arc::new(Asked::default()));
        let mut reader = Reader::new(Arc::clone(&asked));
        shards.open();
        // Enough that no example is left of the others.
        let report = |trace| shards.report("/a", span(trace, 1_000));
        (0..1_000).for_each(|n| report(mix(n)));
        let first = reader.read(shards.take(32, 32), 110_000);
        let told = |requests: &Requests, trace: u64| -> Vec<f32> {
            let id = u128::from(trace).to_be_bytes();
            requests.spans.iter().filter(|told| told.span.context.trace_id == id).map(|told| told.weight).collect()
        };
        let example = first.spans.last().unwrap().span.context.trace_id;
        let example = u128::from_be_bytes(example) as u64;
        let other = (0..1_000).map(mix).find(|trace| told(&first, *trace) == Vec::<f32>::new()).unwrap();
        name(&asked, example);
        name(&asked, other);
        let second = reader.read(shards.take(32, 32), 120_000);
        assert!(!second.is_empty() && second.counts.is_empty());
        assert_eq!((told(&second, example), told(&second, other)), (vec![], vec![0.0]));
        name(&asked, other);
        assert!(reader.read(shards.take(32, 32), 130_000).is_empty(), "once each");
    }

    #[test]
    fn the_open_windows_requests_complete_a_trace_too() {
        let (shards, asked) = (Shards::new(), Arc::new(Asked::default()));
        let mut reader = Reader::new(Arc::clone(&asked));
        shards.open();
        name(&asked, 7);
        (0..1_000).for_each(|n| shards.report("/a", span(mix(n), 1_000)));
        (0..5).for_each(|n| shards.report("/a", span_of(7, n, 500)));
        let requests = reader.read(shards.take(32, 0), 110_000);
        let of_trace = requests.spans.iter().filter(|told| told.span.context.trace_id == 7u128.to_be_bytes());
        assert_eq!(of_trace.count(), 5, "as an example or because it was asked for");
    }

    #[test]
    fn services_that_are_told_the_same_share_tell_of_the_same_traces() {
        let share = 3;
        let service = |routes: u64, slowness: u64| {
            let shards = Shards::new();
            shards.open();
            for n in 0..2_000u64 {
                shards.report(&format!("/{}", n % routes), span(mix(n), 1_000 + mix(n ^ slowness) % 90_000));
            }
            let requests = Reader::default().read(shards.take(share, share), 110_000);
            let ids = requests.spans.iter().map(|told| told.span.context.trace_id);
            ids.filter(|id| tephra_proto::trace_share::holds(tephra_proto::trace_share::hash(id), share))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (one, other) = (service(1, 17), service(5, 23));
        assert_eq!(one, other);
        assert!((200..300).contains(&one.len()), "{}", one.len());
    }

    #[test]
    fn what_is_cut_adds_up_over_windows() {
        let (shards, mut reader) = (Shards::new(), Reader::default());
        shards.open();
        for _ in 0..2 {
            (0..1_500).for_each(|n| shards.report("/a", span(mix(n), 1_000)));
            reader.read(shards.take(0, 0), 110_000);
        }
        assert_eq!(reader.cut(), Cut { shares_halved: 2, left_out: 0 });
    }
}
