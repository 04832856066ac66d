//! Cuts a range of time into the slices whose values are the statistical replicates, and measures how much of it was covered.

use crate::base::range::TimeRange;
use crate::profile::model::REPLICATES_MAX;

/// What was received without a break, as far as time is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Start of the window it was added up to: its values count to the slice that this lies in.
    pub(super) window_ms: u64,
    /// Length of that window, milliseconds.
    pub(super) window_len_ms: u32,
    /// Start of what was received, unix milliseconds.
    pub(super) start_ms: u64,
    /// End of what was received, unix milliseconds, exclusive.
    pub(super) end_ms: u64,
}

impl Span {
    /// One window as it arrived.
    pub(super) fn window(start_ms: u64, duration_ms: u32) -> Self {
        Self { window_ms: start_ms, window_len_ms: duration_ms, start_ms, end_ms: start_ms + u64::from(duration_ms) }
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
    /// From the first to the last instant of the range in which something was received. All of it where nothing was.
    received: TimeRange,
}

impl Slices {
    /// At most `most` slices, each a whole number of windows long: so each holds equally many. Depends on the set of windows, not on
    /// their order. `coarsest_ms` is the length of the longest windows that others were added up to, or 0: slices are aligned to it,
    /// and a first or last slice of less than half the length goes with its neighbour.
    pub(super) fn new(range: TimeRange, spans: &[Span], coarsest_ms: u64, most: usize) -> Self {
        let most = most.max(1) as u64;
        let shortest = spans.iter().map(|span| u64::from(span.window_len_ms)).min().unwrap_or(1).max(1);
        let unit_ms = shortest.max(coarsest_ms);
        let from_ms = range.from_ms.checked_rem(coarsest_ms).map_or(range.from_ms, |over| range.from_ms - over);
        let length_ms = range.until_ms.saturating_sub(from_ms);
        let width_ms = unit_ms * length_ms.div_ceil(unit_ms * most).max(1);
        let slices = length_ms.div_ceil(width_ms) as usize;
        let mut group: Vec<usize> = (0..slices).collect();
        if coarsest_ms > 0 && slices >= 2 {
            if (from_ms + width_ms).saturating_sub(range.from_ms) < width_ms / 2 {
                group[0] = 1;
            }
            if length_ms - (slices as u64 - 1) * width_ms < width_ms / 2 {
                group[slices - 1] = group[slices - 2];
            }
        }
        Self::of(range, from_ms, width_ms, &group, spans)
    }

    /// Slices of the given width; `group` says which of them count as one, by the position of the last.
    fn of(range: TimeRange, from_ms: u64, width_ms: u64, group: &[usize], spans: &[Span]) -> Self {
        let covered = coverage(from_ms, width_ms, group.len(), spans);
        let mut seen = vec![false; group.len()];
        let mut covered_by_group = vec![0u64; group.len()];
        for span in spans {
            let slice = span.window_ms.saturating_sub(from_ms) / width_ms;
            if let Some(group) = group.get(slice as usize) {
                seen[*group] = true;
            }
        }
        for (group, covered) in group.iter().zip(covered) {
            covered_by_group[*group] += covered;
        }
        let mut number = vec![None; group.len()];
        let mut covered_ms = Vec::new();
        for (at, seen) in seen.iter().enumerate() {
            if *seen {
                number[at] = Some(covered_ms.len() as u16);
                covered_ms.push(covered_by_group[at]);
            }
        }
        let replicates = group.iter().map(|group| number[*group]).collect();
        Self { from_ms, width_ms, replicates, covered_ms, received: received(range, spans) }
    }

    /// Groups of requests instead of time: what is told per second of slices is told per request of these.
    pub(super) fn of_requests(range: TimeRange, groups: &[u64]) -> Self {
        let covered_ms = groups.iter().map(|requests| requests * 1_000).collect();
        Self { from_ms: range.from_ms, width_ms: 1, replicates: Vec::new(), covered_ms, received: range }
    }

    /// From the first to the last instant of the range in which something was received; all of it where nothing was.
    pub(super) fn received(&self) -> TimeRange {
        self.received
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

    /// When the slice of each replicate starts, unix milliseconds.
    pub(super) fn starts_ms(&self) -> Vec<u64> {
        let mut starts = vec![0; self.covered_ms.len()];
        for (slice, replicate) in self.replicates.iter().enumerate().rev() {
            if let Some(start) = replicate.and_then(|replicate| starts.get_mut(usize::from(replicate))) {
                *start = self.from_ms + slice as u64 * self.width_ms;
            }
        }
        starts
    }

    /// Covered time in all, milliseconds.
    pub(super) fn covered_ms(&self) -> u64 {
        self.covered_ms.iter().sum()
    }
}

fn received(range: TimeRange, spans: &[Span]) -> TimeRange {
    let from_ms = spans.iter().map(|span| span.start_ms).min().unwrap_or(range.from_ms).max(range.from_ms);
    let until_ms = spans.iter().map(|span| span.end_ms).max().unwrap_or(range.until_ms).min(range.until_ms);
    if from_ms < until_ms { TimeRange { from_ms, until_ms } } else { range }
}

/// Replicates of a merged profile.
pub(super) fn replicates(range: TimeRange, spans: &[Span], coarsest_ms: u64) -> Slices {
    Slices::new(range, spans, coarsest_ms, REPLICATES_MAX)
}

/// Milliseconds for which something was received, by the slice its windows start in. An instant that several windows cover
/// counts once, for the earliest: so the slices add up to the union.
pub(super) fn coverage(from_ms: u64, width_ms: u64, slices: usize, spans: &[Span]) -> Vec<u64> {
    let mut spans: Vec<(u64, u64, u64)> =
        spans.iter().map(|span| (span.start_ms, span.end_ms, span.window_ms)).collect();
    spans.sort_unstable();
    let mut covered = vec![0; slices];
    let mut until = 0;
    for (start_ms, end_ms, window_ms) in spans {
        let fresh = end_ms.saturating_sub(start_ms.max(until));
        until = until.max(end_ms);
        let slice = window_ms.saturating_sub(from_ms) / width_ms.max(1);
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
        starts.iter().map(|start_ms| Span::window(*start_ms, 10)).collect()
    }

    #[test]
    fn instants_covered_twice_count_once() {
        let range = TimeRange { from_ms: 0, until_ms: 100 };
        let slices = replicates(range, &spans(&[0, 0, 5, 50]), 0);
        assert_eq!(slices.covered_ms(), 25);
        assert_eq!(slices.seconds(), [0.015, 0.010]);
    }

    #[test]
    fn silent_slices_are_no_replicates() {
        let range = TimeRange { from_ms: 100, until_ms: 200 };
        let slices = replicates(range, &spans(&[100, 150, 190]), 0);
        assert_eq!([100, 109, 150, 190].map(|at| slices.replicate(at)), [Some(0), Some(0), Some(1), Some(2)]);
        assert_eq!([120, 90, 200].map(|at| slices.replicate(at)), [None; 3]);
        assert_eq!(slices.starts_ms(), [100, 150, 190]);
    }

    #[test]
    fn what_was_received_is_known_to_the_millisecond_and_lies_in_the_range() {
        let range = TimeRange { from_ms: 100, until_ms: 100_000 };
        let received = |starts: &[u64]| replicates(range, &spans(starts), 0).received();
        assert_eq!(received(&[7_130, 7_120, 9_000]), TimeRange { from_ms: 7_120, until_ms: 9_010 });
        assert_eq!(received(&[95, 99_995]), range);
        assert_eq!(received(&[]), range);
    }

    #[test]
    fn long_ranges_have_few_replicates_of_whole_windows() {
        let range = TimeRange { from_ms: 0, until_ms: 10_000 };
        let starts: Vec<u64> = (0..1_000).map(|i| i * 10).collect();
        let slices = replicates(range, &spans(&starts), 0);
        assert_eq!(slices.covered_ms.len(), 63);
        assert_eq!(slices.covered_ms.first(), Some(&160));
        assert_eq!(slices.covered_ms(), 10_000);
    }

    #[test]
    fn edges_of_coarse_windows_are_no_replicates_of_their_own() {
        let range = TimeRange { from_ms: 950, until_ms: 3_010 };
        let mut all = spans(&(95..300).map(|i| i * 10).collect::<Vec<_>>());
        all.push(Span::window(3_000, 10));
        let slices = replicates(range, &all, 1_000);
        assert_eq!(slices.seconds(), [1.050, 1.010]);
        assert_eq!([950, 1_999, 2_000, 3_000].map(|at| slices.replicate(at)), [Some(0), Some(0), Some(1), Some(1)]);
    }
}
