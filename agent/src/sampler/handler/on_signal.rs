//! What happens when one of our signals interrupts a thread. All of it is allowed in a signal handler: no allocation, no waiting, no panic.

use std::ffi::{c_int, c_void};

use super::previous;
use crate::sample::SampleKind;
use crate::sampler::arch::Registers;
use crate::sampler::capture::{self, Subject};
use crate::sampler::counters::durations;
use crate::sampler::counters::{self, COUNTERS};
use crate::sampler::own_threads::wakeup;
use crate::sampler::threads::{self, ThreadState};
use crate::sampler::timers::{alarm, balance};
use crate::sampler::{active, clock};

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

pub(super) extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
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
        Sender::Stranger => previous::pass_on(signal, info, context),
        Sender::Alarm => wakeup::came(),
        _ if !active::is_active() => {}
        Sender::Thread(state) => {
            balance::counted_elsewhere(periods);
            if !threads::is_exempt() {
                let periods = periods.saturating_add(state.take_missed());
                // SAFETY: `context` is this handler's third argument.
                if !sample(state.tid(), Some(state), periods, unsafe { Registers::interrupted(context) }) {
                    state.miss(periods);
                }
            }
        }
        Sender::Process => {
            let tid = threads::current();
            let state = threads::of(tid);
            if threads::is_exempt() || state.is_some_and(ThreadState::is_timed) {
                balance::landed_elsewhere(periods);
            } else if let periods @ 1.. = balance::due(periods) {
                // SAFETY: as above.
                if !sample(tid, state, periods, unsafe { Registers::interrupted(context) }) {
                    balance::landed_elsewhere(periods);
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
            None if balance::is_from_process_timer(value) => Self::Process,
            None if alarm::is_from_alarm(value) => Self::Alarm,
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
