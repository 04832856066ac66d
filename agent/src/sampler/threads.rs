//! Finds the process's threads without their help and keeps one CPU timer armed on each.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::counters::{self, COUNTERS};
use super::stack_bounds::Mappings;
use super::thread_state::{self, THREADS_MAX};
use super::timer::Timer;

/// Every thread directory under here is a thread.
const TASKS: &str = "/proc/self/task";
/// A thread that started as another ended leaves the count as it was, so a scan is due from time to time anyway ...
const RESCAN_AFTER: Duration = Duration::from_millis(250);
/// ... but never so often that scanning takes more than this fraction of the agent thread's time.
const RESCAN_COST_FACTOR: u32 = 200;
/// How long a stack whose bounds could not be found is left alone; it may be a coroutine's.
const BOUNDS_RETRY: Duration = Duration::from_secs(1);

/// How far the pool has ever been used, which bounds searches in it.
static POOL_USED: AtomicUsize = AtomicUsize::new(0);

/// Position in the pool of thread `tid`, for samples that no timer took.
pub(super) fn position_of(tid: u32) -> Option<usize> {
    thread_state::position_of(tid, POOL_USED.load(Ordering::Acquire))
}

/// The threads known so far. Used by one thread at a time.
#[derive(Debug)]
pub(super) struct Threads {
    /// `None`: no CPU sampling, only stack bounds.
    period: Option<Duration>,
    /// The agent's own thread.
    exempt: u32,
    known: HashMap<u32, Known>,
    free: Vec<usize>,
    links: u64,
    scans: u64,
    next_scan: Instant,
    random: u64,
}

#[derive(Debug)]
struct Known {
    position: usize,
    timer: Option<Timer>,
    /// The scan that saw it last.
    seen: u64,
    bounds_after: Instant,
}

impl Threads {
    /// Knows no thread yet.
    pub(super) fn new(period: Option<Duration>, exempt: u32) -> Self {
        let now = Instant::now();
        let random = u64::from(std::process::id()) << 32 | u64::from(exempt);
        Self {
            period,
            exempt,
            known: HashMap::new(),
            free: Vec::new(),
            links: 0,
            scans: 0,
            next_scan: now,
            random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Looks for threads that came and went, if it is time to or the kernel's count of them changed.
    pub(super) fn discover(&mut self) {
        let links = std::fs::metadata(TASKS).map_or(0, |tasks| tasks.nlink());
        let started = Instant::now();
        if links == self.links && started < self.next_scan {
            return;
        }
        self.links = links;
        self.scan();
        self.next_scan = started + RESCAN_AFTER.max(started.elapsed() * RESCAN_COST_FACTOR);
    }

    /// Starts to sample a thread, unless it is sampled already.
    pub(super) fn add(&mut self, tid: u32) {
        if tid == self.exempt || self.is_current(tid) {
            return;
        }
        self.remove(tid);
        let Some(position) = self.take_position() else {
            counters::add(&COUNTERS.timer_failures, 1);
            return;
        };
        let Some(state) = thread_state::at(position) else { return };
        state.assign(tid);
        let timer = self.period.and_then(|period| {
            let armed = Timer::arm(tid, state.address(), self.first_expiry(period), period);
            armed.map_err(|_| counters::add(&COUNTERS.timer_failures, 1)).ok()
        });
        self.known.insert(tid, Known { position, timer, seen: self.scans, bounds_after: Instant::now() });
        self.count();
    }

    /// Finds the stack bounds that samples have asked for since the last call.
    pub(super) fn find_bounds(&mut self) {
        let now = Instant::now();
        let mut mappings = None;
        for (&tid, thread) in &mut self.known {
            if now < thread.bounds_after {
                continue;
            }
            let Some(state) = thread_state::at(thread.position) else { continue };
            let Some(request) = state.take_request() else { continue };
            // Read once, after all the requests it has to answer were made.
            if mappings.is_none() {
                mappings = Mappings::read().ok();
            }
            let is_main = tid == std::process::id();
            match mappings.as_ref().and_then(|m| m.stack_of(request, is_main)) {
                Some(bounds) => state.set_bounds(bounds, request.control_block),
                None => thread.bounds_after = now + BOUNDS_RETRY,
            }
        }
    }

    /// Stops sampling every thread.
    pub(super) fn clear(&mut self) {
        for (_, thread) in self.known.drain() {
            release(&thread);
            self.free.push(thread.position);
        }
        self.links = 0;
        self.next_scan = Instant::now();
        self.count();
    }

    fn scan(&mut self) {
        let Ok(tasks) = std::fs::read_dir(TASKS) else { return };
        self.scans += 1;
        for task in tasks.flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            self.add(tid);
            if let Some(thread) = self.known.get_mut(&tid) {
                thread.seen = self.scans;
            }
        }
        let gone: Vec<u32> = self.known.iter().filter(|(_, t)| t.seen != self.scans).map(|(&tid, _)| tid).collect();
        for tid in gone {
            self.remove(tid);
        }
        self.count();
    }

    /// Whether `tid` is known and still the same thread. One without a timer is taken at its number: its bounds are guarded
    /// by its control block, and nothing else of it is used.
    fn is_current(&self, tid: u32) -> bool {
        self.known.get(&tid).is_some_and(|thread| thread.timer.is_none_or(Timer::is_running))
    }

    fn remove(&mut self, tid: u32) {
        if let Some(thread) = self.known.remove(&tid) {
            release(&thread);
            self.free.push(thread.position);
        }
    }

    fn take_position(&mut self) -> Option<usize> {
        if let Some(position) = self.free.pop() {
            return Some(position);
        }
        // Only this structure hands positions out, and `new` is preceded by `clear` of any other.
        let next = self.known.len();
        if next >= THREADS_MAX {
            return None;
        }
        POOL_USED.fetch_max(next + 1, Ordering::Release);
        Some(next)
    }

    /// Uniform in (0, period], so that threads shorter than a period are sampled as often as their CPU time deserves.
    fn first_expiry(&mut self, period: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let nanos = period.as_nanos() as u64;
        Duration::from_nanos(1 + self.random % nanos.max(1))
    }

    fn count(&self) {
        COUNTERS.threads.store(self.known.len() as u64, Ordering::Relaxed);
    }
}

fn release(thread: &Known) {
    if let Some(timer) = thread.timer {
        timer.delete();
    }
    if let Some(state) = thread_state::at(thread.position) {
        state.release();
    }
}
