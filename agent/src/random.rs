//! Random numbers for ids, jitter and reservoirs: xoroshiro128++ per thread, seeded by the standard library's hasher keys,
//! which come from the operating system. Fast enough for every span; never for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
}

/// 64 random bits.
pub(crate) fn next_u64() -> u64 {
    STATE
        .try_with(|state| {
            let mut s = state.get();
            if s == [0; 2] {
                s = seed();
            }
            let value = s[0].wrapping_add(s[1]).rotate_left(17).wrapping_add(s[0]);
            s[1] ^= s[0];
            s = [s[0].rotate_left(49) ^ s[1] ^ (s[1] << 21), s[1].rotate_left(28)];
            state.set(s);
            value
        })
        .unwrap_or_else(|_| seed()[0])
}

/// Uniform in `0..bound`; 0 for a bound of 0. The bias of 2^-64 × bound is far below what anything here could notice.
pub(crate) fn below(bound: u64) -> u64 {
    ((u128::from(next_u64()) * u128::from(bound)) >> 64) as u64
}

/// Fills `bytes`.
pub(crate) fn fill(bytes: &mut [u8]) {
    for chunk in bytes.chunks_mut(8) {
        let random = next_u64().to_le_bytes();
        for (byte, random) in chunk.iter_mut().zip(random) {
            *byte = random;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where random numbers begin")]
fn seed() -> [u64; 2] {
    let keys = RandomState::new();
    [keys.hash_one(1u8), keys.hash_one(2u8) | 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_numbers_cover_their_range_evenly() {
        let mut hits = [0u32; 10];
        for _ in 0..100_000 {
            hits[below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&n| (9_500..10_500).contains(&n)), "{hits:?}");
        assert_eq!(below(0), 0);
    }

    #[test]
    fn threads_draw_different_numbers() {
        let here = next_u64();
        let there = std::thread::spawn(next_u64).join().unwrap();
        assert_ne!(here, there);
    }
}
