//! What all of wait sampling shares: the registrations, and which run of the agent is under way.

use std::sync::atomic::{AtomicU32, Ordering};

use super::registrations::Registrations;

pub(super) static REGISTRATIONS: Registrations = Registrations::new();

static RUN: AtomicU32 = AtomicU32::new(0);

/// Waits of another run are not told: it ended, or was paused, while they went on. 24 bits.
pub(super) fn run() -> u32 {
    RUN.load(Ordering::Relaxed) & 0xff_ffff
}

/// What waits now is told no more.
pub(super) fn next_run() {
    RUN.fetch_add(1, Ordering::Relaxed);
}
