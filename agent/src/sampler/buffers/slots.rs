//! A few unwinding slots shared by all threads: each has the unwinder's caches, a place to copy stack to, and a ring.
//!
//! A sample takes whichever slot it gets without waiting, or is dropped and counted. A handler that interrupts an
//! allocation's sample finds that slot taken and uses another one. Slots are made once and never freed, because a late
//! signal may need them at any time.
//!
//! Who holds a slot may read the snapshot of what is mapped. So once every slot has been taken and given back after a new one was
//! published, nobody can still read the old one.

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::ring::Ring;
use crate::sampler::unwinding::frame::DEPTH_MAX;
use crate::sampler::unwinding::rule_cache::RuleCache;
use crate::sampler::unwinding::snapshot::Snapshot;
use crate::sampler::unwinding::walk_cache::WalkCache;

/// 16 KiB: how much of a stack is copied while its bounds are not known.
pub(crate) const COPY_WORDS: usize = 2048;
/// Each takes 250 KiB. A sample holds one for some microseconds, hundreds of times in a second of a processor, so few are in
/// use at once, however many processors there are.
const SLOTS_MAX: usize = 16;
/// Slots tried before a sample is dropped.
const PROBES: usize = 3;

/// What the holder of a slot works with.
pub(crate) struct Workspace {
    pub(crate) rules: RuleCache,
    pub(crate) walks: WalkCache,
    pub(crate) copy: Box<[u64; COPY_WORDS]>,
    pub(crate) stack: Box<[u64; DEPTH_MAX]>,
}

/// A workspace for one sample at a time, and the ring that its record leaves by.
pub(crate) struct Slot {
    taken: AtomicBool,
    workspace: UnsafeCell<Workspace>,
    pub(crate) ring: Ring,
}

// SAFETY: the workspace is reached only through a `SlotGuard`, of which `taken` allows one at a time.
unsafe impl Sync for Slot {}

/// All that the holder of a slot has to do with.
pub(crate) struct Held<'a> {
    pub(crate) workspace: &'a mut Workspace,
    pub(crate) ring: &'a Ring,
    /// None before the first was published.
    pub(crate) snapshot: Option<&'a Snapshot>,
}

/// Exclusive use of one slot.
pub(crate) struct SlotGuard {
    slot: &'static Slot,
}

static SLOTS: OnceLock<Box<[Slot]>> = OnceLock::new();
static SNAPSHOT: AtomicPtr<Snapshot> = AtomicPtr::new(std::ptr::null_mut());

/// Makes the slots, the first time.
pub(crate) fn init() {
    SLOTS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        (0..(2 * cores).clamp(4, SLOTS_MAX)).map(|_| Slot::new()).collect()
    });
}

/// All slots; none before [`init`].
pub(crate) fn all() -> &'static [Slot] {
    SLOTS.get().map_or(&[], |slots| slots)
}

/// Takes one of the slots near `seed` (any number that spreads threads out) without waiting.
pub(crate) fn claim(seed: u32) -> Option<SlotGuard> {
    let slots = all();
    let start = (seed.wrapping_mul(0x9e37_79b9) >> 16) as usize;
    (0..PROBES).find_map(|probe| slots.get((start + probe) % slots.len().max(1))?.try_claim())
}

/// Replaces the snapshot, and frees the old one once nobody can be reading it. Called by the agent thread, of which no sample is taken.
pub(crate) fn publish(snapshot: Snapshot) {
    let old = SNAPSHOT.swap(Box::into_raw(Box::new(snapshot)), Ordering::AcqRel);
    for slot in all() {
        let mut slot = slot.wait_and_claim();
        let workspace = slot.open().workspace;
        // The rules in an old cache are told apart by a 16-bit generation only; a fresh cache cannot be mistaken.
        workspace.rules = RuleCache::default();
        workspace.walks.forget();
    }
    if !old.is_null() {
        // SAFETY: it came from `Box::into_raw` above, is no longer published, and every reader has finished.
        drop(unsafe { Box::from_raw(old) });
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            workspace: UnsafeCell::new(Workspace {
                rules: RuleCache::default(),
                walks: WalkCache::default(),
                copy: Box::new([0; COPY_WORDS]),
                stack: Box::new([0; DEPTH_MAX]),
            }),
            ring: Ring::new(),
        }
    }

    /// Takes the slot if it is free.
    pub(crate) fn try_claim(&'static self) -> Option<SlotGuard> {
        let free = self.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // Not `then_some`: that would make a guard of a slot somebody else holds, and drop it.
        free.then(|| SlotGuard { slot: self })
    }

    /// Takes the slot, giving way until it is free.
    fn wait_and_claim(&'static self) -> SlotGuard {
        loop {
            if let Some(guard) = self.try_claim() {
                return guard;
            }
            std::thread::yield_now();
        }
    }
}

impl SlotGuard {
    /// What the slot gives access to, at once.
    pub(crate) fn open(&mut self) -> Held<'_> {
        // SAFETY: this guard is the only one of its slot, and it is borrowed mutably for as long as the workspace is.
        let workspace = unsafe { &mut *self.slot.workspace.get() };
        // SAFETY: `publish` frees a snapshot only after it took every slot once, so never while this guard is there.
        let snapshot = unsafe { SNAPSHOT.load(Ordering::Acquire).as_ref() };
        Held { workspace, ring: &self.slot.ring, snapshot }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.slot.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_slot_is_passed_over_and_comes_back() {
        let slot: &'static Slot = Box::leak(Box::new(Slot::new()));
        let held = slot.try_claim().unwrap();
        assert!(slot.try_claim().is_none());
        assert!(slot.try_claim().is_none(), "trying does not give it back");
        drop(held);
        assert!(slot.try_claim().is_some());
    }
}
