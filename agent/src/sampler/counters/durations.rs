//! How long samples kept the threads they were taken of: a histogram that a signal handler can add to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Four buckets for each doubling, up to 2^24 ns: a quantile is at most a quarter too high.
const BUCKETS: usize = 24 * 4;

static TAKEN: [AtomicU64; BUCKETS] = [const { AtomicU64::new(0) }; BUCKETS];

/// A reading of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durations([u64; BUCKETS]);

impl Default for Durations {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Durations {
    /// All CPU samples since the process began.
    pub(crate) fn read() -> Self {
        Self(std::array::from_fn(|at| TAKEN.get(at).map_or(0, |count| count.load(Ordering::Relaxed))))
    }

    /// Those taken since `earlier`.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, earlier) in since.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(earlier);
        }
        since
    }

    /// What a `share` of all samples did not exceed; zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.0.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let at = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted && wanted > 0
        });
        at.map_or(Duration::ZERO, |at| Duration::from_nanos(above(at)))
    }
}

/// Counts one sample. Safe in a signal handler.
pub(crate) fn add(ns: u64) {
    if let Some(count) = TAKEN.get(bucket(ns)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn bucket(ns: u64) -> usize {
    let ns = ns.max(4);
    let doublings = ns.ilog2();
    let quarter = ns >> (doublings - 2) & 3;
    ((doublings as usize - 2) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The first duration that falls into a later bucket than `at`.
fn above(at: usize) -> u64 {
    let (doublings, quarter) = (at / 4, at as u64 % 4);
    (5 + quarter) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_rise_with_their_durations_and_are_a_quarter_wide_at_most() {
        for ns in 4..200_000u64 {
            let at = bucket(ns);
            assert!(ns < above(at), "{ns} in {at}");
            assert!(above(at) - ns <= ns / 4 + 1, "{ns} in {at}");
            assert!(bucket(ns - 1) <= at);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(0), bucket(4));
    }

    #[test]
    fn quantiles_lie_where_the_samples_do() {
        let mut durations = Durations::default();
        durations.0[bucket(2_000)] = 99;
        durations.0[bucket(50_000)] = 1;
        assert_eq!(durations.quantile(0.5), Duration::from_nanos(above(bucket(2_000))));
        assert_eq!(durations.quantile(0.99), durations.quantile(0.5));
        assert_eq!(durations.quantile(1.0), Duration::from_nanos(above(bucket(50_000))));
        assert_eq!(durations.since(&durations).quantile(0.5), Duration::ZERO);
    }
}
