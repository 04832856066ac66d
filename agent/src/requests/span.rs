//! One request that ended, alone and as an example of others.

use std::sync::Arc;

use tephra_proto::durations::DURATION_US_MAX;

use crate::trace_context::TraceContext;

/// Longer requests are told of as if they had taken that long, in nanoseconds.
pub(super) const DURATION_NS_MAX: u64 = DURATION_US_MAX * 1_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// It was abandoned before it had an outcome.
    Unset,
    Ok,
    Error,
}

/// How many statuses there are.
pub(super) const STATUSES: usize = 3;

/// One request that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    pub(crate) start_ms: u64,
    pub(crate) duration_ns: u64,
    pub(crate) status: Status,
}

impl Span {
    /// How long it took in microseconds, to the nearest.
    pub(crate) fn duration_us(&self) -> u64 {
        self.duration_ns.saturating_add(500) / 1_000
    }
}

/// A request that a window tells of by itself, and how many of its route it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    pub(crate) route: Arc<str>,
    pub(crate) span: Span,
    /// 0: of none, for its trace was asked for.
    pub(crate) weight: f32,
}
