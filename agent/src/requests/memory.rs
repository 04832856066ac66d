//! Requests that ended a short while ago, so that what an agent did not tell of can still be told when somebody else finds that its
//! trace was slow.
//!
//! Host threads leave the latest requests of the open window beside its counts, in the place that they hold anyway; when it ends, the
//! agent thread puts them to those of the windows before. All of it together never takes more than [`BYTES_MAX`], and nothing before
//! the first request.

use std::collections::VecDeque;
use std::sync::Arc;

use tephra_proto::limits::SLOW_TRACES_MAX;

use super::SHARDS;
use super::span::{Selected, Span, Status};
use crate::trace_context::TraceContext;

/// How long a window's requests are remembered after it ended. Whoever is slow tells of it when its window ends; the next answer that
/// we get names the trace, and our window after that tells of it: 20 s of windows, and one for an answer that comes late.
const REMEMBERED_MS: u64 = 30_000;

/// All of it together.
const BYTES_MAX: usize = 256 << 10;
/// Requests of the open window that one shard remembers: the latest. All shards together have room for some 110 in a second.
const LATEST_MAX: usize = 160;
const LATEST_BYTES_MAX: usize = SHARDS * LATEST_MAX * size_of::<Ended>();
/// Windows that are remembered: programs may end them as often as they like.
const WINDOWS_MAX: usize = 64;
/// Names of one window's routes: 64 of 128 bytes.
const NAMES_BYTES_MAX: usize = 11 << 10;
/// One shard's requests while they are copied, and the list of windows.
const REST_BYTES_MAX: usize = 18 << 10;
/// For the windows that ended. One more is put to them while the next one fills.
const PAST_BYTES_MAX: usize = BYTES_MAX - 2 * LATEST_BYTES_MAX - NAMES_BYTES_MAX - REST_BYTES_MAX;
const _: () =
    assert!(2 * (LATEST_BYTES_MAX + NAMES_BYTES_MAX) <= PAST_BYTES_MAX, "of any two windows all is kept that they had");

/// Requests of one slow trace that one window tells of, lest a client that has one trace for all its requests drives out the others.
/// What is left is told by the next window, if the trace is named again.
const OF_TRACE_MAX: usize = 32;
/// What one window tells of slow traces.
pub(super) const TOLD_MAX: usize = SLOW_TRACES_MAX * OF_TRACE_MAX;

/// A request in as few bytes as are enough to tell of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ended {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    start_ms: u64,
    /// Microseconds; what it can be at most takes 40 bits.
    duration_us: [u8; 5],
    /// Number of the route in its window.
    route: u8,
    status: Status,
    /// It was told of.
    told: bool,
}
const _: () = assert!(size_of::<Ended>() == 40 && tephra_proto::durations::DURATION_US_MAX < 1 << 40);

impl Ended {
    fn new(route: u8, span: &Span) -> Self {
        let TraceContext { trace_id, span_id, .. } = span.context;
        let [a, b, c, d, e, ..] = span.duration_us().to_le_bytes();
        let duration_us = [a, b, c, d, e];
        Self { trace_id, span_id, start_ms: span.start_ms, duration_us, route, status: span.status, told: false }
    }

    fn span(&self) -> Span {
        let [a, b, c, d, e] = self.duration_us;
        Span {
            context: TraceContext { trace_id: self.trace_id, span_id: self.span_id, flags: 0 },
            start_ms: self.start_ms,
            duration_ns: u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]) * 1_000,
            status: self.status,
        }
    }
}

/// The latest requests of the open window, as one shard has them.
#[derive(Debug, Default)]
pub(super) struct Latest {
    spans: Vec<Ended>,
    /// Once it is full: which is the oldest.
    oldest: usize,
}

impl Latest {
    /// Remembers a request of the route with that number.
    pub(super) fn add(&mut self, route: u8, span: &Span) {
        let ended = Ended::new(route, span);
        if self.spans.len() < LATEST_MAX {
            // Once in a window, and never more than that.
            self.spans.reserve_exact(LATEST_MAX - self.spans.len());
            self.spans.push(ended);
        } else if let Some(oldest) = self.spans.get_mut(self.oldest) {
            *oldest = ended;
            self.oldest = (self.oldest + 1) % LATEST_MAX;
        }
    }
}

/// The requests of windows that ended.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The oldest first.
    windows: VecDeque<Past>,
}

/// The requests of one window.
#[derive(Debug)]
struct Past {
    ended_ms: u64,
    /// Names of routes by number.
    names: Vec<Arc<str>>,
    /// By shard.
    spans: Vec<Vec<Ended>>,
}

impl Past {
    fn bytes(&self) -> usize {
        /// What an `Arc` counts in.
        const COUNTS: usize = 2 * size_of::<usize>();
        let names: usize = self.names.iter().map(|name| COUNTS + name.len()).sum();
        let spans: usize = self.spans.iter().map(|of_shard| of_shard.capacity() * size_of::<Ended>()).sum();
        let lists = self.names.capacity() * size_of::<Arc<str>>() + self.spans.capacity() * size_of::<Vec<Ended>>();
        names + spans + lists
    }

    /// What ended longer ago than is remembered; if the clock was set back, nobody knows how long ago.
    fn is_old(&self, now_ms: u64) -> bool {
        !(self.ended_ms..=self.ended_ms.saturating_add(REMEMBERED_MS)).contains(&now_ms)
    }
}

impl Memory {
    /// Puts the window to the others that ended now, and of which `told` are the requests that it tells of.
    pub(super) fn add(&mut self, names: Vec<Arc<str>>, latest: Vec<Latest>, told: &[Selected], now_ms: u64) {
        let mut spans = Vec::with_capacity(SHARDS);
        spans.extend(latest.into_iter().map(|latest| latest.spans).filter(|of_shard| !of_shard.is_empty()));
        if spans.is_empty() {
            return;
        }
        let key = |context: &TraceContext| (context.trace_id, context.span_id);
        let mut told: Vec<_> = told.iter().map(|selected| key(&selected.span.context)).collect();
        told.sort_unstable();
        for of_shard in &mut spans {
            of_shard.shrink_to_fit();
            for span in of_shard {
                span.told = told.binary_search(&(span.trace_id, span.span_id)).is_ok();
            }
        }
        self.windows.push_back(Past { ended_ms: now_ms, names, spans });
    }

    /// What is remembered of those traces and was never told, the oldest first. Each is told once, and stands for no other request.
    pub(super) fn tell(&mut self, mut traces: Vec<[u8; 16]>) -> Vec<Selected> {
        let mut found = Vec::new();
        if traces.is_empty() {
            return found;
        }
        traces.sort_unstable();
        traces.dedup();
        // How many more of each.
        let mut left = vec![OF_TRACE_MAX; traces.len()];
        for Past { names, spans, .. } in &mut self.windows {
            for span in spans.iter_mut().flatten().filter(|span| !span.told) {
                let Ok(at) = traces.binary_search(&span.trace_id) else { continue };
                let Some(left) = left.get_mut(at).filter(|left| **left > 0) else { continue };
                let Some(route) = names.get(usize::from(span.route)) else { continue };
                *left -= 1;
                span.told = true;
                found.push(Selected { route: Arc::clone(route), span: span.span(), weight: 0.0 });
            }
        }
        found
    }

    /// Forgets what is too old, and the oldest of what is too much.
    pub(super) fn forget(&mut self, now_ms: u64) {
        self.windows.retain(|past| !past.is_old(now_ms));
        let mut bytes = self.bytes();
        while bytes > PAST_BYTES_MAX || self.windows.len() > WINDOWS_MAX {
            let Some(oldest) = self.windows.pop_front() else { return };
            bytes -= oldest.bytes();
        }
    }

    fn bytes(&self) -> usize {
        self.windows.iter().map(Past::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::testing::{mix, span_of};

    fn names() -> Vec<Arc<str>> {
        vec!["/a".into(), "/b".into()]
    }

    /// As many routes as a window can have, with the longest names.
    fn long_names() -> Vec<Arc<str>> {
        (0..64).map(|n| format!("{n:0>128}").into()).collect()
    }

    /// A window that ended now, of requests of these traces.
    fn add(memory: &mut Memory, traces: impl IntoIterator<Item = u64>, now_ms: u64) {
        let mut latest = Latest::default();
        for (n, trace) in traces.into_iter().enumerate() {
            latest.add(1, &span_of(trace, n as u64, 7_654_321_000));
        }
        memory.add(names(), vec![latest], &[], now_ms);
    }

    /// A shard that has all it can have.
    fn full() -> Latest {
        let mut latest = Latest::default();
        (0..2 * LATEST_MAX as u64).for_each(|n| latest.add(0, &span_of(n, n, 1_000)));
        latest
    }

    fn id(trace: u64) -> [u8; 16] {
        u128::from(trace).to_be_bytes()
    }

    #[test]
    fn a_slow_trace_is_told_of_whole_and_once() {
        let mut memory = Memory::default();
        add(&mut memory, [1, 2, 1], 100_000);
        add(&mut memory, [3, 1], 110_000);
        let told = memory.tell(vec![id(9), id(1), id(9), id(1)]);
        let spans: Vec<_> = told.iter().map(|selected| (&*selected.route, selected.span, selected.weight)).collect();
        let span = |n| span_of(1, n, 7_654_321_000);
        assert_eq!(spans, [("/b", span(0), 0.0), ("/b", span(2), 0.0), ("/b", span(1), 0.0)]);
        assert_eq!(memory.tell(vec![id(1)]), []);
        add(&mut memory, [1], 120_000);
        assert_eq!(memory.tell(vec![id(1)]).len(), 1, "what ended since");
        assert_eq!(memory.tell(vec![id(3), id(2)]).len(), 2);
        assert_eq!(memory.tell(Vec::new()), []);
    }

    #[test]
    fn what_a_window_tells_of_anyway_is_not_told_again() {
        let mut memory = Memory::default();
        let mut latest = [Latest::default(), Latest::default()];
        for n in 0..6 {
            latest[n as usize % 2].add(0, &span_of(1, n, 1_000));
        }
        let told = [5, 0].map(|n| Selected { route: "/a".into(), span: span_of(1, n, 1_000), weight: 4.0 });
        memory.add(names(), latest.into(), &told, 100_000);
        let mut spans: Vec<Span> = memory.tell(vec![id(1)]).iter().map(|selected| selected.span).collect();
        spans.sort_by_key(|span| span.context.span_id);
        assert_eq!(spans, [1, 2, 3, 4].map(|n| span_of(1, n, 1_000)));
    }

    #[test]
    fn a_trace_of_very_many_requests_leaves_room_for_others_and_is_told_of_bit_by_bit() {
        let mut memory = Memory::default();
        add(&mut memory, [1; 100], 100_000);
        add(&mut memory, [2, 1, 2], 110_000);
        let told = [0, 0, 0, 0, 0].map(|_| memory.tell(vec![id(1), id(2)]).len());
        assert_eq!(told, [OF_TRACE_MAX + 2, OF_TRACE_MAX, OF_TRACE_MAX, 101 - 3 * OF_TRACE_MAX, 0]);
    }

    #[test]
    fn statuses_and_the_longest_durations_survive() {
        let longest = Span { duration_ns: super::super::span::DURATION_NS_MAX, ..span_of(1, 1, 0) };
        for status in [Status::Unset, Status::Ok, Status::Error] {
            let span = Span { status, ..longest };
            assert_eq!(Ended::new(3, &span).span(), span);
        }
    }

    #[test]
    fn a_shard_remembers_its_latest() {
        let mut latest = Latest::default();
        for n in 0..LATEST_MAX as u64 + 10 {
            latest.add(0, &span_of(mix(n), n, 1_000));
        }
        assert_eq!(latest.spans.capacity(), LATEST_MAX);
        let mut memory = Memory::default();
        memory.add(names(), vec![latest], &[], 100_000);
        let known = |memory: &mut Memory, n: u64| memory.tell(vec![id(mix(n))]).len();
        assert_eq!((known(&mut memory, 9), known(&mut memory, 10)), (0, 1));
        assert_eq!(known(&mut memory, LATEST_MAX as u64 + 9), 1);
    }

    #[test]
    fn after_half_a_minute_a_request_is_forgotten() {
        let mut memory = Memory::default();
        add(&mut memory, [1], 100_000);
        add(&mut memory, [2], 110_000);
        memory.forget(130_000);
        assert_eq!(memory.windows.len(), 2);
        memory.forget(130_001);
        assert_eq!((memory.tell(vec![id(1)]).len(), memory.tell(vec![id(2)]).len()), (0, 1));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_stay() {
        let mut memory = Memory::default();
        add(&mut memory, [1], 100_000);
        add(&mut memory, [2], 50_000);
        memory.forget(50_000);
        assert_eq!((memory.tell(vec![id(1)]).len(), memory.tell(vec![id(2)]).len()), (0, 1));
    }

    #[test]
    fn however_many_there_are_and_whatever_they_are_called_it_stays_within_its_memory() {
        let mut memory = Memory::default();
        for second in 0..100 {
            // When a window has just been put to the others, and the next one is full as well.
            memory.add(long_names(), (0..SHARDS).map(|_| full()).collect(), &[], second * 1_000);
            let bytes = memory.bytes() + LATEST_BYTES_MAX;
            assert!(bytes <= BYTES_MAX, "{bytes}");
            memory.forget(second * 1_000);
            assert!(memory.windows.iter().all(|past| past.spans.iter().flatten().count() == SHARDS * LATEST_MAX));
        }
        assert_eq!(memory.windows.len(), 2, "the newest stay");
    }

    #[test]
    fn many_windows_of_few_requests_are_bounded_too() {
        let mut memory = Memory::default();
        for names in [names, long_names] {
            for n in 0..1_000 {
                let mut latest: Vec<Latest> = (0..SHARDS).map(|_| Latest::default()).collect();
                latest[0].add(0, &span_of(n, 1, 1));
                memory.add(names(), latest, &[], 100_000);
                memory.forget(100_000);
                let list = memory.windows.capacity() * size_of::<Past>();
                assert!(memory.bytes() <= PAST_BYTES_MAX && list <= REST_BYTES_MAX / 2, "{} {list}", memory.bytes());
            }
            assert!((2..=WINDOWS_MAX).contains(&memory.windows.len()), "{}", memory.windows.len());
        }
    }
}
