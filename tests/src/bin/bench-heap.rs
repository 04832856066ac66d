//! Measures what the heap profiler costs an allocation that is not sampled, and one that is: over each allocator in turn with
//! the bare one, all in one run.

use std::alloc::{GlobalAlloc, System};
use std::time::Duration;

use tephra_agent::{Agent, ProfAlloc, hooks};
use tephra_tests::bench::Report;
use tephra_tests::sink::Sink;

const SIZES: [usize; 5] = [16, 64, 256, 1_024, 4_096];

/// Pairs of allocations per turn: it is shorter than the time between two ticks of the kernel.
const PAIRS: usize = 5_000;
/// Turns of each allocator, one after the other: what slows the machine slows both.
const TURNS: usize = 1_200;
/// One of so many is told from: those that the machine's other work touched least.
const QUIETEST: usize = 4;

static OVER_SYSTEM: ProfAlloc = ProfAlloc::system();
static OVER_MIMALLOC: ProfAlloc<mimalloc::MiMalloc> = ProfAlloc::new(mimalloc::MiMalloc);
#[cfg(feature = "jemalloc")]
static OVER_JEMALLOC: ProfAlloc<tikv_jemallocator::Jemalloc> = ProfAlloc::new(tikv_jemallocator::Jemalloc);
#[cfg(feature = "libdd")]
static LIBDD: libdd_profiling_heap_allocator::SampledAllocator<System> =
    libdd_profiling_heap_allocator::SampledAllocator::<System>::DEFAULT;

fn main() {
    let mut report = Report::default();
    over(&mut report, "System", &System, &OVER_SYSTEM);
    over(&mut report, "mimalloc", &mimalloc::MiMalloc, &OVER_MIMALLOC);
    #[cfg(feature = "jemalloc")]
    over(&mut report, "jemalloc", &tikv_jemallocator::Jemalloc, &OVER_JEMALLOC);
    #[cfg(feature = "libdd")]
    for size in SIZES {
        let (_, libdd) = compared(&System, &LIBDD, size);
        report.note(&format!("libdatadog's sampler over System, {size} B"), libdd, "ns/pair");
    }
    sampled(&mut report);
    report.print();
}

fn over(report: &mut Report, name: &str, bare: &dyn GlobalAlloc, wrapped: &dyn GlobalAlloc) {
    for size in SIZES {
        let (itself, ours) = compared(bare, wrapped, size);
        report.at_most(&format!("heap fast path over {name}, {size} B"), ours, "ns/pair", 1.0);
        report.note(&format!("{name} itself, {size} B"), itself, "ns/pair");
    }
}

/// While an agent samples: what the samples cost by its own account.
fn sampled(report: &mut Report) {
    let sink = Sink::start();
    let agent = Agent::builder("bench").endpoint(sink.endpoint()).heap_mean_bytes(64 << 10).start().expect("it starts");
    let before = agent.stats();
    for _ in 0..200 {
        // Eight times the mean, so nearly every one is sampled; few enough for the rings, with time to empty them.
        per_pair(&OVER_SYSTEM, 512 << 10, 64);
        std::thread::sleep(Duration::from_millis(10));
    }
    agent.flush();
    let after = agent.stats();
    let taken = after.alloc_samples.saturating_sub(before.alloc_samples);
    let took = after.alloc_time.saturating_sub(before.alloc_time);
    report.note("allocations sampled", taken as f64, "");
    report.at_most("time in the sampler per sampled allocation", took.as_nanos() as f64 / taken as f64, "ns", 3_000.0);
    drop(agent);
}

/// Nanoseconds per pair that the bare allocator takes, and how many more the wrapped one does: the medians over the quietest turns.
fn compared(bare: &dyn GlobalAlloc, wrapped: &dyn GlobalAlloc, size: usize) -> (f64, f64) {
    let mut turns: Vec<(f64, f64)> = (0..TURNS)
        .map(|turn| {
            // Neither comes first more often.
            if turn % 2 == 0 {
                let bare = per_pair(bare, size, PAIRS);
                (bare, per_pair(wrapped, size, PAIRS))
            } else {
                let wrapped = per_pair(wrapped, size, PAIRS);
                (per_pair(bare, size, PAIRS), wrapped)
            }
        })
        .collect();
    turns.sort_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
    turns.truncate(TURNS / QUIETEST);
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    (median(|turn| turn.0), median(|turn| turn.1 - turn.0))
}

fn per_pair(alloc: &dyn GlobalAlloc, size: usize, pairs: usize) -> f64 {
    hooks::heap::pairs(alloc, size, pairs).as_nanos() as f64 / pairs as f64
}
