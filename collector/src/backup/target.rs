//! The folder that a backup goes to.
//!
//! What is fetched lies in `backup.incoming` until all of it is there; then names change, the catalog's last. So whatever happens, the
//! folder holds a whole backup: the earlier one or the new one. What an interrupted backup has fetched, the next one finds there.
#![expect(clippy::disallowed_methods, reason = "this is where the folder of backups is read and written")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::BackupError;
use super::source::{Source, SymbolContent, SymbolFile};
use crate::store::bulk::{is_object_name, read_tombstone_name, tombstone_name};
use crate::store::catalog::{Catalog, Location, StoredObject};
use crate::store::{StoreError, place};

const INCOMING: &str = "backup.incoming";
const CATALOG: &str = "catalog.sqlite";
const SEGMENTS: &str = "segments";
const SYMBOLS: &str = "symbols";

/// Objects fetched at the same time: a bucket answers many as fast as one.
const AT_ONCE: usize = 4;

/// The folder, taken for this process.
#[derive(Debug)]
pub struct Target {
    dir: PathBuf,
    _lock: File,
}

/// What one look for objects brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) copied: u64,
    pub(super) copied_bytes: u64,
    /// Objects that were not there.
    pub(super) gone: Vec<String>,
}

impl Fetched {
    pub(super) fn add(&mut self, other: &Self) {
        self.copied += other.copied;
        self.copied_bytes += other.copied_bytes;
    }
}

impl Target {
    /// Takes a folder that is empty, or, if `again`, holds an earlier backup of the store with this id; it is made where it is missing.
    ///
    /// # Errors
    /// When it holds anything else: nothing in it is changed then.
    pub async fn open(dir: &Path, store_id: Option<&str>, again: bool) -> Result<Self, BackupError> {
        let refuse = |problem: String| Err(BackupError::Folder { folder: dir.to_owned(), problem });
        // Before it is taken: a folder of somebody else's does not even get a lock file.
        let found = names_in(dir)?;
        let other = found.iter().find(|name| !matches!(name.as_str(), "LOCK" | INCOMING));
        let has_catalog = found.iter().any(|name| name == CATALOG);
        match other {
            None => {}
            Some(_) if has_catalog && again => {
                if let Some(problem) = why_not(&dir.join(CATALOG), store_id).await? {
                    return refuse(problem);
                }
            }
            Some(_) if has_catalog => return refuse("it holds a store already: name an empty folder".to_owned()),
            Some(other) => {
                return refuse(format!(
                    "it holds something else ({other:?}): name an empty folder, or an earlier backup"
                ));
            }
        }
        let taken = dir.to_owned();
        let lock =
            tokio::task::spawn_blocking(move || place::take_folder(&taken)).await.map_err(StoreError::from)??;
        for folder in [SEGMENTS, SYMBOLS] {
            make(&dir.join(INCOMING).join(folder))?;
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join(INCOMING)
    }

    /// Where the new catalog is to be written; there is nothing yet.
    pub(super) fn catalog_file(&self) -> Result<PathBuf, BackupError> {
        let file = self.incoming().join(CATALOG);
        remove_catalog(&file)?;
        Ok(file)
    }

    /// Fetches what an earlier backup has not.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        source: &Arc<Source>,
        objects: &[StoredObject],
        link: bool,
    ) -> Result<Fetched, BackupError> {
        let left = Arc::new(Mutex::new(Vec::from(objects).into_iter()));
        let workers = (0..AT_ONCE).map(|_| {
            let (target, source, left) = (self.clone(), source.clone(), left.clone());
            tokio::task::spawn_blocking(move || target.fetch_some(&source, &left, link))
        });
        let mut fetched = Fetched::default();
        for worker in workers.collect::<Vec<_>>() {
            let some = worker.await.map_err(StoreError::from)??;
            fetched.add(&some);
            fetched.gone.extend(some.gone);
        }
        Ok(fetched)
    }

    fn fetch_some(
        &self,
        source: &Source,
        left: &Mutex<std::vec::IntoIter<StoredObject>>,
        link: bool,
    ) -> Result<Fetched, BackupError> {
        let mut fetched = Fetched::default();
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(StoredObject { object, bytes, is_data, .. }) = next() {
            let there = [self.dir.join(SEGMENTS), self.incoming().join(SEGMENTS)];
            let is_whole = |path: PathBuf| fs::metadata(path).is_ok_and(|about| about.len() == bytes);
            if there.iter().any(|folder| is_whole(folder.join(&object))) {
                continue;
            }
            let path = self.incoming().join(SEGMENTS).join(&object);
            let half = path.with_extension("tmp");
            remove(&half)?;
            if source.fetch(&object, bytes, &half, link)? {
                rename(&half, &path)?;
                fetched.copied += 1;
                fetched.copied_bytes += bytes;
            } else if is_data {
                fetched.gone.push(object);
            }
        }
        Ok(fetched)
    }

    /// Fetches the symbols that an earlier backup has not; answers the names of all.
    pub(super) async fn fetch_symbols(self: &Arc<Self>, source: &Arc<Source>) -> Result<HashSet<String>, BackupError> {
        let files = source.symbols().await?;
        let (target, source) = (self.clone(), source.clone());
        let fetch = move || {
            let mut names = HashSet::new();
            for file in files {
                let path = target.incoming().join(SYMBOLS).join(&file.name);
                let is_known = |path: &Path| is_same(&file, path);
                if !is_known(&target.dir.join(SYMBOLS).join(&file.name)) && !is_known(&path) {
                    let half = path.with_extension("tmp");
                    let failed = |source| BackupError::File { what: "copy symbols to", path: half.clone(), source };
                    if !source.fetch_symbols(&file, &half).map_err(failed)? {
                        continue;
                    }
                    rename(&half, &path)?;
                }
                names.insert(file.name);
            }
            Ok(names)
        };
        tokio::task::spawn_blocking(fetch).await.map_err(StoreError::from)?
    }

    /// Puts the new backup in place of the earlier one, and then removes what only that one had. `deletions` are the notes of them, by
    /// name. Answers how many objects it removed.
    pub(super) async fn publish(
        self: &Arc<Self>,
        objects: &[StoredObject],
        symbols: HashSet<String>,
        deletions: Vec<(String, Vec<u8>)>,
    ) -> Result<u64, BackupError> {
        let listed: HashSet<String> = objects.iter().map(|object| object.object.clone()).collect();
        let target = self.clone();
        let publish = move || target.publish_blocking(&listed, &symbols, &deletions);
        tokio::task::spawn_blocking(publish).await.map_err(StoreError::from)?
    }

    fn publish_blocking(
        &self,
        objects: &HashSet<String>,
        symbols: &HashSet<String>,
        deletions: &[(String, Vec<u8>)],
    ) -> Result<u64, BackupError> {
        let incoming = self.incoming();
        for (folder, wanted) in [(SEGMENTS, objects), (SYMBOLS, symbols)] {
            let (from, to) = (incoming.join(folder), self.dir.join(folder));
            make(&to)?;
            for name in names_in(&from)? {
                if wanted.contains(&name) {
                    rename(&from.join(&name), &to.join(&name))?;
                }
            }
            sync(&to)?;
        }
        let new = incoming.join(CATALOG);
        sync(&new)?;
        // A log left beside it would be taken for its own.
        for extension in ["sqlite-wal", "sqlite-shm"] {
            remove(&self.dir.join(CATALOG).with_extension(extension))?;
        }
        sync(&self.dir)?;
        rename(&new, &self.dir.join(CATALOG))?;
        sync(&self.dir)?;
        // Not before: an older catalog would be told of deletions that it was not to hear of.
        let segments = self.dir.join(SEGMENTS);
        for (name, content) in deletions {
            put(&segments.join(tombstone_name(name)), content)?;
        }
        sync(&segments)?;
        let is_noted = |name: &str| deletions.iter().any(|(noted, _)| noted == name);
        let mut removed = 0;
        for name in names_in(&segments)? {
            let is_object = is_object_name(&name) && !objects.contains(&name);
            if is_object || read_tombstone_name(&name).is_some_and(|name| !is_noted(name)) {
                remove(&segments.join(name))?;
                removed += u64::from(is_object);
            }
        }
        for name in names_in(&self.dir.join(SYMBOLS))? {
            let path = self.dir.join(SYMBOLS).join(&name);
            if path.is_file() && !symbols.contains(&name) {
                remove(&path)?;
            }
        }
        fs::remove_dir_all(&incoming).map_err(|source| BackupError::File { what: "remove", path: incoming, source })?;
        Ok(removed)
    }
}

/// Why a folder with this catalog is no earlier backup of the store; `None` when it is one.
async fn why_not(file: &Path, store_id: Option<&str>) -> Result<Option<String>, BackupError> {
    let catalog = Catalog::attach(&Location::File(file.to_owned())).await?;
    let (taken, id) = (catalog.backup_taken().await?, catalog.known_store_id().await?);
    catalog.close().await;
    let other = "name an empty folder, or an earlier backup of this store";
    Ok(match (taken, id) {
        (None, _) => Some(format!("it holds a store and no backup, or one that was served since: {other}")),
        (Some(_), id) if id.as_deref() != store_id => Some(format!("it holds a backup of another store: {other}")),
        _ => None,
    })
}

/// True when a file is what a symbol file holds, as far as size and time tell.
fn is_same(file: &SymbolFile, path: &Path) -> bool {
    let Ok(there) = fs::metadata(path) else { return false };
    match &file.content {
        SymbolContent::Object { bytes, .. } => there.len() == *bytes,
        SymbolContent::Text(text) => there.len() == text.len() as u64,
        SymbolContent::File(from) => fs::metadata(from).is_ok_and(|from| {
            from.len() == there.len() && from.modified().ok().zip(there.modified().ok()).is_some_and(|(a, b)| a == b)
        }),
    }
}

/// Names in a folder; none where there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>, BackupError> {
    let failed = |source| BackupError::File { what: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    entries.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

fn remove_catalog(file: &Path) -> Result<(), BackupError> {
    ["sqlite", "sqlite-wal", "sqlite-shm"].iter().try_for_each(|extension| remove(&file.with_extension(extension)))
}

fn make(folder: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(folder).map_err(|source| BackupError::File { what: "make", path: folder.to_owned(), source })
}

fn remove(file: &Path) -> Result<(), BackupError> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(BackupError::File { what: "remove", path: file.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Writes a file, durably but for its name.
fn put(file: &Path, content: &[u8]) -> Result<(), BackupError> {
    let half = file.with_extension("tmp");
    fs::write(&half, content).map_err(|source| BackupError::File { what: "write", path: half.clone(), source })?;
    sync(&half)?;
    rename(&half, file)
}

fn rename(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::rename(from, to).map_err(|source| BackupError::File { what: "rename", path: from.to_owned(), source })
}

/// Makes a file, or the names in a folder, durable.
fn sync(path: &Path) -> Result<(), BackupError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| BackupError::File { what: "sync", path: path.to_owned(), source })
}
