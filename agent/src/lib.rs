//! Continuous profiling for production services: CPU and allocation stacks, each labelled with the trace it worked for.
//!
//! ```no_run
//! #[global_allocator]
//! static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();
//!
//! fn main() -> Result<(), tephra_agent::StartError> {
//!     let agent = tephra_agent::Agent::builder("checkout")
//!         .endpoint("http://127.0.0.1:4040")
//!         .label("version", "v1")
//!         .start()?;
//!     // … the service runs; dropping `agent` stops sampling and ships what is left …
//!     drop(agent);
//!     Ok(())
//! }
//! ```
//!
//! Three lines give CPU and heap profiles. Two more label every sample with its trace: [`tracing_layer`] for whoever
//! uses spans, [`tower_layer()`] for whoever serves HTTP. Without either, [`attach`] and [`in_context`] do it by hand.
//!
//! # What this can never do to your process
//! - **Slow it down noticeably.** A thread is interrupted about `cpu_hz` times per second of CPU it *uses*; a sleeping
//!   thread is left alone, but for the rare signal that the kernel hands on to it while another thread starts or ends, when the
//!   C library blocks signals. No thread of yours ever waits for the agent's: not for a lock, not for the network, not for memory.
//!   Where requests are reported your threads wait for each other only if more than eight of them do so in the same hundred nanoseconds.
//!   The agent's own threads never take a processor from one of yours that is running: they wait until one is free, or for their turn.
//!   While the process does next to nothing they sleep: the kernel wakes them when it has used some milliseconds of CPU time, and until
//!   then they read one clock, once a second.
//!   While the agent uses more than 1 % of the process's CPU time, it halves its rate; and however much the process allocates,
//!   allocation samples stay at some 200 for each second of its CPU time.
//!   Of the waits of requests about 200 are sampled in a second, however many there are; a poll that is not costs one comparison. A waker that the agent
//!   hands down wakes as the one it stands for, and allocates nothing.
//! - **Fill its memory.** Every table and queue has a fixed budget, together [`Builder::memory_limit`]. What does not
//!   fit is dropped, counted by reason, and the counts are shipped, so a profile never under-reports in silence.
//! - **Take it down with the collector.** A collector that is dead, slow, or answers garbage costs dropped windows. A
//!   reply can acknowledge, delay, ask for symbols, and say which traces to tell of; it cannot change what the agent does to your process.
//! - **Leak its contents.** Code addresses, sizes, times, trace ids, request routes as your program calls them and the labels you set
//!   leave the process, and the symbol tables of its binaries; never arguments, memory, environment, or code, and of a request neither
//!   its path nor its query. An endpoint with a password in it is refused, as is a token that would go unencrypted to another machine, and
//!   neither is ever printed.
//! - **Meddle with its cryptography.** TLS is spoken with features that are off by default, with a provider that the agent names itself: the
//!   process's own is neither installed nor used.
//! - **Fail to stop.** `TEPHRA=off` in the environment makes [`Builder::start`] do nothing at all: no thread, no timer,
//!   no file. Dropping the agent stops it within half a second, whatever the network does. If the agent itself fails,
//!   it says so once on stderr, turns itself off, and your service goes on.
//!
//! Where threads have no CPU timers of their own (anything but Linux, and the feature `pprof-fallback`), the `pprof` crate
//! samples instead: CPU only, without trace labels.
//!
//! What it *does* cost: two threads (`tephra-agent`, `tephra-ship`), one timer per busy thread and one for the process, which rests
//! while all that works has timers of its own, one more that wakes the agent, and their signals: SIGPROF, and SIGVTALRM unless your
//! program handles that itself.

// No panic reaches the process that the agent is a guest in: what can fail says so, and is counted.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unchecked_time_subtraction,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]
// Tests make files of their own.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

// Which sampler there is, chosen here and nowhere else: both have the same functions.
#[cfg(any(not(target_os = "linux"), feature = "pprof-fallback"))]
mod fallback;
#[cfg(all(target_os = "linux", not(feature = "pprof-fallback")))]
mod sampler;
#[cfg(any(not(target_os = "linux"), feature = "pprof-fallback"))]
use fallback as sampler;

mod agent;
mod builder;
mod clock;
pub mod context;
mod elf;
mod error;
mod export;
mod governor;
mod heap;
mod labels;
#[cfg(any(feature = "tower", feature = "tracing"))]
mod layers;
mod locate;
mod notice;
mod process;
mod random;
#[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "only requests report how they ended"))]
mod requests;
#[cfg_attr(
    any(not(target_os = "linux"), feature = "pprof-fallback"),
    allow(dead_code, reason = "the fallback knows less of each sample")
)]
mod sample;
mod settings;
mod stats;
mod trace_context;
mod waits;
mod window;
mod worker;

pub use agent::Agent;
pub use builder::Builder;
pub use context::{
    Guard, InContext, attach, attach_labels, current, current_labels, in_context, in_current, in_labels, spawn,
};
pub use error::StartError;
pub use heap::ProfAlloc;
pub use labels::Labels;
#[cfg(feature = "tower")]
pub use layers::tower::{TraceLayer, TracedFuture, TracedService, tower_layer};
#[cfg(feature = "tracing")]
pub use layers::tracing::{SpanLayer, tracing_layer};
/// What [`Builder::crypto_provider`] and [`Builder::tls_config`] take things of.
#[cfg(feature = "tls-no-provider")]
pub use rustls;
pub use stats::{Drops, Stats, Waits};
pub use trace_context::TraceContext;

/// Doors for this repository's own benchmarks and tests, which must not need `unsafe` themselves.
#[cfg(feature = "test-hooks")]
#[doc(hidden)]
pub mod hooks {
    pub use crate::heap::hooks as heap;
    pub use crate::requests::hooks as requests;
    pub use crate::sampler::hooks as sampler;
}
