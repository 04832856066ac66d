//! Immutable objects in a folder: written once, whole or not at all, never changed.
//!
//! The surface is what an object store offers too. Names are made by us alone (hexadecimal ids), so nothing from the wire
//! ever becomes part of a path.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::disk::{Disk, RealDisk};

/// Why an object could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BulkError {
    /// The object is not there.
    #[error("object {name} is gone")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The disk is full. Nothing was written; retention will free space.
    #[error("the disk of {} is full", folder.display())]
    Full {
        /// The folder that is on it.
        folder: PathBuf,
    },
    /// The kernel could not say that the bytes are on the disk. What it kept in memory may be lost silently, so no later
    /// write on this mount can be trusted by this process.
    #[error("fsync of {} failed: {source}", path.display())]
    Sync {
        /// The file or folder that was to be on the disk.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The bucket did not answer, or refused.
    #[error("cannot {what} {name}: {source}")]
    Bucket {
        /// What was tried, as a verb: `read`.
        what: &'static str,
        /// The object it was tried on.
        name: String,
        /// What the client of the bucket says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`.
        what: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// An object that the catalog did not know, moved out of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideObject {
    /// The name it had.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Since when it is aside, unix seconds. Part of the name it has now, so that no copy and no restored time stamp changes it.
    pub since_s: u64,
}

impl AsideObject {
    const MARK: &str = ".orphan-";

    /// What a file or an object is called, read.
    pub(super) fn read(file_name: &str, bytes: u64) -> Option<Self> {
        let (name, since) = file_name.split_once(Self::MARK)?;
        let since_s = since.parse().ok()?;
        is_object_name(name).then(|| Self { name: name.to_owned(), bytes, since_s })
    }

    /// What it is called now.
    pub fn file_name(&self) -> String {
        Self::called(&self.name, self.since_s)
    }

    /// What an object is called once it is aside.
    pub(super) fn called(name: &str, since_s: u64) -> String {
        format!("{name}{}{since_s}", Self::MARK)
    }
}

/// What [`Bulk::try_write`] writes; no object has such a name, so no listing shows it.
const TRIAL: &str = "trial";

/// A place for immutable objects. All calls block.
pub trait Bulk: Send + Sync + std::fmt::Debug {
    /// Writes an object. On `Ok` it survives a power cut. Writing the same name again replaces it as a whole.
    ///
    /// # Errors
    /// See [`BulkError`]; on any of them the object is not there, or is there whole.
    fn put(&self, name: &str, content: &[u8]) -> Result<(), BulkError>;

    /// Reads `bytes` bytes from `offset`; fewer where the object ends earlier.
    fn get_range(&self, name: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, BulkError>;

    /// Removes an object; one that is not there is fine.
    fn delete(&self, name: &str) -> Result<(), BulkError>;

    /// All objects, in no order.
    fn list(&self) -> Result<Vec<ObjectInfo>, BulkError>;

    /// Sets a damaged object aside, for people to look at; one that is not there is fine.
    fn quarantine(&self, name: &str) -> Result<(), BulkError>;

    /// Moves an object that the catalog does not know out of the way: it is no longer listed, nor read, and keeps its bytes. One that is
    /// not there is fine. `now_s`: unix seconds.
    fn set_aside(&self, name: &str, now_s: u64) -> Result<(), BulkError>;

    /// What was set aside, in no order.
    fn list_aside(&self) -> Result<Vec<AsideObject>, BulkError>;

    /// Removes what was set aside, for good; one that is not there is fine.
    fn delete_aside(&self, object: &AsideObject) -> Result<(), BulkError>;

    /// Writes a little, durably, and removes it: to find out whether writes work.
    fn try_write(&self) -> Result<(), BulkError> {
        self.put(TRIAL, b"written to find out whether writes work\n")?;
        self.delete(TRIAL)
    }

    /// Writes a note of a deletion, as durably as an object. `name` is made like an object's.
    fn put_tombstone(&self, name: &str, content: &[u8]) -> Result<(), BulkError>;

    /// All notes of deletions, by name.
    fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BulkError>;

    /// Removes a note of a deletion; one that is not there is fine.
    fn delete_tombstone(&self, name: &str) -> Result<(), BulkError>;
}

/// What a note of a deletion is called.
pub(crate) fn tombstone_name(name: &str) -> String {
    format!("{name}{TOMBSTONE}")
}

/// The reverse; `None` for anything else.
pub(crate) fn read_tombstone_name(file_name: &str) -> Option<&str> {
    file_name.strip_suffix(TOMBSTONE).filter(|name| is_object_name(name))
}

const TOMBSTONE: &str = ".deleted";

/// No note is longer: it names one thing.
pub(crate) const TOMBSTONE_BYTES_MAX: u64 = 4 << 10;

/// Objects as files of one folder. What is being written ends in `.tmp`, what is damaged in `.quarantined`, what nobody knows in
/// `.orphan-` and the moment it was set aside.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

impl Folder {
    /// Opens a folder, makes it where it is missing, and removes what a killed writer left half done.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, BulkError> {
        Self::open_on(Arc::new(RealDisk), folder)
    }

    /// The same on another file system.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open_on(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, BulkError> {
        disk.make_folder(folder).map_err(|e| io_error("make folder", folder, e))?;
        for (name, _, _) in disk.list(folder).map_err(|e| io_error("read folder", folder, e))? {
            if name.ends_with(".tmp") {
                let path = folder.join(name);
                disk.remove(&path).map_err(|e| io_error("remove", &path, e))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), disk })
    }

    fn path(&self, name: &str) -> PathBuf {
        debug_assert!(is_object_name(name) || name == TRIAL, "{name:?} is not one of our names");
        self.folder.join(name)
    }

    fn sync_folder(&self) -> Result<(), BulkError> {
        let synced = self.disk.sync_folder(&self.folder);
        synced.map_err(|source| BulkError::Sync { path: self.folder.clone(), source })
    }

    /// Gives an object another name, durably; one that is not there is fine.
    fn rename(&self, name: &str, to: &str) -> Result<(), BulkError> {
        let path = self.path(name);
        match self.disk.rename(&path, &self.folder.join(to)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io_error("set aside", &path, e)),
            Ok(()) => self.sync_folder(),
        }
    }

    fn remove(&self, file_name: &str) -> Result<(), BulkError> {
        let path = self.folder.join(file_name);
        match self.disk.remove(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(io_error("remove", &path, e)),
            _ => Ok(()),
        }
    }

    fn write(&self, temporary: &Path, path: &Path, content: &[u8]) -> Result<(), BulkError> {
        let mut file = self.disk.create(temporary).map_err(|e| io_error("create", temporary, e))?;
        file.write(content).map_err(|e| io_error("write", temporary, e))?;
        file.sync().map_err(|source| match source.kind() {
            // Some file systems find out about the missing space only now.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BulkError::Full { folder: self.folder.clone() },
            _ => BulkError::Sync { path: temporary.to_owned(), source },
        })?;
        self.disk.rename(temporary, path).map_err(|e| io_error("rename", temporary, e))
    }
}

impl Folder {
    fn put_as(&self, file_name: &str, content: &[u8]) -> Result<(), BulkError> {
        let path = self.folder.join(file_name);
        let temporary = self.folder.join(format!("{file_name}.tmp"));
        if let Err(error) = self.write(&temporary, &path, content) {
            // Best effort: the next start removes it otherwise.
            let _ = self.disk.remove(&temporary);
            return Err(error);
        }
        self.sync_folder()
    }
}

impl Bulk for Folder {
    fn put(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        debug_assert!(is_object_name(name) || name == TRIAL, "{name:?} is not one of our names");
        self.put_as(name, content)
    }

    fn get_range(&self, name: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, BulkError> {
        let path = self.path(name);
        self.disk.read(&path, offset, bytes as u64).map_err(|e| match e.kind() {
            ErrorKind::NotFound => BulkError::Missing { name: name.to_owned() },
            _ => io_error("read", &path, e),
        })
    }

    fn delete(&self, name: &str) -> Result<(), BulkError> {
        debug_assert!(is_object_name(name) || name == TRIAL, "{name:?} is not one of our names");
        self.remove(name)
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, BulkError> {
        let found = self.disk.list(&self.folder).map_err(|e| io_error("read folder", &self.folder, e))?;
        let object = |(name, bytes, modified)| ObjectInfo { name, bytes, modified };
        Ok(found.into_iter().filter(|(name, ..)| is_object_name(name)).map(object).collect())
    }

    fn quarantine(&self, name: &str) -> Result<(), BulkError> {
        self.rename(name, &format!("{name}.quarantined"))
    }

    fn set_aside(&self, name: &str, now_s: u64) -> Result<(), BulkError> {
        self.rename(name, &AsideObject::called(name, now_s))
    }

    fn list_aside(&self) -> Result<Vec<AsideObject>, BulkError> {
        let found = self.disk.list(&self.folder).map_err(|e| io_error("read folder", &self.folder, e))?;
        Ok(found.into_iter().filter_map(|(name, bytes, _)| AsideObject::read(&name, bytes)).collect())
    }

    fn delete_aside(&self, object: &AsideObject) -> Result<(), BulkError> {
        self.remove(&object.file_name())
    }

    fn put_tombstone(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        self.put_as(&tombstone_name(name), content)
    }

    fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BulkError> {
        let found = self.disk.list(&self.folder).map_err(|e| io_error("read folder", &self.folder, e))?;
        let mut tombstones = Vec::new();
        for (file_name, ..) in found {
            let Some(name) = read_tombstone_name(&file_name) else { continue };
            let path = self.folder.join(&file_name);
            match self.disk.read(&path, 0, TOMBSTONE_BYTES_MAX) {
                Ok(content) => tombstones.push((name.to_owned(), content)),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(io_error("read", &path, e)),
            }
        }
        Ok(tombstones)
    }

    fn delete_tombstone(&self, name: &str) -> Result<(), BulkError> {
        self.remove(&tombstone_name(name))
    }
}

/// 32 lower-case hexadecimal digits.
pub(crate) fn is_object_name(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> BulkError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            BulkError::Full { folder: path.parent().unwrap_or(path).to_owned() }
        }
        _ => BulkError::Io { what, path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NAME: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_object_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.put(NAME, b"hello world").unwrap();
        assert_eq!(folder.get_range(NAME, 6, 100).unwrap(), b"world");
        assert_eq!(folder.list().unwrap().len(), 1);
        folder.delete(NAME).unwrap();
        folder.delete(NAME).unwrap();
        assert!(matches!(folder.get_range(NAME, 0, 1), Err(BulkError::Missing { .. })));
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_never_listed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(format!("{NAME}.tmp")), b"half").unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.list().unwrap(), []);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_quarantined_object_is_kept_but_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.put(NAME, b"damaged").unwrap();
        folder.quarantine(NAME).unwrap();
        assert!(matches!(folder.get_range(NAME, 0, 1), Err(BulkError::Missing { .. })));
        assert_eq!(folder.list().unwrap(), []);
        assert!(dir.path().join(format!("{NAME}.quarantined")).exists());
    }

    #[test]
    fn what_was_set_aside_keeps_its_bytes_and_the_moment() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.put(NAME, b"whose?").unwrap();
        folder.set_aside(NAME, 1_795_237_200).unwrap();
        folder.set_aside(NAME, 1_795_237_300).unwrap();
        assert!(matches!(folder.get_range(NAME, 0, 1), Err(BulkError::Missing { .. })));
        assert_eq!(folder.list().unwrap(), []);
        let aside = folder.list_aside().unwrap();
        assert_eq!(aside, [AsideObject { name: NAME.to_owned(), bytes: 6, since_s: 1_795_237_200 }]);
        assert_eq!(fs::read(dir.path().join(aside[0].file_name())).unwrap(), b"whose?");
        folder.delete_aside(&aside[0]).unwrap();
        folder.delete_aside(&aside[0]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Of names that look nearly so, nothing is believed.
        for name in ["x.orphan-5".to_owned(), format!("{NAME}.orphan-x"), format!("{NAME}.quarantined")] {
            assert_eq!(AsideObject::read(&name, 1), None, "{name}");
        }
    }
}
