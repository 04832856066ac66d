//! The one writer: collects accepted windows for a moment, makes them one segment and one transaction, and then acks all.
//!
//! An ack therefore means durable, counted once, and visible. Whatever fails before that, nothing was acked, and the agents
//! send again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::accept::{Accepted, WhenStored};
use super::admit::Reserved;
use super::importer::Importer;
use super::metrics::Metrics;
use super::{Ack, PushError};
use crate::base::clock::{self, now_ms};
use crate::base::ids::{hex, unique_bytes};
use crate::profile::decode::Rejection;
use crate::store::arrived::{self, AgentKey};
use crate::store::bulk::BulkError;
use crate::store::catalog::{
    ARRIVALS_REMEMBERED_MS, AgentBefore, Arrivals, CatalogError, ContentKey, Outcome, Registration,
    SEQUENCES_REMEMBERED, SequenceState, Verdict,
};
use crate::store::segment::{self, Encoded, Origin, PackedWindow};
use crate::store::{Store, StoreError};

/// A batch is full at this many compressed bytes.
const BATCH_BYTES: usize = 8 << 20;

/// Windows waiting for the writer; the memory budget is the limit that counts.
const QUEUE: usize = 1_024;

/// How often it is looked for more windows until the batch's time is over: to be woken by each of them would cost more than to write it.
const LOOK: Duration = Duration::from_millis(20);

/// How often a batch is decided anew because another collector stored windows of the same agents. Each time somebody got
/// something done, and an agent sends to one collector after the other, so more than one is rare.
const ATTEMPTS: usize = 20;

/// What is to become of a batch.
#[derive(Debug)]
struct Plan {
    /// For each window, in order.
    verdicts: Vec<Result<Ack, PushError>>,
    /// Positions of the windows to be stored.
    fresh: Vec<usize>,
    /// The agents as the catalog knows them.
    before: HashMap<AgentKey, AgentBefore>,
    /// Their sequence numbers with this batch.
    after: HashMap<AgentKey, SequenceState>,
    /// The number of the commit.
    commit: u64,
    /// Since when a window of the same content is the same one, unix milliseconds.
    since_ms: u64,
}

/// Windows on their way to the writer, and whom to tell. Those of one job are stored together or not at all.
#[derive(Debug)]
pub(super) struct Job {
    /// Since when it waits.
    pub(super) since: Instant,
    pub(super) windows: Vec<Accepted>,
    pub(super) reserved: Vec<Reserved>,
    pub(super) answer: oneshot::Sender<Result<Ack, PushError>>,
}

impl Job {
    fn bytes(&self) -> usize {
        self.windows.iter().map(|window| window.packed.payload.len()).sum()
    }
}

/// Set once a write can no longer be trusted; never cleared.
pub(super) type Poison = Arc<AtomicBool>;

#[derive(Debug)]
pub(super) struct Batcher {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    poison: Poison,
    importer: Arc<Importer>,
}

/// What is said of two windows of one job: a repeat is what holds nothing new.
fn together(told: Result<Ack, PushError>, next: Result<Ack, PushError>) -> Result<Ack, PushError> {
    let (told, next) = (told?, next?);
    Ok(Ack { duplicate: told.duplicate && next.duplicate })
}

impl Batcher {
    /// Starts the writer. It ends when all senders are gone and everything is written.
    pub(super) fn start(
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        poison: Poison,
        importer: Arc<Importer>,
    ) -> mpsc::Sender<Job> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(Self { store, metrics, poison, importer }.run(jobs));
        sender
    }

    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            // Windows that came while the last batch was written have waited already.
            let full_at = first.since + self.store.options().batch_time;
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            loop {
                while bytes < BATCH_BYTES
                    && let Ok(job) = jobs.try_recv()
                {
                    bytes += job.bytes();
                    batch.push(job);
                }
                let now = clock::task_instant();
                if bytes >= BATCH_BYTES || now >= full_at || jobs.is_closed() {
                    break;
                }
                sleep_until(full_at.min(now + LOOK)).await;
            }
            self.commit(batch).await;
        }
    }

    async fn commit(&self, jobs: Vec<Job>) {
        let (mut windows, mut askers) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        for Job { windows: of_job, reserved, answer, .. } in jobs {
            let (first, n) = (windows.len(), of_job.len());
            windows.extend(of_job);
            windows.iter_mut().skip(first).for_each(|window| self.importer.number(window));
            askers.push((n, reserved, answer));
        }
        match self.store_all(windows).await {
            Ok(verdicts) => {
                let mut verdicts = verdicts.into_iter();
                for (n, _reserved, answer) in askers {
                    let of_job = verdicts.by_ref().take(n).inspect(|verdict| self.count(verdict));
                    let verdict = of_job.reduce(together);
                    let verdict = verdict.unwrap_or(Ok(Ack { duplicate: false }));
                    // Whoever asked may have given up: the window is stored all the same, and its repeat will be a duplicate.
                    let _ = answer.send(verdict);
                }
            }
            Err(problem) => {
                for (_, _, answer) in askers {
                    self.metrics.unavailable();
                    let _ = answer.send(Err(PushError::Unavailable(problem.clone())));
                }
            }
        }
    }

    fn count(&self, verdict: &Result<Ack, PushError>) {
        match verdict {
            Ok(Ack { duplicate: true }) => self.metrics.duplicate(),
            Err(PushError::Refused(rejection)) => self.metrics.refused(rejection),
            _ => {}
        }
    }

    /// Stores what is new. Duplicates are answered only after the commit too: what they repeat may be in this very batch.
    async fn store_all(&self, windows: Vec<Accepted>) -> Result<Vec<Result<Ack, PushError>>, String> {
        self.check_room()?;
        for _ in 0..ATTEMPTS {
            let plan = self.plan(&windows).await.map_err(|e| self.failed(&e.into()))?;
            if plan.fresh.is_empty() {
                return Ok(plan.verdicts);
            }
            if self.write(&windows, &plan).await.map_err(|e| self.failed(&e))? == Outcome::Done {
                self.store.wrote(Ok(()));
                return Ok(plan.verdicts);
            }
            debug!("another collector stored windows of the same agents: deciding anew");
        }
        Err("other collectors store windows of the same agents all the time: send again".to_owned())
    }

    /// Decides which windows are new, from what the catalog says now.
    async fn plan(&self, windows: &[Accepted]) -> Result<Plan, CatalogError> {
        let agents: HashSet<_> = windows.iter().map(|window| (window.id.agent_id, window.id.boot_id)).collect();
        let before = self.store.catalog().sequences(agents).await?;
        let mut after: HashMap<AgentKey, SequenceState> =
            before.iter().map(|(key, before)| (*key, before.sequences.clone())).collect();
        let mut plan = Plan {
            verdicts: Vec::with_capacity(windows.len()),
            fresh: Vec::new(),
            before,
            after: HashMap::new(),
            commit: 0,
            since_ms: now_ms().saturating_sub(ARRIVALS_REMEMBERED_MS),
        };
        let keys: Vec<ContentKey> = windows.iter().filter_map(|window| window.content).collect();
        let mut arrived = self.store.catalog().arrived(&keys, plan.since_ms).await?;
        for (i, window) in windows.iter().enumerate() {
            if window.content.is_some_and(|key| !arrived.insert(key)) {
                plan.verdicts.push(Ok(Ack { duplicate: true }));
                continue;
            }
            let state = after.entry((window.id.agent_id, window.id.boot_id)).or_default();
            let sequence = window.id.sequence;
            plan.verdicts.push(match state.admit(sequence) {
                Verdict::New => {
                    plan.fresh.push(i);
                    Ok(Ack { duplicate: false })
                }
                Verdict::Duplicate => Ok(Ack { duplicate: true }),
                Verdict::Stale => Err(PushError::Refused(Rejection::StaleSequence {
                    sequence,
                    newest: state.max(),
                    window: SEQUENCES_REMEMBERED,
                })),
            });
        }
        plan.after = after;
        if !plan.fresh.is_empty() {
            plan.commit = self.store.catalog().next_commit().await?;
        }
        Ok(plan)
    }

    async fn write(&self, windows: &[Accepted], plan: &Plan) -> Result<Outcome, StoreError> {
        let mut windows: Vec<&Accepted> = plan.fresh.iter().filter_map(|&i| windows.get(i)).collect();
        // Neighbours in a segment are neighbours in a query.
        windows.sort_by(|a, b| {
            let key = |w: &Accepted| (w.packed.info.start_ms, w.id);
            a.packed.info.service.cmp(&b.packed.info.service).then_with(|| key(a).cmp(&key(b)))
        });
        let (count, samples) = (windows.len() as u64, windows.iter().map(|window| window.samples()).sum());
        let received: usize = windows.iter().map(|window| window.packed.payload.len()).sum();
        let packed: Vec<PackedWindow> = windows.iter().map(|window| window.packed.clone()).collect();
        let bulk = self.store.bulk().clone();
        // A name is drawn once and never again: nobody who tidies up can mistake this object for one that was given up.
        let id = hex(&unique_bytes());
        let name = id.clone();
        let store = self.store.id().to_owned();
        let origin = Origin { store, commit: plan.commit, written_ms: now_ms() };
        let encoded = tokio::task::spawn_blocking(move || -> Result<Encoded, BulkError> {
            let encoded = segment::encode(&packed, origin);
            bulk.put(&name, &encoded.bytes)?;
            Ok(encoded)
        })
        .await??;
        let registration = Registration {
            segment: arrived::segment_row(&id, &encoded.footer, encoded.bytes.len() as u64, encoded.crc),
            services: arrived::service_spans(windows.iter().map(|window| &window.packed.info)),
            agents: arrived::agent_updates(windows.iter().map(|window| window.as_stored()), &plan.before, &plan.after),
            arrivals: Arrivals {
                keys: windows
                    .iter()
                    .filter_map(|window| Some((window.content?, window.packed.info.service.clone())))
                    .collect(),
                since_ms: plan.since_ms,
            },
            commit: plan.commit,
            now_ms: now_ms(),
        };
        let registered = self.store.catalog().register(&registration).await;
        match registered {
            Ok(Outcome::Done) => {
                self.metrics.stored(count, samples, received as u64, encoded.bytes.len() as u64);
                let coarsened = windows.iter().filter_map(|window| window.packed.header.coarsened.as_ref());
                coarsened.for_each(|coarsened| self.metrics.coarsened(coarsened));
                windows.iter().filter_map(|window| window.when_stored.as_ref()).for_each(|WhenStored(told)| told());
            }
            // Nobody will ever refer to it. Should this fail too, the sweep finds it.
            Ok(Outcome::Overtaken) | Err(CatalogError::Database(_)) => {
                let bulk = self.store.bulk().clone();
                let _ = tokio::task::spawn_blocking(move || bulk.delete(&id)).await?;
            }
            Err(_) => {}
        }
        Ok(registered?)
    }

    fn check_room(&self) -> Result<(), String> {
        if self.poison.load(Ordering::Relaxed) {
            return Err(POISONED.to_owned());
        }
        self.store.room()
    }

    /// Says what went wrong, and remembers it where it means that nothing can be trusted any more.
    fn failed(&self, problem: &StoreError) -> String {
        let lost = match problem {
            StoreError::Bulk(BulkError::Sync { .. }) => true,
            StoreError::Catalog(error) => error.is_failed_sync(),
            _ => false,
        };
        if lost {
            self.poison.store(true, Ordering::Relaxed);
            self.store.lost_a_write(problem);
        } else {
            self.store.wrote(Err(problem));
        }
        problem.to_string()
    }
}

/// Why a poisoned writer takes nothing.
pub(super) const POISONED: &str = "an earlier write did not reach the disk: check the disk, then restart the collector";
