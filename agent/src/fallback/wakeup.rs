//! What wakes the agent thread before its time: a command. The process's work does not.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

static RUNG: Mutex<u32> = Mutex::new(0);
static BELL: Condvar = Condvar::new();

/// Wakes the agent thread.
pub(crate) fn ring() {
    let mut rung = RUNG.lock().unwrap_or_else(PoisonError::into_inner);
    *rung = rung.wrapping_add(1);
    BELL.notify_all();
}

/// How often it rang so far. To be asked before whatever it rings for is looked at.
pub(crate) fn heard() -> u32 {
    *RUNG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until it rings once more than was `heard`, but no longer than `at_most`.
pub(crate) fn wait(heard: u32, at_most: Duration) {
    let rung = RUNG.lock().unwrap_or_else(PoisonError::into_inner);
    drop(BELL.wait_timeout_while(rung, at_most, |rung| *rung == heard));
}
