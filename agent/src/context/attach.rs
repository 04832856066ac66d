//! Contexts set by hand: a guard for code that does not await, a wrapper for futures.

use std::cell::Cell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::stack;
use crate::labels::Labels;
use crate::trace_context::TraceContext;
use crate::waits::Waits;

/// Labels the current thread's samples with `context` until the guard is dropped.
///
/// Do not hold the guard across an `.await`: the task may go on elsewhere while this thread works for others. Use
/// [`in_context`] there; the compiler helps, for the guard cannot be sent to another thread.
///
/// ```compile_fail
/// fn sendable<T: Send>(_: T) {}
/// sendable(tephra_agent::attach(tephra_agent::TraceContext::root()));
/// ```
pub fn attach(context: TraceContext) -> Guard {
    Guard::enter(Some(context), Labels::NONE)
}

/// Adds `labels` to those of the current thread's samples until the guard is dropped; a label of the same name is replaced until
/// then. As [`attach`], it is not to be held across an `.await`; [`in_labels`] is for that.
///
/// ```
/// use tephra_agent::{Labels, attach_labels};
///
/// let _label = attach_labels(Labels::of("tenant", "acme"));
/// // … whatever this thread does now, it does for acme …
/// ```
pub fn attach_labels(labels: Labels) -> Guard {
    Guard::enter(None, labels)
}

/// Takes the label back when dropped; guards may be dropped in any order.
#[must_use = "the label ends when the guard is dropped"]
#[derive(Debug)]
pub struct Guard {
    key: u64,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Guard {
    pub(crate) fn enter(context: Option<TraceContext>, labels: Labels) -> Self {
        let key = next_key();
        stack::enter(key, context, labels);
        Self { key, stays_on_its_thread: PhantomData }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        stack::leave(self.key);
    }
}

/// Labels whatever `future` does with `context`, on whichever thread it is polled.
pub fn in_context<F: Future>(context: TraceContext, future: F) -> InContext<F> {
    InContext::new(Some(context), Labels::NONE, future)
}

/// Adds `labels` to the samples of whatever `future` does, on whichever thread it is polled.
///
/// ```
/// use tephra_agent::{Labels, in_labels};
///
/// # async fn serve() {}
/// # async fn handle() {
/// in_labels(Labels::of("tenant", "acme").with("plan", "free"), serve()).await
/// # }
/// ```
pub fn in_labels<F: Future>(labels: Labels, future: F) -> InContext<F> {
    InContext::new(None, labels, future)
}

pin_project! {
    /// A future that works for one context or under some labels: see [`in_context`] and [`in_labels`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct InContext<F> {
        context: Option<TraceContext>,
        labels: Labels,
        waits: Waits,
        #[pin]
        future: F,
    }
}

impl<F> InContext<F> {
    pub(super) fn new(context: Option<TraceContext>, labels: Labels, future: F) -> Self {
        Self { context, labels, waits: Waits::of(context.as_ref()), future }
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _label = Guard::enter(*this.context, *this.labels);
        this.waits.poll(this.future, cx)
    }
}

/// Unique per thread, and never equal to the id of a `tracing` span: those do not set the topmost bit.
fn next_key() -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    let n = NEXT.try_with(|next| next.replace(next.get().wrapping_add(1))).unwrap_or_default();
    n | 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::current;

    #[test]
    fn guards_nest_and_may_be_dropped_in_any_order() {
        let [a, b] = [TraceContext::root(), TraceContext::root()];
        let outer = attach(a);
        let inner = attach(b);
        drop(outer);
        assert_eq!(current(), Some(b));
        drop(inner);
        assert_eq!(current(), None);
    }

    #[test]
    fn a_panic_takes_the_label_back() {
        let caught = std::panic::catch_unwind(|| {
            let _label = attach(TraceContext::root());
            panic!("on purpose");
        });
        assert!(caught.is_err());
        assert_eq!(current(), None);
    }
}
