//! Samples the CPU time of every thread: the safe face of the code that signals, timers and stacks make unsafe.
//!
//! A timer per thread sends SIGPROF as the thread burns CPU; the handler walks the stack and leaves a record in a ring; the
//! agent thread arms timers, finds stack bounds and modules ([`tick`]), and empties the rings ([`drain`]).

mod active;
mod arch;
mod buffers;
mod capture;
mod clock;
pub(crate) mod context;
mod counters;
mod fork;
mod handler;
#[cfg(feature = "test-hooks")]
pub mod hooks;
mod modules;
mod own_threads;
mod supervisor;
mod threads;
mod timers;
mod unwinding;

use std::ffi::CString;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use self::arch::Registers;
pub(crate) use self::capture::copy as copy_stack;
pub(crate) use self::clock::{monotonic_ns, others_cpu_ns, process_cpu_ns, unix_time_ms};
pub(crate) use self::counters::durations::Durations;
pub(crate) use self::counters::{Counters, read as counters};
pub(crate) use self::fork::in_child;
pub(crate) use self::modules::ModuleMap;
pub(crate) use self::modules::loader::limit_tables;
pub(crate) use self::own_threads::scheduling::wait_for_turn;
pub(crate) use self::own_threads::wakeup;

use self::buffers::{record, slots};
use self::capture::Subject;
use self::modules::ifunc;
use self::supervisor::Supervisor;
use self::unwinding::frame::DEPTH_MAX;
use crate::sample::{RawSample, SampleKind};

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
    /// A forked child is not sampled, whoever asks.
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

/// One record as it is read; its own lock, so that [`drain`]'s callback may use everything else here.
static RECORD: Mutex<Vec<u64>> = Mutex::new(Vec::new());

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
    let Some(mut running) = supervisor::lock() else { return Err(SamplerError::Forked) };
    if running.is_some() {
        return Err(SamplerError::AlreadyRunning);
    }
    slots::init();
    fork::guard();
    capture::configure(depth);
    handler::install().map_err(SamplerError::Signal)?;
    threads::set_exempt(true);
    // The program may keep its threads from being interrupted; this one is the agent's, and is to hear its alarm.
    handler::set_blocked(false);
    let period = period(hz);
    capture::set_period(period);
    let mut supervisor = Supervisor::new(period, threads::current());
    active::set_active(true);
    supervisor.threads.discover();
    *running = Some(supervisor);
    Ok(())
}

/// CPU time between two samples; `None`: no CPU samples are taken.
fn period(hz: u32) -> Option<Duration> {
    Duration::from_secs(1).checked_div(hz)
}

/// Stops sampling. Samples taken so far can still be drained.
pub(crate) fn stop() {
    if let Some(mut stopped) = supervisor::lock().and_then(|mut running| running.take()) {
        active::set_active(false);
        stopped.threads.clear();
        stopped.forget_alarm();
        threads::set_exempt(false);
    }
}

/// Pauses or resumes. While paused no thread has a timer.
pub(crate) fn pause(paused: bool) {
    supervisor::with(|supervisor| {
        supervisor.paused = paused;
        active::set_active(!paused);
        if paused {
            supervisor.threads.disarm();
            supervisor.forget_alarm();
        } else {
            supervisor.threads.discover();
        }
    });
}

/// Samples at another rate from now on.
pub(crate) fn set_hz(hz: u32) {
    supervisor::with(|supervisor| {
        let period = period(hz);
        capture::set_period(period);
        supervisor.threads.set_period(period);
        if !supervisor.paused {
            supervisor.threads.discover();
        }
    });
}

/// Looks after threads, stack bounds and modules; `true` when there was anything new.
pub(crate) fn tick() -> bool {
    let is_news = supervisor::with(|supervisor| {
        let mut is_news = supervisor.refresh_modules();
        if !supervisor.paused {
            is_news |= supervisor.threads.discover();
            is_news |= supervisor.threads.find_bounds();
        }
        is_news
    });
    is_news.unwrap_or(false)
}

/// To be called before the agent thread stays away for longer than [`start`] allows, because the process does next to nothing. Whoever
/// begins to work meanwhile is sampled. `true`: a [`wakeup`] comes as soon as somebody does; `false`: it may not.
pub(crate) fn rest() -> bool {
    let is_called = supervisor::with(|supervisor| {
        if supervisor.paused {
            return true;
        }
        supervisor.threads.stand_by();
        supervisor.set_alarm()
    });
    is_called.unwrap_or(false)
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
    supervisor::with(|supervisor| supervisor.modules.map()).unwrap_or_default()
}

/// Where the code is that the loader chose for functions exported by the module at `path`, in the addresses of its file:
/// see [`ifunc`]. For threads of the agent.
pub(crate) fn resolve(path: &Path, exported: &[CString]) -> Vec<Option<Range<u64>>> {
    let loaded = supervisor::with(|supervisor| supervisor.modules.find(path)).flatten();
    loaded.map_or_else(|| vec![None; exported.len()], |loaded| ifunc::resolve(&loaded, exported))
}

/// Whether threads without a timer of their own are sampled.
pub(crate) fn has_process_timer() -> bool {
    supervisor::with(|supervisor| supervisor.threads.has_process_timer()).unwrap_or(false)
}

/// Takes a sample of an allocation by the running thread, whose `registers` were read in a function that has not returned.
/// Returns the stack's hash, or `None` when no sample was taken. `skip` is where the allocator's own code lies.
pub(crate) fn record_alloc(registers: Registers, bytes: u64, weight: f64, skip: Range<u64>) -> Option<u64> {
    if !active::is_active() {
        return None;
    }
    let started = clock::monotonic_ns();
    let tid = threads::current();
    let kind = SampleKind::Alloc { bytes, weight };
    let hash = capture::take(&Subject { kind, tid, state: threads::of(tid), registers, skip });
    counters::add(&counters::COUNTERS.alloc_ns, clock::monotonic_ns().wrapping_sub(started));
    hash
}

/// Whether this sampler knows where tasks wait.
pub(crate) const KNOWS_WAITS: bool = true;

/// Walks a stack that a task went to sleep on, from `registers` on, which were read in a function that is to be left out. `copied` is the stack from
/// there on; from `stands_from` on the running thread still stands on it. Returns the stack's hash, by which waits refer to it from then on, or `None` when
/// there was no room.
pub(crate) fn record_place(registers: &Registers, copied: &[u64], stands_from: u64) -> Option<u64> {
    if !active::is_active() {
        return None;
    }
    let started = clock::monotonic_ns();
    let hash = capture::take_place(registers, copied, stands_from);
    counters::add(&counters::COUNTERS.wait_ns, clock::monotonic_ns().wrapping_sub(started));
    hash
}

/// Takes a sample of a wait at a place that was recorded.
pub(crate) fn record_wait(sample: &RawSample<'_>) {
    if active::is_active() {
        capture::leave_wait(&RawSample { tid: threads::current(), ..*sample });
    }
}

#[cfg(test)]
pub(crate) mod tests;
