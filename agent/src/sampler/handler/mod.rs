//! The signal handler: installed once and for ever, because a signal may arrive long after sampling stopped and would end
//! the process if nobody handled it.
//!
//! Threads' own timers and the agent thread's alarm send SIGPROF, the process's timer sends SIGVTALRM. They must differ: a signal to the process that
//! meets a handler of the same signal is handed on to another thread, which may be asleep.

pub(crate) mod fork;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sample::SampleKind;
use crate::sampler::arch::Registers;
use crate::sampler::capture::{self, Subject};
use crate::sampler::clock;
use crate::sampler::counters::durations;
use crate::sampler::counters::{self, COUNTERS};
use crate::sampler::own_threads::wakeup;
use crate::sampler::threads::{self, ThreadState};
use crate::sampler::timers::process_timer;

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

const OURS: Handler = on_signal;

/// Handles SIGPROF, unless it is handled already. Who did so before keeps getting the signals that are not ours.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn install() -> io::Result<()> {
    keep_out_of_crash_handlers()?;
    let current = current_action(libc::SIGPROF)?;
    if current.sa_sigaction == OURS as usize {
        return Ok(());
    }
    let foreign = is_handler(&current);
    PREVIOUS_FLAGS.store(current.sa_flags as usize, Ordering::Relaxed);
    PREVIOUS.store(if foreign { current.sa_sigaction } else { 0 }, Ordering::Release);
    handle(libc::SIGPROF)
}

/// Handles SIGVTALRM, unless the program does so itself.
///
/// # Errors
/// `AddrInUse` when the program does; otherwise the kernel's.
pub(crate) fn install_for_process() -> io::Result<()> {
    let current = current_action(libc::SIGVTALRM)?;
    match current.sa_sigaction {
        ours if ours == OURS as usize => Ok(()),
        _ if is_handler(&current) => Err(io::ErrorKind::AddrInUse.into()),
        _ => handle(libc::SIGVTALRM),
    }
}

/// Lets crash handlers with a stack of their own finish before ours runs: such a stack is small, and one signal's registers and
/// frames on top of another's may not fit. The process would end without a word.
fn keep_out_of_crash_handlers() -> io::Result<()> {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let mut action = current_action(signal)?;
        if !is_handler(&action) || action.sa_flags & libc::SA_ONSTACK == 0 {
            continue;
        }
        for ours in [libc::SIGPROF, libc::SIGVTALRM] {
            // SAFETY: adds to a set that the kernel filled in.
            unsafe { libc::sigaddset(&raw mut action.sa_mask, ours) };
        }
        let before = set_action(signal, &action)?;
        if before.sa_sigaction != action.sa_sigaction {
            // Somebody else's has come in between: it stays, as it was.
            set_action(signal, &before)?;
        }
    }
    Ok(())
}

fn is_handler(action: &libc::sigaction) -> bool {
    action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN
}

fn current_action(signal: c_int) -> io::Result<libc::sigaction> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks only, and writes to a local.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut current) };
    if asked == 0 { Ok(current) } else { Err(io::Error::last_os_error()) }
}

fn handle(signal: c_int) -> io::Result<()> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = OURS as usize;
    // Interrupted calls go on by themselves. No alternate stack: std's is too small to share, and ours needs little. No
    // other signal is blocked meanwhile, for blocking one of the process's hands it on to another thread.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    set_action(signal, &action).map(drop)
}

/// Installs a handler that has the signature its flags ask for and touches only what signal handlers may. Returns what was there.
fn set_action(signal: c_int, action: &libc::sigaction) -> io::Result<libc::sigaction> {
    // SAFETY: `sigaction` is a C structure for which zero is valid.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: ours is such a handler, and every other one comes from the kernel as it was installed.
    let set = unsafe { libc::sigaction(signal, action, &raw mut before) };
    if set == 0 { Ok(before) } else { Err(io::Error::last_os_error()) }
}

/// Who sent a signal.
enum Sender {
    /// The thread's own timer.
    Thread(&'static ThreadState),
    /// The process's timer.
    Process,
    /// The alarm of the agent thread.
    Alarm,
    Stranger,
}

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

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno's address is the thread's own, valid as long as the thread.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    // SAFETY: the kernel passes SA_SIGINFO handlers a whole siginfo, of which this is the head.
    let (code, value, overruns) = unsafe {
        let info = &*info.cast::<TimerSignal>();
        (info.code, info.value, info.overruns)
    };
    let periods = u32::try_from(overruns).unwrap_or(0).saturating_add(1);
    let sender = if code == libc::SI_TIMER { Sender::of(value) } else { Sender::Stranger };
    match sender {
        Sender::Stranger => pass_on(signal, info, context),
        Sender::Alarm => wakeup::rung(),
        _ if !crate::sampler::is_active() => {}
        Sender::Thread(state) => {
            process_timer::counted_elsewhere(periods);
            if !crate::sampler::is_exempt() {
                let periods = periods.saturating_add(state.take_missed());
                // SAFETY: `context` is this handler's third argument.
                if !sample(state.tid(), Some(state), periods, unsafe { Registers::interrupted(context) }) {
                    state.miss(periods);
                }
            }
        }
        Sender::Process => {
            let tid = crate::sampler::current_tid();
            let state = threads::of(tid);
            if crate::sampler::is_exempt() || state.is_some_and(ThreadState::is_timed) {
                process_timer::landed_elsewhere(periods);
            } else if let periods @ 1.. = process_timer::due(periods) {
                // SAFETY: as above.
                if !sample(tid, state, periods, unsafe { Registers::interrupted(context) }) {
                    process_timer::landed_elsewhere(periods);
                }
            }
        }
    }
    *errno = saved;
}

impl Sender {
    fn of(value: usize) -> Self {
        match threads::at_address(value) {
            Some(state) => Self::Thread(state),
            None if process_timer::is_from_process_timer(value) => Self::Process,
            None if wakeup::is_from_alarm(value) => Self::Alarm,
            None => Self::Stranger,
        }
    }
}

/// `false`: there was no room for it, and a later one is to stand for its time.
fn sample(tid: u32, state: Option<&ThreadState>, periods: u32, registers: Registers) -> bool {
    let started = clock::monotonic_ns();
    let taken = capture::take(&Subject { kind: SampleKind::Cpu { periods }, tid, state, registers, skip: 0..0 });
    let took = clock::monotonic_ns().wrapping_sub(started);
    counters::add(&COUNTERS.handler_ns, took);
    durations::add(took);
    taken.is_some()
}

/// Gives a signal that is not ours to whoever handled it before. With nobody there it is ignored: a timer of ours may have
/// sent it before it was deleted.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
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
