//! What is kept: immutable segments, and the SQL catalog that says which of them count.
//!
//! | module | what it does |
//! |---|---|
//! | [`place`] | where a store is: one folder, or PostgreSQL and a bucket for several collectors |
//! | [`bulk`], [`bucket`] | objects that are written whole and made durable, in a folder or in a bucket |
//! | [`segment`] | the bytes of a segment |
//! | [`catalog`] | segments, sequence numbers, names, events, pins: one transaction makes a segment visible |
//! | `kept` | how many events and pins there may be |
//! | [`columnar`] | compacted segments: Parquet tables that any reader can open |
//! | [`compact`] | from arrived windows to Parquet, from fine windows to coarse ones |
//! | [`retain`], [`expiry`] | lets go of what is old, and how far it may go |
//! | [`identity`], [`ranges`] | what segments say of themselves, so that a catalog can be built from them alone |
//! | `start`, `adopt` | does the catalog fit its segments? what a killed process left is committed, or set aside |
//! | `progress` | tells a database that is older than its bucket |
//! | [`repair`] | builds a catalog from segments |
//! | [`tombstones`] | deletions that outlive a catalog |
//! | `orphans` | sets aside what the catalog does not know |
//! | [`writes`] | whether writes work, and when they work again |
//! | [`synthetic`], [`replay`] | made-up stores for benchmarks, and recorded windows as if many more had come |
//! | [`cache`] | footers and windows that were read lately |

mod adopt;
pub(crate) mod arrived;
pub mod bucket;
pub mod bulk;
pub mod cache;
pub mod catalog;
pub(crate) mod columnar;
pub mod compact;
mod compacted;
#[cfg(test)]
mod crashes;
pub mod disk;
pub mod expiry;
mod folder;
pub mod identity;
mod kept;
mod migrations;
#[cfg(test)]
mod open_data;
mod orphans;
pub mod place;
mod progress;
pub mod ranges;
#[cfg(test)]
mod recovery;
pub mod repair;
pub mod replay;
pub mod retain;
pub mod segment;
#[cfg(test)]
pub(crate) mod spoiled;
mod start;
pub mod synthetic;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tombstones;
#[cfg(test)]
mod upgrade;
pub mod writes;

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tracing::{info, warn};

use crate::conditions::{Conditions, Severity};
use crate::profile::decode::{self, Lateness, Window};
use bucket::Bucket;
use bulk::{Bulk, BulkError};
use cache::Cache;
use catalog::{Catalog, CatalogError, DamageTotals, DamagedWindow, SegmentRow, StoredObject};
pub use kept::{KeepError, Quota, Quotas};
use place::{Opened, Place};
use segment::{BatchInfo, Footer, SegmentError, StoredBatch, TraceIndex};
pub use start::Unknown;

/// How a store is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long data is kept: the coarsest windows, and all others at most.
    pub retention: Duration,
    /// How long finer windows and traces are kept.
    pub keep: Keep,
    /// Memory for footers and windows that were read lately, bytes.
    pub cache_bytes: usize,
    /// Ingest stops while the disk has less room than this, bytes: reads, the catalog and the retention that makes room again need some.
    pub free_bytes_min: u64,
    /// How long the first window of a batch waits for others before all are written and acked: each batch costs an fsync or three,
    /// or a request that somebody pays for.
    pub batch_time: Duration,
    /// Memory that compaction may take, bytes.
    pub compaction_bytes: usize,
    /// What to do about segments in the folder that the catalog cannot explain.
    pub unknown: Unknown,
    /// How much people may keep beside profiles.
    pub quotas: Quotas,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long what is finer than an hour is kept. Older ranges are answered by coarser windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Windows as they arrived, mostly of 10 s.
    pub windows: Duration,
    /// Windows of a minute.
    pub minutes: Duration,
    /// Windows of ten minutes; from here on instances are added up.
    pub ten_minutes: Duration,
    /// Traces and spans.
    pub traces: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { windows: 7 * DAY, minutes: 14 * DAY, ten_minutes: 30 * DAY, traces: 14 * DAY }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: 90 * DAY,
            keep: Keep::default(),
            cache_bytes: 128 << 20,
            free_bytes_min: 256 << 20,
            batch_time: Duration::from_millis(250),
            compaction_bytes: 512 << 20,
            unknown: Unknown::default(),
            quotas: Quotas::default(),
        }
    }
}

/// Why the store cannot be opened or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data folder is not usable.
    #[error("data folder {}: {problem}", path.display())]
    Folder {
        /// The folder that was given.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The database or the bucket is not usable.
    #[error("{place}: {problem}")]
    Place {
        /// Which, without secrets.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The objects failed.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// A worker thread died.
    #[error("a store task failed: {0}")]
    Task(String),
}

impl From<tokio::task::JoinError> for StoreError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error.to_string())
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    place: Place,
    /// Drawn when the store was made; all that belongs to it carries it.
    id: String,
    options: Options,
    catalog: Catalog,
    bulk: Arc<dyn Bulk>,
    bucket: Option<Bucket>,
    footers: Cache<String, Arc<Footer>>,
    traces: Cache<String, Arc<TraceIndex>>,
    windows: Cache<(String, u64), Arc<Window>>,
    tables: Cache<String, Arc<columnar::TableFile>>,
    dictionaries: Cache<(String, usize, bool), Arc<columnar::Dictionary>>,
    /// Segments found damaged by readers, to be marked in the catalog.
    damaged: Mutex<BTreeSet<String>>,
    /// Single windows found damaged, as (segment, offset).
    damaged_windows: Mutex<BTreeSet<(String, u64)>>,
    /// Those of them that are not on record yet.
    damage_to_note: Mutex<Vec<DamagedWindow>>,
    /// Objects that this process has written for nothing, and not removed yet.
    given_up: Mutex<Vec<String>>,
    conditions: Conditions,
    /// How much people keep.
    counted: kept::Counted,
    /// When this process opened it.
    opened: Instant,
    /// Held as long as the store is open.
    _lock: File,
}

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
        disk: Arc<dyn disk::Disk>,
        vfs: &str,
    ) -> Result<Self, StoreError> {
        let lock = place::take_folder(data)?;
        let opened = place::open_folder(data, disk, Some(vfs), options.unknown).await?;
        Self::start(Place::Folder(data.to_owned()), options, opened, lock).await
    }

    async fn start(place: Place, options: Options, opened: Opened, lock: File) -> Result<Self, StoreError> {
        let cache = options.cache_bytes;
        let id = opened.catalog.store_id().await?;
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
            counted: kept::Counted::default(),
            opened: Instant::now(),
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

    /// Its id, which all that belongs to it carries.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What made-up segments say of themselves.
    fn provenance(&self) -> compact::Provenance {
        compact::Provenance { store: self.id.clone(), ..compact::Provenance::default() }
    }

    /// The catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an operator must know of this collector now.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// This process's own folder.
    pub fn data_dir(&self) -> &Path {
        self.place.data()
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Why it is not opened.
    fn refused(&self, problem: String) -> StoreError {
        match &self.place {
            Place::Folder(path) => StoreError::Folder { path: path.clone(), problem },
            Place::Shared { bucket, .. } => StoreError::Place { place: bucket.to_string(), problem },
        }
    }

    /// Where its objects are, for people.
    fn objects_place(&self) -> String {
        match &self.place {
            Place::Folder(data) => data.join("segments").display().to_string(),
            Place::Shared { bucket, .. } => format!("{bucket}, under segments/"),
        }
    }

    /// True when other collectors may be using it too.
    pub fn is_shared(&self) -> bool {
        self.bucket.is_some()
    }

    /// The bucket of a shared store.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// How it is kept.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The objects. Calls block.
    pub fn bulk(&self) -> &Arc<dyn Bulk> {
        &self.bulk
    }

    /// Free bytes for this user on the disk that windows go to; `None` when they go to a bucket.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        if self.is_shared() {
            return Ok(None);
        }
        folder::free_bytes(self.data_dir()).map(Some)
    }

    /// Says whether there is room for more windows.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn check_room(&self) -> Result<(), String> {
        let Some(free) = self.free_bytes().map_err(|e| e.to_string())? else { return Ok(()) };
        let needed = self.options.free_bytes_min;
        if free < needed {
            let folder = self.data_dir().display();
            return Err(format!("the disk of {folder} has {free} bytes left, {needed} are needed: free some space"));
        }
        Ok(())
    }

    /// How many single windows were found damaged since the start; whole segments are counted by the catalog.
    pub fn damaged_windows(&self) -> u64 {
        self.damaged_windows.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// The footer of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn footer(&self, row: &SegmentRow) -> Result<Option<Arc<Footer>>, StoreError> {
        if let Some(footer) = self.footers.get(&row.id) {
            return Ok(Some(footer));
        }
        match segment::read_footer(self.bulk.as_ref(), &row.id, row.bytes, row.crc) {
            Ok(footer) => {
                let footer = Arc::new(footer);
                let bytes = footer.batches.len() * 512 + 256;
                self.footers.put(row.id.clone(), footer.clone(), bytes);
                Ok(Some(footer))
            }
            Err(error) => self.unreadable(&row.id, error).map(|()| None),
        }
    }

    /// The trace index of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn trace_index(&self, row: &SegmentRow) -> Result<Option<Arc<TraceIndex>>, StoreError> {
        if let Some(index) = self.traces.get(&row.id) {
            return Ok(Some(index));
        }
        let Some(footer) = self.footer(row)? else { return Ok(None) };
        match segment::read_traces(self.bulk.as_ref(), &row.id, &footer) {
            Ok(index) => {
                let index = Arc::new(index);
                self.traces.put(row.id.clone(), index.clone(), index.weight() + 128);
                Ok(Some(index))
            }
            Err(error) => self.unreadable(&row.id, error).map(|()| None),
        }
    }

    /// One window of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn window(&self, row: &SegmentRow, info: &BatchInfo) -> Result<Option<Arc<Window>>, StoreError> {
        let key = (row.id.clone(), info.offset);
        if let Some(window) = self.windows.get(&key) {
            return Ok(Some(window));
        }
        let Some(window) = self.window_once(row, info)? else { return Ok(None) };
        let window = Arc::new(window);
        self.windows.put(key, window.clone(), window.weight());
        Ok(Some(window))
    }

    /// The same for whoever reads a window once and never again: it displaces nothing that queries need. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn window_once(&self, row: &SegmentRow, info: &BatchInfo) -> Result<Option<Window>, StoreError> {
        self.checked_window(row, info, segment::read_batch(self.bulk.as_ref(), &row.id, info))
    }

    /// The same for whoever has the whole object.
    ///
    /// # Errors
    /// As [`Store::window_once`].
    pub(crate) fn window_in(
        &self,
        object: &Bytes,
        row: &SegmentRow,
        info: &BatchInfo,
    ) -> Result<Option<Window>, StoreError> {
        let start = usize::try_from(info.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(info.bytes as usize).min(object.len());
        let bytes = object.slice(start.min(end)..end);
        self.checked_window(row, info, segment::parse_batch(&row.id, info, bytes))
    }

    fn checked_window(
        &self,
        row: &SegmentRow,
        info: &BatchInfo,
        read: Result<StoredBatch, SegmentError>,
    ) -> Result<Option<Window>, StoreError> {
        let problem = match read {
            Ok(batch) => match decode::decode(&batch.header, &batch.payload, batch.payload_bytes, Lateness::Stored) {
                Ok(window) => return Ok(Some(window)),
                Err(rejection) => rejection.to_string(),
            },
            Err(SegmentError::Damaged { problem, .. }) => problem,
            Err(other) => return self.unreadable(&row.id, other).map(|()| None),
        };
        // The rest of the segment is still good: only this window is lost.
        let key = (row.id.clone(), info.offset);
        let mut known = self.damaged_windows.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < DAMAGED_WINDOWS_MAX && known.insert(key) {
            warn!(segment = %row.id, offset = info.offset, %problem, "a stored window is damaged and will not be served");
            let (segment, service) = (row.id.clone(), info.service.clone());
            let window = DamagedWindow { segment, offset: info.offset, service, start_ms: info.start_ms };
            self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner).push(window);
        }
        Ok(None)
    }

    fn unreadable(&self, id: &str, error: SegmentError) -> Result<(), StoreError> {
        match error {
            // Retention may have been faster; if the catalog still lists it, `settle_damage` says so.
            SegmentError::Bulk(BulkError::Missing { .. }) => {}
            SegmentError::Bulk(error) => return Err(error.into()),
            SegmentError::Damaged { ref problem, .. } => {
                warn!(segment = %id, %problem, "a segment is damaged and will not be served");
            }
        }
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        Ok(())
    }

    /// Says whether database and bucket answer.
    ///
    /// # Errors
    /// Which of them does not, as a sentence.
    pub async fn ready(&self) -> Result<(), String> {
        let silent = |what| format!("{what} does not answer within {} s", READY_WITHIN.as_secs());
        let catalog = tokio::time::timeout(READY_WITHIN, self.catalog.ping()).await;
        catalog.map_err(|_| silent("the catalog"))?.map_err(|e| e.to_string())?;
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let bucket = bucket.beside("");
        let ping = tokio::task::spawn_blocking(move || bucket.ping(place::MARKER));
        let ping = tokio::time::timeout(READY_WITHIN, ping).await.map_err(|_| silent("the bucket"))?;
        ping.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }

    /// Says how much is damaged, as long as anything is.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn tell_damage(&self) -> Result<(), StoreError> {
        let DamageTotals { segments, windows } = self.catalog.damage_totals().await?;
        let message = (segments + windows > 0).then(|| {
            format!(
                "{segments} segments and {windows} windows in others are damaged or lost, and left out of answers, which say so: look after \
                 the disk, and restore them from a backup if you need them"
            )
        });
        self.conditions.set("data_damaged", Severity::Degraded, message);
        Ok(())
    }

    /// Puts single damaged windows on record.
    async fn note_damage(&self) -> Result<(), StoreError> {
        let windows = std::mem::take(&mut *self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner));
        if windows.is_empty() {
            return Ok(());
        }
        let noted = self.catalog.note_damage(&windows).await;
        if noted.is_err() {
            self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner).extend(windows);
        }
        Ok(noted?)
    }

    /// Puts on record, and sets aside, what readers found damaged. Answers how many segments were set aside.
    ///
    /// # Errors
    /// When catalog or disk fail.
    pub async fn settle_damage(&self) -> Result<u64, StoreError> {
        self.note_damage().await?;
        let damaged = std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner));
        let mut settled = 0;
        for id in damaged {
            if self.catalog.quarantine(&id).await? {
                settled += 1;
                let objects = self.catalog.objects_of(&id).await?;
                let bulk = self.bulk.clone();
                tokio::task::spawn_blocking(move || objects.iter().try_for_each(|object| bulk.quarantine(object)))
                    .await??;
            }
        }
        Ok(settled)
    }

    /// Notes objects that this process has written and that nobody will refer to.
    fn give_up(&self, objects: Vec<String>) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).extend(objects);
    }

    /// Removes them, unless they are listed after all: of a commit, nobody may have been told that it was done.
    async fn remove_given_up(&self) -> Result<(), StoreError> {
        let objects = std::mem::take(&mut *self.given_up.lock().unwrap_or_else(PoisonError::into_inner));
        if objects.is_empty() {
            return Ok(());
        }
        let remove = async {
            let listed: std::collections::HashSet<String> =
                self.catalog.objects().await?.into_iter().map(|stored| stored.object).collect();
            let (bulk, objects) = (self.bulk.clone(), objects.clone());
            let unlisted =
                move || objects.iter().filter(|name| !listed.contains(*name)).try_for_each(|name| bulk.delete(name));
            Ok::<(), StoreError>(tokio::task::spawn_blocking(unlisted).await??)
        };
        let removed = remove.await;
        if removed.is_err() {
            self.give_up(objects);
        }
        removed
    }

    /// Compares the catalog's segments with the objects that are there.
    async fn check_objects(&self) -> Result<(), StoreError> {
        let known = self.catalog.objects().await?;
        let bulk = self.bulk.clone();
        let objects = tokio::task::spawn_blocking(move || bulk.list()).await??;
        let sizes: std::collections::HashMap<_, _> =
            objects.into_iter().map(|object| (object.name, object.bytes)).collect();
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

/// Load balancers ask often, and do not wait long.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Enough to know that a disk is dying.
const DAMAGED_WINDOWS_MAX: usize = 10_000;

/// Now, unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 16 bytes that nobody has drawn before: for names, not for secrets.
pub fn unique_bytes() -> [u8; 16] {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    // The standard library seeds each state from the operating system.
    let half = |salt: u64| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(DRAWN.fetch_add(1, Ordering::Relaxed));
        hasher.write_u64(salt);
        hasher.finish()
    };
    let both = (u128::from(half(1)) << 64) | u128::from(half(2));
    both.to_be_bytes()
}
