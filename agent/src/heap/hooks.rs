//! Doors for benchmarks that must not need `unsafe` themselves. Not part of the public interface.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Blocks that are held at a time.
const HELD: usize = 32;

/// Allocates and frees `pairs` blocks of `size` bytes, some of them at a time, through an allocator that the compiler does not
/// know. Returns how long that took.
#[must_use]
pub fn pairs(alloc: &dyn GlobalAlloc, size: usize, pairs: usize) -> Duration {
    let layout = Layout::from_size_align(size.max(1), 8).unwrap_or(Layout::new::<u64>());
    let alloc = black_box(alloc);
    let mut held = [std::ptr::null_mut(); HELD];
    let start = Instant::now();
    for _ in 0..pairs.div_ceil(HELD) {
        for block in &mut held {
            // SAFETY: the size is not zero.
            *block = black_box(unsafe { alloc.alloc(layout) });
        }
        for block in held {
            if !block.is_null() {
                // SAFETY: just allocated with this layout.
                unsafe { alloc.dealloc(block, layout) };
            }
        }
    }
    start.elapsed()
}
