//! What is backed up: a folder, or PostgreSQL and a bucket. Read beside the collectors that use it, and changed in nothing but the hold.
#![expect(clippy::disallowed_methods, reason = "this is where a store's own files are copied from")]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::BackupError;
use crate::store::bucket::Bucket;
use crate::store::bulk::{Bulk, BulkError, TOMBSTONE_BYTES_MAX, read_tombstone_name};
use crate::store::catalog::{Catalog, Location, SharedSymbols};
use crate::store::place::Place;

/// Memory for pieces of objects: each is read once.
const CACHE_BYTES: usize = 0;

/// An open source.
#[derive(Debug)]
pub struct Source {
    catalog: Catalog,
    objects: Objects,
}

#[derive(Debug)]
enum Objects {
    Folder(PathBuf),
    Bucket { segments: Bucket, symbols: Bucket },
}

/// One symbol table, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolFile {
    /// As a folder store calls it.
    pub name: String,
    /// Where its content is.
    pub(super) content: SymbolContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SymbolContent {
    /// In a file.
    File(PathBuf),
    /// In the bucket.
    Object { name: String, bytes: u64 },
    /// Here.
    Text(String),
}

impl Source {
    /// Opens a store that others may be using.
    ///
    /// # Errors
    /// When there is none, or it was written by a later release.
    pub async fn open(place: &Place) -> Result<Self, BackupError> {
        match place {
            Place::Folder(data) => Self::open_folder(data).await,
            Place::Shared { catalog: postgres, bucket, .. } => {
                let catalog = Catalog::attach(&postgres.location()).await?;
                if !catalog.is_current().await? {
                    let problem = "its catalog is of an earlier release: back it up with the release that runs on it, \
                                   or start this one on it first"
                        .to_owned();
                    return Err(BackupError::Place { place: postgres.to_string(), problem });
                }
                let segments = Bucket::open(bucket, "segments", CACHE_BYTES)?;
                let symbols = segments.beside("symbols");
                Ok(Self { catalog, objects: Objects::Bucket { segments, symbols } })
            }
        }
    }

    async fn open_folder(data: &Path) -> Result<Self, BackupError> {
        let file = data.join("catalog.sqlite");
        if !file.is_file() {
            let problem = "there is no store here: name the folder of one".to_owned();
            return Err(BackupError::Folder { folder: data.to_owned(), problem });
        }
        Ok(Self { catalog: Catalog::attach(&Location::File(file)).await?, objects: Objects::Folder(data.to_owned()) })
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Its folder, where it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match &self.objects {
            Objects::Folder(data) => Some(data),
            Objects::Bucket { .. } => None,
        }
    }

    /// Writes the catalog as it is now into a new file.
    pub(super) async fn copy_catalog(&self, file: &Path) -> Result<(), BackupError> {
        if !self.catalog.is_shared() {
            return Ok(self.catalog.copy_file(file).await?);
        }
        let copy = Catalog::connect(&Location::File(file.to_owned())).await?;
        self.catalog.copy_rows(&copy).await?;
        copy.close_whole().await?;
        Ok(())
    }

    /// Brings an object into a new file, durably but for its name; `false` when it is not there, or not whole. Blocks.
    pub(super) fn fetch(&self, name: &str, bytes: u64, to: &Path, link: bool) -> Result<bool, BackupError> {
        let failed = |what| move |source| BackupError::File { what, path: to.to_owned(), source };
        match &self.objects {
            Objects::Folder(data) => {
                let from = data.join("segments").join(name);
                let copy = || fs::copy(&from, to).map(drop);
                let copied = match link.then(|| fs::hard_link(&from, to)) {
                    Some(Err(error)) if error.kind() == ErrorKind::CrossesDevices => copy(),
                    Some(linked) => linked,
                    None => copy(),
                };
                match copied {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                    copied => copied.map_err(failed("write"))?,
                }
            }
            Objects::Bucket { segments, .. } => match segments.get(name) {
                Ok(content) => fs::write(to, content).map_err(failed("write"))?,
                Err(BulkError::Missing { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            },
        }
        let file = File::open(to).map_err(failed("read"))?;
        if file.metadata().map_err(failed("read"))?.len() != bytes {
            fs::remove_file(to).map_err(failed("remove"))?;
            return Ok(false);
        }
        file.sync_all().map_err(failed("sync"))?;
        Ok(true)
    }

    /// The notes of deletions, by name. Blocks.
    pub(super) fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
        let data = match &self.objects {
            Objects::Folder(data) => data,
            Objects::Bucket { segments, .. } => return Ok(segments.tombstones()?),
        };
        let mut tombstones = Vec::new();
        for (file_name, path) in list_files(&data.join("segments"))? {
            let Some(name) = read_tombstone_name(&file_name) else { continue };
            let mut content = Vec::new();
            let read = File::open(&path).and_then(|file| file.take(TOMBSTONE_BYTES_MAX).read_to_end(&mut content));
            match read {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(|source| BackupError::File { what: "read", path, source })?,
            };
            tombstones.push((name.to_owned(), content));
        }
        Ok(tombstones)
    }

    /// The symbols there are.
    pub(super) async fn symbols(&self) -> Result<Vec<SymbolFile>, BackupError> {
        match &self.objects {
            Objects::Folder(data) => {
                let files = list_files(&data.join("symbols"))?.into_iter();
                Ok(files.map(|(name, path)| SymbolFile { name, content: SymbolContent::File(path) }).collect())
            }
            Objects::Bucket { .. } => {
                let rows = self.catalog.symbols(0).await?;
                Ok(rows.into_iter().map(|row| symbol_file(row.build_id, row.symbols)).collect())
            }
        }
    }

    /// Brings a symbol table into a new file; `false` when it is gone. Blocks.
    pub(super) fn fetch_symbols(&self, file: &SymbolFile, to: &Path) -> io::Result<bool> {
        let fetched = match (&file.content, &self.objects) {
            (SymbolContent::File(from), _) => copy_with_time(from, to),
            (SymbolContent::Text(text), _) => fs::write(to, text),
            (SymbolContent::Object { name, .. }, Objects::Bucket { symbols, .. }) => match symbols.get(name) {
                Ok(content) => fs::write(to, content),
                Err(BulkError::Missing { .. }) => return Ok(false),
                Err(error) => Err(io::Error::other(error)),
            },
            (SymbolContent::Object { .. }, Objects::Folder(_)) => return Ok(false),
        };
        match fetched {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            fetched => fetched.and_then(|()| File::open(to)?.sync_all()).map(|()| true),
        }
    }
}

fn symbol_file(build_id: String, symbols: SharedSymbols) -> SymbolFile {
    match symbols {
        SharedSymbols::Ready { object, bytes, .. } => {
            SymbolFile { name: format!("{build_id}.symcache"), content: SymbolContent::Object { name: object, bytes } }
        }
        SharedSymbols::Failed(failed) => {
            SymbolFile { name: format!("{build_id}.failed"), content: SymbolContent::Text(failed.reason) }
        }
    }
}

/// Files of a folder, by name; what is being written lies in folders of it. None where there is no such folder.
fn list_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let failed = |source| BackupError::File { what: "read", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.file_type().map_err(failed)?.is_file()
        {
            files.push((name, entry.path()));
        }
    }
    Ok(files)
}

/// With the time of the original: by size and time the next backup knows whether it is still the same.
fn copy_with_time(from: &Path, to: &Path) -> io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    fs::copy(from, to)?;
    File::options().write(true).open(to)?.set_modified(modified)
}
