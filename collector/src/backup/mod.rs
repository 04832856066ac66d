//! Backups: a whole store in a folder, taken while collectors run.
//!
//! A backup is itself a folder store, which `tephra serve` opens: a catalog as it was at one moment, all objects that it lists, and the
//! symbols. It is taken beside the collectors, from their folder or from their database and bucket, so it needs none that answers.
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | what is backed up: the catalog at one moment, objects, symbols |
//! | [`target`] | the folder it goes to: nothing in it changes until all of the new backup is there |
//! | [`hold`] | what the catalog lists stays while it is copied, however long that takes |
//! | [`restore`] | the way back |

pub mod hold;
pub mod restore;
pub mod source;
pub mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::clock::now_ms;
use crate::store::bulk::BulkError;
use crate::store::catalog::{Catalog, CatalogError, Location};
use crate::store::place::Place;
use crate::store::{StoreError, tombstones};
use hold::Hold;
use source::Source;
use target::{Fetched, Target};

/// How often a catalog is taken anew because objects that it listed are gone: once is usual where a segment was found damaged
/// meanwhile, more than twice means that a collector of an earlier release is at work, which knows no hold.
const ATTEMPTS: usize = 5;

/// Why there is no backup. Nothing of an earlier one was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A folder is not what it should be.
    #[error("{}: {problem}", folder.display())]
    Folder {
        /// The folder that was given.
        folder: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On this.
        path: PathBuf,
        /// As the kernel says.
        source: std::io::Error,
    },
    /// What it goes to is a store already, or another one's.
    #[error("{place}: {problem}")]
    Place {
        /// Which, without secrets.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Another backup of the same store is being taken.
    #[error(
        "another backup of this store is being taken: wait until it is done; if it was killed, try again in 10 minutes"
    )]
    Busy,
    /// Objects went faster than they could be read.
    #[error(
        "{objects} objects were gone before they could be copied, {ATTEMPTS} times: run it with the release of the collector"
    )]
    Moving {
        /// How many, the last time.
        objects: usize,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CatalogError> for BackupError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}

impl From<BulkError> for BackupError {
    fn from(error: BulkError) -> Self {
        Self::Store(error.into())
    }
}

/// What a backup holds, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The moment it is of, unix milliseconds.
    pub taken_ms: u64,
    /// Segments.
    pub segments: u64,
    /// Windows in them.
    pub windows: u64,
    /// Objects of segments, and their bytes.
    pub objects: u64,
    /// See `objects`.
    pub bytes: u64,
    /// Objects that an earlier backup did not have, and their bytes.
    pub copied: u64,
    /// See `copied`.
    pub copied_bytes: u64,
    /// Objects of an earlier backup that the store does not list any more.
    pub removed: u64,
    /// Symbol tables.
    pub symbols: u64,
    /// Segments that the store itself has lost: the backup lists them as damaged.
    pub lost: u64,
}

/// Backs a store up into `dir`, or brings an earlier backup of it there up to date. `link`: where folder and store are on one file
/// system, they share the bytes of segments, which never change.
///
/// # Errors
/// See [`BackupError`]; an earlier backup in `dir` is whole then too.
pub async fn backup(place: &Place, dir: &Path, link: bool) -> Result<Report, BackupError> {
    let source = Arc::new(Source::open(place).await?);
    take(&source, dir, link, Kind::Backup).await
}

/// What is made of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Backup,
    /// A store to be served.
    Copy,
}

async fn take(source: &Arc<Source>, dir: &Path, link: bool, kind: Kind) -> Result<Report, BackupError> {
    if let Some(data) = source.folder()
        && same_folder(data, dir)
    {
        let problem = "this is the store itself: name another folder".to_owned();
        return Err(BackupError::Folder { folder: dir.to_owned(), problem });
    }
    // What has no id yet gets one now, so that the next backup knows it again.
    let known_id = match source.catalog().is_current().await? {
        true => Some(source.catalog().store_id().await?),
        false => source.catalog().known_store_id().await.unwrap_or(None),
    };
    let target = Arc::new(Target::open(dir, known_id.as_deref(), kind == Kind::Backup).await?);
    let hold = Hold::take(source.catalog()).await?;
    let taken = take_held(source, &target, link, kind).await;
    hold.release().await;
    taken
}

async fn take_held(source: &Arc<Source>, target: &Arc<Target>, link: bool, kind: Kind) -> Result<Report, BackupError> {
    let mut gone_before: Option<BTreeSet<String>> = None;
    let mut done = Fetched::default();
    for _ in 0..ATTEMPTS {
        let taken_ms = now_ms();
        let file = target.catalog_file()?;
        source.copy_catalog(&file).await?;
        let catalog = Catalog::connect(&Location::File(file)).await?;
        let symbols = target.fetch_symbols(source).await?;
        catalog.make_backup((kind == Kind::Backup).then_some(taken_ms)).await?;
        let objects = catalog.objects().await?;
        let fetched = target.fetch(source, &objects, link).await?;
        done.add(&fetched);
        let gone: BTreeSet<String> = fetched.gone.into_iter().collect();
        // What was gone twice, though the store still lists it, is lost; the rest was let go of meanwhile.
        let is_lost = !gone.is_empty() && gone_before.as_ref().is_some_and(|before| gone.is_subset(before));
        let lost = if is_lost { catalog.lose(&gone.iter().cloned().collect::<Vec<_>>()).await? } else { 0 };
        if gone.is_empty() || is_lost {
            let totals = catalog.totals().await?;
            let kept = catalog.objects().await?;
            let deletions = deletions(source, catalog.counters().await?.deletions).await?;
            catalog.close_whole().await?;
            let symbol_files = symbols.len() as u64;
            let removed = target.publish(&kept, symbols, deletions).await?;
            return Ok(Report {
                taken_ms,
                segments: totals.segments,
                windows: totals.windows,
                objects: kept.len() as u64,
                bytes: kept.iter().map(|object| object.bytes).sum(),
                copied: done.copied,
                copied_bytes: done.copied_bytes,
                removed,
                symbols: symbol_files,
                lost,
            });
        }
        catalog.close().await;
        gone_before = Some(gone);
    }
    Err(BackupError::Moving { objects: gone_before.map_or(0, |gone| gone.len()) })
}

/// The notes of deletions that a catalog which has come so far has heard of, by name: without them `tephra repair` would bring back what was
/// deleted.
async fn deletions(source: &Arc<Source>, known: u64) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let source = source.clone();
    let found = tokio::task::spawn_blocking(move || source.tombstones()).await.map_err(StoreError::from)??;
    Ok(found.into_iter().filter(|(_, content)| tombstones::is_known(content, known)).collect())
}

#[expect(clippy::disallowed_methods, reason = "only the file system knows whether two paths mean one folder")]
fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
