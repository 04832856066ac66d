//! Retention: lets go of segments that are old and that no pin needs. What nobody knows is set aside: see [`super::orphans`].
//!
//! A segment is first unlisted, and its object removed a little later, so that a query which has just listed it can finish.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::catalog::{Lease, SEQUENCES_REMEMBERED_MS};
use super::expiry::{Pace, Progress};
use super::{Store, StoreError, orphans};
use crate::base::clock::now_ms;
use crate::conditions::Severity;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(60);

/// The job that one collector at a time does.
const LEASE: &str = "retention";

/// After this time without a sign of life another collector takes over. No round takes longer, and if one did, nothing would be
/// removed that is needed: only less would be saved.
const LEASE_TIME: Duration = Duration::from_secs(10 * 60);

/// Rounds between two looks for objects that nobody knows: a bucket asks money for being listed.
const ORPHAN_ROUNDS: u64 = 30;

/// As long as somebody has this lease, a backup is being taken, and what the catalog listed when it began is kept.
pub(crate) const BACKUP_LEASE: &str = "backup";

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
    let (mut lease, mut pace) = (None, Pace::default());
    for number in 0.. {
        ticks.tick().await;
        let with_orphans = !store.is_shared() || number % ORPHAN_ROUNDS == 0;
        let failed = match turn(&store, &mut lease, &mut pace, with_orphans).await {
            Ok(round) if round == Round::default() => None,
            Ok(Round { expired, removed, set_aside, orphans }) => {
                info!(expired, removed, set_aside, orphans, "retention");
                None
            }
            Err(error) => {
                Some(format!("retention fails: {error}: it is tried again every minute; until then nothing old goes"))
            }
        };
        store.conditions().set("retention_failed", Severity::Degraded, failed);
    }
}

/// One round, if it is this collector's turn.
async fn turn(
    store: &Store,
    lease: &mut Option<Lease>,
    pace: &mut Pace,
    with_orphans: bool,
) -> Result<Round, StoreError> {
    // Damage is told by whoever found it.
    store.settle_damage().await?;
    store.tell_damage().await?;
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
    let mut done = guarded_round(store, pace, now_ms()).await?;
    if with_orphans {
        done = sweep_orphans(store, done).await?;
    }
    Ok(done)
}

/// One round, as of `now_ms`, for somebody who means it: whatever is past its time then goes.
///
/// # Errors
/// When catalog or disk fail; what was done stays done.
pub async fn round(store: &Store, now_ms: u64) -> Result<Round, StoreError> {
    store.settle_damage().await?;
    store.confirm_retention(now_ms).await?;
    let done = guarded_round(store, &mut Pace::default(), now_ms).await?;
    sweep_orphans(store, done).await
}

async fn sweep_orphans(store: &Store, done: Round) -> Result<Round, StoreError> {
    let swept = orphans::sweep(store, store.opened).await?;
    Ok(Round { set_aside: swept.set_aside, orphans: swept.removed, ..done })
}

/// One round, as far as [`super::expiry`] lets it go.
pub(super) async fn guarded_round(store: &Store, pace: &mut Pace, now_ms: u64) -> Result<Round, StoreError> {
    let Progress { clock_ms, cutoffs } = store.advance_retention(pace, now_ms).await?;
    let catalog = store.catalog();
    catalog.drop_expired_pins(clock_ms).await?;
    let mut expired = 0;
    for (level, before_ms) in cutoffs.levels() {
        expired += catalog.expire_level(level, before_ms, now_ms).await?;
    }
    expired += catalog.expire_traces(cutoffs.traces, now_ms).await?;
    expired += catalog.expire(cutoffs.all, now_ms).await?;
    catalog.forget_deleted_traces(cutoffs.all).await?;
    let removed = remove_dropped(store, now_ms).await?;
    // A window may come this late; only then may its sequence number be forgotten.
    catalog.forget_agents(clock_ms.saturating_sub(SEQUENCES_REMEMBERED_MS)).await?;
    catalog.forget_names(cutoffs.all).await?;
    catalog.forget_damage(cutoffs.all).await?;
    Ok(Round { expired, removed, ..Round::default() })
}

async fn remove_dropped(store: &Store, now_ms: u64) -> Result<u64, StoreError> {
    // Asked for first: a backup that begins later lists nothing of what is unlisted now.
    if store.catalog().lease_until(BACKUP_LEASE).await? > crate::base::clock::now_ms() {
        return Ok(0);
    }
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
        let (mut first, mut second, mut pace) = (None, None, Pace::default());
        store.confirm_retention(now_ms()).await.unwrap();
        if let Some(beside) = place.beside() {
            let held = store.catalog().lease(LEASE, LEASE_TIME).await.unwrap();
            let other = beside.open_with(short).await;
            assert_eq!(
                turn(&other, &mut second, &mut pace, true).await.unwrap(),
                Round::default(),
                "it is not its turn"
            );
            held.unwrap().release().await.unwrap();
            assert_eq!(turn(&other, &mut second, &mut pace, true).await.unwrap().expired, 1);
            assert_eq!(turn(&store, &mut first, &mut pace, true).await.unwrap(), Round::default());
        } else {
            assert_eq!(turn(&store, &mut first, &mut pace, true).await.unwrap().expired, 1);
        }
    }
}
