//! Measures what the heap profiler costs an allocation that is not sampled, and one that is: over each allocator in turn with
//! the bare one, all in one run.

use std::alloc::{GlobalAlloc, System};
use std::time::Duration;

use tephra_agent::{Agent, ProfAlloc, heap_hooks};
use tephra_tests::bench::Report;
use tephra_tests::sink::Sink;

const SIZES: [usize; 5] = [16, 64, 256, 1_024, 4_096];

/// Pairs per turn and turns: the fastest turn of each is what the machine's other work did not touch, so a turn is shorter than the time
/// between two ticks of the kernel.
const PAIRS: usize = 5_000;
const TURNS: usize = 1_200;

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
        let [bare, libdd] = fastest([&System, &LIBDD], size);
        report.note(&format!("libdatadog's sampler over System, {size} B"), libdd - bare, "ns/pair");
    }
    sampled(&mut report);
    report.print();
}

fn over(report: &mut Report, name: &str, bare: &dyn GlobalAlloc, wrapped: &dyn GlobalAlloc) {
    for size in SIZES {
        let [bare, ours] = fastest([bare, wrapped], size);
        report.at_most(&format!("heap fast path over {name}, {size} B"), ours - bare, "ns/pair", 1.0);
        report.note(&format!("{name} itself, {size} B"), bare, "ns/pair");
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

/// Nanoseconds per pair of each, at their fastest.
fn fastest(allocators: [&dyn GlobalAlloc; 2], size: usize) -> [f64; 2] {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        for (best, alloc) in best.iter_mut().zip(allocators) {
            *best = best.min(per_pair(alloc, size, PAIRS));
        }
    }
    best
}

fn per_pair(alloc: &dyn GlobalAlloc, size: usize, pairs: usize) -> f64 {
    heap_hooks::pairs(alloc, size, pairs).as_nanos() as f64 / pairs as f64
}
