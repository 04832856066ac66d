//! What collectors ask to be told of requests, as they answer windows: which share of all traces, and what is known of slow ones.
//!
//! An answer comes from outside: whatever makes no sense is brought within its bounds or ignored, and counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tephra_proto::limits::{SLOW_TRACES_MAX, WINDOW_AHEAD_MS_MAX};
use tephra_proto::trace_share::HALVINGS_MAX;
use tephra_proto::v1::{PushResponse, TraceShare};

/// The share of traces that is told of from a time on. Of two that begin at once the smaller holds, whoever announced it first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Share {
    from_ms: u64,
    halvings: u32,
}

/// What was asked, between the shipping thread, which hears it, and the agent thread, which does it.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    current: Share,
    /// What was announced for later, by time: collectors announce a share for each window, some windows ahead.
    next: Vec<Share>,
    /// Slow traces that the latest answer named, until a window tells of them.
    slow: Vec<[u8; 16]>,
    odd: u64,
}

/// Announcements that are waited for. Of more the latest are ignored, and will be said again.
const NEXT_MAX: usize = 8;

impl Asked {
    /// Hears what a collector answered.
    pub(crate) fn hear(&self, answer: &PushResponse, now_ms: u64) {
        let mut inner = self.lock();
        if let Some(share) = answer.trace_share {
            inner.announce(share, now_ms);
        }
        inner.name(&answer.slow_traces);
    }

    /// How often the share of traces is halved in a window that starts then. To be asked for windows in their order.
    pub(super) fn halvings(&self, start_ms: u64) -> u32 {
        let mut inner = self.lock();
        let due = inner.next.partition_point(|next| next.from_ms <= start_ms);
        let last = inner.next.drain(..due).next_back();
        inner.current = last.unwrap_or(inner.current);
        inner.current.halvings
    }

    /// Slow traces that were named since the last call, at most [`SLOW_TRACES_MAX`].
    pub(super) fn take_slow(&self) -> Vec<[u8; 16]> {
        std::mem::take(&mut self.lock().slow)
    }

    /// How often a collector asked for what makes no sense.
    pub(crate) fn odd(&self) -> u64 {
        self.lock().odd
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn announce(&mut self, share: TraceShare, now_ms: u64) {
        if share.from_unix_ms > now_ms.saturating_add(WINDOW_AHEAD_MS_MAX) {
            self.odd += 1;
            return;
        }
        self.odd += u64::from(share.halvings > HALVINGS_MAX);
        let share = Share { from_ms: share.from_unix_ms, halvings: share.halvings.min(HALVINGS_MAX) };
        // Collectors repeat themselves, and one of several may not have heard the latest.
        if share <= self.current {
            return;
        }
        let at = self.next.partition_point(|next| next.from_ms < share.from_ms);
        match self.next.get_mut(at) {
            Some(same) if same.from_ms == share.from_ms => same.halvings = same.halvings.max(share.halvings),
            _ => self.next.insert(at, share),
        }
        self.next.truncate(NEXT_MAX);
    }

    /// Collectors name a trace in all answers of 20 s, so the latest answer is enough.
    fn name(&mut self, slow: &[u8]) {
        let (ids, rest) = slow.as_chunks::<16>();
        self.odd += u64::from(ids.len() > SLOW_TRACES_MAX || !rest.is_empty());
        // Where bytes are missing, nobody knows which of them are ids.
        if !ids.is_empty() && rest.is_empty() {
            self.slow = ids.iter().take(SLOW_TRACES_MAX).copied().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn announce(asked: &Asked, halvings: u32, from_unix_ms: u64) {
        let trace_share = Some(TraceShare { halvings, from_unix_ms });
        asked.hear(&PushResponse { trace_share, ..PushResponse::default() }, NOW);
    }

    fn name(asked: &Asked, slow_traces: Vec<u8>) {
        asked.hear(&PushResponse { slow_traces, ..PushResponse::default() }, NOW);
    }

    fn ids(numbers: std::ops::Range<u128>) -> Vec<u8> {
        numbers.flat_map(u128::to_be_bytes).collect()
    }

    #[test]
    fn a_share_holds_from_the_window_on_for_which_it_was_announced() {
        let asked = Asked::default();
        assert_eq!(asked.halvings(NOW), 0);
        announce(&asked, 3, NOW + 20_000);
        assert_eq!(asked.halvings(NOW + 19_999), 0);
        assert_eq!(asked.halvings(NOW + 20_000), 3);
        announce(&asked, 1, NOW + 40_000);
        assert_eq!((asked.halvings(NOW + 30_000), asked.halvings(NOW + 50_000)), (3, 1));
        asked.hear(&PushResponse::default(), NOW);
        assert_eq!((asked.halvings(NOW + 60_000), asked.odd()), (1, 0));
    }

    #[test]
    fn one_that_holds_for_ever_holds_at_once() {
        let asked = Asked::default();
        announce(&asked, 5, 0);
        assert_eq!(asked.halvings(1), 5);
    }

    #[test]
    fn a_collector_that_is_behind_changes_nothing() {
        let asked = Asked::default();
        announce(&asked, 4, NOW);
        assert_eq!(asked.halvings(NOW), 4);
        announce(&asked, 2, NOW - 10_000);
        announce(&asked, 3, NOW);
        assert_eq!(asked.halvings(NOW + 10_000), 4);
        announce(&asked, 5, NOW);
        assert_eq!(asked.halvings(NOW + 10_000), 5, "of two for one time the smaller share holds");
    }

    #[test]
    fn what_is_announced_later_does_not_put_off_what_is_next() {
        let asked = Asked::default();
        for later in 0..5 {
            announce(&asked, 1 + later as u32, NOW + 30_000 + later * 10_000);
        }
        assert_eq!(asked.halvings(NOW + 30_000), 1);
        announce(&asked, 5, NOW + 70_000);
        announce(&asked, 2, NOW + 40_000);
        announce(&asked, 3, NOW + 40_000);
        announce(&asked, 1, NOW + 40_000);
        assert_eq!((asked.halvings(NOW + 39_999), asked.halvings(NOW + 40_000)), (1, 3));
        assert_eq!(
            [50, 60, 70].map(|s| asked.halvings(NOW + s * 1_000)),
            [3, 4, 5],
            "each holds from its own window on"
        );
    }

    #[test]
    fn no_more_than_a_few_announcements_are_remembered() {
        let asked = Asked::default();
        for later in (0..1_000).rev() {
            announce(&asked, 1 + later as u32 % 30, NOW + later);
        }
        let inner = asked.lock();
        assert_eq!((inner.next.len(), inner.next.last().map(|last| last.from_ms)), (NEXT_MAX, Some(NOW + 7)));
    }

    #[test]
    fn nonsense_is_clamped_or_ignored_and_counted() {
        let asked = Asked::default();
        announce(&asked, HALVINGS_MAX, NOW);
        assert_eq!(asked.odd(), 0);
        announce(&asked, 7, NOW + WINDOW_AHEAD_MS_MAX + 1);
        announce(&asked, 7, u64::MAX);
        assert_eq!((asked.halvings(u64::MAX), asked.odd()), (HALVINGS_MAX, 2));
        let asked = Asked::default();
        announce(&asked, u32::MAX, NOW + WINDOW_AHEAD_MS_MAX);
        assert_eq!((asked.halvings(NOW + WINDOW_AHEAD_MS_MAX), asked.odd()), (HALVINGS_MAX, 1));
        for bytes in [1, 15, 17, 64 * 16 + 1] {
            name(&asked, vec![1; bytes]);
        }
        assert_eq!((asked.take_slow(), asked.odd()), (vec![], 5));
        name(&asked, ids(0..64));
        assert_eq!((asked.take_slow().len(), asked.odd()), (64, 5));
        name(&asked, ids(0..10_000));
        assert_eq!((asked.take_slow(), asked.odd()), ((0..64).map(u128::to_be_bytes).collect(), 6));
    }

    #[test]
    fn slow_traces_of_the_latest_answer_that_named_some_wait_for_one_window() {
        let asked = Asked::default();
        assert!(asked.take_slow().is_empty());
        name(&asked, ids(1..3));
        name(&asked, ids(2..5));
        name(&asked, Vec::new());
        assert_eq!(asked.take_slow(), [2u128, 3, 4].map(u128::to_be_bytes));
        assert_eq!((asked.take_slow(), asked.odd()), (vec![], 0));
    }
}
