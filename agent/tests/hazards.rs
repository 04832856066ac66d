//! What services do to a profiler, and profilers to services: each for as long as `cargo xtask soak` says, and once at least.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

mod support;

use std::ffi::{CStr, c_int, c_void};
use std::hint::black_box;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{Collector, alone, soak_time, thread_cpu, wait_for};
use tephra_agent::Agent;
use tephra_agent::hooks::sampler::{Session, cpu_sample_ns};

const ROLE: &str = "TEPHRA_TEST_ROLE";

/// Repeats `round`, `least` times at least.
fn again_and_again(least: u32, mut round: impl FnMut()) {
    let (started, lasts) = (Instant::now(), soak_time());
    let mut rounds = 0;
    while rounds < least || started.elapsed() < lasts {
        round();
        rounds += 1;
    }
    println!("{rounds} rounds");
}

fn burn(time: Duration) {
    let start = thread_cpu();
    while thread_cpu() - start < time {
        black_box((0..5_000u64).fold(0, |sum: u64, i| sum.wrapping_mul(31).wrapping_add(i)));
    }
}

/// Runs `work` while other threads burn CPU and are sampled.
fn beside_busy_threads(work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    burn(Duration::from_millis(1));
                }
            });
        }
        work();
        stop.store(true, Ordering::Relaxed);
    });
}

/// Runs one test of this file again in a process of its own; `None` in that process.
fn in_child(test: &str) -> Option<Output> {
    if std::env::var(ROLE).is_ok_and(|role| role == test) {
        return None;
    }
    let _alone = alone();
    let mut child = Command::new(std::env::current_exe().unwrap());
    Some(child.args(["--exact", test, "--nocapture"]).env(ROLE, test).output().unwrap())
}

#[test]
fn sampling_starts_and_stops_under_load() {
    let _alone = alone();
    beside_busy_threads(|| again_and_again(30, || drop(Session::start(1_000))));
}

#[test]
fn libraries_come_and_go_while_their_code_is_sampled() {
    let _alone = alone();
    let libraries: Vec<&CStr> = vec![c"libm.so.6", c"libresolv.so.2", c"libutil.so.1", c"libanl.so.1", c"libnsl.so.1"];
    let session = Session::start(1_000);
    beside_busy_threads(|| {
        again_and_again(300, || {
            for name in &libraries {
                // SAFETY: the C library's own libraries do nothing when they are loaded; what is not there is not loaded.
                unsafe {
                    let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
                    if library.is_null() {
                        continue;
                    }
                    let cosine = libc::dlsym(library, c"cos".as_ptr());
                    if !cosine.is_null() {
                        let cosine: extern "C" fn(f64) -> f64 = std::mem::transmute(cosine);
                        black_box((0..500).map(|i| cosine(f64::from(i) * 1e6)).sum::<f64>());
                    }
                    libc::dlclose(library);
                }
            }
        });
    });
    assert!(session.drained() > 0);
}

#[test]
fn threads_come_and_go_by_the_thousand() {
    let _alone = alone();
    let session = Session::start(1_000);
    again_and_again(60, || {
        std::thread::scope(|scope| {
            for i in 0..50 {
                scope.spawn(move || burn(Duration::from_micros(i * 20)));
            }
        });
    });
    drop(session);
    let timers = std::fs::read_to_string("/proc/self/timers").unwrap();
    assert!(!timers.contains("ID:"), "{timers}");
}

/// Threads on stacks of our own making: the smallest that C libraries allow, with all that a sample, the kernel's frame for a
/// signal and the thread itself need on it. Debug builds need more.
#[test]
fn a_small_stack_is_large_enough() {
    const STACK_BYTES: usize = if cfg!(debug_assertions) { 64 << 10 } else { 16 << 10 };
    const PATTERN: u8 = 0xa7;
    #[repr(align(4096))]
    struct Stack([u8; STACK_BYTES]);
    extern "C" fn work(_: *mut c_void) -> *mut c_void {
        // Nobody waits for the agent while it goes through the list of threads, so a new one may have to ask again.
        let started = Instant::now();
        while cpu_sample_ns(0).is_none() && started.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        // Now and then the thread's own timer comes in between, and its signal stands for both.
        let taken = (0..2_000).filter(|_| cpu_sample_ns(0).is_some()).take(200).count();
        assert_eq!(taken, 200, "of 2 000");
        std::ptr::null_mut()
    }
    let _alone = alone();
    let session = Session::start(1_000);
    let mut stack = Box::new(Stack([0; STACK_BYTES]));
    let mut least_left = STACK_BYTES;
    again_and_again(20, || {
        stack.0.fill(PATTERN);
        // SAFETY: the stack lives until the thread is joined and is nobody else's meanwhile; the other pointers are to locals,
        // and `work` has the signature asked for.
        unsafe {
            let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
            let mut thread: libc::pthread_t = 0;
            assert_eq!(libc::pthread_attr_init(&raw mut attributes), 0);
            assert_eq!(pthread_attr_setstack(&raw mut attributes, stack.0.as_mut_ptr().cast(), STACK_BYTES), 0);
            assert_eq!(libc::pthread_create(&raw mut thread, &raw const attributes, work, std::ptr::null_mut()), 0);
            assert_eq!(libc::pthread_join(thread, std::ptr::null_mut()), 0);
            libc::pthread_attr_destroy(&raw mut attributes);
        }
        let left = stack.0.iter().take_while(|byte| **byte == PATTERN).count();
        least_left = least_left.min(left);
    });
    println!("{} of {STACK_BYTES} bytes of stack used", STACK_BYTES - least_left);
    assert!(least_left >= 1024, "only {least_left} of {STACK_BYTES} bytes were left");
    drop(session);
}

unsafe extern "C" {
    fn pthread_attr_setstack(attributes: *mut libc::pthread_attr_t, stack: *mut c_void, bytes: usize) -> c_int;
}

/// Calls that are interrupted and not restarted by themselves, while everything else in the process is busy. Not while threads
/// are made and end: the C library blocks all signals then, and the kernel hands those of the process on to others.
#[test]
fn a_thread_that_sleeps_is_not_woken() {
    let _alone = alone();
    let (stop, counting) = (AtomicBool::new(false), AtomicBool::new(false));
    let interrupted = AtomicU64::new(0);
    let session = Session::start(1_000);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let counted = counting.load(Ordering::Relaxed);
                    // SAFETY: waits for nothing but the time.
                    let waited = unsafe { libc::poll(std::ptr::null_mut(), 0, 100) };
                    let was_interrupted =
                        waited < 0 && std::io::Error::last_os_error().kind() == ErrorKind::Interrupted;
                    if was_interrupted && counted && counting.load(Ordering::Relaxed) {
                        interrupted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        beside_busy_threads(|| {
            std::thread::sleep(Duration::from_millis(50));
            counting.store(true, Ordering::Relaxed);
            again_and_again(1, || burn(Duration::from_secs(1)));
            counting.store(false, Ordering::Relaxed);
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(session.drained() > 500, "{} samples", session.drained());
    assert_eq!(interrupted.load(Ordering::Relaxed), 0);
}

#[test]
fn the_agents_own_threads_wait_for_their_turn() {
    /// How the kernel shows `SCHED_OTHER` and `SCHED_BATCH`.
    const USUAL: &str = "0";
    const IN_TURN: &str = "3";
    let _alone = alone();
    let agent = Agent::builder("patient").endpoint("http://127.0.0.1:9").start().unwrap();
    let policies = |own| -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        let named = stats.map(|stat| {
            let (name, fields) = stat.split_once('(').unwrap().1.rsplit_once(") ").unwrap();
            (name.starts_with("tephra-"), fields.split(' ').nth(38).unwrap().to_owned())
        });
        named.filter(|(is_own, _)| *is_own == own).map(|(_, policy)| policy).collect()
    };
    wait_for("the agent's threads to stand in line", || policies(true) == [IN_TURN; 2]);
    let others = policies(false);
    assert!(!others.is_empty() && others.iter().all(|policy| policy == USUAL), "{others:?}");
    drop(agent);
}

#[test]
fn a_process_at_rest_is_hardly_disturbed() {
    if let Some(output) = in_child("a_process_at_rest_is_hardly_disturbed") {
        assert!(output.status.success(), "{output:?}");
        return;
    }
    /// How often the agent's threads have begun to wait for something.
    fn waits() -> u64 {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        let own = statuses.filter(|status| status.starts_with("Name:\ttephra-"));
        own.map(|status| {
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
        })
        .map(|waits: Option<u64>| waits.unwrap())
        .sum()
    }
    /// More than this is no rest, in each second.
    const WAKES: u64 = 2;
    const WATCHED: Duration = Duration::from_secs(4);
    let collector = Collector::start();
    let agent = Agent::builder("at-rest").endpoint(collector.endpoint()).start().unwrap();
    for _ in 0..2 {
        let mut wakes = Vec::new();
        wait_for("a rest", || {
            let before = waits();
            std::thread::sleep(WATCHED);
            wakes.push(waits() - before);
            println!("{wakes:?} wakes in {WATCHED:?} each");
            wakes.last().is_some_and(|wakes| *wakes <= WAKES * WATCHED.as_secs())
        });
        assert!(wakes.iter().any(|wakes| *wakes > 0), "whose wakes are counted?");
        // Nobody is overslept for that.
        let samples = agent.stats().cpu_samples;
        std::thread::spawn(|| burn(Duration::from_millis(200))).join().unwrap();
        wait_for("the samples of whoever began to work", || agent.stats().cpu_samples >= samples + 10);
    }
    drop(agent);
}

#[test]
fn a_process_that_becomes_another_program_goes_on() {
    let test = "a_process_that_becomes_another_program_goes_on";
    if let Some(output) = in_child(test) {
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("here I am\n"), "{output:?}");
        return;
    }
    let _session = Session::start(1_000);
    burn(Duration::from_millis(300));
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo here I am";
    panic!("{}", Command::new("sh").args(["-c", script]).exec());
}

#[test]
fn a_forked_child_works_and_programs_start_while_all_is_sampled() {
    let _alone = alone();
    let session = Session::start(1_000);
    beside_busy_threads(|| {
        again_and_again(10, || {
            assert!(Command::new("true").status().unwrap().success());
            // SAFETY: the child only computes and leaves by `_exit`.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    black_box((0..200_000u64).fold(0, |sum: u64, i| sum.wrapping_mul(31).wrapping_add(i)));
                    libc::_exit(7);
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status:#x}");
            }
        });
    });
    assert!(session.drained() > 0);
}

static FOREIGN: AtomicU64 = AtomicU64::new(0);

extern "C" fn foreign_handler(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
}

/// Whoever handled SIGPROF before keeps getting the signals that are not the agent's; whoever uses SIGVTALRM keeps it.
#[test]
fn other_peoples_handlers_keep_their_signals() {
    let test = "other_peoples_handlers_keep_their_signals";
    if let Some(output) = in_child(test) {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    for signal in [libc::SIGPROF, libc::SIGVTALRM] {
        // SAFETY: `sigaction` is a C structure for which zero is valid; the handler has the signature SA_SIGINFO asks for.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = foreign_handler as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
        }
    }
    let session = Session::start(1_000);
    burn(Duration::from_millis(600));
    assert_eq!(FOREIGN.load(Ordering::Relaxed), 0, "the agent's own signals are the agent's");
    assert!(session.drained() > 0, "without SIGVTALRM, threads have timers of their own from the start");
    for signal in [libc::SIGPROF, libc::SIGVTALRM] {
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(signal) };
    }
    assert_eq!(FOREIGN.load(Ordering::Relaxed), 2);
    drop(session);
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGPROF) };
    assert_eq!(FOREIGN.load(Ordering::Relaxed), 3, "also after sampling has stopped");
}

#[test]
fn a_stack_overflow_is_still_told_as_such() {
    let test = "a_stack_overflow_is_still_told_as_such";
    if let Some(output) = in_child(test) {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("has overflowed its stack"), "{text}");
        return;
    }
    #[expect(unconditional_recursion, reason = "on purpose")]
    fn overflow(depth: u64) -> u64 {
        black_box(overflow(black_box(depth + 1))) + 1
    }
    let _session = Session::start(1_000);
    // One sample on top of the handler that tells would be too much for its small stack.
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: `sigaction` is a C structure for which zero is valid; asks only, and writes to a local.
        let waits = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
            [libc::SIGPROF, libc::SIGVTALRM].map(|ours| libc::sigismember(&raw const action.sa_mask, ours))
        };
        if waits != [1, 1] {
            // Ends the test process in another way than an overflow does.
            std::process::exit(0);
        }
    }
    black_box(overflow(0));
}
