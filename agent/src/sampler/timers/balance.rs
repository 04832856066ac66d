//! What the process's timer says, and to whom: the samples of threads that have no timer of their own.
//!
//! Its signals go to whichever thread the kernel finds running when it looks, and on several processors that is not the
//! thread that used the time up: one processor looks first, again and again. So every period is entered in a balance. One
//! that lands on a thread with a timer of its own is owed to those without; one that such a timer counts was theirs to
//! have. A thread without a timer takes its own period and settles the balance. So all samples together stand for the
//! CPU time of the process, and those of threads without timers for what the others did not use. While nobody is without one it
//! rests: see [`coverage`](super::coverage).

use std::sync::atomic::{AtomicI64, Ordering};

/// Periods that threads without timers have coming.
static OWED: AtomicI64 = AtomicI64::new(0);
/// The most that one sample takes on besides its own, or a profile would be lumpy.
const TAKEN_MAX: i64 = 32;
/// What is left beyond this stays unsampled: it is too long ago to say anything about those who work now.
const OWED_MAX: i64 = 1_000;

/// What the signals of the process's timer carry: an address that nothing else can have.
static MARK: u8 = 0;

/// What the signals of the process's timer carry.
pub(crate) fn mark() -> usize {
    &raw const MARK as usize
}

/// Whether a signal's value says that the process's timer sent it. Safe in a signal handler.
pub(crate) fn is_from_process_timer(value: usize) -> bool {
    value == mark()
}

/// Starts with so many periods owed.
pub(crate) fn start(owed: u32) {
    OWED.store(i64::from(owed).min(OWED_MAX), Ordering::Relaxed);
}

/// The balance.
#[cfg(test)]
pub(crate) fn owed() -> i64 {
    OWED.load(Ordering::Relaxed)
}

/// A thread's own timer has counted `periods`. Safe in a signal handler.
pub(crate) fn counted_elsewhere(periods: u32) {
    OWED.fetch_sub(periods.into(), Ordering::Relaxed);
}

/// The process's timer has counted `periods` on a thread that has a timer of its own. Safe in a signal handler.
pub(crate) fn landed_elsewhere(periods: u32) {
    OWED.fetch_add(periods.into(), Ordering::Relaxed);
}

/// The process's timer has counted `periods` on a thread without a timer: how many it is to be sampled for; 0: none.
/// Safe in a signal handler.
pub(crate) fn due(periods: u32) -> u32 {
    let balance = OWED.swap(0, Ordering::Relaxed).saturating_add(periods.into());
    let taken = balance.clamp(0, i64::from(periods) + TAKEN_MAX);
    OWED.fetch_add((balance - taken).min(OWED_MAX), Ordering::Relaxed);
    u32::try_from(taken).unwrap_or(0)
}
