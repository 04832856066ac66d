//! How many requests were refused for want of credentials, by reason, for the metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::access::Refusal;

/// Counts by reason.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<BTreeMap<&'static str, u64>>);

impl Refused {
    /// Counts one.
    pub(super) fn note(&self, refusal: Refusal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(refusal.reason()).or_default() += 1;
    }

    /// All of them; each reason is there.
    pub(super) fn all(&self) -> BTreeMap<&'static str, u64> {
        let mut all: BTreeMap<_, _> = Refusal::REASONS.into_iter().map(|reason| (reason, 0)).collect();
        all.extend(self.0.lock().unwrap_or_else(PoisonError::into_inner).iter());
        all
    }
}
