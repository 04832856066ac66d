//! Since when: the moment at which a series of values moved to another level.
//!
//! One change point by least squares: the split that leaves the least variance on both sides. It is told only when the
//! step is large against what is left, because a wrong "since" sends people to the wrong deploy.

/// Points on each side: fewer make a split at a single outlier likely.
const POINTS_MIN: usize = 3;

/// Steps below a tenth of the level are not worth a sentence.
const STEP_SHARE_MIN: f64 = 0.1;

/// How many standard errors the step must have. The best of all splits is looked at, so chance finds 3 easily.
const STANDARD_ERRORS_MIN: f64 = 6.0;

/// A move to another level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Onset {
    /// Start of the first point on the new level, unix milliseconds.
    pub(super) at_ms: u64,
    /// Mean before.
    pub(super) before: f64,
    /// Mean since.
    pub(super) after: f64,
}

/// Finds the one clear step in `points` (start in unix ms, value), if there is one. Points without value are skipped.
pub(super) fn onset(points: &[(u64, Option<f64>)]) -> Option<Onset> {
    let points: Vec<(u64, f64)> =
        points.iter().filter_map(|(at, value)| value.filter(|v| v.is_finite()).map(|v| (*at, v))).collect();
    let n = points.len();
    if n < 2 * POINTS_MIN {
        return None;
    }
    let sum: f64 = points.iter().map(|(_, v)| v).sum();
    let squares: f64 = points.iter().map(|(_, v)| v * v).sum();
    let (mut left_sum, mut best) = (0.0, None);
    for (i, (_, value)) in points.iter().enumerate() {
        // `i` points are to the left here.
        if i >= POINTS_MIN && n - i >= POINTS_MIN {
            let (left, right) = (i as f64, (n - i) as f64);
            let explained = left_sum * left_sum / left + (sum - left_sum) * (sum - left_sum) / right;
            if best.is_none_or(|(most, _, _)| explained > most) {
                best = Some((explained, i, left_sum));
            }
        }
        left_sum += value;
    }
    let (explained, split, left_sum) = best?;
    let (left, right) = (split as f64, (n - split) as f64);
    let (before, after) = (left_sum / left, (sum - left_sum) / right);
    let variance = ((squares - explained) / (n as f64 - 2.0)).max(0.0);
    let standard_error = (variance * (1.0 / left + 1.0 / right)).sqrt();
    let step = (after - before).abs();
    let clear = step > STANDARD_ERRORS_MIN * standard_error && step > STEP_SHARE_MIN * before.abs().max(after.abs());
    let (at_ms, _) = points.get(split)?;
    clear.then_some(Onset { at_ms: *at_ms, before, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values between -0.5 and 0.5 that repeat for ever, without a clock or a seed.
    fn noise(i: u64) -> f64 {
        let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    fn series(n: u64, level: impl Fn(u64) -> f64) -> Vec<(u64, Option<f64>)> {
        (0..n).map(|i| (i * 10_000, Some(level(i)))).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        for split in [10, 60, 100] {
            let found = onset(&series(120, |i| if i < split { 4.0 } else { 5.3 } + noise(i))).unwrap();
            assert!(found.at_ms.abs_diff(split * 10_000) <= 10_000, "{split}: {found:?}");
            assert!((found.before - 4.0).abs() < 0.2 && (found.after - 5.3).abs() < 0.2, "{found:?}");
        }
    }

    #[test]
    fn noise_has_no_onset() {
        for shift in 0..200 {
            assert_eq!(onset(&series(120, |i| 4.0 + noise(i + shift * 1_000))), None, "shift {shift}");
        }
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(onset(&[]), None);
        assert_eq!(onset(&series(5, |i| if i < 3 { 1.0 } else { 9.0 })), None);
        assert_eq!(onset(&series(50, |_| 3.0)), None);
        assert_eq!(
            onset(&series(50, |i| if i < 25 { 100.0 } else { 101.0 })),
            None,
            "one per cent is not worth a word"
        );
    }

    #[test]
    fn gaps_are_skipped() {
        let mut points = series(40, |i| if i < 20 { 1.0 } else { 2.0 } + noise(i) / 10.0);
        for i in (0..40).step_by(3) {
            points[i].1 = None;
        }
        assert!(onset(&points).unwrap().at_ms.abs_diff(200_000) <= 10_000);
    }
}
