//! Compaction: windows as they arrived become Parquet segments, and those become coarser and larger ones, under a fixed budget
//! of memory and without a moment in which a query sees data twice or not at all.
//!
//! | module | what it does |
//! |---|---|
//! | [`levels`] | how long windows of a level are |
//! | [`plan`] | what to do next |
//! | [`builder`] | the exact sum of windows and parts of one service |
//! | [`examples`] | how many examples of requests are kept |
//! | [`run`], [`objects`], [`output`] | carries out a job; segments on their way in, and out |

mod builder;
mod examples;
pub mod levels;
mod objects;
mod output;
mod plan;
mod run;
#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tracing::debug;

use super::catalog::{CatalogError, Lease, Swap};
use super::{Store, StoreError};
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::conditions::Severity;
use plan::Job;
use run::{Budget, Circumstances};

pub(crate) use builder::{PartBuilder, Rollup};
pub(crate) use output::{Output, OutputError, Provenance};

/// How often it looks for work.
const EVERY: Duration = Duration::from_secs(5);

/// How long arrived windows wait to be compacted: long enough for many of them, short enough that queries decode few. Milliseconds.
const FLUSH_AGE_MS: u64 = 20_000;

/// The job that one collector at a time does.
const LEASE: &str = "compaction";

/// After this time without a sign of life another collector takes over; it starts from what is there.
const LEASE_TIME: Duration = Duration::from_secs(60);

/// Who compacts in this process: one store at a time, so that however many there are, they take the memory of one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Runs until it is dropped.
pub async fn run(store: Arc<Store>, turns: Turns) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut lease = None;
    loop {
        ticks.tick().await;
        let ended = round(&store, &mut lease, &turns).await;
        if ended.is_err() {
            lease = None;
        }
        let failed = ended.err().map(|error| {
            format!("compaction fails: {error}: it is tried again every few seconds; until then queries get slower and the store larger")
        });
        store.conditions().set("compaction_failed", Severity::Degraded, failed);
    }
}

/// Does all there is to do, if no other collector is at it.
async fn round(store: &Arc<Store>, lease: &mut Option<Lease>, turns: &Turns) -> Result<(), StoreError> {
    if lease.is_none() {
        *lease = store.catalog().lease(LEASE, LEASE_TIME).await?;
    }
    while let Some(held) = &*lease {
        let _turn = turns.0.acquire().await.map_err(|error| StoreError::Task(error.to_string()))?;
        match held.renew(LEASE_TIME).await {
            Err(CatalogError::LeaseLost { .. }) => *lease = None,
            renewed => {
                renewed?;
                if !kept_alive(held, step(store, now_ms(), FLUSH_AGE_MS, Some(held.clone()))).await? {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Waits for `work`, and renews the lease meanwhile: a job may take long.
async fn kept_alive<T>(lease: &Lease, work: impl Future<Output = T>) -> T {
    let mut beat = tokio::time::interval(LEASE_TIME / 4);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = beat.tick() => {
                // The exchange at the end finds out when it was lost.
                if let Err(error) = lease.renew(LEASE_TIME).await {
                    debug!(%error, "the lease of compaction was not renewed");
                }
            }
        }
    }
}

/// Does the most urgent job, as of `now_ms`. Answers false when there was nothing to do. `flush_age_ms`: how long arrived
/// windows wait. With a lease, nothing is changed once it is lost.
///
/// # Errors
/// When catalog or disk fail; then nothing was exchanged.
pub async fn step(
    store: &Arc<Store>,
    now_ms: u64,
    flush_age_ms: u64,
    lease: Option<Lease>,
) -> Result<bool, StoreError> {
    let catalog = store.catalog();
    // Before the segments: what is deleted in between is not in what is made, and is believed to be; never the other way round.
    let number = catalog.counters().await?.deletions;
    let live = catalog.levels_in(TimeRange::ALL, false).await?;
    let Some(job) = plan::next(&live, now_ms, flush_age_ms) else { return Ok(false) };
    let given = Circumstances {
        number,
        traces: catalog.deleted_traces().await?,
        counted_from_ms: catalog.requests_since().await?,
        beside: plan::completing(&live, &job),
        ..Circumstances::default()
    };
    exchange(store, job, given, lease).await?;
    Ok(true)
}

/// Carries a job out and exchanges its inputs for its outputs.
async fn exchange(store: &Arc<Store>, job: Job, given: Circumstances, lease: Option<Lease>) -> Result<(), StoreError> {
    // What an earlier attempt left goes before its inputs can: unlisted, it is rubbish only as long as they are there.
    store.remove_given_up().await?;
    let written = given.written.clone();
    let exchanged = attempt(store, job, given, lease).await;
    if !matches!(exchanged, Ok(true)) {
        store.give_up(std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner)));
    }
    exchanged?;
    store.remove_given_up().await
}

/// Answers false when nothing was exchanged: an input is damaged, or somebody else was faster.
async fn attempt(store: &Arc<Store>, job: Job, given: Circumstances, lease: Option<Lease>) -> Result<bool, StoreError> {
    let inputs: Vec<(String, u64)> =
        job.inputs().iter().map(|input| (input.segment.id.clone(), input.revision)).collect();
    let (worker, budget) = (store.clone(), Budget::of(store.options().compaction_bytes));
    let made = in_background(move || run::work(&worker, &job, &given, budget)).await??;
    // Before the exchange: a window that was left out is nowhere after it.
    store.settle_damage().await?;
    if made.damaged {
        return Ok(false);
    }
    let swap = Swap { inputs, then: made.then, outputs: made.outputs, now_ms: now_ms(), lease };
    let swapped = store.catalog().swap(&swap).await?;
    if swapped {
        debug!(inputs = swap.inputs.len(), outputs = swap.outputs.len(), then = ?swap.then, "compacted");
    }
    Ok(swapped)
}

/// Runs work on a thread of its own, which ingest and queries come before. On Linux a nice value belongs to a thread, and
/// may not be raised again: so the thread ends with its work.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("compaction".to_owned()).spawn(move || {
        let _ = rustix::process::setpriority_process(None, 10);
        let _ = answer.send(work());
    });
    thread.map_err(|error| StoreError::Task(error.to_string()))?;
    answered.await.map_err(|_| StoreError::Task("compaction stopped in the middle of a job".to_owned()))
}
