//! The sampled blocks that are still allocated: a fixed, lock-free table from address to sample.
//!
//! An address is looked for in a run of entries from its hash's position, and removed by clearing its key; so there is no
//! tombstone, no resizing and no lock, and a full run means that a block is not tracked, which is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// 16 GiB of live heap at one sample per 512 KiB. 1 MiB, of which pages never used cost nothing.
const ENTRIES: usize = 32_768;
/// How far from its position an address may be.
const RUN: usize = 32;

const EMPTY: usize = 0;
/// Being filled in. No block has this address.
const RESERVED: usize = 1;

/// A sampled block that has not been freed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LiveBlock {
    /// Refers to the stack of the sample taken when it was allocated.
    pub(crate) stack_hash: u64,
    /// Bytes it was sampled with.
    pub(crate) bytes: u64,
    /// How many such blocks it stands for.
    pub(crate) weight: f64,
}

struct Entry {
    key: AtomicUsize,
    stack_hash: AtomicU64,
    bytes: AtomicU64,
    weight: AtomicU64,
}

/// See the module's words.
pub(super) struct LiveTable {
    entries: [Entry; ENTRIES],
}

impl LiveTable {
    /// An empty table.
    pub(super) const fn new() -> Self {
        Self { entries: [const { Entry::empty() }; ENTRIES] }
    }

    /// Notes a block; `false` when there is no room near its position.
    pub(super) fn insert(&self, address: usize, block: LiveBlock) -> bool {
        for entry in self.run(address) {
            if entry.key.compare_exchange(EMPTY, RESERVED, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                entry.stack_hash.store(block.stack_hash, Ordering::Relaxed);
                entry.bytes.store(block.bytes, Ordering::Relaxed);
                entry.weight.store(block.weight.to_bits(), Ordering::Relaxed);
                entry.key.store(address, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// What is known of a block.
    pub(super) fn get(&self, address: usize) -> Option<LiveBlock> {
        self.find(address).map(Entry::read)
    }

    /// Forgets a block; `false` when it was not known. Called before the block is freed, so nobody else can hold it.
    pub(super) fn remove(&self, address: usize) -> bool {
        self.find(address).is_some_and(|entry| {
            entry.key.store(EMPTY, Ordering::Release);
            true
        })
    }

    /// Shows every block. One that is freed meanwhile may be shown or not.
    pub(super) fn for_each(&self, each: &mut dyn FnMut(LiveBlock)) {
        for entry in &self.entries {
            let key = entry.key.load(Ordering::Acquire);
            if key > RESERVED {
                let block = entry.read();
                // Read before the key is looked at again: if it is the same, the block was not another's half way.
                std::sync::atomic::fence(Ordering::Acquire);
                if entry.key.load(Ordering::Relaxed) == key {
                    each(block);
                }
            }
        }
    }

    fn find(&self, address: usize) -> Option<&Entry> {
        self.run(address).find(|entry| entry.key.load(Ordering::Acquire) == address)
    }

    fn run(&self, address: usize) -> impl Iterator<Item = &Entry> {
        // Sampled blocks are page-aligned, so the low bits say nothing.
        let hash = (address as u64 >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (0..RUN).filter_map(move |step| self.entries.get((hash as usize + step) % ENTRIES))
    }
}

impl Entry {
    const fn empty() -> Self {
        Self {
            key: AtomicUsize::new(EMPTY),
            stack_hash: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            weight: AtomicU64::new(0),
        }
    }

    fn read(&self) -> LiveBlock {
        LiveBlock {
            stack_hash: self.stack_hash.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            weight: f64::from_bits(self.weight.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(number: usize) -> LiveBlock {
        LiveBlock { stack_hash: number as u64, bytes: number as u64 * 2, weight: number as f64 / 2.0 }
    }

    #[test]
    fn blocks_are_found_until_they_are_removed() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        let addresses: Vec<usize> = (1..=10_000).map(|i| i * 4096).collect();
        assert!(addresses.iter().all(|&a| table.insert(a, block(a))));
        assert!(addresses.iter().all(|&a| table.get(a) == Some(block(a))));
        assert!(table.get(4096 * 20_000).is_none());
        assert!(addresses.iter().all(|&a| table.remove(a)));
        assert!(addresses.iter().all(|&a| table.get(a).is_none() && !table.remove(a)));
        let mut left = 0;
        table.for_each(&mut |_| left += 1);
        assert_eq!(left, 0);
    }

    #[test]
    fn a_full_table_refuses_and_recovers() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        let mut held: Vec<usize> = Vec::new();
        let mut refused = 0;
        for i in 1..=2 * ENTRIES {
            if table.insert(i * 4096, block(i)) { held.push(i * 4096) } else { refused += 1 }
        }
        assert!(held.len() > ENTRIES * 9 / 10 && refused >= ENTRIES, "{} held, {refused} refused", held.len());
        assert!(held.iter().all(|&a| table.remove(a)));
        assert!(table.insert(4096, block(1)));
    }

    #[test]
    fn threads_insert_and_remove_without_losing_each_others_blocks() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        std::thread::scope(|scope| {
            for thread in 1..=4usize {
                scope.spawn(move || {
                    for round in 0..200 {
                        let addresses: Vec<usize> =
                            (0..500).map(|i| (thread << 32) + (round * 500 + i) * 4096).collect();
                        assert!(addresses.iter().all(|&a| table.insert(a, block(a))));
                        assert!(addresses.iter().all(|&a| table.get(a) == Some(block(a)) && table.remove(a)));
                    }
                });
            }
        });
    }
}
