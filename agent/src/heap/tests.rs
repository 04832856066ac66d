//! The allocator as a whole, called directly, so that these tests do not depend on what the test program allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::channel;

use super::*;
use crate::sample::SampleKind;
use crate::sampler::bench_hooks::Session;
use crate::sampler::tests::take_turn;

/// The system's allocator, which also checks that layouts come back as they were, by their sum.
struct Checked {
    sizes: AtomicI64,
    aligns: AtomicI64,
}

impl Checked {
    const fn new() -> Self {
        Self { sizes: AtomicI64::new(0), aligns: AtomicI64::new(0) }
    }

    fn count(&self, layout: Layout, sign: i64) {
        self.sizes.fetch_add(sign * layout.size() as i64, Ordering::Relaxed);
        self.aligns.fetch_add(sign * layout.align() as i64, Ordering::Relaxed);
    }

    fn balance(&self) -> (i64, i64) {
        (self.sizes.load(Ordering::Relaxed), self.aligns.load(Ordering::Relaxed))
    }
}

// SAFETY: passes everything on to `System`; `realloc` is the trait's own, made of these.
unsafe impl GlobalAlloc for Checked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(layout, 1);
        // SAFETY: the caller's promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.count(layout, -1);
        // SAFETY: the caller's promises.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work` on a thread that is sampled every 64 KiB; returns the allocation samples and what was live at the end.
fn sampled(work: impl FnOnce() + Send) -> Vec<(u64, f64, Vec<u64>)> {
    let _turn = take_turn();
    let (send, samples) = channel();
    let session = Session::start_with(0, move |sample| {
        if let SampleKind::Alloc { bytes, weight } = sample.kind {
            let _ = send.send((bytes, weight, sample.stack.to_vec()));
        }
    });
    std::thread::scope(|scope| {
        // Starting exempts the thread it is done on.
        scope.spawn(|| start(HeapConfig { mean_bytes: 64 * 1024 })).join().unwrap();
        scope.spawn(work).join().unwrap();
    });
    stop();
    drop(session);
    samples.iter().collect()
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[inline(never)]
fn allocate_here<A: GlobalAlloc>(alloc: &A, layout: Layout) -> *mut u8 {
    // SAFETY: no layout here has size zero.
    std::hint::black_box(unsafe { alloc.alloc(layout) })
}

#[test]
fn stacks_begin_at_the_allocators_caller() {
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let samples = sampled(|| {
        for _ in 0..200 {
            let block = allocate_here(&ALLOC, layout(100_000, 8));
            // SAFETY: just allocated with this layout.
            unsafe { ALLOC.dealloc(block, layout(100_000, 8)) };
        }
    });
    assert!(samples.len() > 50, "{} samples", samples.len());
    let caller = allocate_here::<ProfAlloc> as *const () as u64;
    for (bytes, weight, stack) in &samples {
        assert_eq!(*bytes, 100_000);
        assert!((*weight - 1.0 / (1.0 - (-100_000.0 / 65_536.0f64).exp())).abs() < 1e-9);
        assert!((caller..caller + 256).contains(&stack[0]), "{stack:x?}, caller {caller:#x}");
    }
}

#[test]
fn estimates_match_what_was_allocated() {
    static ALLOC: ProfAlloc<Checked> = ProfAlloc::new(Checked::new());
    let samples = sampled(|| {
        for _ in 0..60_000 {
            let block = allocate_here(&ALLOC, layout(1_024, 8));
            // SAFETY: just allocated with this layout.
            unsafe { ALLOC.dealloc(block, layout(1_024, 8)) };
        }
    });
    let estimate: f64 = samples.iter().map(|(bytes, weight, _)| *bytes as f64 * weight).sum();
    let truth = 60_000.0 * 1_024.0;
    // About 940 samples: five standard deviations.
    assert!((estimate / truth - 1.0).abs() < 5.0 / (samples.len() as f64).sqrt(), "{estimate} of {truth}");
    assert_eq!(ALLOC.inner.balance(), (0, 0), "every layout came back as it went out");
}

#[test]
fn every_kind_of_block_keeps_its_bytes_and_returns_its_layout() {
    static ALLOC: ProfAlloc<Checked> = ProfAlloc::new(Checked::new());
    let live_before = counters();
    sampled(|| {
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..4_000usize {
            let align = 1 << (round % 14);
            let wanted = layout(1 + round * 37 % 200_000, align);
            // SAFETY: the size is not zero.
            let block = unsafe { if round % 3 == 0 { ALLOC.alloc_zeroed(wanted) } else { ALLOC.alloc(wanted) } };
            assert!(!block.is_null() && (block as usize).is_multiple_of(align));
            // SAFETY: a block of this size, which nobody else has.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, wanted.size()) };
            assert!(round % 3 != 0 || bytes.iter().all(|&b| b == 0), "zeroed");
            bytes.fill(round as u8);
            held.push((block, wanted, round as u8));
            if round % 2 == 1 {
                let (block, old, fill) = held.swap_remove(round * 7 % held.len());
                let new_size = 1 + round * 101 % 300_000;
                // SAFETY: allocated with `old` above; the new size is not zero.
                let block = unsafe { ALLOC.realloc(block, old, new_size) };
                let new = layout(new_size, old.align());
                let kept = old.size().min(new_size);
                // SAFETY: a block of this size, which nobody else has.
                let bytes = unsafe { std::slice::from_raw_parts_mut(block, new_size) };
                assert!(bytes[..kept].iter().all(|&b| b == fill), "realloc keeps the bytes");
                assert!((block as usize).is_multiple_of(old.align()));
                bytes.fill(fill);
                held.push((block, new, fill));
            }
            if held.len() > 64 {
                let (block, layout, _) = held.swap_remove(round * 13 % held.len());
                // SAFETY: allocated with this layout above.
                unsafe { ALLOC.dealloc(block, layout) };
            }
        }
        assert!(counters().tracked > live_before.tracked + 500);
        // Freed by another thread, as programs do.
        let held: Vec<_> = held.into_iter().map(|(block, layout, _)| (block as usize, layout)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (block, layout) in held {
                    // SAFETY: allocated with this layout above.
                    unsafe { ALLOC.dealloc(block as *mut u8, layout) };
                }
            });
        });
    });
    assert_eq!(ALLOC.inner.balance(), (0, 0), "every layout came back as it went out");
    let now = counters();
    assert_eq!(now.tracked - live_before.tracked, now.freed - live_before.freed);
}

#[test]
fn live_blocks_add_up_to_what_is_held_however_it_grew() {
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let mut live = 0.0;
    let mut held = 0.0;
    sampled(|| {
        let mut blocks = Vec::new();
        for _ in 0..400 {
            // Grown the way a vector grows.
            let mut size = 64;
            let mut block = allocate_here(&ALLOC, layout(size, 8));
            while size < 256 * 1024 {
                // SAFETY: allocated with this layout.
                block = unsafe { ALLOC.realloc(block, layout(size, 8), size * 2) };
                size *= 2;
            }
            blocks.push((block, size));
        }
        held = blocks.iter().map(|(_, size)| *size as f64).sum();
        for_each_live(&mut |block| live += block.bytes as f64 * block.weight);
        for (block, size) in blocks {
            // SAFETY: last resized to this layout.
            unsafe { ALLOC.dealloc(block, layout(size, 8)) };
        }
    });
    // About 1 600 samples, of which those of one block are independent.
    assert!((live / held - 1.0).abs() < 0.15, "{live} of {held}");
    let mut left = 0;
    for_each_live(&mut |_| left += 1);
    assert_eq!(left, 0);
}

#[test]
fn nothing_is_sampled_unless_started() {
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let _turn = take_turn();
    let before = counters();
    std::thread::spawn(|| {
        for _ in 0..1_000 {
            let block = allocate_here(&ALLOC, layout(1 << 20, 8));
            // SAFETY: just allocated with this layout.
            unsafe { ALLOC.dealloc(block, layout(1 << 20, 8)) };
        }
    })
    .join()
    .unwrap();
    assert_eq!(counters(), before);
}
