//! What names a trace and a span: W3C trace context.

mod traceparent;

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
