//! A table of what was seen lately, which takes new entries as long as there is room.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Whoever has been seen for this long is not made up on the spot. Milliseconds.
const ESTABLISHED_MS: u64 = 3_600_000;

/// An entry that was seen for less than that makes room once it was silent for this long: a flood of names is over soon after it ends.
/// Milliseconds.
pub(super) const YOUNG_IDLE_MS: u64 = 600_000;

/// How often a full table is searched for idle entries.
const SWEEP_MS: u64 = 60_000;

/// Keys with values, and when each was last seen.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, Entry<V>>,
    swept_ms: u64,
}

#[derive(Debug)]
struct Entry<V> {
    first_ms: u64,
    last_ms: u64,
    value: V,
}

impl<V> Entry<V> {
    fn is_idle(&self, now_ms: u64, idle_ms: u64) -> bool {
        let is_established = self.last_ms - self.first_ms >= ESTABLISHED_MS;
        now_ms.saturating_sub(self.last_ms) >= if is_established { idle_ms } else { YOUNG_IDLE_MS.min(idle_ms) }
    }
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), swept_ms: 0 }
    }
}

impl<K: Hash + Eq, V: Default> Recent<K, V> {
    /// The entry of `key`, seen now; `None` when it is new and there is no room. Established entries make room after `idle_ms`, young
    /// ones sooner; but a full table is not searched for them at every call.
    pub(super) fn seen<Q>(&mut self, key: &Q, limit: usize, now_ms: u64, idle_ms: u64) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if !self.entries.contains_key(key) {
            if self.entries.len() >= limit && now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
                self.swept_ms = now_ms;
                self.entries.retain(|_, entry| !entry.is_idle(now_ms, idle_ms));
            }
            if self.entries.len() >= limit {
                return None;
            }
            let entry = Entry { first_ms: now_ms, last_ms: now_ms, value: V::default() };
            self.entries.insert(key.to_owned(), entry);
        }
        let entry = self.entries.get_mut(key)?;
        entry.last_ms = now_ms.max(entry.last_ms);
        Some(&mut entry.value)
    }

    /// The entry of one that was known before this process started, and seen last at `last_ms`; `None` when there is no room.
    pub(super) fn known(&mut self, key: K, limit: usize, last_ms: u64) -> Option<&mut V> {
        if self.entries.len() >= limit && !self.entries.contains_key(&key) {
            return None;
        }
        let first_ms = last_ms.saturating_sub(ESTABLISHED_MS);
        let entry = self.entries.entry(key).or_insert_with(|| Entry { first_ms, last_ms, value: V::default() });
        entry.last_ms = entry.last_ms.max(last_ms);
        Some(&mut entry.value)
    }

    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(&mut self.entries.get_mut(key)?.value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;
    const DAY: u64 = 86_400_000;

    #[test]
    fn a_flood_is_forgotten_soon_after_it_ends_and_who_was_there_before_is_not() {
        let mut table = Recent::<u32, ()>::default();
        let seen = |table: &mut Recent<u32, ()>, key: u32, at| table.seen(&key, 3, at, DAY).is_some();
        assert!(seen(&mut table, 1, NOW - ESTABLISHED_MS));
        assert!(seen(&mut table, 1, NOW));
        assert!(seen(&mut table, 2, NOW) && seen(&mut table, 3, NOW));
        assert!(!seen(&mut table, 4, NOW + 1));
        assert!(!seen(&mut table, 4, NOW + YOUNG_IDLE_MS - 1), "they may come again");
        assert!(seen(&mut table, 4, NOW + YOUNG_IDLE_MS + SWEEP_MS));
        assert!(seen(&mut table, 5, NOW + YOUNG_IDLE_MS + SWEEP_MS));
        assert!(!seen(&mut table, 6, NOW + YOUNG_IDLE_MS + SWEEP_MS), "1 keeps its place");
        assert!(seen(&mut table, 1, NOW + DAY - 1));
    }

    #[test]
    fn who_was_known_before_is_established() {
        let mut table = Recent::<u32, ()>::default();
        assert!(table.known(1, 2, NOW).is_some() && table.known(2, 2, NOW).is_some());
        assert!(table.known(3, 2, NOW).is_none());
        assert!(table.seen(&3, 2, NOW + DAY - 1, DAY).is_none());
        assert!(table.seen(&3, 2, NOW + DAY + SWEEP_MS, DAY).is_some());
    }
}
