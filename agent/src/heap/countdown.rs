//! Decides which allocations are sampled: each byte with the same small chance, so a block of `S` bytes with probability
//! 1 − e^(−S/R), where R is the mean number of bytes between samples.
//!
//! Each thread counts down the bytes to its next sample. That subtraction is the whole cost of an allocation that is not
//! sampled, and it is the same when profiling was never started.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::thinning;

/// Bytes a thread allocates before it looks whether profiling was started: often enough to notice, too rarely to cost.
const IDLE_STEP: i64 = 512 * 1024;

/// Mean bytes between samples.
static MEAN_BYTES: AtomicU64 = AtomicU64::new(0);
/// 0: off. Every start gets another number, by which threads notice that their countdown is from an earlier one.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// The last number given out.
static STARTS: AtomicU32 = AtomicU32::new(0);

/// Something was allocated through this allocator.
static IN_USE: AtomicBool = AtomicBool::new(false);

struct Countdown {
    left: Cell<i64>,
    epoch: Cell<u32>,
    random: Cell<u64>,
    /// This thread is taking a sample; what it allocates meanwhile is not the program's.
    inside: Cell<bool>,
    /// This thread is never sampled.
    exempt: Cell<bool>,
}

thread_local! {
    // Const and without destructor: so it can be used from the thread's first allocation to its last, in any order with
    // other thread-locals' destructors, and never allocates itself.
    static COUNTDOWN: Countdown = const {
        Countdown {
            left: Cell::new(0),
            epoch: Cell::new(0),
            random: Cell::new(0),
            inside: Cell::new(false),
            exempt: Cell::new(false),
        }
    };
}

/// Turns sampling on, with one sample per `mean_bytes` on average.
pub(super) fn enable(mean_bytes: u64) {
    MEAN_BYTES.store(mean_bytes.max(1), Ordering::Relaxed);
    let start = STARTS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    EPOCH.store(start, Ordering::Release);
}

/// Turns sampling off.
pub(super) fn disable() {
    EPOCH.store(0, Ordering::Release);
}

/// Whether the program allocates through this allocator: every thread's first allocation asks whether it is due.
pub(super) fn is_in_use() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

/// Never samples the running thread from now on.
pub(super) fn exempt_this_thread() {
    COUNTDOWN.with(|countdown| countdown.exempt.set(true));
}

/// Counts an allocation. `true`: go ahead; `false`: ask [`due`].
#[inline(always)]
pub(super) fn charge(bytes: usize) -> bool {
    COUNTDOWN.with(|countdown| {
        let left = countdown.left.get().wrapping_sub(bytes as i64);
        countdown.left.set(left);
        left >= 0
    })
}

/// Whether the allocation just charged is to be sampled: then how many such allocations it stands for.
#[cold]
#[inline(never)]
pub(super) fn due(bytes: usize) -> Option<f64> {
    COUNTDOWN.with(|countdown| countdown.due(bytes))
}

/// Runs `work` with sampling off for this thread: what it allocates is neither sampled nor charged.
pub(super) fn while_inside<R>(work: impl FnOnce() -> R) -> R {
    COUNTDOWN.with(|countdown| {
        let (inside, left) = (countdown.inside.replace(true), countdown.left.get());
        let result = work();
        countdown.inside.set(inside);
        countdown.left.set(left);
        result
    })
}

/// How many allocations of `bytes` one sampled one stands for: 1 / (1 − e^(−bytes / mean)).
fn weight(bytes: usize, mean_bytes: u64) -> f64 {
    -1.0 / (-(bytes as f64) / mean_bytes as f64).exp_m1()
}

impl Countdown {
    fn due(&self, bytes: usize) -> Option<f64> {
        IN_USE.store(true, Ordering::Relaxed);
        let epoch = EPOCH.load(Ordering::Acquire);
        if self.inside.get() {
            return None;
        }
        if epoch == 0 || self.exempt.get() {
            self.left.set(IDLE_STEP);
            return None;
        }
        let mean = MEAN_BYTES.load(Ordering::Relaxed);
        if self.epoch.replace(epoch) != epoch {
            // The countdown so far was not a real one. This allocation is the first to face one.
            if self.random.get() == 0 {
                self.random.set(seed(self));
            }
            self.left.set(self.gap(mean).saturating_sub_unsigned(bytes as u64));
            if self.left.get() >= 0 {
                return None;
            }
        }
        self.left.set(self.gap(mean));
        // Chosen first: of a flood few are, and only they are worth the arithmetic.
        let chosen_of = thinning::choose(bytes, self.random())?;
        Some(weight(bytes, mean) * chosen_of)
    }

    /// Draws an exponentially distributed number of bytes.
    fn gap(&self, mean_bytes: u64) -> i64 {
        let uniform = ((self.random() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * mean_bytes as f64) as i64
    }

    /// The next number of a xorshift64* generator.
    fn random(&self) -> u64 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Differs between threads, by where their thread-locals are, and between runs, by where everything is.
fn seed(countdown: &Countdown) -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    let number = THREADS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mut seed = (std::ptr::from_ref(countdown) as u64) ^ number;
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (seed ^ (seed >> 31)) | 1
}

/// Lets the running thread draw the same gaps each time.
#[cfg(test)]
pub(super) fn seed_this_thread(seed: u64) {
    COUNTDOWN.with(|countdown| countdown.random.set(seed | 1));
}

#[cfg(test)]
#[cfg_attr(miri, allow(dead_code, reason = "statistics need more samples than an interpreter has patience for"))]
mod tests {
    use super::*;
    use crate::sampler::tests::take_turn;

    const MEAN: u64 = 512 * 1024;

    /// Allocations that were made, how many of them were sampled, and how many those stand for.
    #[derive(Debug, Default, Clone, Copy)]
    struct Tally {
        made: u64,
        sampled: u64,
        estimated: f64,
    }

    impl Tally {
        fn error(&self) -> f64 {
            self.estimated / self.made as f64 - 1.0
        }
    }

    /// Charges `times` allocations of `bytes` as the allocator does. Those that cannot be the sampled one are charged at once.
    fn allocate(bytes: usize, times: u64, tally: &mut Tally) {
        let mut left = times;
        while left > 0 {
            let fit = COUNTDOWN.with(|countdown| {
                let fit = (countdown.left.get().max(0) as u64 / bytes as u64).min(left - 1);
                countdown.left.set(countdown.left.get() - (fit * bytes as u64) as i64);
                fit
            });
            left -= fit + 1;
            if !charge(bytes)
                && let Some(weight) = due(bytes)
            {
                tally.sampled += 1;
                tally.estimated += weight;
            }
        }
        tally.made += times;
    }

    /// Runs `work` where a sample is due every `mean_bytes`, with the same gaps each time.
    fn with_mean(mean_bytes: u64, work: impl FnOnce() + Send) {
        let _turn = take_turn();
        enable(mean_bytes);
        std::thread::scope(|scope| {
            let work = || {
                seed_this_thread(0x1234_5678_9abc_def1);
                work();
            };
            scope.spawn(work).join().unwrap();
        });
        disable();
    }

    #[test]
    #[cfg(not(miri))]
    fn each_size_class_is_unbiased_to_well_below_one_percent() {
        for mean in [64 * 1024, MEAN] {
            with_mean(mean, || {
                for bytes in (3..=26).map(|bits| 1usize << bits) {
                    let mut tally = Tally::default();
                    // 400 000 samples: a standard deviation of 0.16 %, so a bias of 1 % cannot hide.
                    let times = (400_000.0 * weight(bytes, mean)) as u64;
                    allocate(bytes, times, &mut tally);
                    assert!(tally.sampled > 390_000, "{bytes} bytes: {tally:?}");
                    assert!(tally.error().abs() < 0.005, "{bytes} bytes at mean {mean}: {tally:?}, {}", tally.error());
                }
            });
        }
    }

    #[test]
    #[cfg(not(miri))]
    fn sizes_that_come_mixed_are_unbiased_each() {
        with_mean(MEAN, || {
            let mut tallies = [Tally::default(); 24];
            let mut random = 1u64;
            for _ in 0..3_000_000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let class = (random >> 33) as usize % tallies.len();
                allocate(8 << class, 1, &mut tallies[class]);
            }
            for (class, tally) in tallies.iter().enumerate().filter(|(_, tally)| tally.sampled >= 25) {
                let deviation = 1.0 / (tally.sampled as f64).sqrt();
                assert!(tally.error().abs() < 4.0 * deviation, "{} bytes: {tally:?}, {}", 8 << class, tally.error());
            }
        });
    }

    #[test]
    #[cfg(not(miri))]
    fn a_gibibyte_is_told_to_five_percent_in_95_of_100_cases_even_in_small_blocks() {
        with_mean(MEAN, || {
            let mut errors = Vec::new();
            for _ in 0..400 {
                let mut tally = Tally::default();
                allocate(256, (1 << 30) / 256, &mut tally);
                errors.push(tally.error());
            }
            let within = errors.iter().filter(|error| error.abs() <= 0.05).count();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            assert!(within >= 380, "{within} of {}", errors.len());
            // 400 times 2 048 samples: a standard deviation of 0.11 %.
            assert!(mean.abs() < 0.005, "{mean}");
        });
    }

    #[test]
    #[cfg(not(miri))]
    fn sizes_that_are_thinned_are_unbiased_too_and_others_are_not_thinned() {
        with_mean(MEAN, || {
            let mut halvings = [0; thinning::CLASSES];
            (halvings[12], halvings[18]) = (3, 5);
            thinning::set(&halvings);
            // As many samples each, so a standard deviation of 0.5 %.
            for (bytes, halvings) in [(2_048, 0), (4_096, 3), (8_191, 3), (300_000, 5), (1 << 19, 0)] {
                let mut tally = Tally::default();
                allocate(bytes, ((40_000.0 * weight(bytes, MEAN)) as u64) << halvings, &mut tally);
                assert!((tally.sampled as f64 / 40_000.0 - 1.0).abs() < 0.02, "{bytes} bytes: {tally:?}");
                assert!(tally.error().abs() < 0.02, "{bytes} bytes: {tally:?}, {}", tally.error());
            }
            thinning::set(&[0; thinning::CLASSES]);
        });
    }

    #[test]
    fn what_is_allocated_while_a_sample_is_taken_is_not_charged() {
        with_mean(MEAN, || {
            allocate(64, 1, &mut Tally::default());
            let left = COUNTDOWN.with(|countdown| countdown.left.get());
            while_inside(|| {
                assert!(!charge(1 << 30));
                assert_eq!(due(1 << 30), None);
            });
            assert_eq!(COUNTDOWN.with(|countdown| countdown.left.get()), left);
        });
    }

    #[test]
    fn a_block_far_larger_than_the_mean_is_always_sampled_and_counts_once() {
        assert!((weight(1 << 30, MEAN) - 1.0).abs() < 1e-9);
        assert!((weight(8, MEAN) / (MEAN as f64 / 8.0) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn threads_draw_different_gaps() {
        let gap = || {
            COUNTDOWN.with(|countdown| {
                countdown.random.set(seed(countdown));
                countdown.gap(MEAN)
            })
        };
        let gaps: std::collections::HashSet<i64> = (0..16).map(|_| std::thread::spawn(gap).join().unwrap()).collect();
        assert_eq!(gaps.len(), 16);
    }
}
