//! How many requests took how long: counts in the bins that both sides know, to which any number of threads add at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tephra_proto::durations::{self, BINS, BINS_PER_DOUBLING};

use super::span::Span;

/// Bins that are kept together: those of one doubling.
const TOGETHER: usize = BINS_PER_DOUBLING as usize;
const DOUBLINGS: usize = (BINS as usize).div_ceil(TOGETHER);

/// Counts by duration. It takes memory for those doublings only in which there is something: most have five to eight.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    doublings: [OnceLock<Box<[AtomicU64; TOGETHER]>>; DOUBLINGS],
    sum_us: AtomicU64,
    max_us: AtomicU64,
}

/// What a histogram holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Of the durations, in microseconds.
    pub(crate) sum_us: u64,
    /// The longest of them.
    pub(crate) max_us: u64,
    /// Bins of [`tephra_proto::durations`] that hold something, ascending, and how many requests are in each.
    pub(crate) bins: Vec<(u16, u64)>,
}

impl Histogram {
    /// Counts one request.
    pub(super) fn add(&self, span: &Span) {
        let bin = usize::from(durations::bin(span.duration_ns));
        let doubling = self.doublings.get(bin / TOGETHER).map(|doubling| doubling.get_or_init(Box::default));
        if let Some(count) = doubling.and_then(|counts| counts.get(bin % TOGETHER)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let us = span.duration_us();
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        if us > self.max_us.load(Ordering::Relaxed) {
            self.max_us.fetch_max(us, Ordering::Relaxed);
        }
    }

    /// Everything that was added by threads that are known to be done.
    pub(super) fn read(&self) -> Counts {
        let counts = (0u16..).step_by(TOGETHER).zip(&self.doublings).filter_map(|(first, doubling)| {
            let counts = doubling.get()?;
            Some((first..).zip(counts.iter().map(|count| count.load(Ordering::Relaxed))))
        });
        Counts {
            sum_us: self.sum_us.load(Ordering::Relaxed),
            max_us: self.max_us.load(Ordering::Relaxed),
            bins: counts.flatten().filter(|(_, count)| *count > 0).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::testing::span;

    #[test]
    fn every_request_is_in_the_bin_of_its_duration() {
        let histogram = Histogram::default();
        // Both ends of both ends, and two neighbours.
        let durations = [0, 999, 1_000, 1_100, 5_000_000, 5_000_000, 999_000_000_000, u64::MAX / 2];
        for duration_ns in durations {
            histogram.add(&span(1, duration_ns));
        }
        let counts = histogram.read();
        let mut expected = std::collections::BTreeMap::<u16, u64>::new();
        for duration_ns in durations {
            *expected.entry(durations::bin(duration_ns)).or_default() += 1;
        }
        assert_eq!(counts.bins, expected.into_iter().collect::<Vec<_>>());
        assert_eq!((counts.bins[0], counts.bins.last().unwrap().0), ((0, 3), BINS - 1));
    }

    #[test]
    fn sum_and_longest_are_those_of_the_durations_to_the_microsecond() {
        let histogram = Histogram::default();
        for duration_ns in [1_499, 1_500, 7_000_400, 3_000_000] {
            histogram.add(&span(1, duration_ns));
        }
        let counts = histogram.read();
        assert_eq!((counts.sum_us, counts.max_us), (1 + 2 + 7_000 + 3_000, 7_000));
    }

    #[test]
    fn threads_that_count_at_once_lose_nothing() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let histogram = &histogram;
                scope.spawn(move || (0..5_000).for_each(|n| histogram.add(&span(1, (n % 40) << thread << 7))));
            }
        });
        assert_eq!(histogram.read().bins.iter().map(|(_, count)| count).sum::<u64>(), 8 * 5_000);
    }

    #[test]
    fn what_nothing_was_added_to_holds_nothing() {
        assert_eq!(Histogram::default().read(), Counts { sum_us: 0, max_us: 0, bins: vec![] });
    }
}
