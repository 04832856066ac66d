//! Whether the process's timer is needed. It samples threads that have no timer of their own, and while there are none each of its
//! signals meets a thread that has one, and is for nothing. In a process that does next to nothing there are hardly any signals to spare,
//! and nobody looks for threads that begin to work: there it runs.

use std::time::Duration;

/// Without need for so long, the timer rests.
const CALM: Duration = Duration::from_secs(5);
/// What threads without timers may use in that time, of all that is used.
const CALM_SHARE: f64 = 0.005;
/// A process that uses less than this in that time, of one processor, has nothing to spare.
const WORTH_SHARE: f64 = 0.01;
/// What they may use between two looks before the timer runs again: how exact the kernel's clocks are ...
const AT_ONCE: Duration = Duration::from_millis(10);
/// ... and a share of all that is used.
const AT_ONCE_SHARE: f64 = 0.02;
/// The same in total since it began to rest.
const IN_TOTAL: Duration = Duration::from_millis(250);

/// CPU time that was used between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// By the whole process.
    pub(crate) all: Duration,
    /// By threads that had timers of their own. The clocks differ by some milliseconds, so it may be more than all.
    pub(crate) timed: Duration,
}

/// What follows from a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well as it is.
    Stay,
    /// The timer is to rest.
    Rest,
    /// It is to run again; so much was used meanwhile by threads that had none.
    Run(Duration),
}

/// What was used since the process's timer began to rest or was last judged, and by whom.
#[derive(Debug)]
pub(crate) struct Coverage {
    rests: bool,
    /// Since the timer began to rest, or since the last judgement whether it may.
    wall: Duration,
    all_ns: i64,
    untimed_ns: i64,
}

impl Coverage {
    /// At first the timer runs.
    pub(crate) fn new() -> Self {
        Self { rests: false, wall: Duration::ZERO, all_ns: 0, untimed_ns: 0 }
    }

    /// Whether the timer rests.
    pub(crate) fn rests(&self) -> bool {
        self.rests
    }

    /// Judges what was used in the time since the last look.
    pub(crate) fn look(&mut self, wall: Duration, used: Used) -> Verdict {
        let all_ns = used.all.as_nanos() as i64;
        let untimed_ns = all_ns - used.timed.as_nanos() as i64;
        self.wall += wall;
        self.all_ns += all_ns;
        self.untimed_ns += untimed_ns;
        if self.rests {
            let at_once = AT_ONCE.as_nanos() as f64 + AT_ONCE_SHARE * all_ns as f64;
            if untimed_ns as f64 > at_once || self.untimed_ns > IN_TOTAL.as_nanos() as i64 {
                return Verdict::Run(self.run());
            }
        } else if self.wall >= CALM {
            let all_ns = self.all_ns as f64;
            let is_calm =
                self.untimed_ns as f64 <= CALM_SHARE * all_ns && all_ns >= WORTH_SHARE * self.wall.as_nanos() as f64;
            self.begin(is_calm);
            if is_calm {
                return Verdict::Rest;
            }
        }
        Verdict::Stay
    }

    /// Nobody will look for a while, so the timer is to run. Returns what was used by threads that had none since it began to rest.
    pub(crate) fn run(&mut self) -> Duration {
        let untimed = Duration::from_nanos(self.untimed_ns.max(0) as u64);
        self.begin(false);
        untimed
    }

    fn begin(&mut self, rests: bool) {
        *self = Self { rests, ..Self::new() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A quarter of a second of a process that uses so many milliseconds, and threads with timers so many of them.
    fn look(coverage: &mut Coverage, all: u64, timed: u64) -> Verdict {
        coverage.look(LOOK, Used { all: millis(all), timed: millis(timed) })
    }

    fn resting() -> Coverage {
        let mut coverage = Coverage::new();
        let verdicts: Vec<_> = (0..20).map(|_| look(&mut coverage, 500, 500)).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Rest).count(), 1, "{verdicts:?}");
        assert!(coverage.rests());
        coverage
    }

    #[test]
    fn it_rests_after_five_seconds_in_which_all_that_works_has_timers() {
        let mut coverage = Coverage::new();
        assert!((0..19).all(|_| look(&mut coverage, 500, 500) == Verdict::Stay));
        assert_eq!(look(&mut coverage, 500, 490), Verdict::Rest, "0.1 % is nothing");
    }

    #[test]
    fn it_runs_as_long_as_threads_without_timers_work() {
        let mut coverage = Coverage::new();
        assert!((0..1_000).all(|_| look(&mut coverage, 500, 495) == Verdict::Stay));
        assert!((0..1_000).all(|_| look(&mut coverage, 1, 0) == Verdict::Stay), "however little they do");
        assert!(!coverage.rests());
    }

    #[test]
    fn it_runs_in_a_process_that_does_next_to_nothing() {
        let mut coverage = Coverage::new();
        assert!((0..1_000).all(|_| look(&mut coverage, 2, 2) == Verdict::Stay));
        assert!((0..1_000).all(|_| look(&mut coverage, 0, 0) == Verdict::Stay));
        assert!(!coverage.rests());
    }

    #[test]
    fn when_nobody_will_look_it_runs_and_what_was_missed_is_owed() {
        let mut coverage = resting();
        assert_eq!(look(&mut coverage, 500, 495), Verdict::Stay);
        assert_eq!(coverage.run(), millis(5));
        assert!(!coverage.rests());
        assert_eq!(coverage.run(), Duration::ZERO);
    }

    #[test]
    fn a_burst_of_short_threads_wakes_it_and_is_made_up_for() {
        let mut coverage = resting();
        assert_eq!(look(&mut coverage, 500, 497), Verdict::Stay);
        assert_eq!(look(&mut coverage, 500, 400), Verdict::Run(millis(103)));
        assert!(!coverage.rests());
    }

    #[test]
    fn little_by_little_they_wake_it_too() {
        let mut coverage = resting();
        let runs = (1..1_000).find_map(|at| match look(&mut coverage, 500, 495) {
            Verdict::Run(untimed) => Some((at, untimed)),
            _ => None,
        });
        assert_eq!(runs, Some((51, millis(255))));
    }

    #[test]
    fn clocks_that_differ_do_not_wake_it() {
        let mut coverage = resting();
        for at in 0..10_000 {
            // A tick late on each of two processors, and early the next time.
            let (all, timed) = if at % 2 == 0 { (492, 500) } else { (508, 500) };
            assert_eq!(look(&mut coverage, all, timed), Verdict::Stay);
        }
    }
}
