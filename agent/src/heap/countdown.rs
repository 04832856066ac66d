//! Decides which allocations are sampled: each byte with the same small chance, so a block of `S` bytes with probability
//! 1 − e^(−S/R), where R is the mean number of bytes between samples.
//!
//! Each thread counts down the bytes to its next sample. That subtraction is the whole cost of an allocation that is not
//! sampled, and it is the same when profiling was never started.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes a thread allocates before it looks whether profiling was started: often enough to notice, too rarely to cost.
const IDLE_STEP: i64 = 64 * 1024;

/// Mean bytes between samples.
static MEAN_BYTES: AtomicU64 = AtomicU64::new(0);
/// 0: off. Every start gets another number, by which threads notice that their countdown is from an earlier one.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// The last number given out.
static STARTS: AtomicU32 = AtomicU32::new(0);

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
pub(super) fn due(bytes: usize) -> Option<f64> {
    COUNTDOWN.with(|countdown| countdown.due(bytes))
}

/// Runs `work` with sampling off for this thread.
pub(super) fn while_inside<R>(work: impl FnOnce() -> R) -> R {
    COUNTDOWN.with(|countdown| {
        let before = countdown.inside.replace(true);
        let result = work();
        countdown.inside.set(before);
        result
    })
}

/// How many allocations of `bytes` one sampled one stands for: 1 / (1 − e^(−bytes / mean)).
fn weight(bytes: usize, mean_bytes: u64) -> f64 {
    -1.0 / (-(bytes as f64) / mean_bytes as f64).exp_m1()
}

impl Countdown {
    fn due(&self, bytes: usize) -> Option<f64> {
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
        Some(weight(bytes, mean))
    }

    /// Draws an exponentially distributed number of bytes.
    fn gap(&self, mean_bytes: u64) -> i64 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        let uniform = ((random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-uniform.ln() * mean_bytes as f64) as i64
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Allocates `bytes`, `times` times, on a countdown of its own. Returns how many allocations the samples stand for.
    fn estimate(countdown: &Countdown, bytes: usize, times: u32) -> f64 {
        let mut total = 0.0;
        for _ in 0..times {
            let left = countdown.left.get() - bytes as i64;
            countdown.left.set(left);
            if left < 0 {
                countdown.left.set(countdown.gap(MEAN));
                total += weight(bytes, MEAN);
            }
        }
        total
    }

    const MEAN: u64 = 512 * 1024;

    fn seeded(random: u64) -> Countdown {
        let countdown = Countdown {
            left: Cell::new(0),
            epoch: Cell::new(0),
            random: Cell::new(random),
            inside: Cell::new(false),
            exempt: Cell::new(false),
        };
        countdown.left.set(countdown.gap(MEAN));
        countdown
    }

    #[test]
    fn estimates_are_unbiased_from_tiny_to_huge_blocks() {
        for (bytes, times) in
            [(8, 400_000_000), (256, 20_000_000), (4_096, 2_000_000), (1 << 19, 100_000), (1 << 26, 1_000)]
        {
            // Few samples of tiny blocks would need very many allocations: jump over those between samples.
            let countdown = seeded(0x1234_5678_9abc_def1 ^ bytes as u64);
            let (estimated, done) = if bytes <= 256 {
                skip_ahead(&countdown, bytes, times)
            } else {
                (estimate(&countdown, bytes, times), times)
            };
            let samples = f64::from(done) / weight(bytes, MEAN);
            // Five standard deviations of a Poisson count.
            let tolerance = 5.0 / samples.sqrt() + 1e-9;
            let error = estimated / f64::from(done) - 1.0;
            assert!(error.abs() < tolerance, "{bytes} bytes: error {error}, tolerance {tolerance}");
        }
    }

    fn skip_ahead(countdown: &Countdown, bytes: usize, times: u32) -> (f64, u32) {
        let (mut done, mut total) = (0u32, 0.0);
        loop {
            // This many allocations fit before the one that is sampled.
            let fit = (countdown.left.get() / bytes as i64) as u32;
            if times - done <= fit {
                return (total, times);
            }
            done += fit + 1;
            countdown.left.set(countdown.gap(MEAN));
            total += weight(bytes, MEAN);
        }
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
