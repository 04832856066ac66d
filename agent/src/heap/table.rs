//! The sampled blocks that are still allocated: a fixed, lock-free table from address to sample.
//!
//! An address is looked for in two runs of entries from its hash's position, and removed by clearing its key; so there is no
//! tombstone, no resizing and no lock, and full runs mean that a block is not tracked, which is counted. The first run lies in the
//! small part of the table that comes first, so that few blocks touch little memory. Before all that, a count of tracked blocks by
//! page says at a glance that a block is none of them: that is what nearly every look-up asks.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

/// 16 GiB of live heap at one sample per 512 KiB. About 1 MiB, of which pages never used cost nothing. An interpreter has less
/// patience, and whoever tries every order of events has none.
pub(super) const ENTRIES: usize = if cfg!(loom) {
    1
} else if cfg!(miri) {
    256
} else {
    32_768
};
/// Entries of the part that is filled first: 1.5 GiB of live heap at one sample per 512 KiB, in 160 KiB.
const FIRST_PART: usize = if cfg!(loom) { ENTRIES } else { ENTRIES / 8 };
/// How far from its position an address may be.
const RUN: usize = if cfg!(loom) { ENTRIES } else { 64 };

const EMPTY: usize = 0;
/// Being filled in. No block has this address.
const RESERVED: usize = 1;

/// A sampled block that has not been freed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LiveBlock {
    /// Refers to the stack of the sample taken when it was allocated, or last grown by a sampled amount.
    pub(crate) stack_hash: u64,
    /// How many bytes it stands for.
    pub(crate) bytes: f64,
    /// How many blocks it stands for; none if only its growth was sampled.
    pub(crate) objects: f64,
}

/// Read by whoever looks at all blocks while others come and go, so it says whether it changed meanwhile.
struct Body {
    /// Odd while the rest is being written.
    version: AtomicU32,
    stack_hash: AtomicU64,
    bytes: AtomicU64,
    objects: AtomicU64,
}

/// A table with [`ENTRIES`] entries.
pub(super) struct LiveTable {
    /// How many of the blocks start in a page with this number, modulo the length. There are fewer than it can count.
    pages: [AtomicU16; ENTRIES],
    keys: [AtomicUsize; ENTRIES],
    bodies: [Body; ENTRIES],
}

impl LiveTable {
    /// An empty table.
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self {
            pages: [const { AtomicU16::new(0) }; ENTRIES],
            keys: [const { AtomicUsize::new(EMPTY) }; ENTRIES],
            bodies: [const { Body::empty() }; ENTRIES],
        }
    }

    /// The same where atomics cannot be made before the program runs.
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self {
            pages: std::array::from_fn(|_| AtomicU16::new(0)),
            keys: std::array::from_fn(|_| AtomicUsize::new(EMPTY)),
            bodies: std::array::from_fn(|_| Body::empty()),
        }
    }

    /// Notes a block; `false` when there is no room near its position.
    pub(super) fn insert(&self, address: usize, block: LiveBlock) -> bool {
        for at in run(address) {
            let Some((key, body)) = self.keys.get(at).zip(self.bodies.get(at)) else { continue };
            if key.load(Ordering::Relaxed) == EMPTY
                && key.compare_exchange(EMPTY, RESERVED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                body.write(block);
                // Before the block is handed out, so whoever frees it will see it.
                self.count(address, 1);
                key.store(address, Ordering::Release);
                return true;
            }
        }
        false
    }

    /// What is known of a block.
    pub(super) fn get(&self, address: usize) -> Option<LiveBlock> {
        self.find(address).map(|(_, body)| body.read())
    }

    /// Forgets a block; `false` when it was not known. Called by its owner before it is freed, so nobody else can hold it.
    pub(super) fn remove(&self, address: usize) -> bool {
        let Some((key, _)) = self.find(address) else { return false };
        // Before the key is cleared: so a count is never above the number of keys there is room for.
        self.count(address, -1);
        key.store(EMPTY, Ordering::Release);
        true
    }

    /// Shows every block. One that is freed meanwhile may be shown or not.
    pub(super) fn for_each(&self, each: &mut dyn FnMut(LiveBlock)) {
        for (key, body) in self.keys.iter().zip(&self.bodies) {
            if key.load(Ordering::Acquire) > RESERVED {
                body.read_unchanged().into_iter().for_each(&mut *each);
            }
        }
    }

    /// Forgets everything, so that one test's failure is not the next one's.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        self.keys.iter().for_each(|key| key.store(EMPTY, Ordering::Relaxed));
        self.pages.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// False when no tracked block starts in such a page, which is nearly always so if this one is not tracked. To be asked
    /// before anything else, as it costs next to nothing.
    #[inline(always)]
    pub(super) fn may_hold(&self, address: usize) -> bool {
        self.pages.get(page(address)).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    fn find(&self, address: usize) -> Option<(&AtomicUsize, &Body)> {
        let mut entries = run(address).filter_map(|at| self.keys.get(at).zip(self.bodies.get(at)));
        entries.find(|(key, _)| key.load(Ordering::Acquire) == address)
    }

    fn count(&self, address: usize, change: i16) {
        if let Some(count) = self.pages.get(page(address)) {
            count.fetch_add(change as u16, Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn page(address: usize) -> usize {
    (address >> 12) % ENTRIES
}

/// Where an address may be, in the order to look. Blocks of one size lie at equal distances, which no simpler hash spreads
/// evenly whatever the distance.
fn run(address: usize) -> impl Iterator<Item = usize> {
    let mut hash = address as u64;
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let position = hash as usize;
    let first = (0..RUN).map(move |step| position.wrapping_add(step) % FIRST_PART);
    let rest = (0..RUN).filter_map(move |step| {
        let at = position.wrapping_add(step).checked_rem(ENTRIES - FIRST_PART)?;
        Some(FIRST_PART + at)
    });
    first.chain(rest)
}

impl Body {
    #[cfg(not(loom))]
    const fn empty() -> Self {
        let [stack_hash, bytes, objects] = [const { AtomicU64::new(0) }; 3];
        Self { version: AtomicU32::new(0), stack_hash, bytes, objects }
    }

    #[cfg(loom)]
    fn empty() -> Self {
        let [stack_hash, bytes, objects] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { version: AtomicU32::new(0), stack_hash, bytes, objects }
    }

    /// One writer at a time: whoever reserved the key.
    fn write(&self, block: LiveBlock) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Whoever sees a word of what follows sees the odd version too.
        fence(Ordering::Release);
        self.stack_hash.store(block.stack_hash, Ordering::Relaxed);
        self.bytes.store(block.bytes.to_bits(), Ordering::Relaxed);
        self.objects.store(block.objects.to_bits(), Ordering::Relaxed);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// `None` when it was written meanwhile.
    fn read_unchanged(&self) -> Option<LiveBlock> {
        let version = self.version.load(Ordering::Acquire);
        let block = self.read();
        // All of it was read before the version is looked at again.
        fence(Ordering::Acquire);
        (version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version).then_some(block)
    }

    /// For the block's owner, beside whom nobody writes.
    fn read(&self) -> LiveBlock {
        LiveBlock {
            stack_hash: self.stack_hash.load(Ordering::Relaxed),
            bytes: f64::from_bits(self.bytes.load(Ordering::Relaxed)),
            objects: f64::from_bits(self.objects.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn block(number: usize) -> LiveBlock {
        LiveBlock { stack_hash: number as u64, bytes: number as f64 * 2.0, objects: number as f64 / 2.0 }
    }

    #[test]
    fn blocks_are_found_until_they_are_removed() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        let count = if cfg!(miri) { 100 } else { 10_000 };
        let addresses: Vec<usize> = (1..=count).map(|i| i * 4096).collect();
        assert!(addresses.iter().all(|&a| table.insert(a, block(a))));
        assert!(addresses.iter().all(|&a| table.get(a) == Some(block(a))));
        assert!(table.get(4096 * 20_000).is_none());
        assert!(addresses.iter().all(|&a| table.remove(a)));
        assert!(addresses.iter().all(|&a| table.get(a).is_none() && !table.remove(a)));
        let mut left = 0;
        table.for_each(&mut |_| left += 1);
        assert_eq!(left, 0);
        assert!(table.pages.iter().all(|count| count.load(Ordering::Relaxed) == 0), "every page is counted down");
    }

    #[test]
    #[cfg(not(miri))]
    fn few_blocks_stay_in_the_first_part_and_more_find_room_in_the_rest() {
        static TABLE: LiveTable = LiveTable::new();
        let highest = || TABLE.keys.iter().rposition(|key| key.load(Ordering::Relaxed) != EMPTY).unwrap();
        assert!((1..=FIRST_PART / 2).all(|i| TABLE.insert(i * 4096, block(i))));
        assert!(highest() < FIRST_PART);
        let more = FIRST_PART / 2 + 1..=FIRST_PART * 2;
        assert!(more.clone().all(|i| TABLE.insert(i * 4096, block(i))));
        assert!(highest() >= FIRST_PART);
        assert!(more.clone().all(|i| TABLE.get(i * 4096) == Some(block(i)) && TABLE.remove(i * 4096)));
    }

    #[test]
    #[cfg(not(miri))]
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
    #[cfg(not(miri))]
    fn blocks_at_equal_distances_do_not_meet() {
        static TABLE: LiveTable = LiveTable::new();
        for size in
            (4..24).flat_map(|bits| [1usize << bits, 3 << bits, 5 << bits, (1 << bits) + 16, (1 << bits) + 4096])
        {
            let addresses: Vec<usize> = (0..ENTRIES / 4 * 3).map(|i| 0x7f00_0000_0010 + i * size).collect();
            let refused = addresses.iter().filter(|&&a| !TABLE.insert(a, block(1))).count();
            assert!(
                refused * 1_000 < addresses.len(),
                "{refused} of {} refused at a distance of {size}",
                addresses.len()
            );
            TABLE.clear();
        }
    }

    #[test]
    fn threads_insert_and_remove_without_losing_each_others_blocks() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        let (threads, rounds, blocks) = if cfg!(miri) { (3, 2, 20) } else { (4, 200, 500) };
        std::thread::scope(|scope| {
            for thread in 1..=threads {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let addresses: Vec<usize> =
                            (0..blocks).map(|i| (thread << 32) + (round * blocks + i) * 4096).collect();
                        assert!(addresses.iter().all(|&a| table.insert(a, block(a))));
                        assert!(addresses.iter().all(|&a| table.get(a) == Some(block(a)) && table.remove(a)));
                    }
                });
            }
        });
    }

    #[test]
    fn a_block_shown_while_others_come_and_go_is_whole() {
        static TABLE: LiveTable = LiveTable::new();
        let table = &TABLE;
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        std::thread::scope(|scope| {
            for thread in 1..=2usize {
                scope.spawn(move || {
                    for i in 0..rounds {
                        // Never the same address twice, as allocators hardly ever do within one look.
                        let address = (thread << 40) + i * 4096;
                        assert!(table.insert(address, block(address)));
                        assert!(table.remove(address));
                    }
                });
            }
            for _ in 0..if cfg!(miri) { 2 } else { 50 } {
                table.for_each(&mut |shown| assert_eq!(shown, block(shown.stack_hash as usize)));
            }
        });
    }
}
