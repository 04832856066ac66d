//! The trace context and labels of the current thread, for outgoing calls; no signal handler reads them here.

use std::cell::Cell;

use crate::labels::Labels;
use crate::trace_context::TraceContext;

thread_local! {
    static CURRENT: Cell<(Option<TraceContext>, Labels)> = const { Cell::new((None, Labels::NONE)) };
}

/// Sets what this thread works for.
pub(crate) fn replace(context: Option<TraceContext>, labels: Labels) {
    CURRENT.set((context, labels));
}

/// What this thread works for.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.get().0
}

/// The string labels of this thread.
pub(crate) fn labels() -> Labels {
    CURRENT.get().1
}
