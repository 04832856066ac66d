//! A range of time.

/// A half-open range of time, unix milliseconds. A window belongs to the range its start lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// Start, inclusive.
    pub from_ms: u64,
    /// End, exclusive.
    pub until_ms: u64,
}

impl TimeRange {
    /// Everything there is.
    pub const ALL: Self = Self { from_ms: 0, until_ms: i64::MAX as u64 };

    /// Length in milliseconds.
    pub fn millis(self) -> u64 {
        self.until_ms.saturating_sub(self.from_ms)
    }

    /// True when `at_ms` lies inside.
    pub fn contains(self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && at_ms < self.until_ms
    }
}
