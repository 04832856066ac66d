//! The SIGPROF handler: installed once and for ever, because a signal may arrive long after sampling stopped and would end
//! the process if nobody handled it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::arch::Registers;
use super::capture::{self, Subject};
use super::counters::{self, COUNTERS};
use super::thread_state::{self, ThreadState};
use crate::sample::SampleKind;

/// The handler that was there before ours; 0 when there was none.
static PREVIOUS: AtomicUsize = AtomicUsize::new(0);
/// Whether it expects three arguments.
static PREVIOUS_FLAGS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A handler that was installed over ours and passes signals on to us must not get them back in a circle.
    static CHAINING: Cell<bool> = const { Cell::new(false) };
}

/// How Linux lays out the information of a timer's signal.
#[repr(C)]
struct TimerSignal {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    timer: c_int,
    overruns: c_int,
    value: usize,
}

const _: () =
    assert!(std::mem::offset_of!(TimerSignal, overruns) == 20 && std::mem::offset_of!(TimerSignal, value) == 24);

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// Installs the handler unless it is the current one. What was there before keeps getting the signals that are not ours.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn install() -> io::Result<()> {
    // SAFETY: `sigaction` is a C structure for which zero is valid, and the pointers are to locals.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only.
    if unsafe { libc::sigaction(libc::SIGPROF, std::ptr::null(), &raw mut current) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let ours = on_sigprof as Handler as usize;
    if current.sa_sigaction == ours {
        return Ok(());
    }
    let foreign = current.sa_sigaction != libc::SIG_DFL && current.sa_sigaction != libc::SIG_IGN;
    PREVIOUS_FLAGS.store(current.sa_flags as usize, Ordering::Relaxed);
    PREVIOUS.store(if foreign { current.sa_sigaction } else { 0 }, Ordering::Release);
    // SAFETY: as above.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ours;
    // Interrupted calls go on by themselves. No alternate stack: std's is too small to share, and ours needs little.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler has the signature that SA_SIGINFO asks for and touches only what signal handlers may.
    if unsafe { libc::sigaction(libc::SIGPROF, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Blocks or unblocks SIGPROF in the running thread; returns whether it was blocked before.
pub(super) fn set_blocked(blocked: bool) -> bool {
    // SAFETY: signal sets are plain memory, initialized by the calls themselves; the pointers are to locals.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPROF);
        let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        libc::pthread_sigmask(how, &raw const set, &raw mut before);
        libc::sigismember(&raw const before, libc::SIGPROF) == 1
    }
}

extern "C" fn on_sigprof(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno's address is the thread's own, valid as long as the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    // SAFETY: the kernel passes SA_SIGINFO handlers a whole siginfo, of which this is the head.
    let (code, value, overruns) = unsafe {
        let info = &*info.cast::<TimerSignal>();
        (info.code, info.value, info.overruns)
    };
    let state = if code == libc::SI_TIMER { thread_state::at_address(value) } else { None };
    match state {
        Some(state) if super::is_active() => {
            let started = capture::monotonic_ns();
            // SAFETY: `context` is this handler's third argument.
            let registers = unsafe { Registers::interrupted(context) };
            sample(state, overruns, registers);
            counters::add(&COUNTERS.handler_ns_total, capture::monotonic_ns().wrapping_sub(started));
        }
        Some(_) => {}
        None => pass_on(signal, info, context),
    }
    *errno = saved;
}

fn sample(state: &ThreadState, overruns: c_int, registers: Registers) {
    let periods = u32::try_from(overruns).unwrap_or(0).saturating_add(1);
    let kind = SampleKind::Cpu { periods };
    capture::take(&Subject { kind, tid: state.tid(), state: Some(state), registers, skip: 0..0 });
}

/// Gives a signal that is not ours to whoever handled it before. With nobody there it is ignored: a timer of ours may have
/// sent it before it was deleted.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    if previous == 0 || CHAINING.replace(true) {
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
