//! Disk for symbols: what arrives, and the tables that are made of it. Windows come first: symbols stop while there is still room for those.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tephra_proto::limits::SYMBOL_FILE_BYTES_MAX;

use crate::conditions::{Conditions, Severity};

/// What all files that are being received may take of the disk together. One of the largest fits, or many others.
const RECEIVED_BYTES_MAX: u64 = SYMBOL_FILE_BYTES_MAX;

/// The disk that symbols go to.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    /// What symbols leave alone, bytes.
    reserve: u64,
    received: AtomicU64,
    conditions: Conditions,
}

/// Why there is no room.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The disk is nearly full.
    #[error("the disk has {free} bytes left, and symbols leave {reserve} of it to profiles: free some space")]
    Disk {
        /// Free bytes of the disk.
        free: u64,
        /// What symbols do not touch.
        reserve: u64,
    },
    /// Other files that are being received take the room.
    #[error(
        "symbol files that are being received take {RECEIVED_BYTES_MAX} bytes of the disk already: try again later"
    )]
    Others,
    /// The disk does not say.
    #[error("the disk cannot be looked at: {0}")]
    Io(#[from] io::Error),
}

impl Room {
    /// Room in a folder on a disk of which windows need `windows` bytes: symbols leave twice as much.
    pub(super) fn new(folder: &Path, windows: u64, conditions: Conditions) -> Self {
        let reserve = windows.saturating_mul(2);
        Self { folder: folder.to_owned(), reserve, received: AtomicU64::new(0), conditions }
    }

    /// How many bytes may be written at most.
    pub(super) fn free(&self) -> Result<u64, RoomError> {
        let about = rustix::fs::statvfs(&self.folder).map_err(io::Error::from)?;
        let free = about.f_bavail.saturating_mul(about.f_frsize);
        let left = free.checked_sub(self.reserve).filter(|left| *left > 0);
        let left = left.ok_or(RoomError::Disk { free, reserve: self.reserve });
        let told = left.as_ref().err().map(|error| format!("symbol files are not taken: {error}"));
        self.conditions.set("symbols_no_room", Severity::Degraded, told);
        left
    }

    /// Says whether so many bytes may be written.
    pub(super) fn check(&self, bytes: u64) -> Result<(), RoomError> {
        let left = self.free()?;
        if bytes <= left { Ok(()) } else { Err(RoomError::Disk { free: left + self.reserve, reserve: self.reserve }) }
    }

    /// Takes room for bytes that were received. They are given back with [`Self::give_back`].
    pub(super) fn take(&self, bytes: u64) -> Result<(), RoomError> {
        self.check(bytes)?;
        let add = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= RECEIVED_BYTES_MAX);
        match self.received.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(_) => Ok(()),
            Err(_) => Err(RoomError::Others),
        }
    }

    /// Gives room back that was taken.
    pub(super) fn give_back(&self, bytes: u64) {
        self.received.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_leave_the_reserve_alone_and_the_operator_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let conditions = Conditions::default();
        let full = Room::new(folder.path(), u64::MAX / 2, conditions.clone());
        assert!(matches!(full.take(1), Err(RoomError::Disk { .. })));
        assert_eq!(conditions.all()[0].kind, "symbols_no_room");
        let empty = Room::new(folder.path(), 0, conditions.clone());
        empty.take(1).unwrap();
        assert!(conditions.all().is_empty());
        assert!(matches!(empty.check(u64::MAX), Err(RoomError::Disk { .. })));
    }

    #[test]
    fn files_being_received_share_one_budget() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::new(folder.path(), 0, Conditions::default());
        room.received.store(RECEIVED_BYTES_MAX - 10, Ordering::Relaxed);
        room.take(10).unwrap();
        assert!(matches!(room.take(1), Err(RoomError::Others)));
        room.give_back(10);
        room.take(1).unwrap();
    }
}
