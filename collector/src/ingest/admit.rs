//! Admission: memory is reserved before it is used, and what does not fit is sent back at once, with a time to come again.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::metrics::Metrics;

/// Memory for windows between arrival and ack. A typical window of 50 KiB asks for about 2 MiB.
const BUDGET_BYTES: usize = 256 << 20;

/// Tables take a few times the bytes they are decoded from: one-byte varints become four or eight bytes, rows about forty.
const DECODED_PER_PAYLOAD_BYTE: usize = 4;

/// Requests whose body may be read at the same time: each may bring 4 MiB before anything about it is known.
const REQUESTS_MAX: usize = 128;

/// One request from its first byte to its ack: a body that dribbles in must not hold its place for ever.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// When to come again: long enough for several batches to be written.
pub(super) const RETRY_AFTER_MS: u32 = 2_000;

/// The key gRPC clients know for "not before".
const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

/// The budget. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    /// In KiB, because semaphores count to 2^61 but permits only to 2^32.
    memory: Arc<Semaphore>,
}

/// Memory that is reserved as long as this lives.
#[derive(Debug)]
pub(super) struct Reserved {
    _permit: OwnedSemaphorePermit,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(BUDGET_BYTES)
    }
}

impl Budget {
    pub(super) fn of(bytes: usize) -> Self {
        Self { memory: Arc::new(Semaphore::new(bytes >> 10)) }
    }

    /// Reserves what a payload of this size may take, `None` when it is not there now.
    pub(super) fn reserve(&self, compressed: usize, payload_bytes: u32) -> Option<Reserved> {
        let bytes = (payload_bytes as usize).saturating_mul(DECODED_PER_PAYLOAD_BYTE).saturating_add(compressed);
        let permits = u32::try_from((bytes >> 10) + 1).ok()?;
        let permit = self.memory.clone().try_acquire_many_owned(permits).ok()?;
        Some(Reserved { _permit: permit })
    }
}

/// What an overloaded collector says.
pub(super) fn overloaded(what: &str) -> Status {
    let mut status = Status::resource_exhausted(format!("{what}; come again in {RETRY_AFTER_MS} ms"));
    status.metadata_mut().insert(PUSHBACK_KEY, MetadataValue::from(RETRY_AFTER_MS));
    status
}

/// The first gate: bounds the requests in flight before any byte of their bodies is read.
#[derive(Debug, Clone)]
pub struct Gate {
    requests: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Gate {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { requests: Arc::new(Semaphore::new(REQUESTS_MAX)), metrics }
    }
}

/// Lets a request through the [`Gate`], or answers for it. For `axum::middleware::from_fn_with_state`.
pub async fn through_gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Ok(_place) = gate.requests.try_acquire() else {
        gate.metrics.overloaded();
        return overloaded("too many requests are in flight").into_http();
    };
    match tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the request took longer than 30 s").into_http(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reserved_before_decoding_and_given_back() {
        let budget = Budget::of(10 << 20);
        let first = budget.reserve(1 << 20, 2 << 20).unwrap();
        assert!(budget.reserve(1 << 20, 2 << 20).is_none(), "18 MiB do not fit into 10");
        drop(first);
        assert!(budget.reserve(1 << 20, 2 << 20).is_some());
    }

    #[test]
    fn an_absurd_claim_is_no_overflow() {
        assert!(Budget::of(10 << 20).reserve(usize::MAX, u32::MAX).is_none());
    }

    #[test]
    fn overload_says_when_to_come_again() {
        let status = overloaded("full");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get(PUSHBACK_KEY).unwrap(), "2000");
    }
}
