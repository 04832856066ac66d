//! Whether samples are taken: off while stopped, paused, or forked.

use std::sync::atomic::{AtomicBool, Ordering};

static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Whether samples are taken now. Safe in a signal handler.
pub(crate) fn is_active() -> bool {
    ACTIVE.load(Ordering::Acquire)
}

/// Takes samples from now on, or none. Safe in a signal handler.
pub(crate) fn set_active(active: bool) {
    ACTIVE.store(active, Ordering::Release);
}
