//! What the agent thread looks after: threads and their timers, where their stacks end, what is mapped, and what wakes it.

mod process_timer;
mod stack_bounds;
mod threads;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::threads::Threads;
use super::buffers::slots;
use super::fork;
use super::modules::Tracker;
use super::timers::alarm::Alarm;
use super::unwinding::snapshot::Snapshot;

/// When to ask again for an alarm that the kernel refused.
const ALARM_RETRY: Duration = Duration::from_secs(10);

/// There is one while sampling runs.
static SUPERVISOR: Mutex<Option<Supervisor>> = Mutex::new(None);

/// What the agent thread knows of the process while sampling runs.
pub(crate) struct Supervisor {
    pub(crate) threads: Threads,
    pub(crate) modules: Tracker,
    pub(crate) paused: bool,
    /// Set at the first rest.
    alarm: Option<Alarm>,
    alarm_retry: Instant,
}

/// The supervisor. `None` in a forked child, where the lock may have been taken by a thread that is not there to give it back.
pub(crate) fn lock() -> Option<MutexGuard<'static, Option<Supervisor>>> {
    (!fork::in_child()).then(|| SUPERVISOR.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does something with the supervisor, if there is one.
pub(crate) fn with<T>(work: impl FnOnce(&mut Supervisor) -> T) -> Option<T> {
    lock()?.as_mut().map(work)
}

impl Supervisor {
    /// Knows what is mapped, and no thread yet. `agent` is the thread that is never sampled.
    pub(crate) fn new(period: Option<Duration>, agent: u32) -> Self {
        let mut supervisor = Self {
            threads: Threads::new(period, agent),
            modules: Tracker::default(),
            paused: false,
            alarm: None,
            alarm_retry: Instant::now(),
        };
        supervisor.refresh_modules();
        supervisor
    }

    /// Reads again what is mapped if the loader changed anything; `true` if it did.
    pub(crate) fn refresh_modules(&mut self) -> bool {
        let is_news = self.modules.refresh();
        if is_news {
            slots::publish(Snapshot::new(self.modules.loaded()));
        }
        is_news
    }

    /// Lets the agent thread be woken once the process has used a little CPU time; `false` where the kernel refuses.
    pub(crate) fn set_alarm(&mut self) -> bool {
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

    /// Wakes the agent thread no longer.
    pub(crate) fn forget_alarm(&mut self) {
        if let Some(alarm) = self.alarm.take() {
            alarm.delete();
        }
    }
}
