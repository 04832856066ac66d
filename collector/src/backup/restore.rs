//! The way back: a backup becomes a store again, in an empty folder, or in an empty database and bucket.
//!
//! A folder may also be served as it is, or copied by any tool: it is a whole store.
#![expect(clippy::disallowed_methods, reason = "this is where a backup's files are read back")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::source::Source;
use super::{BackupError, Kind, deletions, take};
use crate::store::StoreError;
use crate::store::bucket::{Bucket, BucketPlace};
use crate::store::bulk::Bulk;
use crate::store::catalog::{Catalog, StoredObject};
use crate::store::place::{MARKER, Place, Postgres, take_folder};
use crate::symbols::share;

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Segments.
    pub segments: u64,
    /// Windows in them.
    pub windows: u64,
    /// Symbol tables.
    pub symbols: u64,
}

/// Makes a store of the backup in `dir`. What it is restored to must be empty; a restore that was interrupted may be run again.
///
/// # Errors
/// See [`BackupError`]; the backup is not changed.
pub async fn restore(dir: &Path, to: &Place) -> Result<Restored, BackupError> {
    match to {
        Place::Folder(data) => {
            let source = Arc::new(Source::open(&Place::Folder(dir.to_owned())).await?);
            let report = take(&source, data, false, Kind::Copy).await?;
            Ok(Restored { segments: report.segments, windows: report.windows, symbols: report.symbols })
        }
        Place::Shared { catalog, bucket, .. } => to_shared(dir, catalog, bucket).await,
    }
}

async fn to_shared(dir: &Path, postgres: &Postgres, place: &BucketPlace) -> Result<Restored, BackupError> {
    // Nobody serves it meanwhile.
    let _lock = take_folder(dir)?;
    let source = Source::open(&Place::Folder(dir.to_owned())).await?;
    let from = source.catalog();
    if !from.is_current().await? {
        let problem = "the backup is of an earlier release: restore it into a folder, start this release on that once, back it up \
                       and restore that"
            .to_owned();
        return Err(BackupError::Folder { folder: dir.to_owned(), problem });
    }
    let id = from.known_store_id().await?.unwrap_or_default();
    let to = Catalog::connect(&postgres.location()).await?;
    if !to.is_empty().await? {
        let problem = "this database holds a store already: name an empty one with --catalog".to_owned();
        return Err(BackupError::Place { place: postgres.to_string(), problem });
    }
    let segments = Bucket::open(place, "segments", 0)?;
    let (marker, ours) = (segments.beside(""), id.clone());
    let found = tokio::task::spawn_blocking(move || marker.claim(MARKER, ours.as_bytes()));
    if found.await.map_err(StoreError::from)?? != id.as_bytes() {
        let problem = "this bucket belongs to another store: name an empty prefix with --bucket".to_owned();
        return Err(BackupError::Place { place: place.to_string(), problem });
    }
    let objects = from.objects().await?;
    let (folder, bucket) = (dir.join("segments"), segments.clone());
    tokio::task::spawn_blocking(move || upload(&folder, &bucket, &objects)).await.map_err(StoreError::from)??;
    let source = Arc::new(source);
    for (name, content) in deletions(&source, source.catalog().counters().await?.deletions).await? {
        let bucket = segments.clone();
        tokio::task::spawn_blocking(move || bucket.put_tombstone(&name, &content))
            .await
            .map_err(StoreError::from)??;
    }
    let from = source.catalog();
    let symbols = share::publish(dir, &to, &segments).await?;
    from.copy_rows(&to).await?;
    to.end_backup().await?;
    let totals = to.totals().await?;
    to.close().await;
    from.close().await;
    Ok(Restored { segments: totals.segments, windows: totals.windows, symbols })
}

/// Brings objects into the bucket that are not there yet. Blocks.
fn upload(folder: &Path, bucket: &Bucket, objects: &[StoredObject]) -> Result<(), BackupError> {
    let there: HashMap<String, u64> = bucket.list()?.into_iter().map(|object| (object.name, object.bytes)).collect();
    for StoredObject { object, bytes, is_data, .. } in objects {
        if there.get(object) == Some(bytes) {
            continue;
        }
        let path = folder.join(object);
        let content = match std::fs::read(&path) {
            // It was not there when the backup was taken, and the segment is whole without it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_data => continue,
            content => content.map_err(|source| BackupError::File { what: "read", path, source })?,
        };
        bucket.put(object, &content)?;
    }
    Ok(())
}
