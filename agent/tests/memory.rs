//! What the agent holds when everything it keeps is full at once, and no collector takes anything: less than its limit, at
//! every moment, also while a window is encoded and the next one fills. What it gave up for that is counted.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use http::{Request, Response};
use support::wait_for;
use tephra_agent::hooks::sampler::{cpu_sample_ns, varied_cpu_sample_ns};
use tephra_agent::{Agent, ProfAlloc, Stats, TraceContext, attach};
use tower_layer::Layer;
use tower_service::Service;

const LIMIT: usize = 16 << 20;
/// What is not allocated but there from the start: the table of live blocks (34 bytes for each of 32 768), and the pages in use
/// of those about threads and labels.
const STATIC: usize = (32_768 * 34) + (256 << 10);

/// Counts what is allocated and not freed, and the most of it.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Gives out addresses that nothing is behind: the heap profiler looks at addresses and sizes only.
struct Nowhere;

static NEXT: AtomicUsize = AtomicUsize::new(0x10_0000_0000);

// SAFETY: the blocks are distinct and aligned; nobody in this test reads or writes them.
unsafe impl GlobalAlloc for Nowhere {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = (layout.size() + layout.align()).next_multiple_of(4096);
        let address = NEXT.fetch_add(size, Ordering::Relaxed).next_multiple_of(layout.align());
        std::ptr::without_provenance_mut(address)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

static HEAP: ProfAlloc<Nowhere> = ProfAlloc::new(Nowhere);

/// Allocates, under ever other callers, what is never freed.
#[inline(never)]
fn allocate(path: u64, depth: u32) -> u64 {
    if depth == 0 {
        let layout = Layout::from_size_align(1 << 20, 8).unwrap();
        // SAFETY: the size is not zero, and nothing is done with the block.
        return unsafe { HEAP.alloc(layout) }.addr() as u64;
    }
    let next = black_box(path / 4);
    // Each call returns to a place of its own; work after it keeps it from becoming a jump.
    match path % 4 {
        0 => allocate(next, depth - 1).wrapping_add(black_box(1)),
        1 => allocate(next, depth - 1).wrapping_add(black_box(2)),
        2 => allocate(next, depth - 1).wrapping_add(black_box(3)),
        _ => allocate(next, depth - 1).wrapping_add(black_box(4)),
    }
}

#[derive(Clone)]
struct Answers;

impl Service<Request<()>> for Answers {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// Serves a request of one of many routes.
fn serve(service: &mut impl Service<Request<()>>, number: usize) {
    let route = format!("/a-route-with-a-rather-long-name/of-kind-{}{}", number % 23, "x".repeat(number % 7));
    let request = Request::builder().uri(route).body(()).unwrap();
    let mut served = pin!(service.call(request));
    assert!(served.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

/// A number that says nothing about the next.
fn another(number: u64) -> u64 {
    number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f)
}

/// What a window is full of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Stacks,
    Traces,
}

/// Everything at once: stacks or traces that never come twice, requests, and blocks that are never freed.
fn work(full: Full, seed: u64, stop: &AtomicBool) {
    let mut service = tephra_agent::tower_layer().route_by_path(|path| Some(path.into())).layer(Answers);
    let mut path = seed;
    while !stop.load(Ordering::Relaxed) {
        path = another(path);
        let label = attach(TraceContext::root());
        match full {
            Full::Stacks => {
                let _ = varied_cpu_sample_ns(path, (path >> 33) as usize % 100);
                black_box(allocate(path >> 20, 20));
            }
            Full::Traces => {
                let _ = cpu_sample_ns(1);
                black_box(allocate(path >> 62, 1));
            }
        }
        drop(label);
        for number in 0..4 {
            serve(&mut service, (path >> 40) as usize + number);
        }
    }
}

/// Memory of this process that is in use, as the kernel counts it.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn threads() -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
}

fn gave_up_everything(full: Full, stats: &Stats) -> bool {
    let dropped = &stats.dropped;
    let labels = [stats.without_span, stats.without_trace, dropped.heap_table_full];
    let rest = [dropped.table_full, dropped.queue_full];
    labels.iter().all(|count| *count > 0) && (full == Full::Traces || rest.iter().all(|count| *count > 0))
}

#[test]
fn whatever_is_full_the_agent_stays_below_its_limit_and_counts_what_it_gave_up() {
    for full in [Full::Stacks, Full::Traces] {
        stays_below_its_limit(full);
    }
}

fn stays_below_its_limit(full: Full) {
    let stop = AtomicBool::new(false);
    let (before, resident_before) = (HELD.load(Ordering::Relaxed), resident());
    MOST.store(before, Ordering::Relaxed);
    let builder = Agent::builder("hungry")
        .endpoint("http://127.0.0.1:9")
        // Stacks fill many windows, and those the queue; traces take a while to fill one.
        .window(Duration::from_secs(if full == Full::Stacks { 1 } else { 3_600 }))
        .heap_mean_bytes(64 << 10)
        .memory_limit(LIMIT);
    let (mut resident_most, started) = (0, Instant::now());
    let agent = builder.start().unwrap();
    // All blocks that can be followed, and then everything else.
    let mut path = 7;
    while agent.stats().dropped.heap_table_full == 0 {
        for _ in 0..1_000 {
            path = another(path);
            black_box(allocate(path >> 20, 6));
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the heap's table never became full: {:?}", agent.stats());
    }
    std::thread::scope(|scope| {
        for seed in 1..=2 {
            let stop = &stop;
            scope.spawn(move || work(full, seed, stop));
        }
        while !gave_up_everything(full, &agent.stats()) {
            assert!(started.elapsed() < Duration::from_secs(120), "not everything became full: {:?}", agent.stats());
            resident_most = resident_most.max(resident());
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let stats = agent.stats();
    drop(agent);
    // It has half a second, but the last window may take longer.
    wait_for("the agent's thread to end", || !threads().any(|name| name == "tephra-agent\n"));
    let most = MOST.load(Ordering::Relaxed) - before;
    // What the round before gave back may be more than this one took.
    let resident = resident_most.saturating_sub(resident_before);
    println!("full of {full:?}: {most} bytes at most, {resident} resident; {stats:?}");
    assert!(most + STATIC <= LIMIT, "full of {full:?}: {most} bytes: {stats:?}");
}
