//! The allocator as a process's own, through its whole life: before `main`, across threads and forks, and after `exit`.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::alloc::{GlobalAlloc, Layout};
use std::cell::RefCell;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use support::payload::{Row, Window};
use support::symbols::Functions;
use support::{Collector, alone, wait_for};
use tephra_agent::{Agent, Builder, Drops, ProfAlloc, StartError, TraceContext};
use tephra_proto::v1::DropReason;

#[global_allocator]
static ALLOC: ProfAlloc = ProfAlloc::system();

/// Sampled often, in windows that end soon.
fn start(collector: &Collector) -> Agent {
    start_as(|| {
        let agent = Agent::builder("heap").endpoint(collector.endpoint()).heap_mean_bytes(64 << 10);
        agent.window(Duration::from_secs(1))
    })
}

/// The agent of the test before stops by itself, but on a busy machine its drop does not wait for that long.
fn start_as(builder: impl Fn() -> Builder) -> Agent {
    let mut started = Err(StartError::AlreadyRunning);
    wait_for("the agent before to be gone", || {
        started = builder().start();
        !matches!(started, Err(StartError::AlreadyRunning))
    });
    started.unwrap()
}

#[inline(never)]
fn hoard_of(blocks: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..blocks).map(|i| vec![i as u8; bytes]).collect()
}

/// Rows of one type under one function.
fn rows_of(window: &Window, profile_type: &str, function: &str) -> Vec<Row> {
    let functions = Functions::of_this_binary();
    window.rows(profile_type).into_iter().filter(|row| functions.on_stack(&row.stack, function)).collect()
}

fn sum(rows: &[Row]) -> u64 {
    rows.iter().map(|row| row.value).sum()
}

/// The newest window that began after this call.
fn next_whole_window(collector: &Collector) -> Window {
    let seen = collector.pushes().len();
    wait_for("two windows", || collector.pushes().len() >= seen + 2);
    collector.windows().pop().unwrap()
}

#[test]
fn what_is_freed_leaves_the_profile_whoever_frees_it() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    let (send, receive) = channel();
    let owner = std::thread::spawn(move || send.send(hoard_of(1_000, 40_000)).unwrap());
    owner.join().unwrap();
    let hoard = receive.recv().unwrap();
    let window = next_whole_window(&collector);
    let held = rows_of(&window, "inuse_space", "hoard_of");
    // 40 MB in about 460 blocks: a standard error of 3.5 %.
    assert!((sum(&held) as f64 / 40e6 - 1.0).abs() < 0.18, "{} bytes", sum(&held));
    let objects = rows_of(&window, "inuse_objects", "hoard_of");
    assert!((sum(&objects) as f64 / 1_000.0 - 1.0).abs() < 0.18, "{} blocks", sum(&objects));
    let samples: u64 = held.iter().map(|row| row.samples).sum();
    assert!((300..650).contains(&samples), "{samples} sampled blocks stand behind them");
    // Another thread than the one that allocated.
    drop(hoard);
    let window = next_whole_window(&collector);
    assert_eq!(rows_of(&window, "inuse_space", "hoard_of").len(), 0, "all of it was freed, so there is nothing at all");
    let told = |series: &tephra_proto::v1::Series| series.r#type.as_ref().is_some_and(|t| t.name == "inuse_space");
    assert!(window.payload.series.iter().any(told), "which is told, and not left open");
    drop(agent);
}

#[test]
fn an_allocation_carries_the_trace_and_span_it_was_made_for() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    let context = TraceContext::root();
    let hoard = {
        let _guard = tephra_agent::attach(context);
        hoard_of(200, 60_000)
    };
    agent.flush();
    drop(agent);
    let windows = collector.windows();
    let rows: Vec<Row> = windows.iter().flat_map(|window| rows_of(window, "alloc_space", "hoard_of")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!((row.trace_id, row.span_id), (Some(context.trace_id), Some(context.span_id)), "{row:?}");
    }
    drop(hoard);
}

/// Allocates when its thread has already taken most of itself down.
struct LastWords(Vec<Vec<u8>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.clear();
        let words = hoard_of(50, 30_000);
        assert!(words.iter().enumerate().all(|(i, word)| word.iter().all(|&byte| byte == i as u8)));
        // Freed by another destructor, later still.
        LATER.with(|later| later.borrow_mut().extend(words));
    }
}

thread_local! {
    static LATER: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_thread_locals_may_allocate_and_free() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    for _ in 0..50 {
        std::thread::spawn(|| {
            // Registered in this order, so that `LATER` outlives the other, or not: both must do.
            LAST_WORDS.with(|words| *words.borrow_mut() = Some(LastWords(hoard_of(20, 20_000))));
        })
        .join()
        .unwrap();
    }
    let window = next_whole_window(&collector);
    assert_eq!(sum(&rows_of(&window, "inuse_space", "hoard_of")), 0, "threads that are gone hold nothing");
    drop(agent);
}

#[test]
fn a_forked_child_allocates_frees_and_exits_while_the_parent_is_sampled_on() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    let hoard = hoard_of(500, 40_000);
    // Somebody is always in the middle of an allocation when the process is copied.
    let (stop, stopped) = channel::<()>();
    let busy = std::thread::spawn(move || {
        while stopped.try_recv().is_err() {
            black_box(hoard_of(20, 30_000));
        }
    });
    for _ in 0..20 {
        // SAFETY: the child only allocates, which the system's allocator supports after a fork, and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let mut mine = hoard_of(200, 40_000);
            mine.iter_mut().for_each(|block| block.resize(100_000, 1));
            drop(mine);
            let inherited = hoard.iter().all(|block| block.len() == 40_000);
            // SAFETY: ends this process without running anything of the parent's.
            unsafe { libc::_exit(if inherited { 0 } else { 3 }) };
        }
        assert!(child > 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: writes to a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child's exit status");
    }
    stop.send(()).unwrap();
    busy.join().unwrap();
    let window = next_whole_window(&collector);
    let held = sum(&rows_of(&window, "inuse_space", "hoard_of"));
    assert!((held as f64 / 20e6 - 1.0).abs() < 0.25, "the parent's profile is its own: {held} bytes");
    drop((hoard, agent));
}

#[test]
fn blocks_outlive_agents() {
    let _alone = alone();
    let collector = Collector::start();
    let mut hoards = Vec::new();
    for _ in 0..3 {
        let agent = start(&collector);
        hoards.push(hoard_of(300, 50_000));
        if hoards.len() > 1 {
            // Taken under the agent before this one, freed and grown under this one.
            let mut old = hoards.remove(0);
            old.iter_mut().step_by(2).for_each(|block| block.resize(120_000, 9));
            assert!(old.iter().enumerate().all(|(i, block)| block[..50_000].iter().all(|&byte| byte == i as u8)));
        }
        let window = next_whole_window(&collector);
        let held = sum(&rows_of(&window, "inuse_space", "hoard_of"));
        assert!((held as f64 / 15e6 - 1.0).abs() < 0.3, "what was allocated under this agent: {held} bytes");
        drop(agent);
    }
}

#[inline(never)]
fn scratch() -> usize {
    black_box(Vec::<u8>::with_capacity(100_000)).capacity()
}

#[test]
fn a_slow_leak_is_sampled_as_densely_beside_a_flood_of_another_size_of_which_few_samples_are_taken() {
    const BYTES: usize = 5_000;
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    let (mut leaked, mut made) = (Vec::new(), 0u64);
    // Until so many of the flood's samples were not taken.
    while agent.stats().alloc_left_out < 10_000 {
        // No faster than the agent collects samples while it takes them all, so none is dropped.
        std::thread::sleep(Duration::from_millis(10));
        for _ in 0..20 {
            made += u64::from(scratch() >= 100_000);
        }
        // Some 8 samples a second: of so few none is left out, however little CPU time the process uses.
        leaked.extend(hoard_of(1, BYTES));
    }
    agent.flush();
    let window = next_whole_window(&collector);
    let held = rows_of(&window, "inuse_space", "hoard_of");
    let truth = (leaked.len() * BYTES) as f64;
    let samples: u64 = held.iter().map(|row| row.samples).sum();
    // One sample per 64 KiB: none is left out.
    let expected = truth / 65_536.0;
    assert!((samples as f64 - expected).abs() < 5.0 * expected.sqrt(), "{samples} samples of {truth} bytes");
    assert!((sum(&held) as f64 / truth - 1.0).abs() < 5.0 / expected.sqrt(), "{} of {truth} bytes", sum(&held));
    assert_eq!(agent.stats().dropped, Drops::default());
    drop(agent);
    let windows = collector.windows();
    let flood: Vec<Row> = windows.iter().flat_map(|window| rows_of(window, "alloc_objects", "scratch")).collect();
    // The thinner the flood is sampled, the more each sample stands for, and the further off their sum may be.
    let deviation = flood.iter().map(|row| (row.value as f64).powi(2) / row.samples as f64).sum::<f64>().sqrt();
    let told = sum(&flood);
    assert!((told as f64 - made as f64).abs() < 5.0 * deviation, "{told} ± {deviation:.0} told of {made} allocations");
    drop(leaked);
}

/// Allocates at the end of a path that no other number takes.
#[inline(never)]
fn left(path: u32, depth: u32) -> Vec<u8> {
    step(path, depth)
}

#[inline(never)]
fn right(path: u32, depth: u32) -> Vec<u8> {
    black_box(step(path, depth))
}

#[inline(always)]
fn step(path: u32, depth: u32) -> Vec<u8> {
    if depth == 0 {
        return Vec::with_capacity(1 << 20);
    }
    black_box(if path & 1 == 0 { left(path >> 1, depth - 1) } else { right(path >> 1, depth - 1) })
}

#[test]
fn an_agent_that_is_out_of_memory_counts_what_it_drops_and_every_allocation_is_served() {
    const DEPTH: u32 = 20;
    const LIMIT: usize = 4 << 20;
    let _alone = alone();
    let collector = Collector::start();
    let agent = start_as(|| {
        let agent = Agent::builder("heap").endpoint(collector.endpoint()).heap_mean_bytes(64 << 10);
        agent.memory_limit(LIMIT).window(Duration::from_secs(60))
    });
    let (stop, stopped) = channel::<()>();
    let busy = std::thread::spawn(move || {
        // Every one is sampled, and each has a stack of its own, until there is no room for another.
        let mut path = 0u32;
        while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
            for _ in 0..50 {
                path = path.wrapping_add(0x9e37_79b9);
                assert!(left(path >> (32 - DEPTH), DEPTH).capacity() >= 1 << 20);
            }
        }
    });
    wait_for("the window to be full", || agent.stats().dropped.table_full > 100);
    stop.send(()).unwrap();
    busy.join().unwrap();
    assert!(agent.stats().table_bytes <= LIMIT as u64, "{:?}", agent.stats());
    let stats = agent.stats();
    drop(agent);
    wait_for("what was dropped to be told", || {
        let windows = collector.windows();
        let drops = windows.iter().flat_map(|window| &window.header.drops);
        let told: u64 = drops.filter(|drop| drop.reason() == DropReason::TableFull).map(|drop| drop.samples).sum();
        told >= stats.dropped.table_full
    });
    let windows = collector.windows();
    let stored: u64 = windows.iter().flat_map(|window| window.rows("alloc_space")).map(|row| row.samples).sum();
    assert!(stored > 1_000, "{stored} samples found room before");
}

/// What was allocated before `main`.
static EARLY: AtomicUsize = AtomicUsize::new(0);

const EARLY_LAYOUT: Layout = Layout::new::<[u8; 300_000]>();

extern "C" fn before_main() {
    // SAFETY: the layout has a size; the memory is this function's alone.
    unsafe {
        let block = ALLOC.alloc(EARLY_LAYOUT);
        block.write_bytes(42, EARLY_LAYOUT.size());
        EARLY.store(block as usize, Ordering::Relaxed);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

#[test]
fn allocations_before_main_are_served_and_can_be_freed_at_any_time() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = start(&collector);
    let block = EARLY.swap(0, Ordering::Relaxed) as *mut u8;
    assert!(!block.is_null(), "code before main has run");
    // SAFETY: allocated before main with this layout, and nobody else's since the swap.
    unsafe {
        assert!(std::slice::from_raw_parts(block, EARLY_LAYOUT.size()).iter().all(|&byte| byte == 42));
        ALLOC.dealloc(block, EARLY_LAYOUT);
    }
    drop(agent);
}

/// Set in the environment of the process that [`allocations_after_exit_are_served`] watches die.
const DIE: &str = "TEPHRA_TEST_ALLOCATE_AFTER_EXIT";

extern "C" fn after_exit() {
    let mut late = hoard_of(500, 40_000);
    late.iter_mut().for_each(|block| block.resize(90_000, 1));
    drop(late);
    println!("allocated after exit");
}

#[test]
fn allocations_after_exit_are_served() {
    if std::env::var_os(DIE).is_some() {
        // SAFETY: the function may run at any time; nothing it uses is taken down before.
        unsafe { libc::atexit(after_exit) };
        // Whoever forgets to stop the agent, and leaves from the middle of a thread.
        let agent = Agent::builder("dying").endpoint("http://127.0.0.1:9").heap_mean_bytes(64 << 10).start().unwrap();
        std::mem::forget(agent);
        let hoard = hoard_of(200, 50_000);
        black_box(&hoard);
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "allocations_after_exit_are_served", "--nocapture"]).env(DIE, "1");
    let died = command.output().unwrap();
    let said = String::from_utf8_lossy(&died.stdout);
    assert!(died.status.success(), "{}: {said}", died.status);
    assert!(said.contains("allocated after exit"), "{said}");
}
