//! Cuts a range of time into the slices whose values are the statistical replicates, and measures how much of it was covered.

use super::TimeRange;
use crate::profile::model::REPLICATES_MAX;

/// One received window, as far as time is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) start_ms: u64,
    pub(super) duration_ms: u32,
}

impl Span {
    fn end_ms(self) -> u64 {
        self.start_ms + u64::from(self.duration_ms)
    }
}

/// Slices of equal length, without those in which nothing was received.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slices {
    from_ms: u64,
    width_ms: u64,
    /// Replicate of each slice; `None`: nothing was received in it.
    replicates: Vec<Option<u16>>,
    /// Covered time of each replicate.
    covered_ms: Vec<u64>,
}

impl Slices {
    /// At most `most` slices, each a whole number of the shortest window long: so each holds equally many windows. Depends
    /// on the set of windows, not on their order.
    pub(super) fn new(range: TimeRange, spans: &[Span], most: usize) -> Self {
        let shortest = spans.iter().map(|span| u64::from(span.duration_ms)).min().unwrap_or(1).max(1);
        let width_ms = shortest * range.millis().div_ceil(shortest * most.max(1) as u64).max(1);
        Self::with_width(range, spans, width_ms)
    }

    /// Slices of the given width.
    pub(super) fn with_width(range: TimeRange, spans: &[Span], width_ms: u64) -> Self {
        let slices = range.millis().div_ceil(width_ms) as usize;
        let covered = coverage(range.from_ms, width_ms, slices, spans);
        let mut seen = vec![false; slices];
        for span in spans {
            if let Some(seen) = seen.get_mut(((span.start_ms - range.from_ms) / width_ms) as usize) {
                *seen = true;
            }
        }
        let mut covered_ms = Vec::new();
        let replicates = seen.iter().zip(&covered).map(|(seen, covered)| {
            seen.then(|| {
                covered_ms.push(*covered);
                (covered_ms.len() - 1) as u16
            })
        });
        let replicates = replicates.collect();
        Self { from_ms: range.from_ms, width_ms, replicates, covered_ms }
    }

    /// The replicate that a window counts to, by its start.
    pub(super) fn replicate(&self, start_ms: u64) -> Option<u16> {
        let slice = start_ms.checked_sub(self.from_ms)? / self.width_ms;
        self.replicates.get(slice as usize).copied().flatten()
    }

    /// Covered time of each replicate, seconds.
    pub(super) fn seconds(&self) -> Vec<f64> {
        self.covered_ms.iter().map(|ms| *ms as f64 / 1e3).collect()
    }

    /// Covered time in all, milliseconds.
    pub(super) fn covered_ms(&self) -> u64 {
        self.covered_ms.iter().sum()
    }
}

/// Replicates of a merged profile.
pub(super) fn replicates(range: TimeRange, spans: &[Span]) -> Slices {
    Slices::new(range, spans, REPLICATES_MAX)
}

/// Milliseconds for which there is at least one window, by the slice its windows start in. An instant that several windows cover
/// counts once, for the earliest: so the slices add up to the union.
pub(super) fn coverage(from_ms: u64, width_ms: u64, slices: usize, spans: &[Span]) -> Vec<u64> {
    let mut spans = spans.to_vec();
    spans.sort_unstable();
    let mut covered = vec![0; slices];
    let mut until = 0;
    for span in spans {
        let fresh = span.end_ms().saturating_sub(span.start_ms.max(until));
        until = until.max(span.end_ms());
        let slice = span.start_ms.saturating_sub(from_ms) / width_ms.max(1);
        if let Some(covered) = covered.get_mut(slice as usize) {
            *covered += fresh;
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(starts: &[u64]) -> Vec<Span> {
        starts.iter().map(|start_ms| Span { start_ms: *start_ms, duration_ms: 10 }).collect()
    }

    #[test]
    fn instants_covered_twice_count_once() {
        let range = TimeRange { from_ms: 0, until_ms: 100 };
        let slices = replicates(range, &spans(&[0, 0, 5, 50]));
        assert_eq!(slices.covered_ms(), 25);
        assert_eq!(slices.seconds(), [0.015, 0.010]);
    }

    #[test]
    fn silent_slices_are_no_replicates() {
        let range = TimeRange { from_ms: 100, until_ms: 200 };
        let slices = replicates(range, &spans(&[100, 150, 190]));
        assert_eq!([100, 109, 150, 190].map(|at| slices.replicate(at)), [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!([120, 90, 200].map(|at| slices.replicate(at)), [None; 3]);
    }

    #[test]
    fn long_ranges_have_few_replicates_of_whole_windows() {
        let range = TimeRange { from_ms: 0, until_ms: 10_000 };
        let starts: Vec<u64> = (0..1_000).map(|i| i * 10).collect();
        let slices = replicates(range, &spans(&starts));
        assert_eq!(slices.covered_ms.len(), 63);
        assert_eq!(slices.covered_ms.first(), Some(&160));
        assert_eq!(slices.covered_ms(), 10_000);
    }
}
