//! What wait sampling did and could not do, counted since the process began.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// A reading of all counters. They only grow.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct WaitCounters { $($(#[$doc])* pub(crate) $name: u64),* }

        /// The counters themselves.
        pub(super) struct Atomics { $(pub(super) $name: AtomicU64),* }

        pub(super) static COUNTERS: Atomics = Atomics { $($name: AtomicU64::new(0)),* };

        /// Reads all counters.
        pub(crate) fn read() -> WaitCounters {
            WaitCounters { $($name: COUNTERS.$name.load(Ordering::Relaxed)),* }
        }

        impl WaitCounters {
            /// What was counted since an earlier reading.
            pub(crate) fn since(&self, before: &Self) -> Self {
                Self { $($name: self.$name.wrapping_sub(before.$name)),* }
            }
        }
    };
}

counters! {
    /// Polls that handed down a waker of ours and left a task waiting.
    waits,
    /// Polls of chosen requests that were not sampled because there were more in a short time than was foreseen.
    too_many,
    /// The same, because all registrations were taken: of tasks that wait, or whose wakers are kept.
    registrations_full,
    /// The same, because all places to copy stacks to were in use.
    busy,
    /// Intervals that were woken by a waker whose place is not known, and are told nowhere.
    unplaced,
    /// Clones that took no stack because another thread than the one that polls made them.
    clones_foreign,
    /// The same, because there was no room for one more stack.
    clones_full,
    /// Clones of a registration with so many wakers alive that the task's own was given instead.
    clones_refused,
    /// Wakes of a registration that had been woken before. Each was handed on.
    wakes_repeated,
    /// Tasks that were polled again, or were ready, though none of our wakers had been woken.
    not_woken,
    /// Waits that ended because their future was dropped.
    dropped,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
