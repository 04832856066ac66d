//! The trace context and labels of the current thread, for outgoing calls; no signal handler reads them here.

use std::cell::Cell;

use crate::context::{Labels, TraceContext};

thread_local! {
    static CURRENT: Cell<(Option<TraceContext>, Labels)> = const { Cell::new((None, Labels::NONE)) };
}

/// Sets what this thread works for, and returns what it worked for before.
pub(crate) fn replace(context: Option<TraceContext>, labels: Labels) -> Option<TraceContext> {
    CURRENT.replace((context, labels)).0
}

/// What this thread works for.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.get().0
}

/// The string labels of this thread.
pub(crate) fn labels() -> Labels {
    CURRENT.get().1
}
