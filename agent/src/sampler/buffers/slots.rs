//! A few unwinding slots shared by all threads: each has the unwinder's caches, a place to copy stack to, and a ring.
//!
//! A sample takes whichever slot it gets without waiting, or is dropped and counted. A handler that interrupts an
//! allocation's sample finds that slot taken and uses another one. Slots are made once and never freed, because a late
//! signal may need them at any time.

use std::cell::UnsafeCell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ring::Ring;
use crate::sampler::unwinding::rule_caches::Rules;
use crate::sampler::unwinding::walk_memory::Trails;

/// Deepest stack that can be asked for.
pub(crate) const DEPTH_MAX: usize = 512;
/// 16 KiB: how much of a stack is copied while its bounds are not known.
pub(crate) const COPY_WORDS: usize = 2048;
/// Each takes 250 KiB. A sample holds one for some microseconds, hundreds of times in a second of a processor, so few are in
/// use at once, however many processors there are.
const SLOTS_MAX: usize = 16;
/// Slots tried before a sample is dropped.
const PROBES: usize = 3;

/// What the holder of a slot works with.
pub(crate) struct Workspace {
    pub(crate) rules: Rules,
    pub(crate) trails: Trails,
    pub(crate) copy: Box<[u64; COPY_WORDS]>,
    pub(crate) stack: Box<[u64; DEPTH_MAX]>,
}

/// See the module's words.
pub(crate) struct Slot {
    taken: AtomicBool,
    workspace: UnsafeCell<Workspace>,
    pub(crate) ring: Ring,
}

// SAFETY: the workspace is reached only through a `SlotGuard`, of which `taken` allows one at a time.
unsafe impl Sync for Slot {}

/// Exclusive use of one slot.
pub(crate) struct SlotGuard {
    slot: &'static Slot,
}

static SLOTS: OnceLock<Box<[Slot]>> = OnceLock::new();

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

impl Slot {
    fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            workspace: UnsafeCell::new(Workspace {
                rules: Rules::default(),
                trails: Trails::default(),
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

    /// Takes the slot, giving way until it is free. Only for the agent thread, of which no sample is taken.
    pub(crate) fn wait_and_claim(&'static self) -> SlotGuard {
        loop {
            if let Some(guard) = self.try_claim() {
                return guard;
            }
            std::thread::yield_now();
        }
    }
}

impl SlotGuard {
    /// The workspace and the ring, at once.
    pub(crate) fn parts(&mut self) -> (&mut Workspace, &Ring) {
        // SAFETY: this guard is the only one of its slot, and it is borrowed mutably for as long as the workspace is.
        (unsafe { &mut *self.slot.workspace.get() }, &self.slot.ring)
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
