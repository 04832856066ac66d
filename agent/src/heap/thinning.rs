//! Of sizes that come in floods, few samples are enough: how many of those that are due are taken, by size.
//!
//! A service that makes a large buffer for every request has thousands of samples a second of that one size, which tell no more
//! than some hundreds, while a slow leak of another size has one. So each size class is thinned on its own, and what is taken of
//! it counts for what is not: sums stay unbiased.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// Sizes are told apart by their highest bit; from 1 GiB on they are one class.
pub(crate) const CLASSES: usize = 32;

/// Something of each class.
pub(crate) type PerClass<T> = [T; CLASSES];

/// Samples that were due since the process began, taken or not.
static DUE: PerClass<AtomicU64> = [const { AtomicU64::new(0) }; CLASSES];
/// How often the number of samples taken is halved.
static HALVINGS: PerClass<AtomicU8> = [const { AtomicU8::new(0) }; CLASSES];
/// Those of them that were taken. Few, where those that were not are many.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// The class of blocks of so many bytes.
fn class(bytes: usize) -> usize {
    (bytes.max(1).ilog2() as usize).min(CLASSES - 1)
}

/// Decides, with the help of a random number, whether a sample that is due is taken: then how many of its size it stands for.
pub(super) fn choose(bytes: usize, random: u64) -> Option<f64> {
    let class = class(bytes);
    let halvings = HALVINGS.get(class)?.load(Ordering::Relaxed).min(63);
    DUE.get(class)?.fetch_add(1, Ordering::Relaxed);
    // One of so many. The high bits, as the low ones of a fast generator are the weaker ones.
    if random.leading_zeros() < u32::from(halvings) {
        return None;
    }
    TAKEN.fetch_add(1, Ordering::Relaxed);
    Some((1u64 << halvings) as f64)
}

/// How many samples were due, of each class.
pub(crate) fn due() -> PerClass<u64> {
    std::array::from_fn(|class| DUE.get(class).map_or(0, |due| due.load(Ordering::Relaxed)))
}

/// How many samples were due and not taken since the process began, because others stand for them.
pub(crate) fn left_out() -> u64 {
    let taken = TAKEN.load(Ordering::Relaxed);
    due().iter().sum::<u64>().saturating_sub(taken)
}

/// From now on one of 2ⁿ samples that are due is taken, with the n of its class.
pub(crate) fn set(halvings: &PerClass<u8>) {
    for (now, &new) in HALVINGS.iter().zip(halvings) {
        now.store(new, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_apart_by_their_highest_bit() {
        assert_eq!([0, 1, 2, 3, 4096, 8191, 8192, 1 << 30, usize::MAX].map(class), [0, 0, 1, 1, 12, 12, 13, 30, 31]);
    }
}
