//! The trace context of the current thread, for outgoing calls; no signal handler reads it here.

use std::cell::Cell;

use crate::context::TraceContext;

thread_local! {
    static CURRENT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// Sets what this thread works for, and returns what it worked for before.
pub(crate) fn replace(context: Option<TraceContext>) -> Option<TraceContext> {
    CURRENT.replace(context)
}

/// What this thread works for.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.get()
}
