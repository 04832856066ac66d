//! Whether writes work: readiness follows the last of them. While they fail, a small one is tried every few seconds, so that the end
//! of it is found also where nobody sends anything meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bulk::BulkError;
use super::{Store, StoreError};
use crate::conditions::Severity;

/// No room on the disk: windows are refused.
const FULL: &str = "disk_full";

/// The last write failed otherwise.
const FAILED: &str = "writes_failed";

/// A write was lost: see [`BulkError::Sync`]. Ends with the process.
const LOST: &str = "writes_lost";

/// How often it is looked whether there is room, and tried whether writes work again.
const EVERY: Duration = Duration::from_secs(5);

/// Looks until it is dropped.
pub async fn run(store: Arc<Store>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        look(&store).await;
    }
}

/// Looks once.
pub async fn look(store: &Store) {
    if store.room().is_err() || !store.writes_fail() {
        return;
    }
    let tried = try_write(store).await;
    store.wrote(tried.as_ref().map(drop));
}

async fn try_write(store: &Store) -> Result<(), StoreError> {
    let bulk = store.bulk().clone();
    tokio::task::spawn_blocking(move || bulk.try_write()).await??;
    Ok(store.catalog().try_write().await?)
}

impl Store {
    /// Says whether there is room for more windows; where there is none, that is a condition until a write works again.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn room(&self) -> Result<(), String> {
        self.check_room().inspect_err(|why| self.conditions().begin(FULL, "", Severity::Unready, why))
    }

    /// Takes note of how a write of windows ended.
    pub fn wrote(&self, ended: Result<(), &StoreError>) {
        let conditions = self.conditions();
        let Err(error) = ended else {
            conditions.end(FULL, "");
            conditions.end(FAILED, "");
            return;
        };
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        let is_full = match error {
            StoreError::Bulk(error) => matches!(error, BulkError::Full { .. }),
            StoreError::Catalog(error) => error.is_full(),
            _ => false,
        };
        let (kind, what_now) = match is_full {
            true => (FULL, "free some space; windows are taken again by themselves"),
            false => (FAILED, "agents keep their windows; they are taken as soon as a write works again"),
        };
        conditions.begin(kind, "", Severity::Unready, format!("windows cannot be stored: {error}: {what_now}"));
    }

    /// How many writes of windows failed since the start, those of them too that are tried to find out.
    pub fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Ordering::Relaxed)
    }

    /// Takes note that what was written may be lost, so that nothing more is taken until a restart.
    pub fn lost_a_write(&self, error: &StoreError) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        let message = format!("a write did not reach the disk ({error}): check the disk, then restart the collector");
        self.conditions().begin(LOST, "", Severity::Unready, message);
    }

    fn writes_fail(&self) -> bool {
        self.conditions().all().iter().any(|condition| [FULL, FAILED].contains(&condition.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::options;

    fn kinds(store: &Store) -> Vec<&'static str> {
        store.conditions().all().iter().map(|condition| condition.kind).collect()
    }

    /// As a file system that was mounted read-only, and is not any more: found without any window being sent.
    #[tokio::test]
    async fn writes_that_work_again_are_found_by_trying() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options()).await.unwrap();
        let failed = StoreError::Task("Read-only file system".to_owned());
        store.wrote(Err(&failed));
        assert!(store.conditions().unready().unwrap().contains("Read-only file system"));
        // Where objects lie there is a file, which even root cannot write below.
        let (segments, aside) = (dir.path().join("segments"), dir.path().join("aside"));
        std::fs::rename(&segments, &aside).unwrap();
        std::fs::write(&segments, "").unwrap();
        look(&store).await;
        assert_eq!(kinds(&store), [FAILED], "it still fails");
        std::fs::remove_file(&segments).unwrap();
        std::fs::rename(&aside, &segments).unwrap();
        look(&store).await;
        assert_eq!(store.conditions().unready(), None);
        assert_eq!(std::fs::read_dir(&segments).unwrap().count(), 0, "a trial leaves nothing behind");
    }

    #[tokio::test]
    async fn a_disk_without_room_is_a_condition_until_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let full = crate::store::Options { free_bytes_min: u64::MAX, ..options() };
        let store = Store::open(dir.path(), full).await.unwrap();
        look(&store).await;
        assert_eq!(kinds(&store), [FULL]);
        assert!(store.conditions().unready().unwrap().contains("bytes left"));
    }

    #[tokio::test]
    async fn a_lost_write_is_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options()).await.unwrap();
        store.lost_a_write(&StoreError::Task("EIO".to_owned()));
        store.wrote(Ok(()));
        look(&store).await;
        assert_eq!(kinds(&store), [LOST]);
    }
}
