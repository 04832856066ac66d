//! The levels of the store: how long their windows are, and how much time one segment spans.

/// One level of compacted profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// 1 is the finest; 0 are windows as they arrived.
    pub number: u32,
    /// Windows are added up to this length, in milliseconds, aligned to it. A longer one stays as it is.
    pub window_ms: u32,
    /// Instances are added up too: the cost of a query then follows the distinct stacks, not the number of instances.
    pub folds_instances: bool,
    /// Windows of one segment start within one block of this length, in milliseconds, aligned to it. Blocks of a level lie
    /// within one block of the next.
    pub(crate) block_ms: u64,
}

const MINUTE: u32 = 60_000;
const HOUR: u64 = 3_600_000;

/// All levels, finest first.
pub const LEVELS: [Level; 5] = [
    Level { number: 1, window_ms: 10_000, folds_instances: false, block_ms: HOUR },
    Level { number: 2, window_ms: MINUTE, folds_instances: false, block_ms: 6 * HOUR },
    Level { number: 3, window_ms: 10 * MINUTE, folds_instances: true, block_ms: 24 * HOUR },
    Level { number: 4, window_ms: 60 * MINUTE, folds_instances: true, block_ms: 8 * 24 * HOUR },
    // Months are answered by these. The blocks are no longer: what is too old goes a block at a time.
    Level { number: 5, window_ms: 24 * 60 * MINUTE, folds_instances: true, block_ms: 8 * 24 * HOUR },
];

/// What retention lets go of at one level and not at the others ends at a whole multiple of this, so that no window that stands in for it
/// is half needed: of an hour, because hours and days are let go of together.
pub const HORIZON_MS: u64 = HOUR;

/// The level number of segments that hold traces and spans: apart from profiles, with a retention of their own.
pub const TRACES: u32 = 10;

/// A block of trace segments.
pub(crate) const TRACES_BLOCK_MS: u64 = 24 * HOUR;

impl Level {
    /// The level with this number.
    pub fn of(number: u32) -> Option<Self> {
        LEVELS.into_iter().find(|level| level.number == number)
    }

    /// The next coarser level.
    pub(crate) fn next(self) -> Option<Self> {
        Self::of(self.number + 1)
    }
}

/// The block that a window which starts at `start_ms` belongs to, at a level or among the traces.
pub(crate) fn block_of(number: u32, start_ms: u64) -> u64 {
    let block_ms = Level::of(number).map_or(TRACES_BLOCK_MS, |level| level.block_ms);
    start_ms / block_ms * block_ms
}

/// When a block is over.
pub(crate) fn block_end(number: u32, start_ms: u64) -> u64 {
    block_of(number, start_ms) + Level::of(number).map_or(TRACES_BLOCK_MS, |level| level.block_ms)
}
