//! How long requests took: exact counts in fixed bins, so that any two add up to what both would have counted together.
//!
//! The bins are [`tephra_proto::durations`]: what is answered from them is at most 2.2 % off. Sum and maximum are exact.

use tephra_proto::durations::{BINS, bin, longest_us, typical_us};

/// Durations of some requests. Equal ones in whatever order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    /// Bins that hold something, ascending, and how many requests are in each.
    bins: Vec<(u16, u64)>,
    sum_us: u64,
    max_us: u64,
}

/// Why bins cannot be those of any durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadDurations {
    /// A bin that is not one of the 479, or not above the one before it.
    Bin(u64),
    /// A bin in which nothing is.
    Empty(u16),
    /// More requests than can be counted.
    Count(u64),
    /// A longest duration, in microseconds, that is not in the last bin.
    Max(u64),
    /// A sum of durations, in microseconds, that these bins cannot have.
    Sum(u64),
}

/// No sum of counts is larger, whatever is added up: as many requests as a store could take in for ever.
const COUNT_MAX: u64 = 1 << 53;

impl Durations {
    /// As somebody says they are: bins with what is in them, the sum and the longest duration, in microseconds.
    ///
    /// # Errors
    /// When no durations have these bins, this sum and this maximum.
    pub fn from_bins(bins: Vec<(u16, u64)>, sum_us: u64, max_us: u64) -> Result<Self, BadDurations> {
        let mut count = 0u64;
        let mut before = None;
        for (bin, requests) in &bins {
            if *bin >= BINS || before.is_some_and(|before| before >= *bin) {
                return Err(BadDurations::Bin(u64::from(*bin)));
            }
            if *requests == 0 {
                return Err(BadDurations::Empty(*bin));
            }
            count = count.saturating_add(*requests);
            before = Some(*bin);
        }
        if count > COUNT_MAX {
            return Err(BadDurations::Count(count));
        }
        // Whole microseconds: whoever counted may have rounded up or down, and so into a bin beside.
        let last = before.unwrap_or(0);
        let ns = |us: u64| us.saturating_mul(1_000);
        let is_last = bin(ns(max_us.saturating_sub(1))) <= last && last <= bin(ns(max_us.saturating_add(1)));
        if !is_last || (bins.is_empty() && max_us > 0) {
            return Err(BadDurations::Max(max_us));
        }
        if u128::from(sum_us) > u128::from(count) * u128::from(max_us.saturating_add(1)) {
            return Err(BadDurations::Sum(sum_us));
        }
        Ok(Self { bins, sum_us, max_us })
    }

    /// Counts `requests` of this duration.
    pub fn record(&mut self, duration_us: u64, requests: u64) {
        if requests == 0 {
            return;
        }
        self.count_in(bin(duration_us.saturating_mul(1_000)), requests);
        self.sum_us = self.sum_us.saturating_add(duration_us.saturating_mul(requests));
        self.max_us = self.max_us.max(duration_us);
    }

    fn count_in(&mut self, bin: u16, requests: u64) {
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => self.bins[at].1 = self.bins[at].1.saturating_add(requests).min(COUNT_MAX),
            Err(at) => self.bins.insert(at, (bin, requests.min(COUNT_MAX))),
        }
    }

    /// Adds others up with these.
    pub fn add(&mut self, other: &Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
        // Sums of many soon have all bins that any of them has.
        let mut at = 0;
        for (done, (bin, requests)) in other.bins.iter().enumerate() {
            at += self.bins.get(at..).map_or(0, |rest| rest.partition_point(|(ours, _)| ours < bin));
            match self.bins.get_mut(at).filter(|(ours, _)| ours == bin) {
                Some((_, sum)) => *sum = sum.saturating_add(*requests).min(COUNT_MAX),
                None => return self.merge(other.bins.get(done..).unwrap_or_default()),
            }
        }
    }

    /// Adds bins of which some are new.
    fn merge(&mut self, bins: &[(u16, u64)]) {
        let mut sum = Vec::with_capacity(self.bins.len() + bins.len());
        let (mut ours, mut theirs) = (self.bins.iter().peekable(), bins.iter().peekable());
        loop {
            let next = match (ours.peek(), theirs.peek()) {
                (Some(a), Some(b)) => a.0.min(b.0),
                (Some(one), None) | (None, Some(one)) => one.0,
                (None, None) => break,
            };
            let here = |side: &mut std::iter::Peekable<std::slice::Iter<'_, (u16, u64)>>| {
                side.next_if(|(bin, _)| *bin == next).map_or(0, |(_, requests)| *requests)
            };
            sum.push((next, here(&mut ours).saturating_add(here(&mut theirs)).min(COUNT_MAX)));
        }
        self.bins = sum;
    }

    /// Bins that hold something, ascending, and how many requests are in each.
    pub fn bins(&self) -> &[(u16, u64)] {
        &self.bins
    }

    /// How many requests they are.
    pub fn count(&self) -> u64 {
        self.bins.iter().fold(0, |sum, (_, requests)| sum.saturating_add(*requests))
    }

    /// The sum of all durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The longest, in microseconds; 0 where there are none.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The duration that a share of the requests, 0…1, stays within, in microseconds: at most 2.2 % off. 0 where there are none.
    pub fn quantile_us(&self, share: f64) -> u64 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        for (bin, requests) in &self.bins {
            seen = seen.saturating_add(*requests);
            if seen >= wanted {
                return (typical_us(*bin).round() as u64).min(self.max_us);
            }
        }
        self.max_us
    }

    /// How many took longer than this, in microseconds; those in the bin it lies in by their share of the bin.
    pub fn longer_than(&self, duration_us: u64) -> f64 {
        let limit = bin(duration_us.saturating_mul(1_000));
        let part = |(bin, requests): &(u16, u64)| match bin.cmp(&limit) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Greater => *requests as f64,
            std::cmp::Ordering::Equal => {
                let (from, until) =
                    if *bin == 0 { (0.0, longest_us(0)) } else { (longest_us(bin - 1), longest_us(*bin)) };
                let above = (until - duration_us as f64) / (until - from);
                *requests as f64 * above.clamp(0.0, 1.0)
            }
        };
        self.bins.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(durations_us: &[u64]) -> Durations {
        let mut durations = Durations::default();
        for us in durations_us {
            durations.record(*us, 1);
        }
        durations
    }

    #[test]
    fn bins_that_nothing_has_are_refused_by_what_is_wrong() {
        let read = |bins: &[(u16, u64)], sum, max| Durations::from_bins(bins.to_vec(), sum, max);
        assert_eq!(read(&[(479, 1)], 5, 5), Err(BadDurations::Bin(479)));
        assert_eq!(read(&[(7, 1), (7, 1)], 5, 5), Err(BadDurations::Bin(7)));
        assert_eq!(read(&[(9, 1), (7, 1)], 5, 5), Err(BadDurations::Bin(7)));
        assert_eq!(read(&[(9, 0)], 5, 5), Err(BadDurations::Empty(9)));
        assert_eq!(read(&[(0, u64::MAX), (1, u64::MAX)], 5, 5), Err(BadDurations::Count(u64::MAX)));
        // 100 µs are in bin 106.
        assert_eq!(read(&[(16, 1)], 100, 100), Err(BadDurations::Max(100)));
        assert_eq!(read(&[], 0, 100), Err(BadDurations::Max(100)));
        assert_eq!(read(&[(106, 2)], 203, 100), Err(BadDurations::Sum(203)));
        assert_eq!(read(&[], 1, 0), Err(BadDurations::Sum(1)));
        assert!(read(&[(106, 2)], 200, 100).is_ok());
        assert_eq!(read(&[], 0, 0), Ok(Durations::default()));
    }

    #[test]
    fn a_longest_duration_may_be_rounded_into_the_bin_beside() {
        // 5.6 µs, which an agent tells as 6, are two bins below 6.
        assert!(Durations::from_bins(vec![(bin(5_600), 1)], 6, 6).is_ok());
        assert!(Durations::from_bins(vec![(bin(5_999), 1)], 5, 5).is_ok());
        assert_eq!(Durations::from_bins(vec![(bin(5_600), 1)], 8, 8), Err(BadDurations::Max(8)));
    }

    #[test]
    fn nothing_has_no_percentile() {
        let none = Durations::default();
        assert_eq!((none.count(), none.quantile_us(0.5), none.max_us()), (0, 0, 0));
        assert!(none.longer_than(0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn percentiles_are_near_the_exact_ones(
            mut durations in prop::collection::vec(1u64..2_000_000_000, 1..400),
            share in 0.0f64..=1.0,
        ) {
            let all = of(&durations);
            durations.sort_unstable();
            let rank = ((durations.len() as f64 * share).ceil() as usize).max(1) - 1;
            let exact = durations[rank].min(1_000_000_000) as f64;
            let error = (all.quantile_us(share).min(1_000_000_000) as f64 - exact).abs();
            prop_assert!(error <= 0.022 * exact + 1.0, "{} for {exact}", all.quantile_us(share));
        }

        #[test]
        fn sums_are_what_both_would_have_counted(
            a in prop::collection::vec(any::<u64>(), 0..50),
            b in prop::collection::vec(0u64..5_000, 0..50),
        ) {
            let mut sum = of(&a);
            sum.add(&of(&b));
            let together: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(sum, of(&together));
        }

        #[test]
        fn what_was_counted_is_read_back(durations in prop::collection::vec(0u64..604_800_000_000, 0..50)) {
            let all = of(&durations);
            prop_assert_eq!(Durations::from_bins(all.bins().to_vec(), all.sum_us(), all.max_us()), Ok(all));
        }

        /// Bins are chosen by nanoseconds, and sum and maximum are whole microseconds, however they were rounded.
        #[test]
        fn what_an_agent_counts_is_read(
            durations_ns in (0u32..41).prop_flat_map(|bits| prop::collection::vec(0u64..2 << bits, 1..5)),
            rounding in 0u64..1_000,
        ) {
            let us = |ns: &u64| (ns + rounding) / 1_000;
            let mut bins = std::collections::BTreeMap::<u16, u64>::new();
            for ns in &durations_ns {
                *bins.entry(bin(*ns)).or_default() += 1;
            }
            let (sum_us, max_us) = (durations_ns.iter().map(us).sum(), durations_ns.iter().map(us).max().unwrap());
            let read = Durations::from_bins(bins.into_iter().collect(), sum_us, max_us);
            prop_assert_eq!(read.map(|read| read.count()), Ok(durations_ns.len() as u64));
        }

        #[test]
        fn how_many_took_longer_falls_from_all_to_none(
            durations in prop::collection::vec(1u64..1_000_000, 1..50),
            limit in 0u64..1_000_000,
        ) {
            let all = of(&durations);
            let longer = all.longer_than(limit);
            prop_assert!(longer >= all.longer_than(limit + 1_000) && longer <= all.count() as f64);
            prop_assert!(all.longer_than(2_000_000).abs() < f64::EPSILON);
        }
    }
}
