//! What a signal handler must not do, trapped while it runs: system calls by the kernel's own dispatch of them, and
//! allocations by the allocator. A lock that is waited for is a system call too.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::trap::{ALLOW, BLOCK, Handler, LAST_SYSCALL, SYSCALLS, install, obey_selector, on_trapped, set_trap};

use tephra_agent::hooks::sampler::{Session, cpu_sample_ns, stacks_copied, totals};

/// The agent's own handler.
static AGENTS: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts what is allocated inside a handler.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: passes everything on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(u64::from(INSIDE.get()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATIONS.fetch_add(u64::from(INSIDE.get()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Stands where the agent's handler stood, and calls it with the trap set.
extern "C" fn trapping(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the address is that of a handler, taken from the kernel.
    let agents: Handler = unsafe { std::mem::transmute(AGENTS.load(Ordering::Relaxed)) };
    set_trap(BLOCK);
    INSIDE.set(true);
    agents(signal, info, context);
    INSIDE.set(false);
    set_trap(ALLOW);
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// What a handler may interrupt with a lock half taken, an allocation half made, a stack half unwound.
fn work_of_all_kinds(round: usize) {
    let words: Vec<String> = (0..20).map(|i| format!("{i} of {round}")).collect();
    black_box(words);
    if round.is_multiple_of(4) {
        drop(black_box(std::backtrace::Backtrace::force_capture()));
        let _ = std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(round)));
    }
    extern "C" fn each(_: *mut libc::dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
        0
    }
    // SAFETY: the callback does nothing; `setlocale` only asks.
    unsafe {
        libc::dl_iterate_phdr(Some(each), std::ptr::null_mut());
        libc::setlocale(libc::LC_ALL, std::ptr::null());
    }
}

#[test]
fn the_handler_makes_no_system_call_and_no_allocation() {
    let session = Session::start(1_000);
    let ours = install(libc::SIGPROF, trapping);
    AGENTS.store(ours, Ordering::Relaxed);
    assert_eq!(install(libc::SIGVTALRM, trapping), ours, "both signals have one handler");
    install(libc::SIGSYS, on_trapped);

    // The trap works: a handler that asks for a process id is caught.
    obey_selector();
    set_trap(BLOCK);
    // SAFETY: asks for a number.
    unsafe { libc::syscall(libc::SYS_getpid) };
    set_trap(ALLOW);
    assert_eq!(SYSCALLS.swap(0, Ordering::Relaxed), 1);
    assert_eq!(i64::from(LAST_SYSCALL.load(Ordering::Relaxed)), libc::SYS_getpid);
    INSIDE.set(true);
    drop(black_box(Box::new(1)));
    INSIDE.set(false);
    assert_eq!(ALLOCATIONS.swap(0, Ordering::Relaxed), 2);

    // Until its stack's bounds are found, a thread's stack is copied by one call. After that there is none.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut copied = u64::MAX;
    while stacks_copied() != copied {
        assert!(Instant::now() < deadline, "the stack's bounds are never found");
        copied = stacks_copied();
        std::thread::sleep(Duration::from_millis(50));
        assert!(cpu_sample_ns(3).is_some());
    }
    SYSCALLS.store(0, Ordering::Relaxed);
    let (runs, (taken, ..)) = (RUNS.load(Ordering::Relaxed), totals());

    // Signals by the kernel's timers, wherever they fall ...
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                work_of_all_kinds(4);
            }
        });
        let started = Instant::now();
        let mut round = 0;
        while started.elapsed() < Duration::from_secs(2) {
            work_of_all_kinds(round);
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    // ... and many more, at all depths.
    for i in 0..60_000 {
        assert!(cpu_sample_ns(i % 150).is_some());
    }
    drop(session);
    let (now, ..) = totals();
    assert!(RUNS.load(Ordering::Relaxed) - runs >= 60_000 && now - taken >= 60_000);
    assert_eq!(SYSCALLS.load(Ordering::Relaxed), 0, "the last was number {}", LAST_SYSCALL.load(Ordering::Relaxed));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0);
}
