//! The way in: admit → check → batch → store → ack.
//!
//! | module | what it does |
//! |---|---|
//! | [`grpc`] | the service agents call |
//! | [`gate`] | lets gRPC messages in as far as their announced sizes fit |
//! | [`admit`] | reserves memory before anything is decoded, fairly; sends back what does not fit |
//! | [`decoders`] | a few threads that inflate, decode and check |
//! | [`cardinality`] | bounds what strangers may invent: services, series, agents, types |
//! | [`importer`] | who signs what comes in other formats |
//! | [`trace_shares`], [`slow_traces`] | what answers announce: which share of all traces is told of, and which slow ones are wanted whole |
//! | [`accept`] | what the store needs of a checked window |
//! | [`batcher`] | the one writer: many windows, one segment, one transaction, then all acks |
//! | [`metrics`] | what was stored, refused and why |

mod accept;
mod admit;
mod batcher;
pub mod cardinality;
mod decoders;
mod gate;
pub mod grpc;
mod importer;
mod metrics;
mod relabel;
mod slow_traces;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trace_shares;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tephra_proto::ids::BuildId;
use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX, WINDOW_MS};
use tephra_proto::{codec, v1};
use tokio::sync::{OnceCell, mpsc, oneshot};

pub use accept::WhenStored;
pub use cardinality::{Caps, Full, OVERFLOW_INSTANCE, Overflow};
pub use gate::{Allowance, BodyMemory, Bounded, CallBounds, Crowded, Excess, Gate, Peer, through_gate};
pub use metrics::{Metrics, MetricsSnapshot};

use crate::base::clock::{self, now_ms};
use crate::profile::decode::{self, Header, Lateness, Opened, Rejection, Window};
use crate::profile::model::Module;
use crate::store::Store;
use accept::Accepted;
use admit::{Budget, Reserved};
use batcher::{Batcher, Job, POISONED, Poison};
use cardinality::{Cardinality, Filed, Series};
use decoders::Decoders;
use importer::Importer;
use slow_traces::SlowTraces;
use trace_shares::TraceShares;

/// Says which of these modules' symbols the collector has no use for yet, and which it wants.
pub type WantedBuilds = Arc<dyn Fn(&[Module]) -> Vec<BuildId> + Send + Sync>;

/// Looks at a window that is about to be stored. May block.
pub type Watch = Arc<dyn Fn(&Window) -> Option<WhenStored> + Send + Sync>;

/// A full payload, and room for its header.
const MESSAGE_BYTES_MAX: usize = PAYLOAD_COMPRESSED_BYTES_MAX + (64 << 10);

/// What the body of a push may be. Agents give up as early.
pub const WINDOW: Allowance = Allowance::message(MESSAGE_BYTES_MAX, Duration::from_secs(10));

/// Builds asked for in one answer: an agent sends one after the other anyway.
const WANTED_MAX: usize = 64;

/// How much the way in may use.
#[derive(Debug, Clone)]
pub struct IngestLimits {
    /// Memory for windows between arrival and ack, bytes. A service may hold at most as much of it as is still free.
    pub memory: usize,
    /// What may be invented.
    pub caps: Caps,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self { memory: 256 << 20, caps: Caps::default() }
    }
}

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
    /// What it names is new, and there is no room for it.
    #[error("{full}; come again in {} s", retry_after_ms / 1_000)]
    Full {
        /// Of what there is too much.
        full: Full,
        /// When to come again.
        retry_after_ms: u32,
    },
    /// The store does not take it now.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// What became of one window.
struct Pushed {
    ack: Ack,
    wanted: Vec<BuildId>,
}

/// The way in. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

/// What all ways in of one process share.
struct House {
    budget: Budget,
    decoders: Decoders,
    gate: Gate,
}

struct Shared {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    budget: Budget,
    decoders: Decoders,
    cardinality: Cardinality,
    /// Whether those that the catalog knows have their places.
    remembered: OnceCell<()>,
    gate: Gate,
    poison: Poison,
    wanted: WantedBuilds,
    importer: Arc<Importer>,
    trace_shares: TraceShares,
    slow_traces: SlowTraces,
    watch: OnceLock<Watch>,
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest").field("metrics", &self.shared.metrics).finish_non_exhaustive()
    }
}

impl Ingest {
    /// Starts the writer. Must be called inside a Tokio runtime.
    pub fn start(store: Arc<Store>, wanted: WantedBuilds) -> Self {
        Self::start_with(store, wanted, IngestLimits::default())
    }

    /// The same with other limits.
    pub fn start_with(store: Arc<Store>, wanted: WantedBuilds, limits: IngestLimits) -> Self {
        let metrics = Arc::new(Metrics::default());
        let gate = Gate::new(metrics.clone());
        let house = House { budget: Budget::of(limits.memory), decoders: Decoders::new(), gate };
        Self::start_in(house, store, wanted, limits.caps, metrics)
    }

    /// The way in to another store, which shares memory, threads and the gate with this one.
    pub fn beside(&self, store: Arc<Store>, wanted: WantedBuilds, caps: Caps) -> Self {
        let metrics = Arc::new(Metrics::default());
        let house = House {
            budget: self.shared.budget.of_store(store.id()),
            decoders: self.shared.decoders.clone(),
            gate: self.shared.gate.counted_by(metrics.clone()),
        };
        Self::start_in(house, store, wanted, caps, metrics)
    }

    fn start_in(
        House { budget, decoders, gate }: House,
        store: Arc<Store>,
        wanted: WantedBuilds,
        caps: Caps,
        metrics: Arc<Metrics>,
    ) -> Self {
        let poison = Poison::default();
        let conditions = store.conditions().clone();
        let importer = Arc::new(Importer::new());
        let jobs = Batcher::start(store.clone(), metrics.clone(), poison.clone(), importer.clone());
        let shared = Shared {
            store,
            metrics,
            budget,
            decoders,
            cardinality: Cardinality::new(caps, conditions),
            remembered: OnceCell::new(),
            gate,
            poison,
            wanted,
            importer,
            trace_shares: TraceShares::default(),
            slow_traces: SlowTraces::default(),
            watch: OnceLock::new(),
        };
        let shared = Arc::new(shared);
        tokio::spawn(settle(Arc::downgrade(&shared)));
        tokio::spawn(announce(Arc::downgrade(&shared)));
        Self { shared, jobs }
    }

    /// Stores one window that an agent sent. `Ok` means durable, counted once, visible to queries.
    ///
    /// # Errors
    /// See [`PushError`]; on any of them the window may be sent again without being counted twice.
    pub async fn push(&self, request: v1::PushRequest) -> Result<v1::PushResponse, PushError> {
        self.push_counted(request, None).await
    }

    /// The same for a body whose memory is given back once it is reserved otherwise.
    async fn push_counted(
        &self,
        request: v1::PushRequest,
        body: Option<BodyMemory>,
    ) -> Result<v1::PushResponse, PushError> {
        let lateness = Lateness::Live { now_ms: now_ms() };
        let Pushed { ack, wanted } = self.check_and_store(request, lateness, body).await?;
        Ok(v1::PushResponse {
            duplicate: ack.duplicate,
            wanted_build_ids: wanted.iter().map(|id| id.as_bytes().to_vec()).collect(),
            server_unix_ms: now_ms(),
            retry_after_ms: 0,
            trace_share: self.shared.trace_shares.announced(),
            slow_traces: self.shared.slow_traces.names(now_ms()),
        })
    }

    /// Stores a profile that came by another way than from an agent: the same checks, the same batches. `read` makes the windows of what
    /// came, and what its sender is to be told of it; it may block, and waits for one of the turns of those who decode. Agent id and
    /// sequence are ours; everything else of their headers counts. They are stored together or not at all. What came before, to the byte, from
    /// the same sender and for the same time, is known for ten minutes, and counts once.
    ///
    /// # Errors
    /// What `read` says; otherwise see [`PushError`].
    pub async fn append_profile<W, T, E>(
        &self,
        read: impl FnOnce() -> Result<(W, T), E> + Send + 'static,
    ) -> Result<(Ack, T), E>
    where
        W: IntoIterator<Item = (v1::PushHeader, v1::WindowPayload)>,
        T: Send + 'static,
        E: From<PushError> + Send + 'static,
    {
        self.shared.remember().await?;
        let shared = self.shared.clone();
        let import = move || {
            let (windows, told) = read()?;
            let import = |(header, payload)| shared.import(header, payload).map(|done| (done.window, done.reserved));
            let (windows, reserved) = windows.into_iter().map(import).collect::<Result<(Vec<_>, Vec<_>), _>>()?;
            Ok::<_, E>((windows, reserved, told))
        };
        self.store(import).await
    }

    /// Has each window looked at before it is stored, by those who decode; what is answered is done once it is stored, and not again for its
    /// repeats. There is one who watches: a second one is not heard.
    pub fn watch(&self, watch: Watch) {
        let _ = self.shared.watch.set(watch);
    }

    /// What was stored and refused since the start.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Bytes of the ingest budget in use, and the budget.
    pub fn memory(&self) -> (usize, usize) {
        self.shared.budget.in_use_and_limit()
    }

    /// Windows that wait to be decoded, and those that wait to be written.
    pub fn queued(&self) -> (usize, usize) {
        let to_write = self.jobs.max_capacity().saturating_sub(self.jobs.capacity());
        (self.shared.decoders.waiting(), to_write)
    }

    /// What may be invented.
    pub fn caps(&self) -> &Caps {
        self.shared.cardinality.caps()
    }

    /// Services with more series than are kept apart, the largest first; at most 100.
    pub fn overflows(&self) -> Vec<Overflow> {
        self.shared.cardinality.overflows()
    }

    /// The gate in front of the gRPC service.
    pub fn gate(&self) -> Gate {
        self.shared.gate.clone()
    }

    /// The same room as a gate of another store's, where what is turned away is counted here.
    pub fn share_gate(&self, gate: &Gate) -> Gate {
        gate.counted_by(self.shared.metrics.clone())
    }

    /// Another gate, for bodies that have at most so many bytes together.
    pub fn gate_for(&self, bytes: usize) -> Gate {
        Gate::of(bytes, self.shared.metrics.clone())
    }

    /// Says whether windows are taken now.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        if self.shared.poison.load(Ordering::Relaxed) {
            return Err(POISONED.to_owned());
        }
        self.shared.store.check_room()
    }

    async fn check_and_store(
        &self,
        request: v1::PushRequest,
        lateness: Lateness,
        body: Option<BodyMemory>,
    ) -> Result<Pushed, PushError> {
        let refused = |rejection| self.shared.refused(rejection);
        let v1::PushRequest { header, payload, payload_bytes } = request;
        let header = header.ok_or_else(|| refused(Rejection::NoHeader))?;
        // The cheap refusals first: they cost no memory.
        let checked = decode::check(&header, lateness).map_err(refused)?;
        if payload_bytes as usize > PAYLOAD_BYTES_MAX {
            return Err(refused(codec::CodecError::TooLarge { limit: PAYLOAD_BYTES_MAX }.into()));
        }
        let inflated = payload.len() + payload_bytes as usize;
        let reserved = self.shared.budget.reserve(checked.service.as_str(), inflated);
        let reserved = reserved.ok_or_else(|| self.shared.overloaded())?;
        if let Some(body) = body {
            body.give_back();
        }
        self.shared.remember().await?;
        let shared = self.shared.clone();
        let decode = move || match shared.decode(header, checked, payload, payload_bytes, reserved)? {
            Some(Decoded { window, wanted, reserved }) => Ok((vec![window], vec![reserved], wanted)),
            None => Err(shared.overloaded()),
        };
        let (ack, wanted) = self.store(decode).await?;
        Ok(Pushed { ack, wanted })
    }

    /// Has windows read by those who decode, who hand them to the writer, and waits until they are stored. Answers what else was read.
    async fn store<T, E>(
        &self,
        read: impl FnOnce() -> Result<(Vec<Accepted>, Vec<Reserved>, T), E> + Send + 'static,
    ) -> Result<(Ack, T), E>
    where
        T: Send + 'static,
        E: From<PushError> + Send + 'static,
    {
        let stopping = || PushError::Unavailable("the collector is stopping".to_owned());
        let (answer, ack) = oneshot::channel();
        let jobs = self.jobs.clone();
        let hand_over = move || {
            let (windows, reserved, told) = read()?;
            let job = Job { since: clock::task_instant(), windows, reserved, answer };
            jobs.blocking_send(job).map_err(|_| stopping())?;
            Ok::<_, E>(told)
        };
        let read = self.shared.decoders.run(hand_over);
        // What comes last is waited for first: so this is woken once.
        let ack = ack.await;
        let told = read.await.map_err(|_| PushError::Unavailable("a window could not be decoded".to_owned()))??;
        Ok((ack.map_err(|_| stopping())??, told))
    }
}

/// A window that is ready to be stored.
struct Decoded {
    window: Accepted,
    wanted: Vec<BuildId>,
    reserved: Reserved,
}

impl Shared {
    fn refused(&self, rejection: Rejection) -> PushError {
        self.metrics.refused(&rejection);
        PushError::Refused(rejection)
    }

    fn overloaded(&self) -> PushError {
        self.metrics.overloaded();
        PushError::Overloaded { retry_after_ms: admit::retry_after_ms() }
    }

    fn full(&self, full: Full) -> PushError {
        self.metrics.full();
        // Room is made by what sends nothing for minutes.
        PushError::Full { full, retry_after_ms: 20 * admit::retry_after_ms() }
    }

    /// Gives those that the catalog knows their places, before anybody new takes one.
    async fn remember(&self) -> Result<(), PushError> {
        let remember = || self.cardinality.remember(self.store.catalog(), now_ms());
        self.remembered.get_or_try_init(remember).await.map_err(|e| PushError::Unavailable(e.to_string()))?;
        Ok(())
    }

    /// Checks a window that was made here from another format. It is compressed once and never inflated: what is checked is what
    /// is written. Blocks.
    fn import(&self, header: v1::PushHeader, payload: v1::WindowPayload) -> Result<Decoded, PushError> {
        let header = self.importer.sign(header);
        let retention_ms = self.store.options().retention.as_millis() as u64;
        let lateness = Lateness::Import { now_ms: now_ms(), retention_ms };
        let refused = |rejection| self.refused(rejection);
        let checked = decode::check(&header, lateness).map_err(refused)?;
        let bytes = payload.encoded_len();
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(refused(Rejection::TooLarge { bytes, limit: PAYLOAD_BYTES_MAX }));
        }
        let reserved = self.budget.reserve(checked.service.as_str(), bytes).ok_or_else(|| self.overloaded())?;
        let encoded = payload.encode_to_vec();
        let window = decode::read_built(checked, payload).map_err(refused)?;
        let compressed = codec::compress_quickly(&encoded).map_err(Rejection::from).map_err(refused)?;
        if compressed.len() > PAYLOAD_COMPRESSED_BYTES_MAX {
            let (bytes, limit) = (compressed.len(), PAYLOAD_COMPRESSED_BYTES_MAX);
            return Err(refused(Rejection::TooLarge { bytes, limit }));
        }
        let content = importer::content_key(&header, &encoded);
        let mut decoded = self.file(header, window, compressed.into(), bytes as u32, reserved)?;
        decoded.window.content = Some(content);
        Ok(decoded)
    }

    /// Decodes and checks a window, as far as the budget allows: `None` when it does not. Blocks. The memory is given back by
    /// whoever uses it, also when the asker is gone meanwhile.
    fn decode(
        &self,
        header: v1::PushHeader,
        checked: Header,
        payload: Bytes,
        payload_bytes: u32,
        mut reserved: Reserved,
    ) -> Result<Option<Decoded>, PushError> {
        let refused = |rejection| self.refused(rejection);
        let opened = Opened::open(&payload, payload_bytes).map_err(refused)?;
        let (bytes, (_, limit)) =
            (payload.len() + payload_bytes as usize + opened.memory(), self.budget.in_use_and_limit());
        // Nobody could ever take it: to come again would not help.
        if bytes > limit {
            return Err(refused(Rejection::TooMuchMemory { bytes, limit }));
        }
        if !reserved.grow(opened.memory()) {
            return Ok(None);
        }
        let window = opened.read(checked).map_err(refused)?;
        self.file(header, window, payload, payload_bytes, reserved).map(Some)
    }

    /// Files a checked window under a series of its service, and makes it ready to be stored.
    fn file(
        &self,
        mut header: v1::PushHeader,
        mut window: Window,
        mut payload: Bytes,
        mut payload_bytes: u32,
        mut reserved: Reserved,
    ) -> Result<Decoded, PushError> {
        let Filed { series, beyond } = self.cardinality.file(&window, now_ms()).map_err(|full| self.full(full))?;
        if !beyond.is_empty() {
            self.metrics.relabelled();
            let Window { header: checked, .. } = window;
            let replace = || -> Result<_, Rejection> {
                let (payload, bytes) = relabel::replace_values(&payload, payload_bytes, &beyond)?;
                Ok((Opened::open(&payload, bytes)?.read(checked)?, payload, bytes))
            };
            (window, payload, payload_bytes) = replace().map_err(|rejection| self.refused(rejection))?;
        }
        if series == Series::Overflow {
            self.metrics.overflowed();
            cardinality::move_to_overflow(&mut header, &mut window.header);
        }
        self.trace_shares.count(&window);
        self.slow_traces.note(&window, now_ms());
        let mut wanted = (self.wanted)(&accept::used_modules(&window));
        wanted.truncate(WANTED_MAX);
        let when_stored = self.watch.get().and_then(|watch| watch(&window));
        let mut window = Accepted::new(header, payload, payload_bytes, &window);
        window.when_stored = when_stored;
        // What waits for the writer is the compressed window and little else.
        reserved.shrink_to(window.packed.weight());
        Ok(Decoded { window, wanted, reserved })
    }
}

/// How often it is looked whether floods of names are over.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// Ends what the operator was told of and is over, as long as there is somebody to tell.
async fn settle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(SETTLE_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        shared.cardinality.settle(now_ms());
    }
}

/// How often it is announced which share of all traces is told of: once a window.
const ANNOUNCE_EVERY: Duration = Duration::from_millis(WINDOW_MS as u64);

/// Announces, as long as there is somebody to tell.
async fn announce(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(ANNOUNCE_EVERY).await;
        let Some(alive) = shared.upgrade() else { return };
        if let Err(error) = alive.trace_shares.round(alive.store.catalog(), now_ms()).await {
            tracing::debug!(%error, "the share of traces could not be announced: the last one stays");
        }
    }
}
