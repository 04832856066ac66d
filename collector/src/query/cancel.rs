//! Stops work that nobody waits for any more, or whose time is up.

use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::QueryError;

use crate::base::clock;

/// Asked by workers between pieces of work.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancel {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
    /// For tests: the time is up after so many checks.
    #[cfg(test)]
    checks_left: Option<Arc<AtomicUsize>>,
}

impl Cancel {
    /// Also an error from `deadline` on.
    pub(super) fn at(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }

    /// Out of time at the check after so many.
    #[cfg(test)]
    pub(super) fn after(checks: usize) -> Self {
        Self { checks_left: Some(Arc::new(AtomicUsize::new(checks))), ..Self::default() }
    }

    /// An error once whoever asked is gone, or the time is up.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled);
        }
        #[cfg(test)]
        if let Some(left) = &self.checks_left
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        {
            return Err(QueryError::OutOfTime);
        }
        match self.deadline {
            Some(deadline) if clock::instant() >= deadline => Err(QueryError::OutOfTime),
            _ => Ok(()),
        }
    }

    /// Cancels when it is dropped: held by the future that waits for the answer.
    pub(super) fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

pub(super) struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
