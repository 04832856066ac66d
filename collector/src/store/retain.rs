//! Retention: lets go of segments that are old and that no pin needs. What nobody knows is set aside: see [`super::orphans`].
//!
//! A segment is first unlisted, and its object removed a little later, so that a query which has just listed it can finish.

use std::sync::Arc;
use std::time::Duration;

use tephra_proto::limits::{WINDOW_AHEAD_MS_MAX, WINDOW_LATE_MS_MAX};
use tracing::{info, warn};

use super::catalog::Lease;
use super::compact::levels::{HORIZON_MS, LEVELS};
use super::{Store, StoreError, now_ms, orphans};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// The job that one collector at a time does.
const LEASE: &str = "retention";

/// After this time without a sign of life another collector takes over. No round takes longer, and if one did, nothing would be
/// removed that is needed: only less would be saved.
const LEASE_TIME: Duration = Duration::from_secs(10 * 60);

/// Rounds between two looks for objects that nobody knows: a bucket asks money for being listed.
const ORPHAN_ROUNDS: u64 = 30;

/// From unlisting to removal: longer than any query runs.
const GRACE_MS: u64 = 10 * 60_000;

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Segments unlisted.
    pub expired: u64,
    /// Objects of unlisted segments removed.
    pub removed: u64,
    /// Objects set aside because no catalog row knew them.
    pub set_aside: u64,
    /// Objects removed that had been aside for days.
    pub orphans: u64,
}

/// Runs until it is dropped.
pub async fn run(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut lease = None;
    for number in 0.. {
        ticks.tick().await;
        let with_orphans = !store.is_shared() || number % ORPHAN_ROUNDS == 0;
        match turn(&store, &mut lease, with_orphans).await {
            Ok(round) if round == Round::default() => {}
            Ok(Round { expired, removed, set_aside, orphans }) => {
                info!(expired, removed, set_aside, orphans, "retention");
            }
            Err(error) => warn!(%error, "retention failed; the next round tries again"),
        }
    }
}

/// One round, if it is this collector's turn.
async fn turn(store: &Store, lease: &mut Option<Lease>, with_orphans: bool) -> Result<Round, StoreError> {
    // Damage is told by whoever found it.
    store.settle_damage().await?;
    // Whoever is alone need not wait for the lease of the process before it: a full disk may be why that ended.
    if store.is_shared() {
        *lease = match lease.take() {
            Some(held) if held.renew(LEASE_TIME).await.is_ok() => Some(held),
            _ => store.catalog().lease(LEASE, LEASE_TIME).await?,
        };
        if lease.is_none() {
            return Ok(Round::default());
        }
    }
    let mut done = round_without_orphans(store, now_ms()).await?;
    if with_orphans {
        done = sweep_orphans(store, done).await?;
    }
    Ok(done)
}

/// One round, as of `now_ms`.
///
/// # Errors
/// When catalog or disk fail; what was done stays done.
pub async fn round(store: &Store, now_ms: u64) -> Result<Round, StoreError> {
    store.settle_damage().await?;
    let done = round_without_orphans(store, now_ms).await?;
    sweep_orphans(store, done).await
}

async fn sweep_orphans(store: &Store, done: Round) -> Result<Round, StoreError> {
    let swept = orphans::sweep(store, store.opened).await?;
    Ok(Round { set_aside: swept.set_aside, orphans: swept.removed, ..done })
}

async fn round_without_orphans(store: &Store, now_ms: u64) -> Result<Round, StoreError> {
    let retention_ms = store.options().retention.as_millis() as u64;
    let oldest_ms = now_ms.saturating_sub(retention_ms);
    let catalog = store.catalog();
    catalog.drop_expired_pins(now_ms).await?;
    let keep = store.options().keep;
    let mut expired = 0;
    for (level, kept) in LEVELS.iter().zip([keep.windows, keep.minutes, keep.ten_minutes]) {
        let before_ms = now_ms.saturating_sub(kept.as_millis() as u64).max(oldest_ms);
        expired += catalog.expire_level(level.number, before_ms - before_ms % HORIZON_MS, now_ms).await?;
    }
    let before_ms = now_ms.saturating_sub(keep.traces.as_millis() as u64).max(oldest_ms);
    expired += catalog.expire_traces(before_ms, now_ms).await?;
    expired += catalog.expire(oldest_ms, now_ms).await?;
    catalog.forget_deleted_traces(oldest_ms).await?;
    let removed = remove_dropped(store, now_ms).await?;
    // A window may come this late; only then may its sequence number be forgotten.
    catalog.forget_agents(now_ms.saturating_sub(WINDOW_LATE_MS_MAX + 2 * WINDOW_AHEAD_MS_MAX)).await?;
    catalog.forget_names(oldest_ms).await?;
    Ok(Round { expired, removed, ..Round::default() })
}

async fn remove_dropped(store: &Store, now_ms: u64) -> Result<u64, StoreError> {
    let mut removed = 0;
    for id in store.catalog().dropped(now_ms.saturating_sub(GRACE_MS)).await? {
        let (bulk, objects) = (store.bulk().clone(), store.catalog().objects_of(&id).await?);
        tokio::task::spawn_blocking(move || objects.iter().try_for_each(|object| bulk.delete(object))).await??;
        store.catalog().forget(&id).await?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Ingest;
    use crate::ingest::testing::{TestWindow, recent_ms, row};
    use crate::store::Options;
    use crate::store::testing::{TestPlace, options};

    #[tokio::test]
    async fn of_collectors_that_share_a_store_one_lets_go_of_what_is_old() {
        let place = TestPlace::new().await;
        let short = Options { retention: Duration::from_secs(60), ..options() };
        let store = place.open_with(short.clone()).await;
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        ingest.push(TestWindow::new("shop", 1, 1, recent_ms()).cpu(&[row("main", 1)]).request()).await.unwrap();
        let (mut first, mut second) = (None, None);
        if let Some(beside) = place.beside() {
            let held = store.catalog().lease(LEASE, LEASE_TIME).await.unwrap();
            let other = beside.open_with(short).await;
            assert_eq!(turn(&other, &mut second, true).await.unwrap(), Round::default(), "it is not its turn");
            held.unwrap().release().await.unwrap();
            assert_eq!(turn(&other, &mut second, true).await.unwrap().expired, 1);
            assert_eq!(turn(&store, &mut first, true).await.unwrap(), Round::default());
        } else {
            assert_eq!(turn(&store, &mut first, true).await.unwrap().expired, 1);
        }
    }
}
