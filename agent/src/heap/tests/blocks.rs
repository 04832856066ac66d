//! What the program gets: the bytes, the alignment and the failures it would get without us.

use super::inner::Strict;
use super::*;

/// Whether all bytes are this one. In pieces that are compared at once, for the patience of interpreters.
fn holds(bytes: &[u8], byte: u8) -> bool {
    let pattern = [byte; 4096];
    bytes.chunks(pattern.len()).all(|chunk| chunk == &pattern[..chunk.len()])
}

#[test]
fn every_kind_of_block_keeps_its_bytes_and_returns_its_layout() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let live_before = counters();
    bench.sampled(|pace| {
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..times(4_000) {
            pace.keep();
            let align = 1 << (round % 22);
            let wanted = layout(1 + round * 37 % 200_000, align);
            // SAFETY: the size is not zero.
            let block = unsafe { if round % 3 == 0 { ALLOC.alloc_zeroed(wanted) } else { ALLOC.alloc(wanted) } };
            assert!(!block.is_null() && (block as usize).is_multiple_of(align));
            // SAFETY: a block of this size, which nobody else has.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, wanted.size()) };
            assert!(round % 3 != 0 || holds(bytes, 0), "zeroed");
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
                assert!(holds(&bytes[..kept], fill), "realloc keeps the bytes");
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
        assert!(counters().tracked > live_before.tracked + times(500) as u64);
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
    assert_eq!((ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0), "every layout came back as it went out");
    let now = counters();
    assert_eq!(now.tracked - live_before.tracked, now.freed - live_before.freed);
    assert_eq!(live().2, 0);
}

#[test]
fn large_blocks_are_grown_and_zeroed_by_the_inner_allocator_itself() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let plain = layout(8 * MIB, 8);
    bench.sampled(|_| {
        // SAFETY: the sizes are not zero, and each block is freed with the layout it was last given.
        unsafe {
            let block = ALLOC.alloc_zeroed(plain);
            assert_eq!((live().2, ALLOC.inner.zeroed()), (1, 1), "sampled, and zeroed by whoever knows how");
            let grown = ALLOC.realloc(block, plain, 64 * MIB);
            assert_eq!((live().2, ALLOC.inner.resized()), (1, 1), "grown where it stands, not copied");
            assert!((live().0 / (64 * MIB) as f64 - 1.0).abs() < 1e-9, "{}", live().0);
            ALLOC.dealloc(grown, layout(64 * MIB, 8));
        }
    });
    assert_eq!((live().2, ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0, 0));
}

#[test]
fn an_allocation_that_fails_is_null_and_leaves_no_sample() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let samples = bench.sampled(|_| {
        ALLOC.inner.fail(true);
        for size in [8, 4_000, 100_000, 10 * MIB] {
            for _ in 0..times(200) {
                // SAFETY: the size is not zero.
                unsafe {
                    assert!(ALLOC.alloc(layout(size, 8)).is_null());
                    assert!(ALLOC.alloc_zeroed(layout(size, 64)).is_null());
                }
            }
        }
        assert_eq!(live().2, 0);
        ALLOC.inner.fail(false);
    });
    assert_eq!(samples.len(), 0);
}

#[test]
fn a_realloc_that_fails_leaves_the_block_and_its_sample_as_they_were() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    bench.sampled(|pace| {
        let mut held = Vec::new();
        for size in [20_000, 60_000, 70_000, 400_000].repeat(20) {
            let layout = layout(size, 8);
            let block = allocate_here(&ALLOC, layout);
            // SAFETY: a block of this size, which nobody else has.
            unsafe { block.write_bytes(7, size) };
            held.push((block, layout));
        }
        let before = live();
        assert!(before.2 > 30, "{} blocks are sampled", before.2);
        ALLOC.inner.fail(true);
        for &(block, layout) in &held {
            for new_size in [1, layout.size() / 2, layout.size() * 2, 10 * MIB] {
                // SAFETY: allocated with this layout above; the new size is not zero.
                assert!(unsafe { ALLOC.realloc(block, layout, new_size) }.is_null());
            }
            pace.keep();
        }
        ALLOC.inner.fail(false);
        assert_eq!(live(), before);
        for (block, layout) in held {
            // SAFETY: allocated with this layout above, and still there.
            unsafe {
                assert!(holds(std::slice::from_raw_parts(block, layout.size()), 7));
                ALLOC.dealloc(block, layout);
            }
        }
    });
    assert_eq!((live().2, ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0, 0));
}

#[test]
fn sizes_of_zero_are_passed_on() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc = ProfAlloc::system();
    bench.sampled(|_| {
        let mut held = Vec::new();
        for size in [0, 1, 30_000, 100_000].repeat(times(200)) {
            let layout = layout(size, 16);
            // SAFETY: outside the trait's rules, and inside those of the system's allocator, which C programs rely on.
            let block = unsafe { ALLOC.alloc(layout) };
            assert!(!block.is_null());
            held.push((block, layout));
        }
        assert!(live().2 > times(100));
        for (block, layout) in held {
            // SAFETY: allocated with this layout above.
            unsafe { ALLOC.dealloc(block, layout) };
        }
    });
    assert_eq!(live().2, 0);
}

#[test]
fn blocks_that_outlive_sampling_and_see_it_start_again_are_freed_as_they_came() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let mut held: Vec<(usize, Layout)> = Vec::new();
    for round in 0..4 {
        // With sampling on, then off: each frees half of what the rounds before it left.
        let mut work = |pace: Option<&Pace<'_>>| {
            for i in 0..times(500) {
                let layout = layout(1 + (i * 7_919 + round) % 150_000, 1 << (i % 13));
                held.push((allocate_here(&ALLOC, layout) as usize, layout));
                let (block, layout) = held.swap_remove(i * 31 % held.len());
                if i % 2 == 0 {
                    let new_size = 1 + i * 101 % 150_000;
                    // SAFETY: allocated with this layout, in this round or an earlier one; the new size is not zero.
                    let new = unsafe { ALLOC.realloc(block as *mut u8, layout, new_size) };
                    held.push((new as usize, self::layout(new_size, layout.align())));
                } else {
                    // SAFETY: as above.
                    unsafe { ALLOC.dealloc(block as *mut u8, layout) };
                }
                if let Some(pace) = pace {
                    pace.keep();
                }
            }
        };
        bench.sampled(|pace| work(Some(pace)));
        assert!(live().2 > 0, "some outlive the sampling");
        work(None);
    }
    for (block, layout) in held {
        // SAFETY: allocated with this layout.
        unsafe { ALLOC.dealloc(block as *mut u8, layout) };
    }
    assert_eq!((live().2, ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0, 0));
}
