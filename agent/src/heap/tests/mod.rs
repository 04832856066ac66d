//! The allocator as a whole, called directly, so that these tests do not depend on what the test program allocates.

mod blocks;
mod estimates;
mod inner;
#[cfg_attr(miri, path = "noted.rs")]
mod recording;

use std::alloc::{GlobalAlloc, Layout};
use std::sync::MutexGuard;

use self::recording::{Pace, Recording};
use super::*;
use crate::sampler::tests::take_turn;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// One allocation sample.
struct Sample {
    bytes: u64,
    weight: f64,
    /// Empty under an interpreter.
    stack: Vec<u64>,
}

/// How often an interpreter, which has less patience, does what others do so many times.
const fn times(count: usize) -> usize {
    if cfg!(miri) { count.div_ceil(20) } else { count }
}

/// Heap sampling for one test at a time, since what is live is the whole process's.
struct Bench {
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Self {
        Self { _turn: take_turn() }
    }

    /// Runs `work` on a thread that is sampled every `mean_bytes`, the same ones each time; returns the samples.
    fn sampled_every(&self, mean_bytes: u64, work: impl FnOnce(&Pace<'_>) + Send) -> Vec<Sample> {
        let session = Recording::start();
        let pace = session.pace();
        std::thread::scope(|scope| {
            // Starting exempts the thread it is done on.
            scope.spawn(|| start(HeapConfig { mean_bytes })).join().unwrap();
            let work = || {
                countdown::seed_this_thread(0x5eed);
                work(&pace);
            };
            scope.spawn(work).join().unwrap();
        });
        stop();
        session.finish()
    }

    /// The same, every 64 KiB.
    fn sampled(&self, work: impl FnOnce(&Pace<'_>) + Send) -> Vec<Sample> {
        self.sampled_every(64 * KIB as u64, work)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let left = live().2;
        LIVE.clear();
        assert!(left == 0 || std::thread::panicking(), "{left} blocks are left");
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[inline(never)]
fn allocate_here<A: GlobalAlloc>(alloc: &A, layout: Layout) -> *mut u8 {
    // SAFETY: no layout here has size zero.
    std::hint::black_box(unsafe { alloc.alloc(layout) })
}

/// Bytes and blocks that live blocks stand for, and how many sampled ones there are.
fn live() -> (f64, f64, usize) {
    let mut sum = (0.0, 0.0, 0);
    for_each_live(&mut |block| {
        sum.0 += block.bytes;
        sum.1 += block.objects;
        sum.2 += 1;
    });
    sum
}

#[test]
#[cfg(not(miri))]
fn stacks_begin_at_the_allocators_caller() {
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let bench = Bench::new();
    for size in [40_000, 100_000] {
        let samples = bench.sampled(|_| {
            for _ in 0..500 {
                let block = allocate_here(&ALLOC, layout(size, 8));
                // SAFETY: just allocated with this layout.
                unsafe { ALLOC.dealloc(block, layout(size, 8)) };
            }
        });
        assert!(samples.len() > 100, "{} samples", samples.len());
        let caller = allocate_here::<ProfAlloc> as *const () as u64;
        for Sample { bytes, weight, stack } in &samples {
            assert_eq!(*bytes, size as u64);
            assert!((*weight - 1.0 / (1.0 - (-(size as f64) / 65_536.0).exp())).abs() < 1e-9);
            assert!((caller..caller + 256).contains(&stack[0]), "{stack:x?}, caller {caller:#x}");
        }
    }
}

#[test]
fn nothing_is_sampled_unless_started() {
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let _bench = Bench::new();
    let before = counters();
    std::thread::spawn(|| {
        for _ in 0..times(1_000) {
            let block = allocate_here(&ALLOC, layout(1 << 20, 8));
            // SAFETY: just allocated with this layout.
            unsafe { ALLOC.dealloc(block, layout(1 << 20, 8)) };
        }
    })
    .join()
    .unwrap();
    assert_eq!(counters(), before);
}
