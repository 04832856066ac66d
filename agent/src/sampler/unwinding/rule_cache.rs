//! Remembers how frames of known code are unwound.
//!
//! One cache of the unwinder has room for 509 addresses. Services are busy in more, and an address that was pushed out costs a
//! search through unwind tables. So whoever walks has several caches, and the address says which of them is its own.

use framehop::CacheNative;

use super::allocation_policy::FixedRoom;

/// Addresses in one cache. Those that differ by a multiple of it push each other out.
const ADDRESSES: u64 = 509;
/// Each takes 13 KiB. An odd number: code is aligned to powers of two, so that addresses are often such a distance apart.
const CACHES: usize = 9;

/// Caches that never allocate after their creation.
pub(crate) struct RuleCache<C = CacheNative<FixedRoom>>([C; CACHES]);

impl<C> RuleCache<C> {
    /// The caches that `new` makes.
    pub(crate) fn new(mut new: impl FnMut() -> C) -> Self {
        Self(std::array::from_fn(|_| new()))
    }

    /// The cache for frames of this code.
    pub(crate) fn of(&mut self, pc: u64) -> &mut C {
        let [first, more @ ..] = &mut self.0;
        match ((pc / ADDRESSES) as usize % CACHES).checked_sub(1).and_then(|at| more.get_mut(at)) {
            Some(cache) => cache,
            None => first,
        }
    }
}

impl Default for RuleCache {
    fn default() -> Self {
        Self::new(CacheNative::new_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_share_a_place_are_in_different_caches() {
        let mut numbers = 0..CACHES;
        let mut rules = RuleCache::new(|| numbers.next());
        let mut caches: Vec<_> = (0..CACHES as u64).map(|n| *rules.of(0x5555_0000 + n * ADDRESSES)).collect();
        assert_eq!(*rules.of(0x5555_0000), caches[0], "an address keeps its cache");
        caches.sort_unstable();
        assert_eq!(caches, (0..CACHES).map(Some).collect::<Vec<_>>());
    }

    #[test]
    fn functions_of_one_size_share_no_place() {
        for bits in 2..12 {
            let mut numbers = 0..CACHES;
            let mut rules = RuleCache::new(|| numbers.next());
            let places: std::collections::HashSet<_> = (0..ADDRESSES * CACHES as u64)
                .map(|n| 0x5555_0000 + (n << bits))
                .map(|pc| (*rules.of(pc), pc % ADDRESSES))
                .collect();
            assert_eq!(places.len(), ADDRESSES as usize * CACHES, "{} bytes each", 1 << bits);
        }
    }
}
