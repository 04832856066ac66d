//! A cache bounded in bytes, which forgets what was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// See the module. Shared by threads; values should be cheap to clone.
#[derive(Debug)]
pub struct Cache<K, V> {
    limit: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    bytes: usize,
    clock: u64,
    entries: HashMap<K, Entry<V>>,
    by_use: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    /// A cache of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let inner = Inner { bytes: 0, clock: 0, entries: HashMap::new(), by_use: BTreeMap::new() };
        Self { limit, inner: Mutex::new(inner) }
    }

    /// The value, if it is still there.
    pub fn get(&self, key: &K) -> Option<V> {
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        let entry = inner.entries.get_mut(key)?;
        inner.clock += 1;
        inner.by_use.remove(&entry.used);
        inner.by_use.insert(inner.clock, key.clone());
        entry.used = inner.clock;
        Some(entry.value.clone())
    }

    /// Keeps a value of `bytes` bytes; one larger than a quarter of the cache is not worth what it would displace.
    pub fn put(&self, key: K, value: V, bytes: usize) {
        if bytes > self.limit / 4 {
            return;
        }
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        inner.clock += 1;
        let used = inner.clock;
        if let Some(old) = inner.entries.insert(key.clone(), Entry { value, bytes, used }) {
            inner.by_use.remove(&old.used);
            inner.bytes -= old.bytes;
        }
        inner.by_use.insert(used, key);
        inner.bytes += bytes;
        while inner.bytes > self.limit
            && let Some((_, oldest)) = inner.by_use.pop_first()
        {
            if let Some(entry) = inner.entries.remove(&oldest) {
                inner.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_within_its_bytes_and_keeps_what_is_used() {
        let cache = Cache::new(100);
        for i in 0..10 {
            cache.put(i, i, 20);
            assert_eq!(cache.get(&0), Some(0), "used after {i}");
        }
        let kept: Vec<i32> = (0..10).filter(|i| cache.get(i).is_some()).collect();
        assert_eq!(kept, [0, 6, 7, 8, 9]);
        assert_eq!(cache.inner.lock().unwrap().bytes, 100);
    }

    #[test]
    fn what_would_displace_everything_is_not_kept() {
        let cache = Cache::new(100);
        cache.put("large", 1, 26);
        assert_eq!(cache.get(&"large"), None);
    }

    #[test]
    fn replacing_a_value_counts_it_once() {
        let cache = Cache::new(100);
        for _ in 0..50 {
            cache.put("same", 1, 25);
        }
        assert_eq!(cache.inner.lock().unwrap().bytes, 25);
    }
}
