//! The one timer of the whole process, from when the kernel grants it: set, at rest, or running again.

use std::time::{Duration, Instant};

use crate::sampler::handler;
use crate::sampler::timers::balance;
use crate::sampler::timers::coverage::{Coverage, Used, Verdict};
use crate::sampler::timers::cpu_timer::Timer;

/// When to ask again for a timer that the kernel refused.
const RETRY: Duration = Duration::from_secs(10);
/// Of what is used from one look at all threads to the next, no more than this fraction may be used during the look.
const LOOKS_IN_TIME: u64 = 500;

/// The process's timer, and whether it is worth running.
#[derive(Debug)]
pub(super) struct ProcessTimer {
    timer: Option<Timer>,
    retry: Instant,
    coverage: Coverage,
    /// When threads were last looked at; `None` when that says nothing of what came after.
    last: Option<Known>,
}

/// A look at all threads: CPU time that was used until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Instant,
    /// By the process, in nanoseconds, when the look began.
    pub(super) process_before: u64,
    /// By the process, in nanoseconds, when it ended.
    pub(super) process_after: u64,
    /// By threads while they had timers.
    pub(super) timed: Duration,
}

/// What had been used when threads were looked at.
#[derive(Debug, Clone, Copy)]
struct Known {
    at: Instant,
    process_ns: u64,
    timed: Duration,
}

impl ProcessTimer {
    /// To be set as soon as somebody asks.
    pub(super) fn new(now: Instant) -> Self {
        Self { timer: None, retry: now, coverage: Coverage::new(), last: None }
    }

    /// Whether there is a timer, at rest or not.
    pub(super) fn is_there(&self) -> bool {
        self.timer.is_some()
    }

    /// Whether threads without timers do so little that nobody looks.
    pub(super) fn rests(&self) -> bool {
        self.coverage.rests()
    }

    /// Whether the kernel is to be asked for it now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.timer.is_none() && now >= self.retry
    }

    /// Asks the kernel for the timer. It comes before all others, so it is the last that a limit refuses.
    pub(super) fn set(&mut self, now: Instant, first: Duration, period: Duration) {
        balance::start(0);
        let timer = handler::install_for_process().and_then(|()| Timer::of_process(balance::mark(), first, period));
        self.timer = timer.ok();
        self.retry = now + RETRY;
        if let Some(timer) = self.timer
            && self.coverage.rests()
        {
            timer.rest();
        }
    }

    /// Gives the timer up, for as long as nobody asks for it.
    pub(super) fn give_up(&mut self, now: Instant) {
        if let Some(timer) = self.timer.take() {
            timer.delete();
        }
        self.last = None;
        self.retry = now;
    }

    /// Lets the timer rest while it is of no use. Returns what threads without timers have used if it is to run again.
    pub(super) fn judge(&mut self, look: Look) -> Option<Duration> {
        let timer = self.timer?;
        let process_ns = look.process_before.midpoint(look.process_after);
        let known = Known { at: look.at, process_ns, timed: look.timed };
        let Some(last) = self.last else {
            self.last = Some(known);
            return None;
        };
        let all = known.process_ns.saturating_sub(last.process_ns);
        if look.process_after.saturating_sub(look.process_before) > all / LOOKS_IN_TIME {
            // Too much happened meanwhile to be compared. The next look stands for this time too.
            return None;
        }
        self.last = Some(known);
        let used = Used { all: Duration::from_nanos(all), timed: known.timed.saturating_sub(last.timed) };
        match self.coverage.look(known.at.saturating_duration_since(last.at), used) {
            Verdict::Stay => None,
            Verdict::Rest => {
                timer.rest();
                None
            }
            Verdict::Run(untimed) => Some(untimed),
        }
    }

    /// Nobody will look for a while. Returns what threads without timers have used if the timer is to run again for that.
    pub(super) fn end_rest(&mut self) -> Option<Duration> {
        self.coverage.rests().then(|| self.coverage.run())
    }

    /// Lets the timer run, with the samples owed that stand for `untimed`.
    pub(super) fn run(&mut self, untimed: Duration, first: Duration, period: Duration) {
        let Some(timer) = self.timer else { return };
        let owed = untimed.as_nanos() / period.as_nanos().max(1);
        balance::start(u32::try_from(owed).unwrap_or(u32::MAX));
        if timer.run(first, period).is_err() {
            timer.delete();
            self.timer = None;
        }
    }
}
