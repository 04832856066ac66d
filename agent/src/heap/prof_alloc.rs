//! The global allocator that samples: a wrapper around any other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Range;

use super::{LiveBlock, countdown, sample, track, tracked, untrack};
use crate::sampler::Registers;

/// Sampled blocks are aligned to this, which is how they are told apart when they are freed.
const SAMPLED_ALIGN: usize = 4096;

/// A global allocator that samples what it passes on to `A`.
///
/// ```
/// # use tephra_agent as tephra;
/// #[global_allocator]
/// static ALLOC: tephra::ProfAlloc = tephra::ProfAlloc::system();
/// # fn main() {}
/// ```
///
/// Until an agent that profiles the heap is started, it only counts bytes, which costs less than a nanosecond.
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
    &raw const OWN_CODE_START as u64..&raw const OWN_CODE_END as u64
}

/// Whether a block may be a sampled one.
#[inline(always)]
fn may_be_sampled(block: *mut u8) -> bool {
    (block as usize).is_multiple_of(SAMPLED_ALIGN)
}

/// The layout that a sampled block of `layout` is allocated and freed with.
fn sampled_layout(layout: Layout) -> Option<Layout> {
    layout.align_to(SAMPLED_ALIGN).ok()
}

// SAFETY: every block comes from `inner`, and goes back to it with the layout it was asked for: a sampled block is in the
// table from before it is handed out until just before it is freed, and its layout follows from the caller's.
unsafe impl<A: GlobalAlloc> GlobalAlloc for ProfAlloc<A> {
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if countdown::charge(layout.size()) {
            // SAFETY: the caller's promises are `inner`'s conditions.
            return unsafe { self.inner.alloc(layout) };
        }
        // SAFETY: as above.
        unsafe { self.alloc_charged(layout) }
    }

    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if countdown::charge(layout.size()) {
            // SAFETY: the caller's promises are `inner`'s conditions.
            return unsafe { self.inner.alloc_zeroed(layout) };
        }
        // SAFETY: as above.
        unsafe { self.alloc_zeroed_charged(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if may_be_sampled(block) {
            // SAFETY: the caller's promises are passed on.
            unsafe { self.dealloc_aligned(block, layout) };
        } else {
            // SAFETY: not aligned, so not sampled, so it was allocated with this very layout.
            unsafe { self.inner.dealloc(block, layout) };
        }
    }

    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if may_be_sampled(block)
            && let Some(sample) = tracked(block as usize)
        {
            // SAFETY: the caller's promises are passed on, and the block is a sampled one.
            return unsafe { self.realloc_sampled(block, layout, new_size, sample) };
        }
        // What was there before has been charged before.
        if countdown::charge(new_size.saturating_sub(layout.size())) {
            // SAFETY: not sampled, so it was allocated with this very layout; the rest is the caller's promise.
            return unsafe { self.inner.realloc(block, layout, new_size) };
        }
        // SAFETY: as above.
        unsafe { self.realloc_charged(block, layout, new_size) }
    }
}

/// The rare paths. Conditions are those of the [`GlobalAlloc`] method they serve.
impl<A: GlobalAlloc> ProfAlloc<A> {
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc_charged(&self, layout: Layout) -> *mut u8 {
        if let Some(sample) = sample(Registers::here(), layout.size(), own_code()) {
            // SAFETY: passes `layout` on.
            let block = unsafe { self.alloc_sampled(layout, sample, A::alloc) };
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: the caller's promises are `inner`'s conditions.
        unsafe { self.inner.alloc(layout) }
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn alloc_zeroed_charged(&self, layout: Layout) -> *mut u8 {
        if let Some(sample) = sample(Registers::here(), layout.size(), own_code()) {
            // SAFETY: passes `layout` on.
            let block = unsafe { self.alloc_sampled(layout, sample, A::alloc_zeroed) };
            if !block.is_null() {
                return block;
            }
        }
        // SAFETY: the caller's promises are `inner`'s conditions.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    /// A growing block that was not sampled becomes a sampled one, which stands for what it grew by.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc_charged(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if let Some(sample) = sample(Registers::here(), new_size.saturating_sub(layout.size()), own_code())
            && let Ok(new_layout) = Layout::from_size_align(new_size, layout.align())
        {
            // SAFETY: the new size is not zero, as the caller promised.
            let new = unsafe { self.alloc_sampled(new_layout, sample, A::alloc) };
            if !new.is_null() {
                // SAFETY: two different blocks of at least this size; the old one was allocated with `layout`.
                unsafe {
                    new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                    self.inner.dealloc(block, layout);
                }
                return new;
            }
        }
        // SAFETY: the block was allocated with `layout`; the rest is the caller's promise.
        unsafe { self.inner.realloc(block, layout, new_size) }
    }

    /// A sampled block moves, and stays sampled. Nothing of the old block is given up before the new one is complete.
    #[cold]
    #[inline(never)]
    #[unsafe(link_section = "tephra_alloc")]
    unsafe fn realloc_sampled(&self, block: *mut u8, layout: Layout, new_size: usize, old: LiveBlock) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return std::ptr::null_mut() };
        let growth = new_size.saturating_sub(layout.size());
        let grown = if countdown::charge(growth) { None } else { sample(Registers::here(), growth, own_code()) };
        let kept = resized(old, layout.size(), new_size);
        let merged = grown.map_or(kept, |grown| merge(kept, grown));
        // SAFETY: the new size is not zero, as the caller promised.
        let mut new = unsafe { self.alloc_sampled(new_layout, merged, A::alloc) };
        if new.is_null() {
            // No room to follow it any longer, or no memory.
            // SAFETY: as above.
            new = unsafe { self.inner.alloc(new_layout) };
        }
        if !new.is_null() {
            // SAFETY: two different blocks of at least this size; the old one is not used after this.
            unsafe {
                new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                self.dealloc_aligned(block, layout);
            }
        }
        new
    }

    /// Allocates a block that is followed; null when that is impossible, and then nothing was allocated.
    unsafe fn alloc_sampled(
        &self,
        layout: Layout,
        sample: LiveBlock,
        alloc: unsafe fn(&A, Layout) -> *mut u8,
    ) -> *mut u8 {
        let Some(layout) = sampled_layout(layout) else { return std::ptr::null_mut() };
        countdown::while_inside(|| {
            // SAFETY: the size is the caller's, who promised that it is not zero.
            let block = unsafe { alloc(&self.inner, layout) };
            if block.is_null() || track(block as usize, sample) {
                return block;
            }
            // SAFETY: just allocated, with this layout, and seen by nobody.
            unsafe { self.inner.dealloc(block, layout) };
            std::ptr::null_mut()
        })
    }

    #[cold]
    #[inline(never)]
    unsafe fn dealloc_aligned(&self, block: *mut u8, layout: Layout) {
        // Forgotten first: once freed, the address may be another thread's.
        let allocated = if untrack(block as usize) { sampled_layout(layout).unwrap_or(layout) } else { layout };
        // SAFETY: a sampled block was allocated with the sampled form of its layout, every other with the layout itself.
        unsafe { self.inner.dealloc(block, allocated) };
    }
}

/// A block that kept its sample while its size changed: shrinking takes away from what it stands for in proportion.
fn resized(block: LiveBlock, old_size: usize, new_size: usize) -> LiveBlock {
    if new_size >= old_size {
        return block;
    }
    let bytes = (block.bytes as f64 * new_size as f64 / old_size as f64).round();
    LiveBlock { bytes: bytes as u64, ..block }
}

/// A sampled block whose growth was sampled too: stands for the bytes of both, under the newer stack.
fn merge(old: LiveBlock, new: LiveBlock) -> LiveBlock {
    let bytes = old.bytes.saturating_add(new.bytes);
    let value = old.bytes as f64 * old.weight + new.bytes as f64 * new.weight;
    LiveBlock { stack_hash: new.stack_hash, bytes, weight: if bytes == 0 { new.weight } else { value / bytes as f64 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_and_growing_keep_what_a_block_stands_for() {
        let block = LiveBlock { stack_hash: 1, bytes: 1_000, weight: 500.0 };
        assert_eq!(resized(block, 1_000, 250).bytes, 250);
        assert_eq!(resized(block, 1_000, 4_000), block);
        let merged = merge(block, LiveBlock { stack_hash: 2, bytes: 3_000, weight: 100.0 });
        assert_eq!(merged, LiveBlock { stack_hash: 2, bytes: 4_000, weight: 200.0 });
    }
}
