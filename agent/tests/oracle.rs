//! Two profilers that have nothing in common but the processor look at the same work: what uses the CPU must come out alike.
//!
//! The other one is the `pprof` crate. It is asked for shares of functions only. It would be wrong about more: it cuts stacks
//! in code without frame pointers when built for those, counts a signal's overrun for nothing, so it sees too little of
//! several busy threads at a high rate, and merges addresses of one function.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::symbols::Functions;
use support::thread_cpu;
use tephra_agent::hooks::sampler::Session;

/// A function's name, its parts of each round, and the function.
type Worker = (&'static str, u64, fn(Duration));

/// The functions that work.
const WORKERS: [Worker; 3] = [
    ("hashing_worker", 6, hashing_worker),
    ("sorting_worker", 3, sorting_worker),
    ("printing_worker", 1, printing_worker),
];

#[inline(never)]
fn hashing_worker(time: Duration) {
    let start = thread_cpu();
    while thread_cpu() - start < time {
        black_box((0..20_000u64).fold(0, |hash: u64, i| hash.wrapping_mul(0x9e37_79b9).rotate_left(5) ^ i));
    }
}

#[inline(never)]
fn sorting_worker(time: Duration) {
    let start = thread_cpu();
    while thread_cpu() - start < time {
        let mut numbers: Vec<u64> = (0..2_000).map(|i| i * 7_919 % 2_003).collect();
        numbers.sort_unstable();
        black_box(numbers);
    }
}

#[inline(never)]
fn printing_worker(time: Duration) {
    let start = thread_cpu();
    while thread_cpu() - start < time {
        black_box((0..200).map(|i| format!("{i:>8x}")).collect::<String>());
    }
}

fn work() {
    std::thread::spawn(|| {
        for _ in 0..10 {
            for (_, parts, work) in WORKERS {
                work(Duration::from_millis(15 * parts));
            }
        }
    })
    .join()
    .unwrap();
}

type Shares = BTreeMap<&'static str, f64>;

fn shares(counts: &BTreeMap<&'static str, u64>) -> Shares {
    let all: u64 = counts.values().sum();
    assert!(all > 100, "{all} samples are too few to tell");
    counts.iter().map(|(name, count)| (*name, *count as f64 / all as f64)).collect()
}

fn by_us() -> Shares {
    let functions = Functions::of_this_binary();
    let known = (hashing_worker as *const () as u64, "hashing_worker");
    let code: Vec<_> = WORKERS.iter().map(|(name, ..)| (*name, functions.loaded(known, name))).collect();
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let session = Session::collect(250, {
        let counts = Arc::clone(&counts);
        move |stack, _, _| {
            let worker = |pc: &u64| code.iter().find(|(_, code)| code.iter().any(|code| code.contains(pc)));
            if let Some((name, _)) = stack.iter().find_map(worker) {
                *counts.lock().unwrap().entry(*name).or_default() += 1;
            }
        }
    });
    work();
    drop(session);
    shares(&counts.lock().unwrap())
}

fn by_the_pprof_crate() -> Shares {
    let guard = pprof::ProfilerGuard::new(250).unwrap();
    work();
    let mut counts = BTreeMap::new();
    for (frames, count) in guard.report().build().unwrap().data {
        let named = |worker: &str| frames.frames.iter().flatten().any(|symbol| symbol.name().contains(worker));
        if let Some((name, ..)) = WORKERS.iter().find(|(name, ..)| named(name)) {
            *counts.entry(*name).or_default() += u64::try_from(count).unwrap();
        }
    }
    shares(&counts)
}

#[test]
fn both_find_the_same_functions_in_the_same_proportion() {
    let (ours, theirs) = (by_us(), by_the_pprof_crate());
    for (name, parts, _) in WORKERS {
        let truth = parts as f64 / 10.0;
        // About 370 looks of the kernel each: a standard error of 2.5 points, and four of those.
        assert!((ours[name] - truth).abs() < 0.1, "{name}: {truth} is {ours:?}");
        assert!((ours[name] - theirs[name]).abs() < 0.14, "{name}: {ours:?}, {theirs:?}");
    }
    let order = |shares: &Shares| {
        let mut names: Vec<_> = shares.iter().collect();
        names.sort_by(|a, b| b.1.total_cmp(a.1));
        names.into_iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    assert_eq!(order(&ours), order(&theirs));
}
