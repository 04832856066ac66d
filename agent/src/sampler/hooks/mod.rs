//! Doors for benchmarks and tests that must not need `unsafe` themselves. Not part of the public interface, and not there without the
//! feature `test-hooks`.
#![allow(clippy::expect_used, reason = "a benchmark or test that cannot start is to say so")]

mod varied;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::own_threads::wakeup;
use super::timers::cpu_timer;
use super::{SamplerConfig, active, counters, supervisor, threads};
use crate::labels::Labels;

/// The address of no thread's state.
const NOBODY: usize = 0;
/// How often a [`Session`] drains.
const DRAIN_EVERY: Duration = Duration::from_millis(10);
/// A machine so busy that the agent thread does not run for this many drains cannot be measured.
const DRAINS_AWAITED: u32 = 500;

/// Sampling without an agent around it: an agent thread that ticks, drains and forgets.
#[derive(Debug)]
pub struct Session {
    stop: Arc<AtomicBool>,
    drained: Arc<AtomicU64>,
    agent: Option<JoinHandle<()>>,
    agent_tid: u32,
}

impl Session {
    /// Starts sampling at `hz`, 128 frames deep.
    ///
    /// # Panics
    /// When sampling cannot start.
    #[must_use]
    pub fn start(hz: u32) -> Self {
        Self::start_with(hz, |_| ())
    }

    /// Starts sampling at `hz`, and hands each sample's stack (leaf first), trace and labels to `each`, on the agent thread and
    /// soon: a test may take far more samples than timers do.
    ///
    /// # Panics
    /// When sampling cannot start.
    #[must_use]
    pub fn collect(hz: u32, mut each: impl FnMut(&[u64], Option<[u8; 16]>, Labels) + Send + 'static) -> Self {
        Self::draining(hz, Duration::from_millis(1), move |sample| {
            each(sample.stack, sample.context.map(|context| context.trace_id), sample.labels);
        })
    }

    pub(crate) fn start_with(hz: u32, each: impl FnMut(&crate::sample::RawSample<'_>) + Send + 'static) -> Self {
        Self::draining(hz, DRAIN_EVERY, each)
    }

    /// As [`Session::start_with`], with an agent thread that sleeps until the process works.
    #[cfg(test)]
    pub(crate) fn resting(hz: u32, each: impl FnMut(&crate::sample::RawSample<'_>) + Send + 'static) -> Self {
        const FOR_EVER: Duration = Duration::from_secs(3600);
        Self::waiting(hz, each, |seen| {
            assert!(crate::sampler::rest(), "the kernel sets alarms");
            wakeup::wait(seen, FOR_EVER);
        })
    }

    fn draining(
        hz: u32,
        drain_every: Duration,
        each: impl FnMut(&crate::sample::RawSample<'_>) + Send + 'static,
    ) -> Self {
        Self::waiting(hz, each, move |_| std::thread::sleep(drain_every))
    }

    /// Between two looks it waits; told is how many wake-ups there had been before the first.
    fn waiting(
        hz: u32,
        mut each: impl FnMut(&crate::sample::RawSample<'_>) + Send + 'static,
        wait: impl Fn(u32) + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let drained = Arc::new(AtomicU64::new(0));
        let (ready, started) = std::sync::mpsc::channel();
        let agent = std::thread::spawn({
            let (stop, drained) = (Arc::clone(&stop), Arc::clone(&drained));
            move || {
                crate::sampler::start(SamplerConfig { hz, depth: 128 }).expect("sampling starts");
                ready.send(threads::current()).expect("the starter waits");
                loop {
                    let seen = wakeup::seen();
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    crate::sampler::tick();
                    crate::sampler::drain(&mut |sample| {
                        each(sample);
                        drained.fetch_add(1, Ordering::Relaxed);
                    });
                    wait(seen);
                }
                crate::sampler::stop();
                crate::sampler::drain(&mut |sample| {
                    each(sample);
                    drained.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        let agent_tid = started.recv().expect("sampling starts");
        Self { stop, drained, agent: Some(agent), agent_tid }
    }

    /// CPU time of the agent thread so far, which is never sampled.
    #[must_use]
    pub fn agent_cpu(&self) -> Duration {
        cpu_timer::thread_cpu(self.agent_tid)
    }

    /// Samples drained so far.
    #[must_use]
    pub fn drained(&self) -> u64 {
        self.drained.load(Ordering::Relaxed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        wakeup::wake();
        if let Some(agent) = self.agent.take() {
            // A failed agent thread has already printed why; panicking again in a drop would hide it.
            let _ = agent.join();
        }
    }
}

/// Takes one CPU sample of the running thread under `depth` frames of recursion. Returns how long the thread was away, the
/// signal's delivery and the system call that sent it included. Only a sample that reached a ring counts, because a dropped
/// one is cheaper: while the rings are full this waits for the next drain. `None` when the thread is not being sampled.
#[must_use]
pub fn cpu_sample_ns(depth: usize) -> Option<u64> {
    sample_ns(|address| descend(depth, address))
}

/// As [`cpu_sample_ns`], under functions that call each other in another order each time, as `path` (any number) says.
#[must_use]
pub fn varied_cpu_sample_ns(path: u64, depth: usize) -> Option<u64> {
    sample_ns(|address| varied::descend(path, depth, address))
}

/// As [`varied_cpu_sample_ns`], for a profiler that is not ours: whoever handles SIGPROF.
#[must_use]
pub fn foreign_signal_ns(path: u64, depth: usize) -> u64 {
    varied::descend(path, depth, NOBODY)
}

/// How many return addresses the functions of [`varied_cpu_sample_ns`] have.
#[must_use]
pub const fn varied_functions() -> usize {
    varied::FUNCTIONS
}

/// Gives the calling thread a timer at once, which the supervisor would do once it has worked for a while; `false`: sampling is off.
pub(crate) fn register_thread() -> bool {
    let registered = supervisor::with(|supervisor| {
        let is_sampling = active::is_active() && !supervisor.paused;
        if is_sampling {
            supervisor.threads.add(threads::current());
        }
        is_sampling
    });
    registered.unwrap_or(false)
}

fn sample_ns(raise_below: impl Fn(usize) -> u64) -> Option<u64> {
    register_thread();
    let address = threads::of(threads::current())?.address();
    for _ in 0..DRAINS_AWAITED {
        let before = counters().cpu_taken;
        let away = raise_below(address);
        if counters().cpu_taken > before {
            return Some(away);
        }
        std::thread::sleep(DRAIN_EVERY);
    }
    None
}

/// Samples that reached a ring, dropped ones, and nanoseconds spent, since the process began.
#[must_use]
pub fn totals() -> (u64, u64, u64) {
    let counters = counters();
    let taken = counters.cpu_taken + counters.alloc_taken;
    (taken, counters.dropped_busy + counters.dropped_ring_full, counters.handler_ns + counters.alloc_ns)
}

/// Samples for which a stack was copied by a system call, because its bounds were not known, since the process began.
#[must_use]
pub fn stacks_copied() -> u64 {
    let counters = counters();
    counters.stack_copied + counters.no_bound
}

/// Sends the threads with these names the signal that their timers would, over and over until `stop`. Returns how many.
#[must_use]
pub fn storm(name_starts_with: &str, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let is_named = |tid: &u32| {
            let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm"));
            name.is_ok_and(|name| name.starts_with(name_starts_with))
        };
        let tids: Vec<u32> =
            tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).filter(is_named).collect();
        for tid in tids.iter().cycle().take(tids.len() * 200) {
            sent += u64::from(signal_thread(*tid));
        }
    }
    sent
}

#[inline(never)]
fn descend(depth: usize, address: usize) -> u64 {
    if depth == 0 {
        return raise(address);
    }
    // Work after the call keeps it from becoming a jump.
    black_box(descend(black_box(depth - 1), address)).wrapping_add(black_box(0))
}

fn raise(address: usize) -> u64 {
    if address == NOBODY {
        let started = Instant::now();
        // SAFETY: whoever calls this has a handler installed.
        unsafe { libc::raise(libc::SIGPROF) };
        return started.elapsed().as_nanos() as u64;
    }
    let tid = threads::current();
    let started = Instant::now();
    signal(tid, address);
    started.elapsed().as_nanos() as u64
}

/// Sends a sampled thread the signal that its timer would; `false` when it is not sampled.
pub(crate) fn signal_thread(tid: u32) -> bool {
    threads::of(tid).is_some_and(|state| signal(tid, state.address()))
}

fn signal(tid: u32, address: usize) -> bool {
    // The head of the kernel's siginfo_t, padded to its full size, as a timer would send it.
    let mut info = [0u64; 16];
    info[0] = libc::SIGPROF as u64;
    info[1] = u64::from(libc::SI_TIMER as u32);
    info[3] = address as u64;
    // SAFETY: signals a thread of this process, which the sampler handles; `info` is as large as the kernel reads.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, libc::getpid(), tid, libc::SIGPROF, info.as_ptr()) == 0 }
}
