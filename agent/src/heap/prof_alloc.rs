//! The global allocator that samples: a wrapper around any other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;

use super::stack::{Registers, record};
use super::{LiveBlock, countdown, may_be_tracked, track, tracked, untrack};

/// Small sampled blocks are aligned to this, which is how they are told apart when they are freed.
const SAMPLED_ALIGN: usize = 4096;

/// Blocks from this size on are looked up whenever they are freed, which costs next to nothing beside giving so much memory
/// back. So a large sampled block is what the wrapped allocator makes of it, to the byte: it grows in place where it can, and
/// zeroed memory stays untouched where the system hands it out zeroed.
const LARGE_BYTES: usize = 64 * 1024;

/// A global allocator that samples what it passes on to `A`.
///
/// ```
/// # use tephra_agent as tephra;
/// #[global_allocator]
/// static ALLOC: tephra::ProfAlloc = tephra::ProfAlloc::system();
/// # fn main() {}
/// ```
///
/// Until an agent that profiles the heap is started, it only counts bytes, which costs less than a nanosecond. A block that is
/// sampled has one entry in a table of fixed size, and if it is smaller than 64 KiB it lies at the start of a page.
///
/// What the profile means: `alloc_space` and `alloc_objects` are bytes and times that memory was asked for, where a block that
/// grows counts for what it grew by; `inuse_space` and `inuse_objects` are bytes and blocks allocated since the agent was
/// started and not freed yet.
#[derive(Debug, Default, Clone, Copy)]
pub struct ProfAlloc<A = System> {
    pub(super) inner: A,
}

impl ProfAlloc<System> {
    /// Samples what the system's allocator gives out.
    #[must_use]
    pub const fn system() -> Self {
        Self::new(System)
    }
}

impl<A> ProfAlloc<A> {
    /// Samples what `inner` gives out.
    #[must_use]
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

// All code of this file that can be on the stack when a sample is taken lies in one section, between two symbols that the
// linker makes from its name. So stacks can begin at the allocator's caller, however the compiler inlined.
unsafe extern "C" {
    #[link_name = "__start_tephra_alloc"]
    static OWN_CODE_START: u8;
    #[link_name = "__stop_tephra_alloc"]
    static OWN_CODE_END: u8;
}

/// Where the code of this file is. In the section itself, so that the section, and with it the symbols, is never empty.
#[inline(never)]
#[unsafe(link_section = "tephra_alloc")]
fn own_code() -> Range<u64> {
    if cfg!(miri) {
        return 0..0;
    }
    &raw const OWN_CODE_START as u64..&raw const OWN_CODE_END as u64
}

/// Whether a block may be a sampled one. Nearly always tells that it is not, at the cost of two tests, or of three and a look
/// into a small table where it starts a page or is large.
#[inline(always)]
fn may_be_sampled(block: *mut u8, bytes: usize) -> bool {
    ((block as usize).is_multiple_of(SAMPLED_ALIGN) || bytes >= LARGE_BYTES) && may_be_tracked(block as usize)
}

/// The layout that a sampled block of `layout` is allocated and freed with.
fn sampled_layout(layout: Layout) -> Layout {
    if layout.size() >= LARGE_BYTES {
        return layout;
    }
    // Fails for sizes near the end of the address space only, and those are large.
    layout.align_to(SAMPLED_ALIGN).unwrap_or(layout)
}

/// A sample that is to be taken.
#[derive(Debug, Clone, Copy)]
struct Due {
    registers: Registers,
    bytes: usize,
    /// How many allocations of this size it stands for.
    weight: f64,
}

impl Due {
    /// Asks for a sample of an allocation of `bytes` that was just charged. The function that `registers` were read in must
    /// not return before it is taken.
    fn ask(registers: Registers, bytes: usize) -> Option<Self> {
        Some(Self { registers, bytes, weight: countdown::due(bytes)? })
    }

    /// Takes it; `None` when it had to be dropped, which is counted.
    fn take(self) -> Option<LiveBlock> {
        let stack_hash = record(self.registers, self.bytes as u64, self.weight, own_code())?;
        Some(LiveBlock { stack_hash, bytes: self.bytes as f64 * self.weight, objects: self.weight })
    }
}

// SAFETY: every block comes from `inner`, and goes back to it with the layout it was asked for: a small sampled block is in the
// table from before it is handed out until just before it is freed, and its layout follows from the caller's; every other block
// has the caller's layout.
unsafe impl<A: GlobalAlloc> GlobalAlloc for ProfAlloc<A> {
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if countdown::charge(layout.size()) {
            // SAFETY: the caller's promises are `inner`'s conditions.
            return unsafe { self.inner.alloc(layout) };
        }
        // SAFETY: as above.
        unsafe { self.alloc_charged(layout, A::alloc) }
    }

    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if countdown::charge(layout.size()) {
            // SAFETY: the caller's promises are `inner`'s conditions.
            return unsafe { self.inner.alloc_zeroed(layout) };
        }
        // SAFETY: as above.
        unsafe { self.alloc_charged(layout, A::alloc_zeroed) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if may_be_sampled(block, layout.size()) {
            // SAFETY: the caller's promises are passed on.
            return unsafe { self.dealloc_looked_up(block, layout) };
        }
        // SAFETY: not sampled, so it was allocated with this very layout.
        unsafe { self.inner.dealloc(block, layout) };
    }

    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // What was there before has been charged before.
        let go_ahead = countdown::charge(new_size.saturating_sub(layout.size()));
        if may_be_sampled(block, layout.size())
            && let Some(sample) = tracked(block as usize)
        {
            // SAFETY: the caller's promises are passed on, and the block is a sampled one.
            return unsafe { self.realloc_sampled(block, layout, new_size, sample, !go_ahead) };
        }
        if go_ahead {
            // SAFETY: not sampled, so it was allocated with this very layout; the rest is the caller's promise.
            return unsafe { self.inner.realloc(block, layout, new_size) };
        }
        // SAFETY: as above.
        unsafe { self.realloc_charged(block, layout, new_size) }
    }
}

/// The rare paths. Conditions are those of the [`GlobalAlloc`] method they serve. A sample is taken once the memory is there,
/// so what fails leaves no trace.
impl<A: GlobalAlloc> ProfAlloc<A> {
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc_charged(&self, layout: Layout, alloc: unsafe fn(&A, Layout) -> *mut u8) -> *mut u8 {
        if let Some(due) = Due::ask(Registers::here(), layout.size()) {
            // SAFETY: passes `layout` on.
            let block = unsafe { self.alloc_sampled(layout, alloc, || due.take()) };
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: the caller's promises are `inner`'s conditions.
        unsafe { alloc(&self.inner, layout) }
    }

    /// Frees a block that is sampled or, rarely, lies in the same page as one or in one with the same number.
    #[cold]
    #[inline(never)]
    unsafe fn dealloc_looked_up(&self, block: *mut u8, layout: Layout) {
        // Forgotten first: once freed, the address may be another thread's.
        let layout = if untrack(block as usize) { sampled_layout(layout) } else { layout };
        // SAFETY: a sampled block was allocated with the sampled form of its layout, every other with the layout itself.
        unsafe { self.inner.dealloc(block, layout) };
    }

    /// A growing block that was not sampled becomes a sampled one, which stands for what it grew by.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc_charged(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let due = Due::ask(Registers::here(), new_size.saturating_sub(layout.size()));
        if let Some(due) = due {
            let grown = || due.take().map(without_objects);
            // SAFETY: an unsampled block has the caller's layout; the rest is the caller's promise.
            return unsafe {
                if new_size < LARGE_BYTES {
                    self.move_to_sampled(block, layout, layout, new_size, grown)
                } else {
                    self.realloc_large(block, layout, new_size, grown)
                }
            };
        }
        // SAFETY: as above.
        unsafe { self.inner.realloc(block, layout, new_size) }
    }

    /// A sampled block changes its size and stays sampled. On failure it is what it was before.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc_sampled(
        &self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
        sample: LiveBlock,
        charged: bool,
    ) -> *mut u8 {
        let growth = new_size.saturating_sub(layout.size());
        let due = if charged { Due::ask(Registers::here(), growth) } else { None };
        let kept = resized(sample, layout.size(), new_size);
        let merged = || Some(due.and_then(Due::take).map_or(kept, |grown| merge(kept, grown)));
        // SAFETY: a sampled block has the sampled form of the caller's layout; the rest is the caller's promise.
        unsafe {
            if layout.size() < LARGE_BYTES || new_size < LARGE_BYTES {
                return self.move_to_sampled(block, layout, sampled_layout(layout), new_size, merged);
            }
            // Forgotten first: once moved, the old address may be another thread's.
            untrack(block as usize);
            let new = self.realloc_large(block, layout, new_size, merged);
            if new.is_null() {
                track(block as usize, sample);
            }
            new
        }
    }

    /// Lets `inner` resize a block that will be large, and follows it then if there is room.
    unsafe fn realloc_large(
        &self,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
        sample: impl FnOnce() -> Option<LiveBlock>,
    ) -> *mut u8 {
        countdown::while_inside(|| {
            // SAFETY: the caller says that the block has this layout; the rest is its caller's promise.
            let new = unsafe { self.inner.realloc(block, layout, new_size) };
            if !new.is_null()
                && let Some(sample) = sample()
            {
                track(new as usize, sample);
            }
            new
        })
    }

    /// Moves a block of `layout`, allocated as `old_layout`, to a new one that is followed if there is room. Null when there is
    /// no memory, and then nothing happened.
    unsafe fn move_to_sampled(
        &self,
        block: *mut u8,
        layout: Layout,
        old_layout: Layout,
        new_size: usize,
        sample: impl FnOnce() -> Option<LiveBlock>,
    ) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return std::ptr::null_mut() };
        // SAFETY: the new size is not zero, as the caller promised.
        let mut new = unsafe { self.alloc_sampled(new_layout, A::alloc, sample) };
        if new.is_null() {
            // SAFETY: as above.
            new = unsafe { self.inner.alloc(new_layout) };
        }
        if !new.is_null() {
            untrack(block as usize);
            // SAFETY: two different blocks of at least this size; the old one is not used after this.
            unsafe {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.inner.dealloc(block, old_layout);
            }
        }
        new
    }

    /// Allocates a block, samples it and follows it. Null when there is no memory, or when a small block cannot be followed;
    /// then nothing is left allocated.
    unsafe fn alloc_sampled(
        &self,
        layout: Layout,
        alloc: unsafe fn(&A, Layout) -> *mut u8,
        sample: impl FnOnce() -> Option<LiveBlock>,
    ) -> *mut u8 {
        let sampled = sampled_layout(layout);
        countdown::while_inside(|| {
            // SAFETY: the size is the caller's, who promised that it is not zero.
            let block = unsafe { alloc(&self.inner, sampled) };
            if block.is_null() || sample().is_some_and(|sample| track(block as usize, sample)) || sampled == layout {
                return block;
            }
            // SAFETY: just allocated, with this layout, and seen by nobody.
            unsafe { self.inner.dealloc(block, sampled) };
            std::ptr::null_mut()
        })
    }
}

/// A block that kept its sample while its size changed: shrinking takes away from what it stands for in proportion.
fn resized(block: LiveBlock, old_size: usize, new_size: usize) -> LiveBlock {
    if new_size >= old_size {
        return block;
    }
    LiveBlock { bytes: block.bytes * new_size as f64 / old_size as f64, ..block }
}

/// A sampled block whose growth was sampled too: stands for the bytes of both, and still for as many blocks, under the newer
/// stack.
fn merge(old: LiveBlock, grown: LiveBlock) -> LiveBlock {
    LiveBlock { stack_hash: grown.stack_hash, bytes: old.bytes + grown.bytes, objects: old.objects }
}

/// What a block grew by is more bytes, and not one more block.
fn without_objects(grown: LiveBlock) -> LiveBlock {
    LiveBlock { objects: 0.0, ..grown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_and_growing_keep_what_a_block_stands_for() {
        let block = LiveBlock { stack_hash: 1, bytes: 500_000.0, objects: 500.0 };
        assert_eq!(resized(block, 1_000, 250), LiveBlock { bytes: 125_000.0, ..block });
        assert_eq!(resized(block, 1_000, 4_000), block);
        let merged = merge(block, LiveBlock { stack_hash: 2, bytes: 300_000.0, objects: 100.0 });
        assert_eq!(merged, LiveBlock { stack_hash: 2, bytes: 800_000.0, objects: 500.0 });
    }
}
