//! What a service that burns CPU and memory looks like to a collector.
#![cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]

mod support;

use std::hint::black_box;
use std::time::Duration;

use support::payload::Window;
use support::symbols::Functions;
use support::{Collector, alone, thread_cpu, wait_for};
use tephra_agent::{Agent, StartError};

#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

/// Burns CPU time, whatever the machine is busy with otherwise.
#[inline(never)]
fn busy_function(duration: Duration) {
    let started = thread_cpu();
    while thread_cpu() - started < duration {
        for i in 0..10_000u64 {
            black_box(i.wrapping_mul(i));
        }
    }
}

#[inline(never)]
fn hoarding_function(blocks: usize) -> Vec<Vec<u8>> {
    (0..blocks).map(|i| vec![i as u8; 50_000]).collect()
}

fn check_accounts(windows: &[Window]) {
    for window in windows {
        assert_eq!(window.header.sampled, window.stored() + window.dropped());
    }
}

#[test]
fn the_busy_function_dominates_and_stopping_ships_the_last_window() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = Agent::builder("busy")
        .endpoint(collector.endpoint())
        .label("version", "v7")
        .window(Duration::from_secs(3600))
        .start()
        .unwrap();
    std::thread::spawn(|| busy_function(Duration::from_secs(2))).join().unwrap();
    drop(agent);
    let windows = collector.windows();
    assert_eq!(windows.len(), 1, "the hour is not over: this is the last window");
    let header = &windows[0].header;
    assert_eq!((header.service.as_str(), header.sequence), ("busy", 1));
    assert_eq!((header.labels[0].name.as_str(), header.labels[0].value.as_str()), ("version", "v7"));
    assert_eq!(header.window_start_unix_ms % u64::from(header.window_duration_ms), 0);
    assert!(header.process_cpu_ns > 1_000_000_000, "{}", header.process_cpu_ns);
    check_accounts(&windows);

    let functions = Functions::of_this_binary();
    let rows = windows[0].rows("cpu");
    let total: u64 = rows.iter().map(|row| row.value).sum();
    let busy = rows.iter().filter(|row| functions.on_stack(&row.stack, "busy_function"));
    let busy: u64 = busy.map(|row| row.value).sum();
    assert!(total >= 100, "two seconds at 99 Hz gave {total} periods");
    assert!(busy * 10 >= total * 9, "{busy} of {total}");
    let whole: u64 = rows.iter().filter(|row| !row.truncated).map(|row| row.value).sum();
    assert!(whole * 100 >= total * 95, "{whole} of {total} stacks reach the thread's root");
}

#[test]
fn the_heap_is_reported_as_it_grows_and_as_it_stands() {
    let _alone = alone();
    let collector = Collector::start();
    let agent = Agent::builder("hoarder")
        .endpoint(collector.endpoint())
        .heap_mean_bytes(64 << 10)
        .window(Duration::from_secs(1))
        .start()
        .unwrap();
    let hoard = hoarding_function(1_000);
    let pushes = collector.pushes().len();
    wait_for("two windows", || collector.pushes().len() >= pushes + 2);
    drop(agent);
    let windows = collector.windows();
    check_accounts(&windows);
    let functions = Functions::of_this_binary();
    let bytes = |window: &Window, profile_type: &str| {
        let rows = window.rows(profile_type).into_iter();
        let hoarded = rows.filter(|row| functions.on_stack(&row.stack, "hoarding_function"));
        hoarded.map(|row| row.value).sum::<u64>()
    };
    // 50 MB in about 530 samples: a standard error of 4 %, and five of those never happen.
    let truth = 50_000_000.0;
    let allocated: u64 = windows.iter().map(|window| bytes(window, "alloc_space")).sum();
    assert!((allocated as f64 / truth - 1.0).abs() < 0.22, "{allocated} bytes allocated");
    let standing = bytes(windows.last().unwrap(), "inuse_space");
    assert!((standing as f64 / truth - 1.0).abs() < 0.22, "{standing} bytes in use, windows after they were allocated");
    drop(hoard);
}

#[test]
fn symbols_are_offered_and_uploaded_once_and_hold_no_code() {
    let _alone = alone();
    let collector = Collector::start();
    let agent =
        Agent::builder("symbols").endpoint(collector.endpoint()).window(Duration::from_secs(1)).start().unwrap();
    let is_this = |name: &str| std::env::current_exe().unwrap().ends_with(name);
    wait_for("this binary's symbols", || collector.uploads().iter().any(|(file, _)| is_this(&file.name)));
    let windows = collector.pushes().len();
    wait_for("three more windows", || collector.pushes().len() >= windows + 3);
    drop(agent);
    let offer = collector.offers().into_iter().find(|file| is_this(&file.name)).unwrap();
    let uploads: Vec<_> = collector.uploads().into_iter().filter(|(file, _)| is_this(&file.name)).collect();
    let [(file, content)] = &uploads[..] else { panic!("uploaded {} times", uploads.len()) };
    assert_eq!(*file, offer);
    assert!(file.has_debug_info);
    let original = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(content.len(), original.len());
    assert_eq!(Functions::of(content), Functions::of(&original));
    let entry = u64::from_le_bytes(original[24..32].try_into().unwrap());
    assert!(entry > 0 && content != &original, "code is blank");
}

#[test]
fn pausing_stops_sampling_and_resuming_starts_it() {
    let _alone = alone();
    let agent = Agent::builder("pausing").endpoint("http://127.0.0.1:9").start().unwrap();
    busy_function(Duration::from_millis(300));
    wait_for("samples", || agent.stats().cpu_samples > 0);
    agent.pause();
    wait_for("the pause", || !agent.stats().sampling);
    let before = agent.stats();
    busy_function(Duration::from_millis(500));
    let after = agent.stats();
    assert_eq!(after.cpu_samples, before.cpu_samples);
    assert_eq!(after.threads, 0);
    agent.resume();
    busy_function(Duration::from_millis(500));
    wait_for("samples", || agent.stats().cpu_samples > before.cpu_samples);
}

#[test]
fn a_flush_ships_what_there_is_and_the_window_goes_on() {
    let _alone = alone();
    let collector = Collector::start();
    let agent =
        Agent::builder("flushing").endpoint(collector.endpoint()).window(Duration::from_secs(3600)).start().unwrap();
    busy_function(Duration::from_millis(500));
    assert!(agent.flush());
    assert_eq!(collector.windows().len(), 1);
    busy_function(Duration::from_millis(500));
    drop(agent);
    let windows = collector.windows();
    check_accounts(&windows);
    let starts: Vec<_> = windows.iter().map(|w| (w.header.window_start_unix_ms, w.header.sequence)).collect();
    assert!(matches!(starts[..], [(a, 1), (b, 2)] if b == a || b == a + 3_600_000), "{starts:?}");
}

#[test]
fn there_is_one_agent_per_process_at_a_time() {
    let _alone = alone();
    let first = Agent::builder("first").endpoint("http://127.0.0.1:9").start().unwrap();
    assert!(matches!(Agent::builder("second").start(), Err(StartError::AlreadyRunning)));
    drop(first);
    for _ in 0..5 {
        drop(Agent::builder("again").endpoint("http://127.0.0.1:9").start().unwrap());
    }
}
