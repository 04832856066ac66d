//! What a fork does: the parent notices nothing, and in the child everything here is inert for ever.
//!
//! Our signals are blocked while the process is copied, because a signal would restart the copying, and a big process would never
//! finish it. The child has none of the parent's timers and none of its threads; it only must not use what they left half
//! done.

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sampler::{active, handler};

static IN_CHILD: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WAS_BLOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process was forked off one in which sampling had been started.
pub(crate) fn in_child() -> bool {
    IN_CHILD.load(Ordering::Relaxed)
}

/// Makes forks safe from now on.
pub(crate) fn guard() {
    static ONCE: Once = Once::new();
    // SAFETY: the three functions use only atomics, thread-locals without destructor, and signal masks.
    ONCE.call_once(|| unsafe {
        libc::pthread_atfork(Some(before), Some(in_parent), Some(after_in_child));
    });
}

extern "C" fn before() {
    WAS_BLOCKED.set(handler::set_blocked(true));
}

extern "C" fn in_parent() {
    if !WAS_BLOCKED.get() {
        handler::set_blocked(false);
    }
}

extern "C" fn after_in_child() {
    IN_CHILD.store(true, Ordering::Relaxed);
    active::set_active(false);
    in_parent();
}
