//! What wakes the agent thread before its time: a command. The process's work does not.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

static WAKEUPS: Mutex<u32> = Mutex::new(0);
static WOKEN: Condvar = Condvar::new();

/// Wakes the agent thread.
pub(crate) fn wake() {
    let mut wakeups = WAKEUPS.lock().unwrap_or_else(PoisonError::into_inner);
    *wakeups = wakeups.wrapping_add(1);
    WOKEN.notify_all();
}

/// Wake-ups so far. To be asked before whatever they come for is looked at.
pub(crate) fn seen() -> u32 {
    *WAKEUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for one more wake-up than were `seen`, but no longer than `at_most`.
pub(crate) fn wait(seen: u32, at_most: Duration) {
    let wakeups = WAKEUPS.lock().unwrap_or_else(PoisonError::into_inner);
    drop(WOKEN.wait_timeout_while(wakeups, at_most, |wakeups| *wakeups == seen));
}
