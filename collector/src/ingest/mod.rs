//! The way in: admit → check → batch → store → ack.
//!
//! | module | what it does |
//! |---|---|
//! | [`grpc`] | the service agents call |
//! | [`admit`] | reserves memory before anything is decoded; sends back what does not fit |
//! | [`accept`] | what the store needs of a checked window |
//! | [`batcher`] | the one writer: many windows, one segment, one transaction, then all acks |
//! | [`metrics`] | what was stored, refused and why |

mod accept;
mod admit;
mod batcher;
pub mod grpc;
mod metrics;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use tephra_proto::ids::BuildId;
use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX};
use tephra_proto::{codec, v1};
use tokio::sync::{mpsc, oneshot};

pub use admit::{Gate, through_gate};
pub use metrics::{Metrics, MetricsSnapshot};

use crate::profile::decode::{self, Lateness, Rejection};
use crate::profile::model::Module;
use crate::store::{Store, now_ms, unique_bytes};
use accept::Accepted;
use admit::Budget;
use batcher::{Batcher, Job, POISONED, Poison};

/// Says which of these modules' symbols the collector has no use for yet, and which it wants.
pub type WantedBuilds = Arc<dyn Fn(&[Module]) -> Vec<BuildId> + Send + Sync>;

/// Builds asked for in one answer: an agent sends one after the other anyway.
const WANTED_MAX: usize = 64;

/// What an ack says about its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// It was stored already.
    pub duplicate: bool,
}

/// Why a window was not stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// It is not valid, and never will be.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// Too much is in flight.
    #[error("the collector is busy; come again in {retry_after_ms} ms")]
    Overloaded {
        /// When to come again.
        retry_after_ms: u32,
    },
    /// The store does not take it now.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// What became of one window.
struct Taken {
    ack: Ack,
    wanted: Vec<BuildId>,
    samples: u64,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

struct Shared {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    budget: Budget,
    gate: Gate,
    poison: Poison,
    wanted: WantedBuilds,
    importer: Importer,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("metrics", &self.shared.metrics).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Starts the writer. Must be called inside a Tokio runtime.
    pub fn start(store: Arc<Store>, wanted: WantedBuilds) -> Self {
        let metrics = Arc::new(Metrics::default());
        let poison = Poison::default();
        let jobs = Batcher::start(store.clone(), metrics.clone(), poison.clone());
        let gate = Gate::new(metrics.clone());
        let shared =
            Shared { store, metrics, budget: Budget::default(), gate, poison, wanted, importer: Importer::new() };
        Self { shared: Arc::new(shared), jobs }
    }

    /// Stores one window that an agent sent. `Ok` means durable, counted once, visible to queries.
    ///
    /// # Errors
    /// See [`PushError`]; on any of them the window may be sent again without being counted twice.
    pub async fn push(&self, request: v1::PushRequest) -> Result<v1::PushResponse, PushError> {
        let lateness = Lateness::Live { now_ms: now_ms() };
        let Taken { ack, wanted, .. } = self.take(request, lateness).await?;
        Ok(v1::PushResponse {
            duplicate: ack.duplicate,
            wanted_build_ids: wanted.iter().map(|id| id.as_bytes().to_vec()).collect(),
            server_unix_ms: now_ms(),
            retry_after_ms: 0,
        })
    }

    /// Stores a profile that came by another way than from an agent: the same checks, the same batches. Agent id and sequence are
    /// ours; everything else of the header counts. Answers how many samples were stored.
    ///
    /// # Errors
    /// See [`PushError`].
    pub async fn append_profile(&self, header: v1::PushHeader, payload: v1::WindowPayload) -> Result<u64, PushError> {
        let header = self.shared.importer.sign(header);
        let payload = tokio::task::spawn_blocking(move || encode_payload(&payload));
        let (payload, payload_bytes) = payload.await.map_err(|e| PushError::Unavailable(e.to_string()))??;
        let retention_ms = self.shared.store.options().retention.as_millis() as u64;
        let lateness = Lateness::Import { now_ms: now_ms(), retention_ms };
        let request = v1::PushRequest { header: Some(header), payload, payload_bytes };
        Ok(self.take(request, lateness).await?.samples)
    }

    /// What was stored and refused since the start.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The gate in front of the gRPC service.
    pub fn gate(&self) -> Gate {
        self.shared.gate.clone()
    }

    /// Says whether windows are taken now.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        if self.shared.poison.load(Ordering::Relaxed) {
            return Err(POISONED.to_owned());
        }
        let (free, needed) = (self.shared.store.free_bytes(), self.shared.store.options().free_bytes_min);
        match free {
            Ok(free) if free < needed => Err(format!("the disk has {free} bytes left, {needed} are needed")),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn take(&self, request: v1::PushRequest, lateness: Lateness) -> Result<Taken, PushError> {
        let metrics = &self.shared.metrics;
        let refused = |rejection: Rejection| {
            metrics.refused(&rejection);
            PushError::Refused(rejection)
        };
        let v1::PushRequest { header, payload, payload_bytes } = request;
        let header = header.ok_or_else(|| refused(Rejection::NoHeader))?;
        // The cheap refusals first: they cost no memory.
        decode::check(&header, lateness).map_err(refused)?;
        if payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err(refused(codec::CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX }.into()));
        }
        let Some(reserved) = self.shared.budget.reserve(payload.len(), payload_bytes) else {
            metrics.overloaded();
            return Err(PushError::Overloaded { retry_after_ms: admit::RETRY_AFTER_MS });
        };
        let wanted = self.shared.wanted.clone();
        let checked = tokio::task::spawn_blocking(move || {
            let window = decode::decode(&header, &payload, payload_bytes, lateness)?;
            let mut wanted = wanted(&accept::used_modules(&window));
            wanted.truncate(WANTED_MAX);
            // The memory is given back by whoever uses it, also when the asker is gone meanwhile.
            Ok((Accepted::new(header, payload, payload_bytes, &window), wanted, reserved))
        });
        let checked: Result<_, Rejection> = checked.await.map_err(|e| PushError::Unavailable(e.to_string()))?;
        let (window, wanted, reserved) = checked.map_err(refused)?;
        let samples = window.samples();
        let (answer, ack) = oneshot::channel();
        let stopping = |_| PushError::Unavailable("the collector is stopping".to_owned());
        self.jobs.send(Job { window, reserved, answer }).await.map_err(|_| stopping(()))?;
        let ack = ack.await.map_err(|_| stopping(()))??;
        Ok(Taken { ack, wanted, samples })
    }
}

fn encode_payload(payload: &v1::WindowPayload) -> Result<(Bytes, u32), PushError> {
    let size = payload.encoded_len();
    if size > PAYLOAD_BYTES_MAX {
        return Err(Rejection::TooLarge { bytes: size, limit: PAYLOAD_BYTES_MAX }.into());
    }
    let compressed = codec::compress(&payload.encode_to_vec()).map_err(Rejection::from)?;
    if compressed.len() > PAYLOAD_COMPRESSED_BYTES_MAX {
        return Err(Rejection::TooLarge { bytes: compressed.len(), limit: PAYLOAD_COMPRESSED_BYTES_MAX }.into());
    }
    Ok((compressed.into(), size as u32))
}

/// Signs what was imported, as one more agent: this process.
#[derive(Debug)]
struct Importer {
    agent_id: [u8; 16],
    boot_id: u64,
    sequence: AtomicU64,
}

impl Importer {
    fn new() -> Self {
        let boot = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        Self { agent_id: unique_bytes(), boot_id: boot.max(1), sequence: AtomicU64::new(1) }
    }

    fn sign(&self, header: v1::PushHeader) -> v1::PushHeader {
        v1::PushHeader {
            agent_id: self.agent_id.to_vec(),
            boot_id: self.boot_id,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            ..header
        }
    }
}
