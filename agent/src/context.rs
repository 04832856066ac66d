//! Which trace the current thread works for, and the four ways to say it. String labels, such as the tenant, go along.
//!
//! | who says it | how |
//! |---|---|
//! | a `tracing` span | [`tracing_layer`](crate::tracing_layer): entered and left with the span |
//! | an HTTP request | [`tower_layer`](crate::tower_layer): from its `traceparent` header, on every poll of its future |
//! | code that awaits | [`in_context`], [`in_labels`]: on every poll of a future |
//! | code that does not | [`attach`], [`attach_labels`]: until the guard is dropped |
//!
//! All four push onto one stack per thread (`stack`), so they nest in any order. A future that sleeps owns no CPU and
//! carries no label; whichever thread polls it next is labelled for as long as the poll lasts.

mod attach;
pub(crate) mod labels;
mod stack;
#[cfg(feature = "tower")]
pub(crate) mod tower;
mod traceparent;
#[cfg(feature = "tracing")]
pub(crate) mod tracing;

pub use attach::{Guard, InContext, attach, attach_labels, in_context, in_labels};
pub use labels::Labels;

/// A W3C trace context: the trace, the span inside it, and its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the whole trace.
    pub trace_id: [u8; 16],
    /// Names the span inside it.
    pub span_id: [u8; 8],
    /// W3C trace flags; bit 0: sampled by the tracer.
    pub flags: u8,
}

impl TraceContext {
    /// A new trace with its first span.
    pub fn root() -> Self {
        Self { trace_id: nonzero_id(), span_id: nonzero_id(), flags: 1 }
    }

    /// A new span inside the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: nonzero_id(), ..*self }
    }
}

/// The context the current thread works for.
pub fn current() -> Option<TraceContext> {
    crate::sampler::context_record::current()
}

/// The string labels of the current thread's samples.
pub fn current_labels() -> Labels {
    crate::sampler::context_record::labels()
}

/// Splits a trace id into the two words it is kept in. The bytes keep their order in memory.
pub(crate) fn halves(id: [u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = id;
    (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p]))
}

/// Undoes [`halves`].
pub(crate) fn whole(high: u64, low: u64) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = high.to_ne_bytes();
    let [i, j, k, l, m, n, o, p] = low.to_ne_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// W3C reserves all zeros for "none".
fn nonzero_id<const N: usize>() -> [u8; N] {
    loop {
        let mut id = [0; N];
        crate::random::fill(&mut id);
        if id != [0; N] {
            return id;
        }
    }
}
