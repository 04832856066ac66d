//! What the samplers did and could not do, counted since the process began.

pub(crate) mod durations;

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A reading of all counters. They only grow, but for the last two.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: u64),* }

        /// The counters themselves.
        pub(crate) struct Atomics { $(pub(crate) $name: AtomicU64),* }

        pub(crate) static COUNTERS: Atomics = Atomics { $($name: AtomicU64::new(0)),* };

        /// Reads all counters.
        pub(crate) fn read() -> Counters {
            Counters { $($name: COUNTERS.$name.load(Ordering::Relaxed)),* }
        }
    };
}

counters! {
    /// CPU samples written to a ring.
    cpu_taken,
    /// Allocation samples written to a ring.
    alloc_taken,
    /// Samples of waits written to a ring.
    wait_taken,
    /// Samples lost because every slot tried was in use.
    dropped_busy,
    /// Samples lost because the slot's ring was full.
    dropped_ring_full,
    /// Samples walked on a copy of the stack because its bounds were not known yet.
    stack_copied,
    /// Samples of only the leaf, because the stack's bounds were not known and copying it was refused.
    no_bound,
    /// Samples whose walk did not reach the thread's root.
    truncated,
    /// Threads that got no timer of their own: the kernel refused one, or there were too many threads.
    timer_failures,
    /// CPU time that the samples taken stand for, in nanoseconds.
    sampled_cpu_ns,
    /// Time spent in the signal handler, in nanoseconds.
    handler_ns,
    /// Time spent sampling allocations, in nanoseconds.
    alloc_ns,
    /// Time spent walking the stacks of tasks that wait, in nanoseconds.
    wait_ns,
    /// Threads sampled now.
    threads,
    /// Modules loaded now whose unwind tables found no room.
    modules_without_tables,
}

/// Adds to a counter. Safe in a signal handler.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
