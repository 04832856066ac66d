//! Samples where requests wait: at the line that awaits, and ready in a queue for a worker.
//!
//! A wrapper that labels a future ([`Waits`]) hands down a waker of its own on polls of chosen requests. A leaf that goes to sleep clones the waker
//! that it was given, to be woken by it: at that clone the whole stack stands on the thread, from the leaf to the wrapper. Executors and leaves
//! clone under locks of their own, so the clone only copies the stack; it is walked once the poll is over.
//!
//! From then until the first wake the task *awaits*; from the wake until it is polled again it is in the *queue*.
//!
//! From the bottom to the top:
//!
//! | in `waits/` | what lives there |
//! |---|---|
//! | `counters.rs` | what was sampled and lost |
//! | `density.rs` | which share of requests is sampled |
//! | `registrations.rs`, `place.rs`, `state.rs` | polls that handed down a waker of ours, who holds them, and where their leaves sleep |
//! | `workspace.rs` | copies of stacks of a poll under way |
//! | `waker.rs` | the wakers |
//! | `tell.rs` | what is told of an interval |
//! | `poll.rs` | what wrappers do around each poll |

mod counters;
mod density;
mod place;
mod poll;
mod registrations;
mod state;
mod tell;
mod waker;
mod workspace;

pub(crate) use self::counters::{WaitCounters, read as counters};
pub(crate) use self::density::Density;
pub(crate) use self::poll::Waits;
pub(crate) use self::tell::{open_count, open_stacks, open_waits};

/// Hands down no more wakers of ours, and forgets what waits: what is woken by the wakers that are there goes on being woken.
pub(crate) fn stop() {
    density::stop();
    state::next_run();
}

#[cfg(test)]
mod tests;
