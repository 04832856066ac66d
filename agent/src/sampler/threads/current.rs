//! Who the running thread is, so that sampling it need not ask the kernel.

use std::cell::Cell;

thread_local! {
    static THREAD: Identity = const { Identity { tid: Cell::new(0), exempt: Cell::new(false) } };
}

struct Identity {
    /// 0: not asked yet.
    tid: Cell<u32>,
    /// It is the agent's own, and may be holding what a sample needs.
    exempt: Cell<bool>,
}

/// The running thread's number. Safe in a signal handler.
pub(crate) fn current() -> u32 {
    THREAD.with(|thread| {
        if thread.tid.get() == 0 {
            // SAFETY: asks for a number.
            thread.tid.set(unsafe { libc::syscall(libc::SYS_gettid) } as u32);
        }
        thread.tid.get()
    })
}

/// Takes no CPU samples of the running thread, or takes them again.
pub(crate) fn set_exempt(exempt: bool) {
    THREAD.with(|thread| thread.exempt.set(exempt));
}

/// Whether no CPU samples of the running thread are taken. Safe in a signal handler.
pub(crate) fn is_exempt() -> bool {
    THREAD.with(|thread| thread.exempt.get())
}
