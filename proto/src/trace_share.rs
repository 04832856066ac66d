//! Which traces every service tells of: those whose id has a hash that begins with so many zero bits.
//!
//! Nobody has to ask anybody: whichever service a trace crosses, it is told of by all or by none. The hash takes all 16 bytes, for some
//! tracers fill only the last 8, and some write the time into the first.

/// More halvings than this nobody may announce: one trace in four thousand million.
pub const HALVINGS_MAX: u32 = 32;

/// The hash of a trace's id: its halves as big-endian numbers, mixed one after the other by the finalizer of SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", 2014).
pub fn hash(trace_id: &[u8; 16]) -> u64 {
    let id = u128::from_be_bytes(*trace_id);
    mix(mix((id >> 64) as u64) ^ id as u64)
}

/// Whether a trace is told of once the share was halved so often.
pub fn holds(hash: u64, halvings: u32) -> bool {
    hash.leading_zeros() >= halvings
}

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_this_one_for_ever() {
        // The second is what SplitMix64 gives first for the seed 0, mixed again.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash(&[0; 16]), mix(0xe220_a839_7b1d_cdaf));
        assert_ne!(hash(&1u128.to_be_bytes()), hash(&(1u128 << 64).to_be_bytes()));
    }

    #[test]
    fn a_halving_keeps_half_of_any_kind_of_ids() {
        type Kind = (&'static str, fn(u64) -> u128);
        let kinds: [Kind; 3] = [
            ("counted, 64 bits", u128::from),
            ("by time", |n| u128::from(1_800_000_000 + n / 50) << 96 | u128::from(mix(n))),
            ("random in the first half", |n| u128::from(mix(n)) << 64),
        ];
        for (kind, id) in kinds {
            for halvings in [0, 1, 3, 6] {
                let n = 100_000;
                let told = (1..=n).filter(|at| holds(hash(&id(*at).to_be_bytes()), halvings)).count() as f64;
                let share = 0.5_f64.powi(halvings as i32);
                let sigma = (n as f64 * share * (1.0 - share)).sqrt();
                assert!((told - n as f64 * share).abs() <= 4.0 * sigma, "{kind}, {halvings} halvings: {told}");
            }
        }
    }

    #[test]
    fn what_is_told_of_after_a_halving_was_told_of_before() {
        let hashes = (1..1_000u128).map(|id| hash(&id.to_be_bytes()));
        assert!(hashes.into_iter().all(|hash| !holds(hash, 4) || holds(hash, 3)));
    }
}
