//! Sets of numbers that mostly follow one another: commits, and sequence numbers of windows. Kept as ranges, so that thousands of them are
//! a few bytes.

/// A set of numbers, as inclusive ranges: sorted, apart from each other by at least one number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// A set of one.
    pub fn of(number: u64) -> Self {
        Self(vec![(number, number)])
    }

    /// Reads `from, to, from, to, …`; `None` when they are not in order.
    pub fn from_pairs(pairs: &[u64]) -> Option<Self> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        let ranges: Vec<(u64, u64)> = pairs.iter().map(|[from, to]| (*from, *to)).collect();
        let apart =
            ranges.windows(2).all(|two| matches!(two, [(_, end), (start, _)] if *start > end.saturating_add(1)));
        (rest.is_empty() && apart && ranges.iter().all(|(from, to)| from <= to)).then_some(Self(ranges))
    }

    /// The reverse of [`Self::from_pairs`].
    pub fn to_pairs(&self) -> Vec<u64> {
        self.0.iter().flat_map(|(from, to)| [*from, *to]).collect()
    }

    /// Adds a number.
    pub fn insert(&mut self, number: u64) {
        self.add(&Self::of(number));
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(&other.0);
        all.sort_unstable();
        for (from, to) in all {
            match self.0.last_mut() {
                Some((_, end)) if from <= end.saturating_add(1) => *end = to.max(*end),
                _ => self.0.push((from, to)),
            }
        }
    }

    /// True when it is in the set.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, to)| *to < number);
        self.0.get(at).is_some_and(|(from, _)| *from <= number)
    }

    /// True when every number of `other` is in the set.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(from, to)| {
            let at = self.0.partition_point(|(_, end)| end < from);
            self.0.get(at).is_some_and(|(start, end)| start <= from && to <= end)
        })
    }

    /// True when a number is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        other.0.iter().any(|(from, to)| {
            let at = self.0.partition_point(|(_, end)| end < from);
            self.0.get(at).is_some_and(|(start, _)| start <= to)
        })
    }

    /// Lets go of all below `number`.
    pub fn keep_from(&mut self, number: u64) {
        self.0.retain(|(_, to)| *to >= number);
        if let Some((from, _)) = self.0.first_mut() {
            *from = number.max(*from);
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The greatest.
    pub fn max(&self) -> Option<u64> {
        self.0.last().map(|(_, to)| *to)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(from, to)| (to - from).saturating_add(1)).fold(0, u64::saturating_add)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|(from, to)| *from..=*to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(numbers: &BTreeSet<u64>) -> Ranges {
        let mut ranges = Ranges::default();
        numbers.iter().rev().for_each(|number| ranges.insert(*number));
        ranges
    }

    proptest! {
        #[test]
        fn they_are_sets_of_numbers(a in prop::collection::btree_set(0u64..60, 0..40), b in prop::collection::btree_set(0u64..60, 0..40), n in 0u64..60) {
            let (one, two) = (ranges(&a), ranges(&b));
            let mut both = one.clone();
            both.add(&two);
            prop_assert_eq!(both.iter().collect::<BTreeSet<_>>(), &a | &b);
            prop_assert_eq!(both.count() as usize, (&a | &b).len());
            prop_assert_eq!(one.contains(n), a.contains(&n));
            prop_assert_eq!(one.contains_all(&two), a.is_superset(&b));
            prop_assert_eq!(one.intersects(&two), !a.is_disjoint(&b));
            prop_assert_eq!(one.max(), a.last().copied());
            let mut upper = one.clone();
            upper.keep_from(n);
            prop_assert_eq!(upper.iter().collect::<BTreeSet<_>>(), a.iter().copied().filter(|x| *x >= n).collect());
            prop_assert_eq!(Ranges::from_pairs(&one.to_pairs()), Some(one));
        }
    }

    #[test]
    fn pairs_out_of_order_are_refused() {
        for pairs in [
            &[1][..],
            &[2, 1],
            &[1, 2, 3, 4],
            &[5, 6, 1, 2],
            &[1, 5, 4, 9],
            &[u64::MAX - 1, u64::MAX, u64::MAX, u64::MAX],
        ] {
            assert_eq!(Ranges::from_pairs(pairs), None, "{pairs:?}");
        }
        assert_eq!(Ranges::from_pairs(&[0, u64::MAX]).unwrap().count(), u64::MAX);
    }
}
