//! Keeps allocation samples to a few per sample of CPU time: a service that allocates gigabytes a second would spend more on them
//! than on all else the agent does, and learn no more from them.
//!
//! What may be taken is shared out between the sizes that are allocated, and what one does not need goes to the others. So only
//! floods are thinned, and what is rare beside them, such as a leak, is sampled as densely as it was asked to be.

use std::time::Duration;

use crate::heap::{CLASSES, PerClass};

/// Samples for each second of CPU time: twice what CPU time itself gets by default. Together they take a thousandth of it.
const PER_CPU_SECOND: f64 = 200.0;
/// The mean that this is meant for. Whoever asks for denser samples gets more of them.
const USUAL_MEAN_BYTES: f64 = 512.0 * 1024.0;
/// So few per second cost nothing, however little CPU time the process uses.
const NEGLIGIBLE_PER_SECOND: f64 = 20.0;
/// What was not taken before is allowed later, up to so many: a cache of 2 GiB that is filled when the process starts is sampled
/// in full.
const SPARE_MAX: f64 = 4_000.0;
/// At least one of so many samples that are due is taken, as a power of two.
const HALVINGS_MAX: u8 = 12;

/// What happened in a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allocations {
    pub(crate) wall: Duration,
    /// CPU time of the whole process.
    pub(crate) process: Duration,
    /// Samples that were due, taken or not.
    pub(crate) due: PerClass<u64>,
}

/// How much allocation samples are thinned now, and how many may still be taken in full.
#[derive(Debug)]
pub(crate) struct HeapGovernor {
    per_cpu_second: f64,
    /// Samples that may be taken beyond what is allowed at any time.
    spare: f64,
    halvings: PerClass<u8>,
}

impl HeapGovernor {
    /// Takes all samples at first. `mean_bytes`: how far apart they are to be.
    pub(crate) fn new(mean_bytes: u64) -> Self {
        let denser = USUAL_MEAN_BYTES / mean_bytes.max(1) as f64;
        Self { per_cpu_second: PER_CPU_SECOND * denser.max(1.0), spare: SPARE_MAX, halvings: [0; CLASSES] }
    }

    /// One of 2ⁿ samples of a class is to be taken now.
    pub(crate) fn halvings(&self) -> &PerClass<u8> {
        &self.halvings
    }

    /// Judges what happened since it was last asked; `true` when there is a change. A flood is thinned at once, and less from one
    /// judgement to the next when it is over.
    pub(crate) fn judge(&mut self, happened: &Allocations) -> bool {
        let before = self.halvings;
        let Allocations { wall, process, due } = happened;
        let most = (process.as_secs_f64() * self.per_cpu_second).max(wall.as_secs_f64() * NEGLIGIBLE_PER_SECOND);
        let left = most + self.spare - due.iter().sum::<u64>() as f64;
        self.spare = left.clamp(0.0, SPARE_MAX);
        let level = if left < 0.0 { level(due, most) } else { f64::INFINITY };
        for (halvings, &due) in self.halvings.iter_mut().zip(due) {
            let wanted = (due as f64 / level).log2().ceil().clamp(0.0, f64::from(HALVINGS_MAX)) as u8;
            *halvings = wanted.max(halvings.saturating_sub(1));
        }
        self.halvings != before
    }
}

/// What each class may have at most, so that all together have no more than `most`.
fn level(due: &PerClass<u64>, most: f64) -> f64 {
    let mut rising = *due;
    rising.sort_unstable();
    let mut left = most;
    for (settled, &due) in rising.iter().enumerate() {
        let share = left / (CLASSES - settled) as f64;
        if due as f64 > share {
            return share;
        }
        left -= due as f64;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEAN: u64 = 512 << 10;

    /// A window of a process that is busy on one processor, with samples due of some classes.
    fn busy(classes: &[(usize, u64)]) -> Allocations {
        let wall = Duration::from_secs(10);
        let mut due = [0; CLASSES];
        classes.iter().for_each(|&(class, samples)| due[class] = samples);
        Allocations { wall, process: wall, due }
    }

    /// Samples that are taken of each class when the same happens again.
    fn taken(governor: &HeapGovernor, happened: &Allocations) -> PerClass<u64> {
        std::array::from_fn(|class| happened.due[class] >> governor.halvings()[class])
    }

    #[test]
    fn a_flood_is_thinned_at_once_and_what_is_rare_is_left_alone() {
        let mut governor = HeapGovernor::new(MEAN);
        assert!(!governor.judge(&busy(&[(12, 1_000), (17, 1_000)])), "2 000 are allowed");
        let flood = busy(&[(6, 3), (12, 150), (17, 26_000), (18, 27_000)]);
        assert!(governor.judge(&flood));
        let taken = taken(&governor, &flood);
        assert_eq!((taken[6], taken[12]), (3, 150));
        assert!((460..=925).contains(&taken[17]) && (460..=925).contains(&taken[18]), "{taken:?}");
        assert!(!governor.judge(&flood), "the same again changes nothing");
    }

    #[test]
    fn floods_share_what_is_allowed_whatever_their_number() {
        for floods in 1..=CLASSES {
            let happened = busy(&(0..floods).map(|class| (class, 100_000 + class as u64)).collect::<Vec<_>>());
            let mut governor = HeapGovernor::new(MEAN);
            governor.judge(&happened);
            let sum: u64 = taken(&governor, &happened).iter().sum();
            // Halved until it fits: at least half of what is allowed is used.
            assert!((1_000..=2_000).contains(&sum), "{floods}: {sum}");
        }
    }

    #[test]
    fn thinning_ends_step_by_step_when_the_flood_does() {
        let mut governor = HeapGovernor::new(MEAN);
        governor.judge(&busy(&[(20, 15_000)]));
        let steps: Vec<u8> = (0..5)
            .map(|_| {
                governor.judge(&busy(&[(20, 10)]));
                governor.halvings()[20]
            })
            .collect();
        assert_eq!(steps, [2, 1, 0, 0, 0]);
    }

    #[test]
    fn who_asks_for_denser_samples_gets_them_and_who_asks_for_fewer_loses_none() {
        for (mean, thinned) in [(MEAN / 8, false), (MEAN, true), (MEAN * 8, true)] {
            assert_eq!(HeapGovernor::new(mean).judge(&busy(&[(20, 15_000)])), thinned, "{mean}");
            assert!(!HeapGovernor::new(mean).judge(&busy(&[(20, 1_900)])), "{mean}");
        }
    }

    #[test]
    fn a_few_samples_are_let_be_however_idle_the_process_is() {
        let mut governor = HeapGovernor::new(MEAN);
        let idle = Allocations { process: Duration::from_millis(10), ..busy(&[(12, 200)]) };
        assert!((0..1_000).all(|_| !governor.judge(&idle)));
        assert!(!HeapGovernor::new(0).judge(&busy(&[])), "nothing is sampled at all");
    }

    #[test]
    fn a_burst_is_sampled_in_full_and_another_one_after_a_while() {
        let mut governor = HeapGovernor::new(MEAN);
        let (burst, calm) = (busy(&[(16, 6_000)]), busy(&[(16, 1_000)]));
        assert!(!governor.judge(&burst));
        assert!(governor.judge(&burst), "which is no burst");
        assert!((0..2).all(|_| governor.judge(&calm)));
        assert!((0..2).all(|_| !governor.judge(&calm)));
        assert!(!governor.judge(&burst));
    }
}
