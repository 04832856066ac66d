//! Wall-clock time, and windows aligned to it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, to compare with what the file system says.
#[expect(clippy::disallowed_methods, reason = "this is where the wall clock is read")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch; 0 for a clock set before it.
pub(crate) fn unix_ms() -> u64 {
    since_epoch().as_millis() as u64
}

/// Nanoseconds since the Unix epoch; 0 for a clock set before it.
pub(crate) fn unix_ns() -> u64 {
    since_epoch().as_nanos() as u64
}

fn since_epoch() -> Duration {
    now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// One slot of the wall clock: `[start, start + length)`, where `start` is a multiple of `length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) start_ms: u64,
    pub(crate) length_ms: u32,
}

impl Slot {
    /// The slot that holds `now_ms`.
    pub(crate) fn at(now_ms: u64, length_ms: u32) -> Self {
        let length_ms = length_ms.max(1);
        Self { start_ms: now_ms - now_ms % u64::from(length_ms), length_ms }
    }

    /// False once the clock has moved past the slot, or was set back to before it.
    pub(crate) fn holds(&self, now_ms: u64) -> bool {
        Self::at(now_ms, self.length_ms) == *self
    }

    /// Time left in the slot.
    pub(crate) fn remaining(&self, now_ms: u64) -> Duration {
        Duration::from_millis((self.start_ms + u64::from(self.length_ms)).saturating_sub(now_ms))
    }

    /// Milliseconds from the slot's start to `time_ms`, clamped into the slot: a sample is drained a little after it was
    /// taken, and may have been taken a moment before the slot began.
    pub(crate) fn offset_ms(&self, time_ms: u64) -> u32 {
        time_ms.saturating_sub(self.start_ms).min(u64::from(self.length_ms) - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_aligned_to_multiples_of_their_length() {
        let slot = Slot::at(1_763_671_234_567, 10_000);
        assert_eq!(slot.start_ms, 1_763_671_230_000);
        assert!(slot.holds(1_763_671_239_999));
        assert!(!slot.holds(1_763_671_240_000), "the end belongs to the next slot");
        assert!(!slot.holds(1_763_671_229_999), "a clock set back leaves the slot");
        assert_eq!(slot.remaining(1_763_671_234_567), Duration::from_millis(5_433));
    }

    #[test]
    fn offsets_stay_inside_the_slot() {
        let slot = Slot::at(20_000, 10_000);
        assert_eq!(slot.offset_ms(19_999), 0);
        assert_eq!(slot.offset_ms(20_001), 1);
        assert_eq!(slot.offset_ms(99_999), 9_999);
    }
}
