//! How the agent's own threads get a processor: in turn, and never in the middle of somebody else's work.

use std::ffi::c_int;

/// From now on the calling thread, when it wakes, waits for a processor to be free or for its turn, as it would if it were computing
/// all the time, instead of taking one from a thread that is running. Its share of the time stays the same. A thread that is
/// scheduled in any special way is left alone.
pub(crate) fn wait_for_turn() {
    let own = 0;
    // Not by the C library: some of them refuse to do this for one thread.
    // SAFETY: asks for a number.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, own) };
    if policy == libc::c_long::from(libc::SCHED_OTHER) {
        let no_priority: c_int = 0;
        // SAFETY: reads one number, all that the kernel's parameters consist of. Who may not do this stays as before.
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, own, libc::SCHED_BATCH, &raw const no_priority) };
    }
}
