//! Doors for benchmarks and tests that must not need `unsafe` themselves. Not part of the public interface.

mod varied;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{SamplerConfig, counters, current_tid, thread_state, timer};

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

    pub(crate) fn start_with(hz: u32, mut each: impl FnMut(&crate::sample::RawSample<'_>) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let drained = Arc::new(AtomicU64::new(0));
        let (ready, started) = std::sync::mpsc::channel();
        let agent = std::thread::spawn({
            let (stop, drained) = (Arc::clone(&stop), Arc::clone(&drained));
            move || {
                super::start(SamplerConfig { hz, depth: 128 }).expect("sampling starts");
                ready.send(current_tid()).expect("the starter waits");
                while !stop.load(Ordering::Acquire) {
                    super::tick();
                    super::drain(&mut |sample| {
                        each(sample);
                        drained.fetch_add(1, Ordering::Relaxed);
                    });
                    std::thread::sleep(DRAIN_EVERY);
                }
                super::stop();
                super::drain(&mut |sample| {
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
        timer::thread_cpu(self.agent_tid)
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

/// How many return addresses the functions of [`varied_cpu_sample_ns`] have.
#[must_use]
pub const fn varied_functions() -> usize {
    varied::FUNCTIONS
}

fn sample_ns(raise_below: impl Fn(usize) -> u64) -> Option<u64> {
    super::register_thread();
    let address = thread_state::of(current_tid())?.address();
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

#[inline(never)]
fn descend(depth: usize, address: usize) -> u64 {
    if depth == 0 {
        return raise(address);
    }
    // Work after the call keeps it from becoming a jump.
    black_box(descend(black_box(depth - 1), address)).wrapping_add(black_box(0))
}

fn raise(address: usize) -> u64 {
    // The head of the kernel's siginfo_t, padded to its full size, as a timer would send it.
    let mut info = [0u64; 16];
    info[0] = libc::SIGPROF as u64;
    info[1] = u64::from(libc::SI_TIMER as u32);
    info[3] = address as u64;
    let started = Instant::now();
    // SAFETY: sends a signal to the running thread, which the sampler handles; `info` is as large as the kernel reads.
    unsafe {
        libc::syscall(libc::SYS_rt_tgsigqueueinfo, libc::getpid(), current_tid(), libc::SIGPROF, info.as_ptr());
    }
    started.elapsed().as_nanos() as u64
}
