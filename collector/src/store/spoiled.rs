//! Objects of a folder whose writes fail when a test says so.

use std::fmt::Debug;

use super::bulk::{AsideObject, Bulk, BulkError, Folder, ObjectInfo};

/// What becomes of writes.
pub(crate) trait Fate: Debug + Send + Sync {
    fn put(&self, folder: &Folder, name: &str, content: &[u8]) -> Result<(), BulkError>;

    fn delete(&self, folder: &Folder, name: &str) -> Result<(), BulkError> {
        folder.delete(name)
    }
}

/// A folder that stands under a fate.
#[derive(Debug)]
pub(crate) struct Spoiled<F> {
    pub(crate) folder: Folder,
    pub(crate) fate: F,
}

impl<F: Fate> Bulk for Spoiled<F> {
    fn put(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        self.fate.put(&self.folder, name, content)
    }

    fn get_range(&self, name: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, BulkError> {
        self.folder.get_range(name, offset, bytes)
    }

    fn delete(&self, name: &str) -> Result<(), BulkError> {
        self.fate.delete(&self.folder, name)
    }

    fn list(&self) -> Result<Vec<ObjectInfo>, BulkError> {
        self.folder.list()
    }

    fn quarantine(&self, name: &str) -> Result<(), BulkError> {
        self.folder.quarantine(name)
    }

    fn set_aside(&self, name: &str, now_s: u64) -> Result<(), BulkError> {
        self.folder.set_aside(name, now_s)
    }

    fn list_aside(&self) -> Result<Vec<AsideObject>, BulkError> {
        self.folder.list_aside()
    }

    fn delete_aside(&self, object: &AsideObject) -> Result<(), BulkError> {
        self.folder.delete_aside(object)
    }

    fn put_tombstone(&self, name: &str, content: &[u8]) -> Result<(), BulkError> {
        self.folder.put_tombstone(name, content)
    }

    fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BulkError> {
        self.folder.tombstones()
    }

    fn delete_tombstone(&self, name: &str) -> Result<(), BulkError> {
        self.folder.delete_tombstone(name)
    }
}
