//! Samples the CPU time of every thread: the safe face of the code that signals, timers and stacks make unsafe.
//!
//! A timer per thread sends SIGPROF as the thread burns CPU; the handler walks the stack and leaves a record in a ring; the
//! agent thread arms timers, finds stack bounds and modules ([`tick`]), and empties the rings ([`drain`]).

mod arch;
mod buffers;
mod capture;
mod clock;
pub(crate) mod context;
mod counters;
mod handler;
pub mod hooks;
mod modules;
mod own_threads;
mod supervisor;
mod threads;
mod timers;
mod unwinding;

use std::cell::Cell;
use std::ffi::CString;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::arch::Registers;
pub(crate) use self::clock::{others_cpu_ns, process_cpu_ns};
pub(crate) use self::counters::durations::Durations;
pub(crate) use self::counters::{Counters, read as counters};
pub(crate) use self::modules::ModuleMap;
pub(crate) use self::modules::loader::limit_tables;
pub(crate) use self::own_threads::scheduling::wait_for_turn;
pub(crate) use self::own_threads::wakeup;

use self::buffers::record;
use self::buffers::slots::{self, DEPTH_MAX};
use self::capture::Subject;
use self::handler::fork;
use self::modules::{Tracker, ifunc};
use self::own_threads::wakeup::Alarm;
use self::supervisor::threads::Threads;
use crate::sample::{RawSample, SampleKind};

/// When to ask again for an alarm that the kernel refused.
const ALARM_RETRY: Duration = Duration::from_secs(10);

/// More would cost more than it tells; the kernel's own tick is slower than this.
const HZ_MAX: u32 = 10_000;

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SamplerConfig {
    /// Samples per second of CPU time, per thread. 0 takes no CPU samples and leaves the rest working.
    pub(crate) hz: u32,
    /// Frames kept of a stack.
    pub(crate) depth: usize,
}

/// Why sampling could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SamplerError {
    /// There is one sampler per process.
    #[error("sampling is already running in this process; stop the other agent first")]
    AlreadyRunning,
    /// See [`fork`].
    #[error("this process was forked from a sampled one and cannot be sampled; start the agent after forking")]
    Forked,
    /// The configuration is out of range.
    #[error("sampling rate is {hz} Hz, limit {HZ_MAX}")]
    RateTooHigh {
        /// What was asked for.
        hz: u32,
    },
    /// The configuration is out of range.
    #[error("stack depth is {depth}, must be 1 to {DEPTH_MAX}")]
    DepthOutOfRange {
        /// What was asked for.
        depth: usize,
    },
    /// The kernel's answer.
    #[error("cannot handle SIGPROF: {0}")]
    Signal(#[source] std::io::Error),
}

/// Samples are taken. Off while stopped, paused, or forked.
static ACTIVE: AtomicBool = AtomicBool::new(false);

static SUPERVISOR: Mutex<Option<Supervisor>> = Mutex::new(None);
/// One record as it is read; its own lock, so that [`drain`]'s callback may use everything else here.
static RECORD: Mutex<Vec<u64>> = Mutex::new(Vec::new());

struct Supervisor {
    threads: Threads,
    tracker: Tracker,
    paused: bool,
    /// Set at the first rest.
    alarm: Option<Alarm>,
    alarm_retry: Instant,
}

thread_local! {
    static THREAD: Identity = const { Identity { tid: Cell::new(0), exempt: Cell::new(false) } };
}

/// Who the running thread is, so that sampling it need not ask the kernel.
struct Identity {
    tid: Cell<u32>,
    /// It is the agent's own, and may be holding what a sample needs.
    exempt: Cell<bool>,
}

/// Starts sampling every thread but the calling one, which becomes the agent thread: it has to call [`drain`] about every 100 ms,
/// and [`tick`] as often, or about every 25 ms while there is news; or to [`rest`].
///
/// # Errors
/// When sampling runs already, cannot run, or the configuration is out of range.
pub(crate) fn start(config: SamplerConfig) -> Result<(), SamplerError> {
    let SamplerConfig { hz, depth } = config;
    if hz > HZ_MAX {
        return Err(SamplerError::RateTooHigh { hz });
    }
    if !(1..=DEPTH_MAX).contains(&depth) {
        return Err(SamplerError::DepthOutOfRange { depth });
    }
    let Some(mut supervisor) = supervisor() else { return Err(SamplerError::Forked) };
    if supervisor.is_some() {
        return Err(SamplerError::AlreadyRunning);
    }
    slots::init();
    fork::guard();
    capture::configure(depth);
    handler::install().map_err(SamplerError::Signal)?;
    set_exempt(true);
    // The program may keep its threads from being interrupted; this one is the agent's, and is to hear its alarm.
    handler::set_blocked(false);
    let mut tracker = Tracker::default();
    tracker.refresh();
    let period = Duration::from_secs(1).checked_div(hz);
    capture::set_period(period);
    let mut threads = Threads::new(period, current_tid());
    ACTIVE.store(true, Ordering::Release);
    threads.discover();
    *supervisor = Some(Supervisor { threads, tracker, paused: false, alarm: None, alarm_retry: Instant::now() });
    Ok(())
}

/// Stops sampling. Samples taken so far can still be drained.
pub(crate) fn stop() {
    if let Some(mut stopped) = supervisor().and_then(|mut supervisor| supervisor.take()) {
        deactivate();
        stopped.threads.clear();
        stopped.forget_alarm();
        set_exempt(false);
    }
}

impl Supervisor {
    /// Lets the agent thread be woken once the process has used a little CPU time; `false` where the kernel refuses.
    fn set_alarm(&mut self) -> bool {
        if let Some(alarm) = self.alarm {
            if alarm.set_again().is_ok() {
                return true;
            }
            self.forget_alarm();
        }
        let now = Instant::now();
        if now >= self.alarm_retry {
            self.alarm = Alarm::set(self.threads.agent_thread()).ok();
            self.alarm_retry = now + ALARM_RETRY;
        }
        self.alarm.is_some()
    }

    fn forget_alarm(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            alarm.delete();
        }
    }
}

/// Pauses or resumes. While paused no thread has a timer.
pub(crate) fn pause(paused: bool) {
    if let Some(mut supervisor) = supervisor()
        && let Some(supervisor) = supervisor.as_mut()
    {
        supervisor.paused = paused;
        ACTIVE.store(!paused, Ordering::Release);
        if paused {
            supervisor.threads.disarm();
            supervisor.forget_alarm();
        } else {
            supervisor.threads.discover();
        }
    }
}

/// Samples at another rate from now on.
pub(crate) fn set_hz(hz: u32) {
    if let Some(mut supervisor) = supervisor()
        && let Some(supervisor) = supervisor.as_mut()
    {
        let period = Duration::from_secs(1).checked_div(hz);
        capture::set_period(period);
        supervisor.threads.set_period(period);
        if !supervisor.paused {
            supervisor.threads.discover();
        }
    }
}

/// Looks after threads, stack bounds and modules; `true` when there was anything new.
pub(crate) fn tick() -> bool {
    let mut is_news = false;
    if let Some(mut supervisor) = supervisor()
        && let Some(supervisor) = supervisor.as_mut()
    {
        is_news |= supervisor.tracker.refresh();
        if !supervisor.paused {
            is_news |= supervisor.threads.discover();
            is_news |= supervisor.threads.find_bounds();
        }
    }
    is_news
}

/// To be called before the agent thread stays away for longer than [`start`] allows, because the process does next to nothing. Whoever
/// begins to work meanwhile is sampled. `true`: the [`wakeup`] comes as soon as somebody does; `false`: it may not.
pub(crate) fn rest() -> bool {
    let Some(mut supervisor) = supervisor() else { return false };
    let Some(supervisor) = supervisor.as_mut() else { return false };
    if supervisor.paused {
        return true;
    }
    supervisor.threads.stand_by();
    supervisor.set_alarm()
}

/// Hands out every sample taken since the last call, oldest first within each slot.
pub(crate) fn drain(each: &mut dyn FnMut(&RawSample<'_>)) {
    if fork::in_child() {
        return;
    }
    let mut words = RECORD.lock().unwrap_or_else(PoisonError::into_inner);
    for slot in slots::all() {
        while slot.ring.pop(&mut words) {
            if let Some(sample) = record::decode(&words) {
                each(&sample);
            }
        }
    }
}

/// Names code addresses. Empty before the first [`start`] and after [`stop`].
pub(crate) fn modules() -> Arc<ModuleMap> {
    supervisor().and_then(|supervisor| Some(supervisor.as_ref()?.tracker.map())).unwrap_or_default()
}

/// Where the code is that the loader chose for functions exported by the module at `path`, in the addresses of its file:
/// see [`ifunc`]. For threads of the agent.
pub(crate) fn resolve(path: &Path, exported: &[CString]) -> Vec<Option<Range<u64>>> {
    let loaded = supervisor().and_then(|supervisor| supervisor.as_ref()?.tracker.find(path));
    loaded.map_or_else(|| vec![None; exported.len()], |loaded| ifunc::resolve(&loaded, exported))
}

/// Gives the calling thread a timer at once, which the supervisor would do once it has worked for a while. Never waits;
/// `false`: somebody else was at it, or sampling is off.
pub(crate) fn register_thread() -> bool {
    if !is_active() {
        return false;
    }
    if let Ok(mut supervisor) = SUPERVISOR.try_lock()
        && let Some(supervisor) = supervisor.as_mut()
        && !supervisor.paused
    {
        supervisor.threads.add(current_tid());
        return true;
    }
    false
}

/// Whether threads without a timer of their own are sampled.
pub(crate) fn has_process_timer() -> bool {
    supervisor().is_some_and(|supervisor| supervisor.as_ref().is_some_and(|s| s.threads.has_process_timer()))
}

/// Takes a sample of an allocation by the running thread, whose `registers` were read in a function that has not returned.
/// Returns the stack's hash, or `None` when no sample was taken. `skip` is where the allocator's own code lies.
pub(crate) fn record_alloc(registers: Registers, bytes: u64, weight: f64, skip: Range<u64>) -> Option<u64> {
    if !is_active() {
        return None;
    }
    let started = clock::monotonic_ns();
    let tid = current_tid();
    let kind = SampleKind::Alloc { bytes, weight };
    let hash = capture::take(&Subject { kind, tid, state: threads::of(tid), registers, skip });
    counters::add(&counters::COUNTERS.alloc_ns, clock::monotonic_ns().wrapping_sub(started));
    hash
}

/// Whether samples are taken now. Safe in a signal handler.
fn is_active() -> bool {
    ACTIVE.load(Ordering::Acquire)
}

/// Takes no more samples from now on. Safe in a signal handler.
fn deactivate() {
    ACTIVE.store(false, Ordering::Release);
}

/// `None` in a forked child, where the lock may have been taken by a thread that is not there to give it back.
fn supervisor() -> Option<MutexGuard<'static, Option<Supervisor>>> {
    (!fork::in_child()).then(|| SUPERVISOR.lock().unwrap_or_else(PoisonError::into_inner))
}

fn current_tid() -> u32 {
    THREAD.with(|thread| {
        if thread.tid.get() == 0 {
            // SAFETY: asks for a number.
            thread.tid.set(unsafe { libc::syscall(libc::SYS_gettid) } as u32);
        }
        thread.tid.get()
    })
}

/// Takes no CPU samples of the running thread, or takes them again.
fn set_exempt(exempt: bool) {
    THREAD.with(|thread| thread.exempt.set(exempt));
}

/// Safe in a signal handler.
fn is_exempt() -> bool {
    THREAD.with(|thread| thread.exempt.get())
}

#[cfg(test)]
pub(crate) mod tests;
