//! A profile of minutes or hours becomes several windows: so it counts in every part of its time, with its own rate, and the windows of
//! all levels stay sums of whole ones.
//!
//! Sums are exact: what counts over time is dealt out, what holds all the time is in each piece. A profile says nothing of when in its
//! time a sample was taken, so each falls into a piece by lot, as if its stack had been at work all along. In equal parts, pieces would
//! be more alike than any program's, and a comparison, which takes them for replicates, would believe differences that are noise.
//! The lots are drawn the same way each time.

use prost::Message;
use tephra_proto::limits::WINDOW_MS_MAX;
use tephra_proto::v1;

use super::import::ImportError;

const MINUTE: u64 = 60_000;

/// What is no longer than this stays whole.
const WHOLE_MS_MAX: u64 = MINUTE;

/// How long pieces are, at least: those of a profile of up to an hour, of up to ten, and of longer ones.
const LENGTHS_MS: [u64; 3] = [MINUTE, 10 * MINUTE, WINDOW_MS_MAX as u64];

/// At most so many of the shorter ones.
const PIECES_MAX: u64 = 61;

/// Bytes of all pieces together, before they are compressed.
const BYTES_MAX: usize = 128 << 20;

/// The longest profile that is taken: a day.
pub const PROFILE_MS_MAX: u64 = 24 * 60 * MINUTE;

/// A window of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Unix milliseconds.
    pub start_ms: u64,
    /// At most an hour.
    pub duration_ms: u32,
    /// Ready to be stored like an agent's.
    pub payload: v1::WindowPayload,
}

/// The pieces of a profile, in their order. Each is made when it is asked for.
#[derive(Debug)]
pub struct Pieces {
    /// Its tables, and of what counts over time the rest.
    left: v1::WindowPayload,
    start_ms: u64,
    end_ms: u64,
    length_ms: u64,
}

impl Pieces {
    /// Of a profile that took at most [`PROFILE_MS_MAX`].
    ///
    /// # Errors
    /// When it is too large for so many.
    pub fn of(profile: v1::WindowPayload, start_ms: u64, duration_ms: u64) -> Result<Self, ImportError> {
        let is_whole = duration_ms <= WHOLE_MS_MAX;
        let bytes = if is_whole { 1 } else { profile.encoded_len().max(1) };
        let fits = |length_ms: &u64| {
            let pieces = duration_ms.div_ceil(*length_ms) + 1;
            (pieces <= PIECES_MAX || *length_ms == u64::from(WINDOW_MS_MAX)) && pieces as usize <= BYTES_MAX / bytes
        };
        let length_ms = if is_whole { Some(u64::MAX) } else { LENGTHS_MS.into_iter().find(fits) };
        let length_ms = length_ms.ok_or(ImportError::TooLarge { limit: BYTES_MAX })?;
        let mut left = profile;
        for series in &mut left.series {
            series.scale = series.scale.max(1);
        }
        Ok(Self { left, start_ms, end_ms: start_ms + duration_ms.max(1), length_ms })
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let (start_ms, end_ms) = (self.start_ms, self.end_ms);
        if start_ms >= end_ms {
            return None;
        }
        // At whole multiples of their length, as the store's own.
        let until_ms = (start_ms / self.length_ms + 1).saturating_mul(self.length_ms).min(end_ms);
        self.start_ms = until_ms;
        let duration_ms = (until_ms - start_ms) as u32;
        if until_ms == end_ms {
            return Some(Piece { start_ms, duration_ms, payload: std::mem::take(&mut self.left) });
        }
        let share = f64::from(duration_ms) / (end_ms - start_ms) as f64;
        let series =
            self.left.series.iter_mut().zip(0u64..).map(|(series, at)| take(series, share, start_ms ^ at << 50));
        let series = series.collect();
        let payload = v1::WindowPayload { series, ..tables(&self.left) };
        Some(Piece { start_ms, duration_ms, payload })
    }
}

fn tables(of: &v1::WindowPayload) -> v1::WindowPayload {
    v1::WindowPayload {
        strings: of.strings.clone(),
        modules: of.modules.clone(),
        frames: of.frames.clone(),
        stacks: of.stacks.clone(),
        label_sets: of.label_sets.clone(),
        links: of.links.clone(),
        ..v1::WindowPayload::default()
    }
}

/// Takes a share of what is left of a series. A gauge is the same all the time.
fn take(left: &mut v1::Series, share: f64, seed: u64) -> v1::Series {
    if left.r#type.as_ref().is_some_and(|t| t.kind() == v1::Kind::Gauge) {
        return left.clone();
    }
    let mut taken = v1::Series { r#type: left.r#type.clone(), scale: left.scale, ..v1::Series::default() };
    let counts = left.samples.is_empty();
    let mut lots = Lots(seed);
    for (row, value) in left.value.iter_mut().enumerate() {
        let samples = left.samples.get(row).map_or(*value, |samples| u64::from(*samples));
        let drawn = lots.draw(samples, share);
        if drawn == 0 {
            continue;
        }
        // Samples of one row are worth the same, to a unit.
        let part = (u128::from(*value) * u128::from(drawn) / u128::from(samples)) as u64;
        *value -= part;
        if let Some(samples) = left.samples.get_mut(row) {
            *samples -= drawn as u32;
        }
        taken.stack.push(left.stack.get(row).copied().unwrap_or_default());
        taken.value.push(part);
        taken.label_set.push(left.label_set.get(row).copied().unwrap_or_default());
        taken.link.extend(left.link.get(row));
        if !counts {
            taken.samples.push(drawn as u32);
        }
    }
    taken
}

/// SplitMix64.
struct Lots(u64);

/// Up to here each sample draws its own lot; beyond, their number is drawn from the normal distribution that is all but the same.
const SINGLE_MAX: u64 = 256;

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// How many of `n` fall into a `share` of all places.
    fn draw(&mut self, n: u64, share: f64) -> u64 {
        if n <= SINGLE_MAX {
            return (0..n).filter(|_| self.unit() < share).count() as u64;
        }
        let mean = n as f64 * share;
        let spread = (mean * (1.0 - share)).sqrt();
        // Twelve of them have a variance of one.
        let normal = (0..12).fold(-6.0, |sum, _| sum + self.unit());
        ((mean + spread * normal).round().max(0.0) as u64).min(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 60 * MINUTE;

    /// `rows` are values and samples.
    fn profile(kind: v1::Kind, rows: &[(u64, u32)]) -> v1::WindowPayload {
        let series = v1::Series {
            r#type: Some(v1::ProfileType { name: "x".into(), kind: kind.into(), ..v1::ProfileType::default() }),
            stack: (0..rows.len() as u32).collect(),
            label_set: vec![0; rows.len()],
            value: rows.iter().map(|row| row.0).collect(),
            samples: rows.iter().map(|row| row.1).collect(),
            ..v1::Series::default()
        };
        v1::WindowPayload { series: vec![series], strings: vec!["a".into()], ..v1::WindowPayload::default() }
    }

    fn pieces(kind: v1::Kind, rows: &[(u64, u32)], start_ms: u64, duration_ms: u64) -> Vec<Piece> {
        Pieces::of(profile(kind, rows), start_ms, duration_ms).unwrap().collect()
    }

    fn samples(piece: &Piece) -> u64 {
        piece.payload.series[0].samples.iter().map(|samples| u64::from(*samples)).sum()
    }

    #[test]
    fn pieces_are_as_short_as_their_number_allows_and_lie_on_whole_multiples() {
        let start = 1_000 * HOUR + 10_500;
        for (duration, length, n) in [
            (500, None, 1),
            (MINUTE, None, 1),
            (MINUTE + 1, Some(MINUTE), 2),
            (5 * MINUTE, Some(MINUTE), 6),
            (HOUR, Some(MINUTE), 61),
            (HOUR + 1, Some(10 * MINUTE), 7),
            (10 * HOUR, Some(10 * MINUTE), 61),
            (24 * HOUR, Some(HOUR), 25),
        ] {
            let pieces = pieces(v1::Kind::Counter, &[(5, 5)], start, duration);
            assert_eq!(pieces.len(), n, "{duration} ms");
            let mut at = start;
            for piece in &pieces {
                assert_eq!(piece.start_ms, at);
                assert!(length.is_none_or(|length| at == start || at.is_multiple_of(length)), "{duration} ms");
                at += u64::from(piece.duration_ms);
            }
            assert_eq!(at, start + duration, "{duration} ms");
        }
    }

    #[test]
    fn what_would_be_too_large_in_short_pieces_comes_in_long_ones_or_not_at_all() {
        let large = |bytes: usize| {
            let mut profile = profile(v1::Kind::Counter, &[(1, 1)]);
            profile.strings.push("x".repeat(bytes));
            Pieces::of(profile, 0, HOUR).map(Iterator::count)
        };
        assert_eq!(large(1 << 20).ok(), Some(60));
        assert_eq!(large(4 << 20).ok(), Some(6));
        assert_eq!(large(40 << 20).ok(), Some(1));
        assert!(matches!(large(70 << 20), Err(ImportError::TooLarge { .. })));
    }

    #[test]
    fn a_gauge_holds_all_the_time() {
        let pieces = pieces(v1::Kind::Gauge, &[(500, 5)], 0, 5 * MINUTE);
        assert!(pieces.iter().all(|piece| piece.payload.series[0].value == [500] && samples(piece) == 5));
    }

    #[test]
    fn counts_without_samples_of_their_own_are_dealt_as_what_they_count() {
        let mut counted = profile(v1::Kind::Counter, &[(1 << 40, 0)]);
        counted.series[0].samples.clear();
        let pieces: Vec<Piece> = Pieces::of(counted, 0, 5 * MINUTE).unwrap().collect();
        let values: Vec<u64> = pieces.iter().map(|piece| piece.payload.series[0].value[0]).collect();
        assert_eq!(values.iter().sum::<u64>(), 1 << 40);
        assert!(values.iter().all(|value| value.abs_diff((1 << 40) / 5) < 1 << 24), "{values:?}");
    }

    #[test]
    fn pieces_differ_as_those_of_a_steady_program_do() {
        // The variance of how many samples are in a piece is their mean, and that of equal parts would be none.
        for rows in [vec![(10_000_000, 1); 6_000], vec![(60_000, 6_000)], vec![(1_000, 100); 60]] {
            let pieces = pieces(v1::Kind::Counter, &rows, 0, HOUR);
            let counts: Vec<f64> = pieces.iter().map(|piece| samples(piece) as f64).collect();
            let (n, mean) = (counts.len() as f64, 100.0);
            let variance = counts.iter().map(|count| (count - mean) * (count - mean)).sum::<f64>() / n;
            assert_eq!(counts.iter().sum::<f64>(), mean * n);
            assert!((50.0..170.0).contains(&variance), "{variance} of {counts:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made(
            rows in prop::collection::vec((0u64..1 << 50, 1u32..100_000), 1..40),
            start in 0u64..1 << 40,
            duration in 1u64..24 * HOUR,
        ) {
            let mut left = rows.clone();
            for piece in pieces(v1::Kind::Counter, &rows, start, duration) {
                let series = &piece.payload.series[0];
                prop_assert_eq!(series.label_set.len(), series.stack.len());
                for ((stack, value), samples) in series.stack.iter().zip(&series.value).zip(&series.samples) {
                    let row = &mut left[*stack as usize];
                    // Fails where it would fall below zero.
                    *row = (row.0.checked_sub(*value).unwrap(), row.1.checked_sub(*samples).unwrap());
                }
            }
            prop_assert!(left.iter().all(|row| *row == (0, 0)), "{:?}", left);
        }
    }
}
