//! Opens a store: takes its folder, and compares its catalog with the objects that are there.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use super::bulk::Bulk;
use super::cache::Cache;
use super::catalog::StoredObject;
use super::place::{self, Opened, Place};
use super::{Options, Store, StoreError, kept, orphans, start};
use crate::base::clock::{self, now_ms};
use crate::conditions::Conditions;

impl Store {
    /// Opens a data folder, makes it where it is missing, and sets aside what a crash left damaged.
    ///
    /// # Errors
    /// When the folder cannot be used, is in use by another process, or was written by a later release. The message is one sentence
    /// for the user.
    pub async fn open(data: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_at(Place::Folder(data.to_owned()), options).await
    }

    /// Opens a store wherever it is.
    ///
    /// # Errors
    /// As [`Store::open`]; also when the database or the bucket cannot be used.
    pub async fn open_at(place: Place, options: Options) -> Result<Self, StoreError> {
        let lock = place::take_folder(place.data())?;
        let opened = place.open(options.cache_bytes / 2, options.unknown).await?;
        Self::start(place, options, opened, lock).await
    }

    /// Opens a data folder over other bulk storage.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(data: &Path, options: Options, bulk: Arc<dyn Bulk>) -> Result<Self, StoreError> {
        let place = Place::Folder(data.to_owned());
        let lock = place::take_folder(data)?;
        let opened = Opened { bulk, ..place.open(options.cache_bytes / 2, options.unknown).await? };
        Self::start(place, options, opened, lock).await
    }

    /// Opens a data folder on another disk, which SQLite knows as `vfs`.
    #[cfg(test)]
    pub(crate) async fn open_on(
        data: &Path,
        options: Options,
        disk: Arc<dyn super::disk::Disk>,
        vfs: &str,
    ) -> Result<Self, StoreError> {
        let lock = place::take_folder(data)?;
        let opened = place::open_folder(data, disk, Some(vfs), options.unknown).await?;
        Self::start(Place::Folder(data.to_owned()), options, opened, lock).await
    }

    async fn start(place: Place, options: Options, opened: Opened, lock: File) -> Result<Self, StoreError> {
        let cache = options.cache_bytes;
        let id = opened.catalog.store_id().await?;
        opened.catalog.note_requests_since(now_ms()).await?;
        let store = Self {
            place,
            id,
            options,
            catalog: opened.catalog,
            bulk: opened.bulk,
            bucket: opened.bucket,
            footers: Cache::new(cache / 8),
            traces: Cache::new(cache / 8),
            windows: Cache::new(cache / 4),
            tables: Cache::new(cache / 8),
            dictionaries: Cache::new(cache * 3 / 8),
            damaged: Mutex::default(),
            damaged_windows: Mutex::default(),
            given_up: Mutex::default(),
            damage_to_note: Mutex::default(),
            conditions: Conditions::default(),
            failed_writes: AtomicU64::default(),
            counted: kept::Counted::default(),
            opened: clock::instant(),
            _lock: lock,
        };
        // In a bucket nothing is torn by a crash, and listing all of it would make every start slow.
        if !store.is_shared() {
            start::check(&store).await?;
            store.check_objects().await?;
            orphans::tell(&store).await?;
        }
        if let Some(taken_ms) = store.catalog.end_backup().await? {
            info!(
                taken_ms,
                "a backup is served: from now on it is a store of its own, and no backup can be added to it"
            );
        }
        Ok(store)
    }

    /// Compares the catalog's segments with the objects that are there.
    async fn check_objects(&self) -> Result<(), StoreError> {
        let known = self.catalog.objects().await?;
        let bulk = self.bulk.clone();
        let objects = tokio::task::spawn_blocking(move || bulk.list()).await??;
        let sizes: HashMap<_, _> = objects.into_iter().map(|object| (object.name, object.bytes)).collect();
        for StoredObject { segment: id, object, bytes, is_data, .. } in known {
            let found = sizes.get(&object).copied();
            if found != Some(bytes) && !is_data {
                warn!(segment = %id, "the footer of a segment is gone: its data is served, and could not be put into another catalog");
            } else if found != Some(bytes) {
                warn!(segment = %id, %object, expected = bytes, found, "a segment is damaged and will not be served");
                self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
            }
        }
        self.settle_damage().await?;
        Ok(())
    }
}
