//! Samples heap allocations, and follows the sampled blocks until they are freed.
//!
//! A small sampled block is aligned to a page, and large blocks are rare. So freeing tests twelve bits of the address and the
//! size, and only what passes is looked up: all other blocks cost one subtraction when they are allocated and one test when they
//! are freed.

mod countdown;
#[cfg(feature = "test-hooks")]
pub mod hooks;
mod prof_alloc;
mod stack;
mod table;
mod thinning;

use std::sync::atomic::{AtomicU64, Ordering};

pub use self::prof_alloc::ProfAlloc;
pub(crate) use self::table::LiveBlock;
pub(crate) use self::thinning::{CLASSES, PerClass, due, left_out, set as thin};

use self::table::LiveTable;

/// Fewer bytes between samples would cost more than it tells.
const MEAN_BYTES_MIN: u64 = 64 * 1024;

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeapConfig {
    /// Mean number of bytes between two samples; at least 64 KiB.
    pub(crate) mean_bytes: u64,
}

/// What heap sampling could not do, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HeapCounters {
    /// Blocks tracked since the process began.
    pub(crate) tracked: u64,
    /// Blocks tracked and freed.
    pub(crate) freed: u64,
    /// Blocks sampled but not tracked, because the table had no room near their address.
    pub(crate) table_full: u64,
}

static LIVE: LiveTable = LiveTable::new();
static TRACKED: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);
static TABLE_FULL: AtomicU64 = AtomicU64::new(0);

/// Starts sampling allocations that go through [`ProfAlloc`], on every thread but the calling one. The sampler must be
/// running, as it walks the stacks: allocations are not sampled while it is stopped or paused. No size is thinned at first.
pub(crate) fn start(config: HeapConfig) {
    countdown::exempt_this_thread();
    thin(&[0; CLASSES]);
    countdown::enable(config.mean_bytes.max(MEAN_BYTES_MIN));
}

/// Stops sampling. Blocks tracked already are followed until they are freed.
pub(crate) fn stop() {
    countdown::disable();
}

/// Whether the program allocates through [`ProfAlloc`], so that there is anything to know of its heap.
pub(crate) fn is_in_use() -> bool {
    countdown::is_in_use()
}

/// Shows every sampled block that is allocated now.
pub(crate) fn for_each_live(each: &mut dyn FnMut(LiveBlock)) {
    LIVE.for_each(each);
}

/// Reads the counters.
pub(crate) fn counters() -> HeapCounters {
    HeapCounters {
        tracked: TRACKED.load(Ordering::Relaxed),
        freed: FREED.load(Ordering::Relaxed),
        table_full: TABLE_FULL.load(Ordering::Relaxed),
    }
}

/// Starts following a block; `false` when there is no room for it.
fn track(address: usize, block: LiveBlock) -> bool {
    let tracked = LIVE.insert(address, block);
    let counter = if tracked { &TRACKED } else { &TABLE_FULL };
    counter.fetch_add(1, Ordering::Relaxed);
    tracked
}

/// False when a block is certainly not followed, which is nearly always so if it is not. To be asked before all else.
#[inline(always)]
fn may_be_tracked(address: usize) -> bool {
    LIVE.may_hold(address)
}

/// What is known of a block.
fn tracked(address: usize) -> Option<LiveBlock> {
    LIVE.get(address)
}

/// Stops following a block that is about to be freed or moved; `false` when it was not followed.
fn untrack(address: usize) -> bool {
    let known = LIVE.remove(address);
    if known {
        FREED.fetch_add(1, Ordering::Relaxed);
    }
    known
}

#[cfg(test)]
mod tests;
