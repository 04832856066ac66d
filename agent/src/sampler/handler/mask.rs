//! Keeps our signals from a thread for a while.

/// Blocks or unblocks our signals in the running thread; returns whether SIGPROF was blocked before.
pub(crate) fn set_blocked(blocked: bool) -> bool {
    // SAFETY: signal sets are plain memory, initialized by the calls themselves; the pointers are to locals.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPROF);
        libc::sigaddset(&raw mut set, libc::SIGVTALRM);
        let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        libc::pthread_sigmask(how, &raw const set, &raw mut before);
        libc::sigismember(&raw const before, libc::SIGPROF) == 1
    }
}
