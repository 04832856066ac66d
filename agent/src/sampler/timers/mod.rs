//! CPU timers: one for each busy thread, one of the process for all others, and one that wakes the agent thread.

pub(crate) mod alarm;
pub(crate) mod balance;
pub(crate) mod coverage;
pub(crate) mod cpu_timer;
