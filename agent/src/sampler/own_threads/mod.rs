//! The agent's own threads: what wakes them, and when they may run.

pub(crate) mod scheduling;
pub(crate) mod wakeup;
