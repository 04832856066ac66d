//! Allocators to wrap: strict, failing, nested, and one of addresses without memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::heap::ProfAlloc;

/// The system's allocator, as strict as the trait: each block must come back with the layout it was given out with. It can be
/// told to fail.
pub(super) struct Strict {
    blocks: LazyLock<Mutex<HashMap<usize, Layout>>>,
    wrong: AtomicUsize,
    resized: AtomicUsize,
    zeroed: AtomicUsize,
    fails: AtomicBool,
}

impl Strict {
    pub(super) const fn new() -> Self {
        Self {
            blocks: LazyLock::new(Mutex::default),
            wrong: AtomicUsize::new(0),
            resized: AtomicUsize::new(0),
            zeroed: AtomicUsize::new(0),
            fails: AtomicBool::new(false),
        }
    }

    /// From now on nobody gets anything, or they do again.
    pub(super) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    /// Blocks that came back with another layout, or never were.
    pub(super) fn wrong(&self) -> usize {
        self.wrong.load(Ordering::Relaxed)
    }

    /// Blocks that it was asked to resize.
    pub(super) fn resized(&self) -> usize {
        self.resized.load(Ordering::Relaxed)
    }

    /// Blocks that it was asked to zero.
    pub(super) fn zeroed(&self) -> usize {
        self.zeroed.load(Ordering::Relaxed)
    }

    /// Blocks that did not come back.
    pub(super) fn standing(&self) -> usize {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn give(&self, layout: Layout, alloc: impl FnOnce() -> *mut u8) -> *mut u8 {
        if self.fails.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        let block = alloc();
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).insert(block as usize, layout);
        block
    }

    fn take_back(&self, block: *mut u8, layout: Layout) {
        let known = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).remove(&(block as usize));
        if known != Some(layout) {
            self.wrong.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: passes everything on to `System`.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises.
        self.give(layout, || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.zeroed.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises.
        self.give(layout, || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.take_back(block, layout);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.fails.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        self.resized.fetch_add(1, Ordering::Relaxed);
        self.take_back(block, layout);
        let new_layout = Layout::from_size_align(new_size, layout.align()).unwrap_or(layout);
        // SAFETY: the caller's promises.
        self.give(new_layout, || unsafe { System.realloc(block, layout, new_size) })
    }
}

/// Allocates through the very allocator that wraps it, as one that keeps books in a map would.
pub(super) struct Nested;

pub(super) static OUTER: ProfAlloc<Nested> = ProfAlloc::new(Nested);

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: passes everything on to `System`; what it allocates for itself it frees.
unsafe impl GlobalAlloc for Nested {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        DEPTH.set(DEPTH.get() + 1);
        if DEPTH.get() < 3 {
            let note = Layout::new::<[u64; 4_000]>();
            // SAFETY: the layout has a size, and what is allocated is freed.
            unsafe {
                let block = OUTER.alloc(note);
                OUTER.dealloc(block, note);
            }
        }
        DEPTH.set(DEPTH.get() - 1);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Gives out addresses with no memory behind them, and never the same one twice: a heap of any size that costs nothing.
pub(super) struct Ground {
    next: AtomicUsize,
}

impl Ground {
    pub(super) const fn new() -> Self {
        // No process has memory here: the upper half belongs to the kernel.
        Self { next: AtomicUsize::new(1 << 48) }
    }
}

// SAFETY: the addresses are distinct and aligned; nobody may touch what is behind them, and the tests do not.
unsafe impl GlobalAlloc for Ground {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.next.fetch_add(room, Ordering::Relaxed);
        std::ptr::without_provenance_mut(start.next_multiple_of(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn realloc(&self, _: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let layout = Layout::from_size_align(new_size, layout.align()).unwrap_or(layout);
        // SAFETY: the caller's promises.
        unsafe { self.alloc(layout) }
    }
}
