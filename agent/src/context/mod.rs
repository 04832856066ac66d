//! Which trace the current thread works for, and the ways to say it. String labels, such as the tenant, go along.
//!
//! | who says it | how |
//! |---|---|
//! | a `tracing` span | [`tracing_layer`](crate::tracing_layer): entered and left with the span |
//! | an HTTP request | [`tower_layer`](crate::tower_layer): from its `traceparent` header, on every poll of its future |
//! | code that awaits | [`in_context`], [`in_labels`]: on every poll of a future |
//! | a task that is spawned | [`spawn`], [`in_current`]: goes on with what its spawner works for |
//! | code that does not | [`attach`], [`attach_labels`]: until the guard is dropped |
//!
//! All of them push onto one stack per thread (`stack`), so they nest in any order. A future that sleeps owns no CPU and
//! carries no label; whichever thread polls it next is labelled for as long as the poll lasts.

mod attach;
mod spawn;
pub(crate) mod stack;

pub use self::attach::{Guard, InContext, attach, attach_labels, in_context, in_labels};
pub use self::spawn::{in_current, spawn};

pub use crate::labels::Labels;
pub use crate::trace_context::TraceContext;

/// The context the current thread works for.
pub fn current() -> Option<TraceContext> {
    crate::sampler::context::current()
}

/// The string labels of the current thread's samples.
pub fn current_labels() -> Labels {
    crate::sampler::context::labels()
}
