//! How much is allocated, and how much was at the worst moment: of the whole program, so targets take turns.

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Forgets the worst moment. Answers what is allocated now.
pub(crate) fn reset() -> usize {
    ALLOCATED.reset_peak_usage();
    ALLOCATED.current_usage()
}

/// Bytes at the worst moment since then.
pub(crate) fn peak() -> usize {
    ALLOCATED.peak_usage()
}
