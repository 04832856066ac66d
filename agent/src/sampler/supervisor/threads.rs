//! Finds the process's threads without their help and keeps CPU timers armed for them.
//!
//! A thread that works a lot has a timer of its own, which is exact. The kernel looks at timers once a tick, so a thread's
//! own timer misses what it does after its last tick: next to nothing for a worker, nearly everything for a thread that
//! lives a few milliseconds. So until a thread has used some CPU time it is sampled by one timer of the whole process,
//! which loses nothing when a thread ends. That timer also stands in for timers that the kernel refuses.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::process_timer::{Look, ProcessTimer};
use super::stack_bounds::{self, Asked};
use crate::sampler::clock::process_cpu_ns;
use crate::sampler::counters::{self, COUNTERS};
use crate::sampler::threads::{self, ThreadState};
use crate::sampler::timers::cpu_timer::{self, Timer};

/// Every thread directory under here is a thread.
const TASKS: &str = "/proc/self/task";
/// A thread that started as another ended leaves the count as it was, so a scan is due from time to time anyway ...
const RESCAN_AFTER: Duration = Duration::from_millis(250);
/// ... but never so often that scanning takes more than this fraction of the agent thread's time.
const RESCAN_COST_FACTOR: u32 = 200;
/// CPU time after which a thread gets a timer of its own: sooner, and what it loses at its end would matter; later, and
/// how the process's timer shares time out among threads would.
const SETTLED: Duration = Duration::from_millis(40);
/// When to ask again for a timer that the kernel refused.
const TIMER_RETRY: Duration = Duration::from_secs(10);
/// How long a stack whose bounds could not be found is left alone; it may be a coroutine's.
const BOUNDS_RETRY: Duration = Duration::from_secs(1);

/// The threads known so far. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct Threads {
    /// `None`: no CPU sampling, only stack bounds.
    period: Option<Duration>,
    /// The agent's own thread: its timer only counts.
    exempt: u32,
    /// Samples whoever has no timer.
    process: ProcessTimer,
    /// CPU time that threads used while they had timers.
    timed: Duration,
    known: HashMap<u32, Known>,
    links: u64,
    scans: u64,
    next_scan: Instant,
    random: u64,
}

#[derive(Debug)]
struct Known {
    /// `None`: too many threads.
    state: Option<&'static ThreadState>,
    timer: Option<Timer>,
    /// CPU time it had used when it was last looked at.
    used: Duration,
    arm_after: Instant,
    refused: bool,
    /// The scan that saw it last.
    seen: u64,
    bounds_after: Instant,
}

impl Threads {
    /// Knows no thread yet.
    pub(crate) fn new(period: Option<Duration>, exempt: u32) -> Self {
        let now = Instant::now();
        let random = u64::from(std::process::id()) << 32 | u64::from(exempt);
        Self {
            period,
            exempt,
            process: ProcessTimer::new(now),
            timed: Duration::ZERO,
            known: HashMap::new(),
            links: 0,
            scans: 0,
            next_scan: now,
            random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Whether threads without a timer of their own are sampled, as soon as they do anything worth it.
    pub(crate) fn has_process_timer(&self) -> bool {
        self.process.is_there()
    }

    /// The agent's own thread.
    pub(crate) fn agent_thread(&self) -> u32 {
        self.exempt
    }

    /// Whether those threads do so little that nobody looks.
    #[cfg(test)]
    pub(crate) fn process_timer_rests(&self) -> bool {
        self.process.rests()
    }

    /// Looks for threads that came and went, if it is time to or the kernel's count of them changed; `true` if it found any.
    pub(crate) fn discover(&mut self) -> bool {
        let now = Instant::now();
        if let Some(period) = self.period
            && self.process.is_due(now)
        {
            let first = self.first_expiry(period);
            self.process.set(now, first, period);
        }
        let links = std::fs::metadata(TASKS).map_or(0, |tasks| tasks.nlink());
        let started = Instant::now();
        if links == self.links && started < self.next_scan {
            return false;
        }
        self.links = links;
        let is_news = self.scan();
        self.next_scan = started + RESCAN_AFTER.max(started.elapsed() * RESCAN_COST_FACTOR);
        is_news
    }

    /// Gives a thread a timer of its own, unless it has one.
    #[cfg(feature = "test-hooks")]
    pub(crate) fn add(&mut self, tid: u32) {
        let now = Instant::now();
        self.meet(tid, now);
        self.arm(tid, cpu_timer::thread_cpu(tid), now);
        self.count();
    }

    /// Finds the stack bounds that samples have asked for since the last call; `true` if any were found.
    pub(crate) fn find_bounds(&mut self) -> bool {
        let now = Instant::now();
        let main = std::process::id();
        let mut waiting = Vec::new();
        let mut asked = Vec::new();
        for (&tid, thread) in &mut self.known {
            if let Some(state) = thread.state
                && now >= thread.bounds_after
                && let Some(request) = state.take_request()
            {
                asked.push(Asked { request, by_main: tid == main });
                waiting.push((state, &mut thread.bounds_after));
            }
        }
        if asked.is_empty() {
            return false;
        }
        let stacks = stack_bounds::find(&asked).unwrap_or_else(|_| vec![None; asked.len()]);
        let mut found = false;
        for (((state, again_after), asked), stack) in waiting.into_iter().zip(asked).zip(stacks) {
            match stack {
                Some(bounds) => {
                    state.set_bounds(bounds, asked.request.control_block);
                    found = true;
                }
                None => *again_after = now + BOUNDS_RETRY,
            }
        }
        found
    }

    /// Stops sampling every thread; from the next discovery on, each is sampled once per `period`.
    pub(crate) fn set_period(&mut self, period: Option<Duration>) {
        self.disarm();
        self.period = period;
    }

    /// Stops sampling every thread until the next discovery. What is known of their stacks stays.
    pub(crate) fn disarm(&mut self) {
        let now = Instant::now();
        self.known.values_mut().for_each(|thread| thread.disarm(now));
        self.process.give_up(now);
        self.links = 0;
        self.next_scan = now;
        COUNTERS.threads.store(0, Ordering::Relaxed);
    }

    /// Stops sampling every thread, and forgets them.
    pub(crate) fn clear(&mut self) {
        self.disarm();
        self.known.drain().for_each(|(_, thread)| thread.release());
    }

    /// `true` when threads were found that came, went, or work enough now to have timers of their own.
    fn scan(&mut self) -> bool {
        let Ok(tasks) = std::fs::read_dir(TASKS) else { return false };
        self.scans += 1;
        let now = Instant::now();
        let process_before = process_cpu_ns();
        let mut is_news = false;
        for task in tasks.flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            is_news |= self.meet(tid, now);
            let used = cpu_timer::thread_cpu(tid);
            self.timed += self.known.get_mut(&tid).map_or(Duration::ZERO, |thread| thread.look(used));
            if !self.process.is_there() || tid == self.exempt || used >= SETTLED {
                is_news |= self.arm(tid, used, now);
            }
        }
        let gone: Vec<u32> = self.known.iter().filter(|(_, t)| t.seen != self.scans).map(|(&tid, _)| tid).collect();
        is_news |= !gone.is_empty();
        for tid in gone {
            self.remove(tid);
        }
        self.count();
        self.cover(now, process_before, process_cpu_ns());
        is_news
    }

    /// Judges whether the process's timer is of use. `process_before` and `process_after`: what the process had used when threads were about
    /// to be looked at, and then.
    fn cover(&mut self, now: Instant, process_before: u64, process_after: u64) {
        let look = Look { at: now, process_before, process_after, timed: self.timed };
        if let Some(untimed) = self.process.judge(look) {
            self.run_process_timer(untimed);
        }
    }

    /// Lets the process's timer run while nobody looks: whoever begins to work then is sampled from the start.
    pub(crate) fn stand_by(&mut self) {
        if !self.process.rests() {
            return;
        }
        // What threads without timers have used until now.
        self.scan();
        if let Some(untimed) = self.process.end_rest() {
            self.run_process_timer(untimed);
        }
    }

    /// `untimed` was used by threads without timers since it began to rest.
    fn run_process_timer(&mut self, untimed: Duration) {
        if let Some(period) = self.period {
            let first = self.first_expiry(period);
            self.process.run(untimed, first, period);
        }
    }

    /// Makes a thread known; `true` if it was not.
    fn meet(&mut self, tid: u32, now: Instant) -> bool {
        let is_new = !self.is_current(tid);
        if is_new {
            self.remove(tid);
            let state = threads::assign(tid);
            let used = Duration::ZERO;
            let thread = Known { state, timer: None, used, arm_after: now, refused: false, seen: 0, bounds_after: now };
            self.known.insert(tid, thread);
        }
        if let Some(thread) = self.known.get_mut(&tid) {
            thread.seen = self.scans;
        }
        is_new
    }

    /// Gives a known thread, which has `used` so much CPU time, a timer, unless it has one; `true` when that was tried.
    fn arm(&mut self, tid: u32, used: Duration, now: Instant) -> bool {
        let Some(period) = self.period else { return false };
        let first = self.first_expiry(period);
        if let Some(thread) = self.known.get_mut(&tid)
            && thread.timer.is_none()
            && now >= thread.arm_after
        {
            thread.used = used;
            thread.arm(tid, now, first, period);
            return true;
        }
        false
    }

    /// Whether `tid` is known and still the same thread. One without a timer is taken at its number: its bounds are guarded
    /// by its control block, and nothing else of it is used.
    fn is_current(&self, tid: u32) -> bool {
        self.known.get(&tid).is_some_and(|thread| thread.timer.is_none_or(Timer::is_running))
    }

    fn remove(&mut self, tid: u32) {
        if let Some(thread) = self.known.remove(&tid) {
            thread.release();
        }
    }

    /// Uniform in (0, period], so that where in its period a thread's first sample falls is left to chance.
    fn first_expiry(&mut self, period: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let nanos = period.as_nanos() as u64;
        Duration::from_nanos(1 + self.random % nanos.max(1))
    }

    fn count(&self) {
        let exempt = u64::from(self.known.contains_key(&self.exempt));
        COUNTERS.threads.store(self.known.len() as u64 - exempt, Ordering::Relaxed);
    }
}

impl Known {
    /// Notes how much CPU time the thread has used: how much of that its own timer saw since the last look.
    fn look(&mut self, used: Duration) -> Duration {
        let since = used.saturating_sub(std::mem::replace(&mut self.used, used));
        if self.timer.is_some() { since } else { Duration::ZERO }
    }

    fn arm(&mut self, tid: u32, now: Instant, first: Duration, period: Duration) {
        let armed = match self.state {
            Some(state) => Timer::of_thread(tid, state.address(), first, period),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        };
        match armed {
            Ok(timer) => {
                self.timer = Some(timer);
                if let Some(state) = self.state {
                    state.set_timed(true);
                }
            }
            Err(_) if std::fs::metadata(format!("{TASKS}/{tid}")).is_err() => {} // It ended meanwhile.
            Err(_) => {
                self.arm_after = now + TIMER_RETRY;
                if !std::mem::replace(&mut self.refused, true) {
                    counters::add(&COUNTERS.timer_failures, 1);
                }
            }
        }
    }

    fn disarm(&mut self, now: Instant) {
        if let Some(timer) = self.timer.take() {
            timer.delete();
        }
        if let Some(state) = self.state {
            state.set_timed(false);
            // What was missed was missed before the pause.
            state.miss(0);
        }
        self.arm_after = now;
    }

    fn release(&self) {
        if let Some(timer) = self.timer {
            timer.delete();
        }
        if let Some(state) = self.state {
            state.release();
        }
    }
}
