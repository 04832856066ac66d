//! How often the agent thread looks at the process: at once where threads and code change, ten times a second while the process works,
//! and at next to nothing while it rests.

use std::time::Duration;

/// How often the rings are emptied, and threads and code are looked at.
const DRAIN: Duration = Duration::from_millis(100);
/// How often threads and code are looked at while they change: whoever has just been started is known after this.
const TICK: Duration = Duration::from_millis(25);
/// What has not changed for so long is taken not to.
const CALM_AFTER: Duration = Duration::from_secs(1);
/// How often the process's clock is read while it rests and its work would wake the agent thread: against work that the kernel's
/// looks at its timers miss.
const REST: Duration = Duration::from_secs(1);
/// A process rests when it has used less than this share of one processor for as long as it takes to be calm.
const REST_SHARE: f64 = 0.01;
/// Less CPU time than this is none: how well the kernel's clocks agree.
const NOTHING: Duration = Duration::from_micros(20);

/// What there is to do after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The process has done nothing, so nothing is to be seen.
    Nothing,
    /// Look for new threads and code.
    Changes,
    /// Empty the rings too.
    All,
}

/// What one process did lately, and how often it is looked at for that.
#[derive(Debug)]
pub(crate) struct Pace {
    /// CPU time the process had used when it was last looked at.
    seen: Duration,
    /// Time since then.
    unseen: Duration,
    /// Since when nothing was new.
    calm: Duration,
    /// For how long the process has done next to nothing.
    quiet: Duration,
    undrained: Duration,
    /// Work will wake the agent thread.
    is_called: bool,
}

impl Pace {
    /// Of a process that has used `seen` of CPU time, the calling thread's left out, as all that is told from now on.
    pub(crate) fn new(seen: Duration) -> Self {
        let [unseen, calm, quiet, undrained] = [Duration::ZERO; 4];
        Self { seen, unseen, calm, quiet, undrained, is_called: false }
    }

    /// How long to wait before the next look.
    pub(crate) fn pause(&self) -> Duration {
        if self.rests() && self.is_called {
            REST
        } else if self.calm < CALM_AFTER && !self.rests() {
            TICK
        } else {
            DRAIN
        }
    }

    /// What to do `waited` after the last call, now that the process has used `used`.
    pub(crate) fn woke(&mut self, waited: Duration, used: Duration) -> Look {
        self.unseen += waited;
        let since = used.saturating_sub(self.seen);
        let rested = self.rests();
        if rested && since < NOTHING {
            return Look::Nothing;
        }
        self.seen = used;
        let time = std::mem::take(&mut self.unseen);
        let is_quiet = since <= time.mul_f64(REST_SHARE);
        self.quiet = if is_quiet { self.quiet.saturating_add(time) } else { Duration::ZERO };
        self.is_called &= self.rests();
        self.calm = self.calm.saturating_add(time);
        self.undrained += time;
        if rested || self.undrained >= DRAIN {
            self.undrained = Duration::ZERO;
            return Look::All;
        }
        Look::Changes
    }

    /// The last look found threads or code that are new or gone.
    pub(crate) fn found_news(&mut self) {
        self.calm = Duration::ZERO;
    }

    /// Whether the process has done next to nothing for a while.
    pub(crate) fn rests(&self) -> bool {
        self.quiet >= CALM_AFTER
    }

    /// Whether a process that rests calls when it begins to work.
    pub(crate) fn will_be_called(&mut self, is_called: bool) {
        self.is_called = is_called;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A process watched for a while, that uses so much of each second, in thousandths. Returns the looks.
    fn watch(pace: &mut Pace, lasts: Duration, per_mille: u32, used: &mut Duration) -> Vec<Look> {
        let mut time = Duration::ZERO;
        let mut looks = Vec::new();
        while time < lasts {
            let pause = pace.pause();
            time += pause;
            *used += pause / 1_000 * per_mille;
            looks.push(pace.woke(pause, *used));
        }
        looks
    }

    fn resting() -> (Pace, Duration) {
        let (mut pace, mut used) = (Pace::new(Duration::ZERO), Duration::ZERO);
        let looks = watch(&mut pace, millis(1_000), 0, &mut used);
        assert!(pace.rests());
        assert_eq!(looks.len(), 40, "as at every start");
        pace.will_be_called(true);
        (pace, used)
    }

    #[test]
    fn a_process_at_rest_is_looked_at_once_a_second_and_nothing_is_looked_for() {
        let (mut pace, mut used) = resting();
        assert_eq!(watch(&mut pace, millis(60_000), 0, &mut used), [Look::Nothing; 60]);
    }

    #[test]
    fn however_little_it_does_is_looked_for_within_a_second() {
        let (mut pace, mut used) = resting();
        used += Duration::from_micros(50);
        assert_eq!(pace.woke(REST, used), Look::All);
        assert_eq!(watch(&mut pace, millis(60_000), 9, &mut used), [Look::All; 60]);
        assert!(pace.rests());
    }

    #[test]
    fn little_by_little_is_something_too() {
        let (mut pace, mut used) = resting();
        let looks: Vec<Look> = (0..3)
            .map(|_| {
                used += NOTHING / 2;
                pace.woke(REST, used)
            })
            .collect();
        assert_eq!(looks, [Look::Nothing, Look::All, Look::Nothing]);
    }

    #[test]
    fn work_ends_the_rest_at_once_and_a_second_without_it_begins_the_next() {
        let (mut pace, mut used) = resting();
        used += millis(5);
        assert_eq!(pace.woke(millis(6), used), Look::All);
        assert!(!pace.rests());
        assert_eq!(pace.pause(), DRAIN, "nothing was new");
        let looks = watch(&mut pace, millis(60_000), 1_000, &mut used);
        assert_eq!(looks, [Look::All; 600]);
        assert_eq!(watch(&mut pace, millis(2_000), 0, &mut used).len(), 20, "a rest was not yet asked for");
        pace.will_be_called(true);
        assert_eq!(watch(&mut pace, millis(2_000), 0, &mut used), [Look::Nothing; 2]);
    }

    #[test]
    fn while_news_come_threads_are_looked_for_more_often_than_rings_are_emptied() {
        let (mut pace, mut used) = (Pace::new(Duration::ZERO), Duration::ZERO);
        watch(&mut pace, millis(2_000), 500, &mut used);
        assert_eq!(pace.pause(), DRAIN);
        pace.found_news();
        let looks = watch(&mut pace, millis(1_000), 500, &mut used);
        assert_eq!(looks.len(), 40);
        assert_eq!(looks.iter().filter(|look| **look == Look::All).count(), 10);
        assert_eq!(pace.pause(), DRAIN);
    }

    #[test]
    fn news_do_not_end_a_rest() {
        let (mut pace, _) = resting();
        pace.found_news();
        assert_eq!(pace.pause(), REST);
    }

    #[test]
    fn where_nobody_calls_the_clock_is_read_more_often() {
        let (mut pace, mut used) = resting();
        pace.will_be_called(false);
        assert_eq!(watch(&mut pace, millis(1_000), 0, &mut used), [Look::Nothing; 10]);
    }
}
