//! What the connections to one database share in memory: locks, and the index of its log. All of it goes with the process.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sqlite_vfs::LockKind;
use sqlite_vfs::wip::{WalIndex, WalIndexLock};

/// A piece of the index.
type Region = [u8; 32_768];

static EMPTY: Region = [0; 32_768];

#[derive(Debug, Default)]
struct State {
    /// By holder.
    database: BTreeMap<usize, LockKind>,
    /// By lock and holder.
    log: BTreeMap<(u8, usize), WalIndexLock>,
    index: BTreeMap<u32, Box<Region>>,
}

/// The state behind its lock.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

/// One who takes locks. Lets go of all when dropped.
#[derive(Debug)]
pub(super) struct Holder {
    id: usize,
    shared: Arc<Shared>,
    /// The index as this holder last saw it: what differs from it is this holder's own change.
    seen: BTreeMap<u32, Box<Region>>,
}

impl Holder {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        static DRAWN: AtomicUsize = AtomicUsize::new(0);
        Self { id: DRAWN.fetch_add(1, Ordering::Relaxed), shared, seen: BTreeMap::new() }
    }

    /// Another one at the same database.
    pub(super) fn another(&self) -> Self {
        Self::new(self.shared.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap()
    }

    /// Moves to a lock on the database, up or down, if the others' locks allow it.
    pub(super) fn lock_database(&self, kind: LockKind) -> bool {
        let mut state = self.state();
        let others = state.database.iter().filter(|(holder, _)| **holder != self.id);
        let strongest = others.map(|(_, kind)| *kind).max_by_key(|kind| *kind as u8).unwrap_or_default();
        let free = match kind {
            LockKind::None => true,
            LockKind::Shared => strongest < LockKind::Pending,
            LockKind::Reserved | LockKind::Pending => strongest < LockKind::Reserved,
            LockKind::Exclusive => strongest == LockKind::None,
        };
        if free {
            state.database.insert(self.id, kind);
        }
        free
    }

    pub(super) fn database_lock(&self) -> LockKind {
        self.state().database.get(&self.id).copied().unwrap_or_default()
    }

    /// True when anybody is about to write to the database itself.
    pub(super) fn is_reserved(&self) -> bool {
        self.state().database.values().any(|kind| *kind >= LockKind::Reserved)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let id = self.id;
        let mut state = self.state();
        state.database.remove(&id);
        state.log.retain(|(_, holder), _| *holder != id);
    }
}

/// Each connection works on a copy of the index, which is brought up to date and handed in around locks.
impl WalIndex for Holder {
    fn map(&mut self, region: u32) -> io::Result<Region> {
        let mut copy = EMPTY;
        self.pull(region, &mut copy)?;
        Ok(copy)
    }

    fn lock(&mut self, locks: Range<u8>, kind: WalIndexLock) -> io::Result<bool> {
        let mut state = self.state();
        let in_the_way = |((lock, holder), theirs): (&(u8, usize), &WalIndexLock)| {
            let either_exclusive = kind == WalIndexLock::Exclusive || *theirs == WalIndexLock::Exclusive;
            locks.contains(lock) && *holder != self.id && either_exclusive
        };
        if kind != WalIndexLock::None && state.log.iter().any(in_the_way) {
            return Ok(false);
        }
        for lock in locks {
            match kind {
                WalIndexLock::None => drop(state.log.remove(&(lock, self.id))),
                _ => drop(state.log.insert((lock, self.id), kind)),
            }
        }
        Ok(true)
    }

    fn delete(self) -> io::Result<()> {
        self.state().index.clear();
        Ok(())
    }

    fn pull(&mut self, region: u32, copy: &mut Region) -> io::Result<()> {
        let shared = self.state().index.get(&region).map_or(EMPTY, |shared| **shared);
        *copy = shared;
        self.seen.insert(region, Box::new(shared));
        Ok(())
    }

    /// Only what this holder changed: others may have changed the rest meanwhile.
    fn push(&mut self, region: u32, copy: &Region) -> io::Result<()> {
        let seen = self.seen.insert(region, Box::new(*copy)).unwrap_or_else(|| Box::new(EMPTY));
        let mut state = self.state();
        let shared = state.index.entry(region).or_insert_with(|| Box::new(EMPTY));
        // Whole pieces first, for speed: nearly all of them are as they were.
        for ((shared, new), old) in shared.chunks_mut(256).zip(copy.chunks(256)).zip(seen.chunks(256)) {
            if new != old {
                let changed = new.iter().zip(old).map(|(new, old)| (new != old).then_some(*new));
                shared.iter_mut().zip(changed).for_each(|(byte, new)| *byte = new.unwrap_or(*byte));
            }
        }
        Ok(())
    }
}
