//! The bins in which requests are counted by how long they took.
//!
//! They are those of OpenTelemetry's exponential histogram at scale 4: each bound is 2^(1/16) times the one before it, so what stands for a
//! bin is at most 2.2 % off whatever is in it, at 1 µs as at 1 000 s. They are fixed, so counts of any two windows add up bin by bin.

/// How many bins double the duration.
pub const BINS_PER_DOUBLING: u16 = 16;

/// How many bins there are: 1 000 s are in the last.
pub const BINS: u16 = 479;

/// The longest duration that is told, in microseconds: a week.
pub const DURATION_US_MAX: u64 = 7 * 86_400 * 1_000_000;

/// The bin of a duration in nanoseconds: the first takes whatever is shorter, the last whatever is longer.
pub fn bin(duration_ns: u64) -> u16 {
    let us = duration_ns as f64 / 1_000.0;
    // A duration just on a bound, and one that rounding put there.
    let above = (us.log2() * f64::from(BINS_PER_DOUBLING) - 1e-12).ceil() - 1.0;
    above.clamp(0.0, f64::from(BINS - 1)) as u16
}

/// The longest duration in a bin, in microseconds. In the last bin are longer ones.
pub fn longest_us(bin: u16) -> f64 {
    (f64::from(bin + 1) / f64::from(BINS_PER_DOUBLING)).exp2()
}

/// What stands for the durations in a bin, in microseconds: nothing in it is further than 2.2 % from it.
pub fn typical_us(bin: u16) -> f64 {
    let (above, longest) = (longest_us(bin) / step(), longest_us(bin));
    2.0 * above * longest / (above + longest)
}

/// Each bound over the one before it.
fn step() -> f64 {
    (1.0 / f64::from(BINS_PER_DOUBLING)).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_bin_below_them() {
        for doubling in 0..29 {
            let on_it = 1_000u64 << doubling;
            let below = (doubling as u16 * BINS_PER_DOUBLING).saturating_sub(1);
            assert_eq!(bin(on_it), below, "2^{doubling} µs");
            assert_eq!(bin(on_it + 1), doubling as u16 * BINS_PER_DOUBLING, "just above 2^{doubling} µs");
            assert!((longest_us(below) / (on_it as f64 / 1_000.0) - 1.0).abs() < 1e-9 || doubling == 0);
        }
    }

    #[test]
    fn every_duration_is_within_two_per_cent_of_what_stands_for_it() {
        let mut ns = 1_001.0_f64;
        while ns < 1e12 {
            let error = typical_us(bin(ns as u64)) * 1_000.0 / ns.floor() - 1.0;
            assert!(error.abs() <= 0.022, "{ns} ns: {error}");
            ns *= 1.001;
        }
    }

    #[test]
    fn nothing_is_without_a_bin() {
        assert_eq!((bin(0), bin(1), bin(1_000)), (0, 0, 0));
        assert_eq!((bin(1_000_000_000_000), bin(u64::MAX)), (BINS - 1, BINS - 1));
        assert!(longest_us(BINS - 1) >= 1e9);
    }
}
