//! Requests for tests.

use super::span::{Span, Status};
use crate::trace_context::TraceContext;

/// A request of a trace.
pub(super) fn span(trace: u64, duration_ns: u64) -> Span {
    span_of(trace, 1, duration_ns)
}

/// One of several requests of a trace.
pub(super) fn span_of(trace: u64, span: u64, duration_ns: u64) -> Span {
    let context =
        TraceContext { trace_id: u128::from(trace).to_be_bytes(), span_id: (span + 1).to_be_bytes(), flags: 0 };
    Span { context, start_ms: 100_000, duration_ns, status: Status::Ok }
}

/// A number that looks random: SplitMix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A trace that every share holds: its hash is 0.
pub(super) fn trace_in_every_share() -> u128 {
    // What `mix` makes a 0 of.
    let to_zero = 0u64.wrapping_sub(0x9e37_79b9_7f4a_7c15);
    let trace = u128::from(mix(0) ^ to_zero);
    assert_eq!(tephra_proto::trace_share::hash(&trace.to_be_bytes()), 0);
    trace
}
