//! What is estimated against what is. Statistics need more samples than an interpreter has patience for.

use super::inner::{Ground, Nested, OUTER, Strict};
use super::*;

#[test]
#[cfg(not(miri))]
fn estimates_match_what_was_allocated() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let samples = bench.sampled(|pace| {
        for _ in 0..60_000 {
            let block = allocate_here(&ALLOC, layout(1_024, 8));
            // SAFETY: just allocated with this layout.
            unsafe { ALLOC.dealloc(block, layout(1_024, 8)) };
            pace.keep();
        }
    });
    let estimate: f64 = samples.iter().map(|sample| sample.bytes as f64 * sample.weight).sum();
    let truth = 60_000.0 * 1_024.0;
    // About 940 samples: five standard deviations.
    assert!((estimate / truth - 1.0).abs() < 5.0 / (samples.len() as f64).sqrt(), "{estimate} of {truth}");
    assert_eq!((ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0), "every layout came back as it went out");
}

#[test]
#[cfg(not(miri))]
fn a_gibibyte_in_use_is_told_to_five_percent_and_nothing_when_all_is_freed() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Ground> = ProfAlloc::new(Ground::new());
    let (mut bytes, mut objects, mut blocks) = (0, 0u32, Vec::new());
    bench.sampled_every(512 * KIB as u64, |pace| {
        // A service's mix: most blocks are small, most bytes are in large ones.
        let mut size = 16;
        while bytes < 1 << 30 {
            let block = layout(size, 8);
            blocks.push((allocate_here(&ALLOC, block) as usize, block));
            (bytes, objects) = (bytes + size, objects + 1);
            size = if size > 8 * MIB { 16 } else { size * 17 / 16 + objects as usize % 16 };
            pace.keep();
        }
        let (live_bytes, _, sampled) = live();
        assert!((live_bytes / bytes as f64 - 1.0).abs() < 0.05, "{live_bytes} of {bytes}, by {sampled} samples");
        for (block, layout) in blocks {
            // SAFETY: allocated with this layout above.
            unsafe { ALLOC.dealloc(block as *mut u8, layout) };
        }
        assert_eq!(live(), (0.0, 0.0, 0));
    });
}

#[test]
#[cfg(not(miri))]
fn live_blocks_add_up_to_what_is_held_however_it_grew() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc = ProfAlloc::system();
    let (mut found, mut held) = (0.0, 0.0);
    bench.sampled(|pace| {
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
            pace.keep();
        }
        held = blocks.iter().map(|(_, size)| *size as f64).sum();
        found = live().0;
        for (block, size) in blocks {
            // SAFETY: last resized to this layout.
            unsafe { ALLOC.dealloc(block, layout(size, 8)) };
        }
    });
    // About 1 600 samples, of which those of one block are independent.
    assert!((found / held - 1.0).abs() < 0.15, "{found} of {held}");
    assert_eq!(live().2, 0);
}

#[test]
#[cfg(not(miri))]
fn a_block_that_grows_and_shrinks_is_one_block_of_its_last_size() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Ground> = ProfAlloc::new(Ground::new());
    const BLOCKS: usize = 20_000;
    bench.sampled(|pace| {
        let mut blocks: Vec<*mut u8> = (0..BLOCKS)
            .map(|_| {
                pace.keep();
                allocate_here(&ALLOC, layout(96 * KIB, 8))
            })
            .collect();
        let mut size = 96 * KIB;
        // Large to large, so that nothing is ever copied: there is no memory behind these addresses.
        for new_size in [160 * KIB, 320 * KIB, 80 * KIB, 128 * KIB] {
            for block in &mut blocks {
                // SAFETY: last resized to `size`.
                *block = unsafe { ALLOC.realloc(*block, layout(size, 8), new_size) };
                pace.keep();
            }
            size = new_size;
            let (bytes, objects, _) = live();
            let (held, count) = ((BLOCKS * size) as f64, BLOCKS as f64);
            // A block of 96 KiB is caught with p = 0.78: one standard deviation of the count is 0.4 %.
            assert!((objects / count - 1.0).abs() < 0.02, "{objects} blocks of {count} at {size}");
            assert!((bytes / held - 1.0).abs() < 0.02, "{bytes} bytes of {held} at {size}");
        }
        for block in blocks {
            // SAFETY: last resized to `size`.
            unsafe { ALLOC.dealloc(block, layout(size, 8)) };
        }
        assert_eq!(live(), (0.0, 0.0, 0));
    });
}

#[test]
fn an_inner_allocator_that_allocates_through_the_outer_one_neither_loops_nor_spoils_the_estimate() {
    let bench = Bench::new();
    let samples = bench.sampled(|pace| {
        for _ in 0..times(3_000) {
            let block = allocate_here::<ProfAlloc<Nested>>(&OUTER, layout(20_000, 8));
            // SAFETY: just allocated with this layout.
            unsafe { OUTER.dealloc(block, layout(20_000, 8)) };
            pace.keep();
        }
    });
    let outer: f64 = samples.iter().filter(|sample| sample.bytes == 20_000).map(|sample| sample.weight).sum();
    // p = 0.26, 790 samples: a standard deviation of 3.1 %, which an interpreter's 40 samples have seven times as much of.
    let bound = if cfg!(miri) { 0.7 } else { 0.16 };
    assert!((outer / times(3_000) as f64 - 1.0).abs() < bound, "{outer} of {}", times(3_000));
    assert_eq!(live().2, 0);
}

#[test]
#[cfg(not(miri))]
fn a_full_table_costs_the_in_use_entry_and_nothing_else() {
    const BLOCKS: usize = 2_000;
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Strict> = ProfAlloc::new(Strict::new());
    let block = LiveBlock { stack_hash: 1, bytes: 0.0, objects: 0.0 };
    let fill: Vec<usize> = (1..=4 * table::ENTRIES).map(|i| (i << 20) | 1 << 60).collect();
    let before = counters();
    let samples = bench.sampled(|pace| {
        let mut filled: Vec<usize> = fill.into_iter().filter(|address| LIVE.insert(*address, block)).collect();
        let mut held = Vec::new();
        for i in 0..BLOCKS {
            let layout = layout(if i % 2 == 0 { 30_000 } else { 120_000 }, 8);
            let block = allocate_here(&ALLOC, layout);
            assert!(!block.is_null());
            held.push((block, layout));
            pace.keep();
        }
        for (block, old) in held {
            // SAFETY: allocated with this layout above; the new size is not zero.
            unsafe {
                let new = ALLOC.realloc(block, old, old.size() * 3);
                assert!(!new.is_null());
                ALLOC.dealloc(new, layout(old.size() * 3, 8));
            }
            pace.keep();
        }
        filled.retain(|address| !LIVE.remove(*address));
        assert!(filled.is_empty());
    });
    let full = counters().table_full - before.table_full;
    assert!(full > 500, "{full} blocks found no room");
    let told: f64 = samples.iter().map(|sample| sample.bytes as f64 * sample.weight).sum();
    let truth = BLOCKS as f64 / 2.0 * (30_000.0 + 120_000.0) * 3.0;
    // About 3 000 samples of different sizes: well beyond five standard deviations.
    assert!((told / truth - 1.0).abs() < 0.1, "{told} of {truth} bytes are told all the same");
    assert_eq!((ALLOC.inner.wrong(), ALLOC.inner.standing()), (0, 0), "every layout came back as it went out");
}

#[test]
#[cfg(not(miri))]
fn samples_that_find_no_room_are_counted_and_the_program_never_waits_for_them() {
    let bench = Bench::new();
    static ALLOC: ProfAlloc<Ground> = ProfAlloc::new(Ground::new());
    const BLOCKS: usize = 30_000;
    let before = crate::sampler::counters();
    let samples = bench.sampled(|pace| {
        // Each is far larger than the mean, so each is to be sampled. The rings hold about a thousand of these on two cores.
        pace.stall(true);
        let layout = layout(4 * MIB, 8);
        let blocks: Vec<usize> = (0..BLOCKS).map(|_| allocate_here(&ALLOC, layout) as usize).collect();
        assert!(blocks.iter().all(|block| *block != 0), "no allocation fails");
        for block in blocks {
            // SAFETY: allocated with this layout.
            unsafe { ALLOC.dealloc(block as *mut u8, layout) };
        }
        pace.stall(false);
    });
    let after = crate::sampler::counters();
    let dropped = (after.dropped_ring_full - before.dropped_ring_full) + (after.dropped_busy - before.dropped_busy);
    assert!(dropped > 0, "all {} of them found room", samples.len());
    assert_eq!(samples.len() as u64 + dropped, BLOCKS as u64, "each is either told or counted");
    assert_eq!(live().2, 0);
}
