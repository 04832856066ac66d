//! The handler that was there before ours: it keeps getting the signals that are not ours.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A handler that asked for all there is to know of a signal.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Its address; 0 when there was none.
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);
/// Whether it expects three arguments.
static PREVIOUS_FLAGS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A handler that was installed over ours and passes signals on to us must not get them back in a circle.
    static CHAINING: Cell<bool> = const { Cell::new(false) };
}

/// Remembers the handler at an address that came from the kernel with these flags; 0: there was none.
pub(super) fn remember(address: usize, flags: c_int) {
    PREVIOUS_FLAGS.store(flags as usize, Ordering::Relaxed);
    PREVIOUS.store(address, Ordering::Release);
}

/// Gives a signal that is not ours to whoever handled it before. With nobody there it is ignored: a timer of ours may have
/// sent it before it was deleted.
pub(super) fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    if signal != libc::SIGPROF || previous == 0 || CHAINING.replace(true) {
        return;
    }
    if PREVIOUS_FLAGS.load(Ordering::Relaxed) as c_int & libc::SA_SIGINFO != 0 {
        // SAFETY: the address was registered with the kernel as a handler of three arguments.
        let handler: Handler = unsafe { std::mem::transmute(previous) };
        handler(signal, info, context);
    } else {
        // SAFETY: the address was registered with the kernel as a handler of one argument.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(previous) };
        handler(signal);
    }
    CHAINING.set(false);
}
