//! Which share of all requests is sampled: those whose trace has a hash below a threshold, as spans are chosen. The agent thread moves the
//! threshold, so that about as many waits are sampled in a second as were asked for, however many requests there are.
//!
//! A poll's share is known before the poll, so what was sampled stands for 1 / share of its like, whatever it turns out to be. What comes in a
//! burst beyond a second's worth is not sampled and counted.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::counters::{COUNTERS, count};

/// Sampled are hashes up to this. 0: none is.
static THRESHOLD: AtomicU64 = AtomicU64::new(0);
/// Waits that may be sampled until the agent thread looks again.
static LEFT: AtomicI64 = AtomicI64::new(0);

/// Fewer than one request of so many is not worth it.
pub(super) const HALVINGS_MAX: u32 = 16;
/// At the start nothing is known: of 200 waits in a second, as many may come in one of 2^6 requests.
const WORTH_AT_FIRST: u32 = 200 << 6;
/// Time between two judgements: less has too few waits to judge by.
const JUDGED_EVERY: Duration = Duration::from_millis(200);

/// A hash that no threshold includes: of whatever has no trace of its own.
pub(super) const NEVER: u64 = u64::MAX;

/// The hash of a trace, as it is held against the threshold.
pub(super) fn hash_of(trace_id: &[u8; 16]) -> u64 {
    tephra_proto::trace_share::hash(trace_id).clamp(1, NEVER - 1)
}

/// Hashes up to this are sampled now. One load.
#[inline]
pub(super) fn threshold() -> u64 {
    THRESHOLD.load(Ordering::Relaxed)
}

/// How many halvings a threshold is.
pub(super) fn halvings(threshold: u64) -> u32 {
    threshold.leading_zeros()
}

/// Takes one of the waits that may be sampled. `false`: none is left, which is counted.
pub(super) fn take() -> bool {
    // It may go below 0 by as many threads as there are, and is set anew by the agent thread.
    let is_left = LEFT.load(Ordering::Relaxed) > 0 && LEFT.fetch_sub(1, Ordering::Relaxed) > 0;
    if !is_left {
        count(&COUNTERS.too_many);
    }
    is_left
}

/// A poll that had taken one left nobody waiting.
pub(super) fn give_back() {
    LEFT.fetch_add(1, Ordering::Relaxed);
}

/// The agent thread's judgement.
#[derive(Debug)]
pub(crate) struct Density {
    per_second: u32,
    halvings: u32,
    /// Since it judged last.
    elapsed: Duration,
    /// Waits that were sampled by then.
    seen: u64,
}

impl Density {
    /// Of an agent that is to sample `per_second` waits. None are sampled before [`Density::apply`].
    pub(crate) fn new(per_second: u32) -> Self {
        let worth = WORTH_AT_FIRST / per_second.clamp(1, WORTH_AT_FIRST);
        Self { per_second, halvings: worth.ilog2(), elapsed: Duration::ZERO, seen: super::counters().waits }
    }

    /// Samples as was judged last.
    pub(crate) fn apply(&self) {
        if self.per_second > 0 {
            LEFT.store(self.per_second.into(), Ordering::Relaxed);
            THRESHOLD.store(threshold_of(self.halvings), Ordering::Relaxed);
        }
    }

    /// Judges, after some time, how many requests are to be sampled from now on.
    pub(crate) fn judge(&mut self, elapsed: Duration, seen: u64) {
        self.elapsed += elapsed;
        if self.per_second == 0 || self.elapsed < JUDGED_EVERY {
            return;
        }
        let per_second = seen.saturating_sub(self.seen) as f64 / self.elapsed.as_secs_f64();
        (self.elapsed, self.seen) = (Duration::ZERO, seen);
        self.halvings = judged(self.halvings, per_second, f64::from(self.per_second));
        self.apply();
    }
}

/// Samples nothing from now on.
pub(super) fn stop() {
    THRESHOLD.store(0, Ordering::Relaxed);
    LEFT.store(0, Ordering::Relaxed);
}

/// Up at once, by as much as there was too much; down by one, and only if twice as many would still leave room.
fn judged(halvings: u32, per_second: f64, wanted: f64) -> u32 {
    if per_second > wanted {
        let more = (per_second / wanted).log2().ceil() as u32;
        return halvings.saturating_add(more).min(HALVINGS_MAX);
    }
    if per_second < wanted / 3.0 { halvings.saturating_sub(1) } else { halvings }
}

/// Includes a hash with the probability 2^-halvings.
fn threshold_of(halvings: u32) -> u64 {
    (u64::MAX >> halvings.min(HALVINGS_MAX)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_knows_its_halvings_and_includes_that_share() {
        for n in 0..=HALVINGS_MAX {
            assert_eq!(halvings(threshold_of(n)), n);
            assert!(threshold_of(n) < NEVER);
        }
        let ids = (1..=40_000u128).map(|id| hash_of(&id.to_be_bytes()));
        let sampled = ids.filter(|hash| *hash <= threshold_of(3)).count();
        assert!((4_700..5_300).contains(&sampled), "{sampled} of 40 000 are about an eighth");
    }

    #[test]
    fn what_was_sampled_after_a_halving_was_sampled_before() {
        let hashes = (1..2_000u128).map(|id| hash_of(&id.to_be_bytes()));
        assert!(hashes.into_iter().all(|hash| hash > threshold_of(5) || hash <= threshold_of(4)));
    }

    #[test]
    fn a_flood_is_halved_at_once_and_a_trickle_is_sampled_whole_in_the_end() {
        assert_eq!(judged(6, 100_000.0, 200.0), 15);
        assert_eq!(judged(6, 201.0, 200.0), 7);
        assert_eq!(judged(6, 100.0, 200.0), 6, "twice as many might be too many");
        assert_eq!((0..10).fold(6, |n, _| judged(n, 10.0, 200.0)), 0);
        assert_eq!(judged(20, f64::INFINITY, 200.0), HALVINGS_MAX);
        assert_eq!(judged(0, 0.0, 200.0), 0);
    }

    #[test]
    fn whoever_asks_for_more_begins_with_more() {
        assert_eq!([200, 1_000, 100_000].map(|n| Density::new(n).halvings), [6, 3, 0]);
    }
}
