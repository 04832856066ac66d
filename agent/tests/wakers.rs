//! What a waker that the agent hands down must not do when a leaf clones it, which leaves do under locks: system calls, and allocations.
//! A lock that is waited for is a system call too.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(feature = "pprof-fallback")))]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use support::trap::{ALLOW, BLOCK, LAST_SYSCALL, SYSCALLS, install, obey_selector, on_trapped, set_trap};
use support::wait_for;
use tephra_agent::hooks::sampler::{cpu_sample_ns, stacks_copied};
use tephra_agent::{Agent, TraceContext, in_context};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Counts what is allocated while a waker is cloned.
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

fn trapped<R>(work: impl FnOnce() -> R) -> R {
    INSIDE.set(true);
    set_trap(BLOCK);
    let done = work();
    set_trap(ALLOW);
    INSIDE.set(false);
    done
}

/// Polls a chosen request once, whose leaf uses its waker in each way there is. Returns the wakers that are left.
fn poll_once(leaves: usize) -> Vec<Waker> {
    let mut kept = Vec::with_capacity(leaves);
    {
        let leaf = poll_fn(|cx| {
            for _ in 0..leaves {
                let waker = trapped(|| {
                    let waker = cx.waker().clone();
                    waker.wake_by_ref();
                    let by_value = waker.clone();
                    by_value.wake();
                    waker
                });
                kept.push(waker);
            }
            Poll::<()>::Pending
        });
        let mut future = pin!(in_context(TraceContext::root(), leaf));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    kept
}

#[test]
fn a_clone_makes_no_system_call_and_no_allocation() {
    // As slow as can be: a signal's own way back is a system call.
    let agent = Agent::builder("wakers").endpoint("http://127.0.0.1:9").heap_mean_bytes(0).cpu_hz(1);
    let agent = agent.waits_per_second(100_000).window(Duration::from_secs(3_600)).start().unwrap();
    install(libc::SIGSYS, on_trapped);
    obey_selector();
    // The trap works.
    trapped(|| {
        // SAFETY: asks for a number.
        unsafe { libc::syscall(libc::SYS_getpid) };
    });
    assert_eq!(SYSCALLS.swap(0, Ordering::Relaxed), 1);
    INSIDE.set(true);
    drop(black_box(Box::new(1)));
    INSIDE.set(false);
    assert_eq!(ALLOCATIONS.swap(0, Ordering::Relaxed), 2);

    // Until the bounds of this thread's stack are known, it is copied by one call.
    let mut copied = u64::MAX;
    wait_for("the bounds of the stack", || {
        let is_known = stacks_copied() == copied;
        copied = stacks_copied();
        assert!(cpu_sample_ns(3).is_some());
        poll_once(1);
        std::thread::sleep(Duration::from_millis(50));
        is_known
    });
    SYSCALLS.store(0, Ordering::Relaxed);
    ALLOCATIONS.store(0, Ordering::Relaxed);
    let before = agent.stats().waits.polls;
    for round in 0..2_000 {
        // More than there are places for, too.
        drop(poll_once(1 + round % 9));
        if round % 100 == 99 {
            // The agent is to come by.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    wait_for("the agent's account", || agent.stats().waits.polls > before);
    // One signal may have come while it was trapped, and on its way back made the one call it makes.
    let calls = SYSCALLS.load(Ordering::Relaxed);
    assert!(calls == 0 || i64::from(LAST_SYSCALL.load(Ordering::Relaxed)) == libc::SYS_rt_sigreturn, "{calls} calls");
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0);
    drop(agent);
}
