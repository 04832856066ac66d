//! Which level answers for which part of a range: the coarsest windows that fit, and finer ones at the edges.

use crate::base::range::TimeRange;
use crate::store::catalog::Horizons;
use crate::store::compact::levels::{HORIZON_MS, LEVELS, Level};

/// A part of a range, and the level whose windows are read for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: TimeRange,
    pub(super) level: u32,
}

impl Piece {
    /// True when a segment of `level` has to be read for this piece. At every level the live segments of that level and the finer
    /// ones that were not rolled up yet hold everything once.
    pub(super) fn reads(self, level: u32, rolled: bool) -> bool {
        level == self.level || (level < self.level && !rolled)
    }
}

/// Windows of a range at least, if the level has a say: they are the replicates of a comparison.
const WINDOWS_MIN: u64 = 20;

/// Which levels may answer a question.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The coarsest level that is fine enough.
    coarsest: u32,
    /// Levels that fold instances cannot answer.
    by_instance: bool,
}

impl Wish {
    /// For a merged profile.
    pub(super) fn replicates(range: TimeRange, by_instance: bool) -> Self {
        Self::fits(|window_ms| range.millis() / window_ms >= WINDOWS_MIN, by_instance)
    }

    /// For values over time: `step_ms` apart, or at most `points` of them.
    pub(super) fn points(range: TimeRange, step_ms: Option<u64>, points: u64, by_instance: bool) -> Self {
        let fits = |window_ms: u64| match step_ms {
            Some(step_ms) => step_ms % window_ms == 0,
            None => range.millis() / window_ms >= points,
        };
        Self::fits(fits, by_instance)
    }

    fn fits(fits: impl Fn(u64) -> bool, by_instance: bool) -> Self {
        let allowed = |level: &Level| {
            level.number == 1 || (fits(u64::from(level.window_ms)) && !(by_instance && level.folds_instances))
        };
        let coarsest = LEVELS.iter().take_while(|level| allowed(level)).last().map_or(1, |level| level.number);
        Self { coarsest, by_instance }
    }

    /// Cuts a range into pieces. They are disjoint, in order, and cover it. Where a level's windows are no longer there, coarser ones
    /// stand in: a window belongs to the range its start lies in.
    pub(super) fn cover(self, range: TimeRange, horizons: &Horizons) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut from_ms = range.from_ms;
        while from_ms < range.until_ms {
            let level = self.level_at(from_ms, horizons);
            let mut until_ms = next_multiple(from_ms, HORIZON_MS);
            // Horizons are whole hours, and there are few of them: a range may be all of time.
            while until_ms < range.until_ms && self.level_at(until_ms, horizons) == level {
                let hour = |at_ms: u64| at_ms.div_ceil(HORIZON_MS).saturating_mul(HORIZON_MS);
                until_ms = horizons.next_change(until_ms).map_or(range.until_ms, hour);
            }
            let until_ms = until_ms.min(range.until_ms);
            fill(TimeRange { from_ms, until_ms }, level, horizons, &mut pieces);
            from_ms = until_ms;
        }
        join(pieces)
    }

    fn level_at(self, at_ms: u64, horizons: &Horizons) -> u32 {
        let complete = |level: &&Level| horizons.complete(level.number, at_ms);
        let kept = LEVELS.iter().filter(|level| level.number >= self.coarsest).find(complete);
        kept.map_or(LEVELS.len() as u32, |level| level.number)
    }

    /// True when a piece is too coarse to tell instances apart, and that was asked for.
    pub(super) fn misses_instances(self, pieces: &[Piece]) -> bool {
        let folds = |piece: &Piece| Level::of(piece.level).is_some_and(|level| level.folds_instances);
        self.by_instance && pieces.iter().any(folds)
    }
}

fn fill(range: TimeRange, level: u32, horizons: &Horizons, pieces: &mut Vec<Piece>) {
    let TimeRange { from_ms, until_ms } = range;
    if from_ms >= until_ms {
        return;
    }
    let window_ms = Level::of(level).map_or(1, |level| u64::from(level.window_ms));
    let (start_ms, end_ms) = (from_ms.div_ceil(window_ms) * window_ms, until_ms - until_ms % window_ms);
    let edge = |range: TimeRange, pieces: &mut Vec<Piece>| {
        let finer = level - 1;
        let there = finer >= 1
            && range.from_ms < range.until_ms
            && horizons.complete(finer, range.from_ms)
            && horizons.complete(finer, range.until_ms - 1);
        if there { fill(range, finer, horizons, pieces) } else { push(range, level, pieces) }
    };
    if level <= 1 {
        push(range, level, pieces);
    } else if start_ms >= end_ms {
        edge(range, pieces);
    } else {
        edge(TimeRange { from_ms, until_ms: start_ms }, pieces);
        push(TimeRange { from_ms: start_ms, until_ms: end_ms }, level, pieces);
        edge(TimeRange { from_ms: end_ms, until_ms }, pieces);
    }
}

fn push(range: TimeRange, level: u32, pieces: &mut Vec<Piece>) {
    if range.from_ms < range.until_ms {
        pieces.push(Piece { range, level });
    }
}

fn join(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.level == piece.level => last.range.until_ms = piece.range.until_ms,
            _ => joined.push(piece),
        }
    }
    joined
}

/// The smallest multiple of `of` above `at`.
fn next_multiple(at: u64, of: u64) -> u64 {
    (at / of).saturating_add(1).saturating_mul(of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn range(from_ms: u64, until_ms: u64) -> TimeRange {
        TimeRange { from_ms, until_ms }
    }

    fn cover(range: TimeRange, horizons: &Horizons) -> Vec<(u64, u64, u32)> {
        let pieces = Wish::replicates(range, false).cover(range, horizons);
        pieces.iter().map(|p| (p.range.from_ms, p.range.until_ms, p.level)).collect()
    }

    #[test]
    fn a_day_is_hours_with_finer_windows_at_its_edges() {
        let (from, until) = (100 * HOUR - 650_000, 124 * HOUR + 10_000);
        let expected = [
            (from, 100 * HOUR - 600_000, 1),
            (100 * HOUR - 600_000, 100 * HOUR, 3),
            (100 * HOUR, 124 * HOUR, 4),
            (124 * HOUR, until, 1),
        ];
        assert_eq!(cover(range(from, until), &Horizons::default()), expected);
    }

    #[test]
    fn short_ranges_are_fine_enough_for_replicates() {
        for (minutes, level) in [(5, 1), (20, 2), (200, 3), (1_200, 4), (20 * 1_440, 5)] {
            let asked = range(96 * HOUR, 96 * HOUR + minutes * 60_000);
            let pieces = cover(asked, &Horizons::default());
            assert_eq!(pieces.first().map(|piece| piece.2), Some(level), "{minutes} minutes");
        }
    }

    #[test]
    fn what_was_let_go_of_is_answered_by_coarser_windows() {
        let horizons = Horizons::with([(1, 110 * HOUR), (2, 105 * HOUR)], []);
        let asked = range(104 * HOUR + 5, 104 * HOUR + 300_000);
        assert_eq!(cover(asked, &horizons), [(asked.from_ms, asked.until_ms, 3)]);
        let asked = range(104 * HOUR, 104 * HOUR + 60_000);
        let pinned = Horizons::with([(1, 110 * HOUR), (2, 105 * HOUR)], [(1, range(104 * HOUR, 105 * HOUR))]);
        assert_eq!(cover(asked, &pinned), [(asked.from_ms, asked.until_ms, 1)]);
    }

    /// Step by step through its hours it would never end.
    #[test]
    fn all_of_time_is_covered_at_once_however_far_a_horizon_is() {
        let TimeRange { from_ms, until_ms } = TimeRange::ALL;
        let far = until_ms / HOUR * HOUR;
        let horizons = Horizons::with([(1, far), (2, far), (3, far), (4, 100 * HOUR)], []);
        let pieces = cover(TimeRange::ALL, &horizons);
        assert_eq!(pieces[0], (from_ms, until_ms - until_ms % (24 * HOUR), 5));
        assert_eq!(pieces.last().map(|piece| piece.1), Some(until_ms));
    }

    proptest! {
        #[test]
        fn pieces_cover_the_range_once(
            from in 0u64..1_000 * HOUR,
            length in 1u64..900 * HOUR,
            gone in prop::collection::vec((1u32..4, 0u64..1_000), 0..3),
            pins in prop::collection::vec((1u32..4, 0u64..1_000, 1u64..5), 0..3),
            by_instance in any::<bool>(),
        ) {
            let horizons = Horizons::with(
                gone.into_iter().map(|(level, hour)| (level, hour * HOUR)),
                pins.into_iter().map(|(level, hour, hours)| (level, range(hour * HOUR, (hour + hours) * HOUR))),
            );
            let asked = range(from, from + length);
            let pieces = Wish::replicates(asked, by_instance).cover(asked, &horizons);
            let mut at = from;
            for piece in &pieces {
                prop_assert_eq!(piece.range.from_ms, at);
                prop_assert!(piece.range.until_ms > at);
                at = piece.range.until_ms;
                let level = Level::of(piece.level).unwrap();
                let complete = horizons.complete(piece.level, piece.range.from_ms)
                    && horizons.complete(piece.level, piece.range.until_ms - 1);
                prop_assert!(complete || level.number == 5, "{:?}", piece);
                let inner = piece.range.from_ms != from;
                prop_assert!(!inner || piece.range.from_ms % u64::from(level.window_ms) == 0, "{:?}", piece);
            }
            prop_assert_eq!(at, from + length);
        }
    }
}
