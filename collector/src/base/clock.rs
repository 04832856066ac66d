//! The collector's clocks. Nobody else reads one, and what is pure is told what time it is.
#![expect(clippy::disallowed_methods, reason = "this is where clocks are read")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, unix nanoseconds; 0 for a clock that is set before 1970.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Now, unix milliseconds.
pub fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// Now, unix seconds.
pub fn now_s() -> u64 {
    now_ns() / 1_000_000_000
}

/// This moment, to measure from or to wait until: it goes on evenly when somebody sets the clock.
pub fn instant() -> Instant {
    Instant::now()
}

/// The same for tasks, by the clock that their timers run by. Tests may stop that one.
pub fn task_instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
