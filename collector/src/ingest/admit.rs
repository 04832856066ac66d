//! Admission: memory is reserved before it is used, no service may take what others need, and what does not fit is sent back at
//! once, with a time to come again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::base::ids::unique_bytes;

/// Least that a window is charged: its place in queues and maps.
const WINDOW_BYTES_MIN: usize = 16 << 10;

/// The memory for windows between arrival and ack. Cheap to clone.
///
/// Shared fairly without knowing who will come: a service may hold at most as much as is still free. One alone gets half of the
/// budget, two get a third each, and so on, and one more share is always left for whoever comes next.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    limit: usize,
    /// Before the names of services: those of one store are not those of another that shares the budget.
    prefix: Arc<str>,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// Only services that hold something.
    by_service: HashMap<String, usize>,
}

/// Memory that is reserved as long as this lives.
#[derive(Debug)]
pub(super) struct Reserved {
    budget: Budget,
    service: String,
    bytes: usize,
}

impl Budget {
    pub(super) fn of(limit: usize) -> Self {
        Self { limit, prefix: Arc::default(), held: Arc::default() }
    }

    /// The same memory for the services of another store.
    pub(super) fn of_store(&self, id: &str) -> Self {
        Self { prefix: format!("{id}/").into(), ..self.clone() }
    }

    /// Reserves memory for a window of a service; `None` when its share is used up.
    pub(super) fn reserve(&self, service: &str, bytes: usize) -> Option<Reserved> {
        let bytes = bytes.max(WINDOW_BYTES_MIN);
        let service = format!("{}{service}", self.prefix);
        self.take(&service, bytes).then(|| Reserved { budget: self.clone(), service, bytes })
    }

    /// Bytes reserved now, and how many there are.
    pub(super) fn in_use_and_limit(&self) -> (usize, usize) {
        (self.held().total, self.limit)
    }

    fn take(&self, service: &str, bytes: usize) -> bool {
        let mut held = self.held();
        let own = held.by_service.get(service).copied().unwrap_or(0);
        let free = self.limit.saturating_sub(held.total);
        if own.saturating_add(bytes) > free {
            return false;
        }
        held.total += bytes;
        *held.by_service.entry(service.to_owned()).or_default() += bytes;
        true
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved {
    /// Reserves more for the same window. False, and nothing changes, when the share is used up.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.budget.take(&self.service, bytes);
        self.bytes += if taken { bytes } else { 0 };
        taken
    }

    /// Reserves `bytes` in all, where that is more than now. False, and nothing changes, when the share is used up.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        bytes <= self.bytes || self.grow(bytes - self.bytes)
    }

    /// Gives back what is beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let kept = bytes.clamp(WINDOW_BYTES_MIN, self.bytes.max(WINDOW_BYTES_MIN));
        self.give_back(self.bytes - kept);
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        let mut held = self.budget.held();
        held.total -= bytes;
        if let Some(own) = held.by_service.get_mut(&self.service) {
            *own -= bytes;
            if *own == 0 {
                held.by_service.remove(&self.service);
            }
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// The key gRPC clients know for "not before" (gRFC A6).
const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

/// When to come again: one to three seconds, so that windows which were sent back together do not come back together. Several
/// batches are written in that time.
pub(super) fn retry_after_ms() -> u32 {
    let [a, b, ..] = unique_bytes();
    1_000 + u32::from(u16::from_be_bytes([a, b])) % 2_000
}

/// What an overloaded collector says: once for gRPC clients, and once as `google.rpc.RetryInfo` for everybody else.
pub(super) fn overloaded(what: &str, retry_after_ms: u32) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(PUSHBACK_KEY, MetadataValue::from(retry_after_ms));
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(retry_after_ms.into())));
    let message = format!("{what}; come again in {retry_after_ms} ms");
    Status::with_error_details_and_metadata(Code::ResourceExhausted, message, details, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn memory_is_reserved_before_decoding_and_given_back() {
        let budget = Budget::of(20 * MIB);
        let first = budget.reserve("a", 9 * MIB).unwrap();
        assert!(budget.reserve("b", 12 * MIB).is_none(), "11 MiB are free");
        drop(first);
        assert_eq!(budget.in_use_and_limit().0, 0);
        assert!(budget.reserve("b", 12 * MIB).is_some());
    }

    #[test]
    fn an_absurd_claim_is_no_overflow() {
        let budget = Budget::of(10 * MIB);
        let mut held = budget.reserve("a", MIB).unwrap();
        assert!(budget.reserve("a", usize::MAX).is_none());
        assert!(!held.grow(usize::MAX));
        assert!(held.grow(MIB));
        held.shrink_to(MIB);
        assert_eq!(budget.in_use_and_limit().0, MIB);
        held.shrink_to(usize::MAX);
        assert_eq!(budget.in_use_and_limit().0, MIB, "shrinking never grows");
        drop(held);
        assert_eq!(budget.in_use_and_limit().0, 0);
    }

    #[test]
    fn a_noisy_service_leaves_room_for_every_other() {
        let budget = Budget::of(64 * MIB);
        let flood = |service: &str| -> Vec<Reserved> { std::iter::from_fn(|| budget.reserve(service, MIB)).collect() };
        let noisy = flood("noisy");
        assert_eq!(noisy.len(), 32, "one alone gets half");
        let second = flood("second");
        assert_eq!(second.len(), 16);
        let quiet = budget.reserve("quiet", MIB).expect("room for one that holds nothing");
        // Whoever was there first has to give back before it gets more.
        assert!(budget.reserve("noisy", MIB).is_none());
        drop((noisy, second, quiet));
        assert_eq!(budget.in_use_and_limit().0, 0);
        assert!(budget.held().by_service.is_empty(), "names are not remembered");
    }

    #[test]
    fn services_of_two_stores_are_two_also_under_one_name() {
        let budget = Budget::of(64 * MIB);
        let (one, other) = (budget.of_store("a"), budget.of_store("b"));
        let flood: Vec<Reserved> = std::iter::from_fn(|| one.reserve("web", MIB)).collect();
        assert_eq!((flood.len(), one.reserve("web", MIB).is_none()), (32, true));
        assert!(other.reserve("web", MIB).is_some(), "and the memory is one");
        assert_eq!(other.in_use_and_limit(), (32 * MIB, 64 * MIB));
    }

    #[test]
    fn overload_says_when_to_come_again() {
        let hint = retry_after_ms();
        assert!((1_000..3_000).contains(&hint), "{hint}");
        let status = overloaded("full", hint);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.metadata().get(PUSHBACK_KEY).unwrap(), hint.to_string().as_str());
        let retry = status.get_details_retry_info().expect("RetryInfo").retry_delay;
        assert_eq!(retry, Some(Duration::from_millis(hint.into())));
    }
}
