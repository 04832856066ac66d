//! CPU timers: one for each busy thread, and one of the process for all others.

pub(crate) mod coverage;
pub(crate) mod cpu_timer;
pub(crate) mod process_timer;
