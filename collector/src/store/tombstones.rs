//! What was deleted, noted beside the segments before the catalog hears of it: a catalog that is built again from segments, or an older
//! one that is put back, does not bring it back.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tephra_proto::ids::TraceId;
use tracing::warn;

use super::catalog::{CatalogError, Counters};
use super::{Store, StoreError};
use crate::base::ids::{hex, unique_bytes};

/// How long a tombstone is kept at least: longer than anything is that was set aside.
pub(super) const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// One deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The store it belongs to.
    pub store: String,
    /// Its number: segments that were begun when it was known hold nothing of what it took away.
    pub number: u64,
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// What was deleted.
    #[serde(flatten)]
    pub what: What,
}

/// What was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Everything of a service.
    Service {
        /// Its name.
        name: String,
        /// What later commits have stored of it counts.
        through_commit: u64,
    },
    /// What carries a trace id.
    Trace {
        /// 32 hexadecimal digits.
        id: String,
    },
}

impl Tombstone {
    /// True when it took away what a commit had stored of a service.
    pub(super) fn took(&self, service: &str, commit: u64) -> bool {
        matches!(&self.what, What::Service { name, through_commit } if name == service && commit <= *through_commit)
    }

    fn to_text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Store {
    /// Deletes all that is stored of a service, for good. Answers false when it was never heard of. What its agents send afterwards is
    /// stored as ever.
    ///
    /// # Errors
    /// When catalog or disk fail; then it may be deleted or not.
    pub async fn delete_service(&self, service: &str, now_ms: u64) -> Result<bool, StoreError> {
        if !self.catalog().knows_service(service).await? {
            return Ok(false);
        }
        let what = |through_commit| What::Service { name: service.to_owned(), through_commit };
        self.bury(now_ms, what, async || self.catalog().delete_service(service, now_ms).await).await
    }

    /// Deletes what carries a trace id, for good. `holders` are the compacted segments that hold it.
    ///
    /// # Errors
    /// When catalog or disk fail; then it may be deleted or not.
    pub async fn delete_trace(&self, trace_id: &TraceId, holders: &[String], now_ms: u64) -> Result<(), StoreError> {
        let what = |_| What::Trace { id: trace_id.to_string() };
        let delete = async || self.catalog().delete_trace(trace_id, holders, now_ms).await.map(Some);
        self.bury(now_ms, what, delete).await?;
        Ok(())
    }

    /// Notes a deletion, has it done, and notes it again where it came to another number than it was to have.
    async fn bury(
        &self,
        at_ms: u64,
        what: impl Fn(u64) -> What,
        delete: impl AsyncFnOnce() -> Result<Option<Counters>, CatalogError>,
    ) -> Result<bool, StoreError> {
        let name = hex(&unique_bytes());
        let expected = self.catalog().counters().await?;
        let expected = Counters { deletions: expected.deletions + 1, ..expected };
        self.put_tombstone(&name, at_ms, expected, &what).await?;
        match delete().await {
            Ok(Some(found)) => {
                if found != expected {
                    self.put_tombstone(&name, at_ms, found, &what).await?;
                }
                Ok(true)
            }
            other => {
                let bulk = self.bulk().clone();
                tokio::task::spawn_blocking(move || bulk.delete_tombstone(&name)).await??;
                Ok(other?.is_some())
            }
        }
    }

    async fn put_tombstone(
        &self,
        name: &str,
        at_ms: u64,
        counters: Counters,
        what: impl Fn(u64) -> What,
    ) -> Result<(), StoreError> {
        let (store, what) = (self.id().to_owned(), what(counters.commits));
        let text = Tombstone { store, number: counters.deletions, at_ms, what }.to_text();
        let (bulk, name) = (self.bulk().clone(), name.to_owned());
        tokio::task::spawn_blocking(move || bulk.put_tombstone(&name, &text)).await??;
        Ok(())
    }

    /// Deletions that are noted, in their order; and how many notes cannot be read.
    pub(super) async fn tombstones(&self) -> Result<(Vec<Tombstone>, usize), StoreError> {
        let bulk = self.bulk().clone();
        let found = tokio::task::spawn_blocking(move || bulk.tombstones()).await??;
        Ok(read(&found))
    }

    /// Does again what the catalog has not heard of: it is older than these deletions.
    pub(super) async fn repeat_deletions(&self) -> Result<(), StoreError> {
        let known = self.catalog().counters().await?.deletions;
        let (tombstones, _) = self.tombstones().await?;
        for tombstone in tombstones.iter().filter(|tombstone| tombstone.number > known && tombstone.store == self.id())
        {
            warn!(deletion = tombstone.number, "the catalog is older than a deletion: it is done again");
            match &tombstone.what {
                What::Service { name, .. } => {
                    self.catalog().delete_service(name, tombstone.at_ms).await?;
                }
                What::Trace { id } => {
                    if let Ok(id) = TraceId::parse(id) {
                        let holders = self.catalog().trace_segments().await?;
                        self.catalog().delete_trace(&id, &holders, tombstone.at_ms).await?;
                    }
                }
            }
            self.catalog().skip_to(Counters { commits: 0, deletions: tombstone.number }).await?;
        }
        Ok(())
    }

    /// Forgets deletions from before `before_ms`: nothing is left that they could be about.
    pub(super) async fn forget_tombstones(&self, before_ms: u64) -> Result<(), StoreError> {
        let bulk = self.bulk().clone();
        let forget = move || {
            for (name, content) in bulk.tombstones()? {
                let old =
                    serde_json::from_slice::<Tombstone>(&content).is_ok_and(|tombstone| tombstone.at_ms < before_ms);
                if old {
                    bulk.delete_tombstone(&name)?;
                }
            }
            Ok::<(), StoreError>(())
        };
        tokio::task::spawn_blocking(forget).await?
    }
}

/// Whether a note is about a deletion that a catalog which has come so far has heard of. One that cannot be read may be.
pub(crate) fn is_known(content: &[u8], deletions: u64) -> bool {
    serde_json::from_slice::<Tombstone>(content).map_or(true, |tombstone| tombstone.number <= deletions)
}

/// In their order; and how many cannot be read.
pub(super) fn read(found: &[(String, Vec<u8>)]) -> (Vec<Tombstone>, usize) {
    let mut tombstones: Vec<Tombstone> =
        found.iter().filter_map(|(_, content)| serde_json::from_slice(content).ok()).collect();
    tombstones.sort_by_key(|tombstone| tombstone.number);
    let unreadable = found.len() - tombstones.len();
    (tombstones, unreadable)
}
