//! Keeps allocation samples to a few per sample of CPU time: a service that allocates gigabytes a second would spend more on them
//! than on all else the agent does, and learn no more from them.
//!
//! The mean number of bytes between two samples doubles while they come too fast, at once as often as it takes, and halves again
//! step by step. Every sample counts for the mean that it was drawn with, so sums stay unbiased.

use std::time::Duration;

/// Samples for each second of CPU time: four times what CPU time itself gets by default. Together they take a five-hundredth of it.
const PER_CPU_SECOND: f64 = 400.0;
/// So few per second cost nothing, however little CPU time the process uses.
const NEGLIGIBLE_PER_SECOND: f64 = 20.0;
/// The largest mean is this many doublings above what was asked for.
const DOUBLINGS_MAX: u32 = 5;
/// How long half the mean must have been possible.
const ROOM_FOR: Duration = Duration::from_secs(60);

/// What happened in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allocations {
    pub(crate) wall: Duration,
    /// CPU time of the whole process.
    pub(crate) process: Duration,
    pub(crate) samples: u64,
}

/// See the module's words.
#[derive(Debug)]
pub(crate) struct HeapGovernor {
    mean_bytes: u64,
    doublings: u32,
    room: Duration,
}

impl HeapGovernor {
    /// Starts with a mean of so many bytes, which is also the least. 0: nothing is sampled.
    pub(crate) fn new(mean_bytes: u64) -> Self {
        Self { mean_bytes, doublings: 0, room: Duration::ZERO }
    }

    /// Mean bytes between two samples now.
    pub(crate) fn mean_bytes(&self) -> u64 {
        self.mean_bytes << self.doublings
    }

    /// Judges what happened since it was last asked; `true` when the mean has changed.
    pub(crate) fn judge(&mut self, happened: Allocations) -> bool {
        let before = self.doublings;
        let Allocations { wall, process, samples } = happened;
        let most = (process.as_secs_f64() * PER_CPU_SECOND).max(wall.as_secs_f64() * NEGLIGIBLE_PER_SECOND);
        let mut load = samples as f64 / most.max(1.0);
        while load > 1.0 && self.doublings < DOUBLINGS_MAX {
            self.doublings += 1;
            load /= 2.0;
        }
        // A little less than half, or it would swing.
        let has_room = self.doublings == before && load < 0.4;
        self.room = if has_room { self.room + wall } else { Duration::ZERO };
        if self.room >= ROOM_FOR {
            self.doublings = self.doublings.saturating_sub(1);
            self.room = Duration::ZERO;
        }
        self.doublings != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: u64 = 512 << 10;

    /// A window of a process that is busy on one processor.
    fn busy(samples: u64) -> Allocations {
        let wall = Duration::from_secs(10);
        Allocations { wall, process: wall, samples }
    }

    #[test]
    fn samples_that_come_too_fast_become_as_rare_as_they_should_at_once() {
        let mut governor = HeapGovernor::new(MEAN);
        assert!(!governor.judge(busy(3_900)));
        assert!(governor.judge(busy(4_000 * 7)));
        assert_eq!(governor.mean_bytes(), 8 * MEAN);
        assert!(!governor.judge(busy(4_000 * 7 / 8)), "which they are now");
        assert!(governor.judge(busy(u64::MAX)));
        assert_eq!(governor.mean_bytes(), 32 * MEAN, "and no further");
    }

    #[test]
    fn they_become_as_frequent_as_before_step_by_step_once_that_would_fit() {
        let mut governor = HeapGovernor::new(MEAN);
        governor.judge(busy(4_000 * 4));
        assert!((0..20).all(|_| !governor.judge(busy(2_100))), "half the mean would be too fast");
        let means: Vec<u64> = (0..14)
            .map(|_| {
                governor.judge(busy(1_500));
                governor.mean_bytes() / MEAN
            })
            .collect();
        assert_eq!(means, [4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2, 1, 1, 1]);
    }

    #[test]
    fn a_few_samples_are_let_be_however_idle_the_process_is() {
        let mut governor = HeapGovernor::new(MEAN);
        let wall = Duration::from_secs(10);
        assert!(!governor.judge(Allocations { wall, process: Duration::from_millis(10), samples: 190 }));
        assert!(!HeapGovernor::new(0).judge(Allocations { wall, process: wall, samples: 0 }));
    }
}
