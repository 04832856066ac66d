//! Work that goes on in a task of its own, for the same request.

use std::future::Future;

use tokio::task::JoinHandle;

use super::{InContext, current, current_labels};

/// Labels whatever `future` does with what the current thread works for now: its context and its labels. For tasks of any executor, and for
/// [`JoinSet`](tokio::task::JoinSet).
///
/// ```
/// # async fn index(_: u64) {}
/// # async fn handle(set: &mut tokio::task::JoinSet<()>) {
/// set.spawn(tephra_agent::in_current(index(17)));
/// # }
/// ```
pub fn in_current<F: Future>(future: F) -> InContext<F> {
    InContext::new(current(), current_labels(), future)
}

/// [`tokio::spawn`] for the request that the current thread works for: the task has its context and its labels, on whichever thread it is polled.
/// A task that is spawned otherwise works for nobody.
///
/// ```
/// # async fn send_receipt() {}
/// # async fn handle() -> Result<(), tokio::task::JoinError> {
/// tephra_agent::spawn(send_receipt()).await
/// # }
/// ```
///
/// # Panics
/// Outside of a Tokio runtime, as [`tokio::spawn`] does.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    tokio::spawn(in_current(future))
}
