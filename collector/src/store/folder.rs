//! The data folder: made, probed and locked, with errors that a person can act on.
#![expect(clippy::disallowed_methods, reason = "this is where the folder of a store is made, looked at and locked")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::StoreError;
use super::disk::{Disk, RealDisk};

use crate::base::clock;

/// Makes the folder, and makes sure it is one.
pub(super) fn prepare(data: &Path) -> Result<(), StoreError> {
    if data.exists() && !data.is_dir() {
        return Err(problem(data, "it is a file: choose a folder with --data"));
    }
    let fresh = !data.exists();
    fs::create_dir_all(data).map_err(|e| match e.kind() {
        ErrorKind::NotADirectory => problem(data, "part of its path is a file: choose another with --data"),
        _ => problem(data, &format!("cannot be made ({e}): choose another with --data")),
    })?;
    match data.parent() {
        Some(parent) if fresh && !parent.as_os_str().is_empty() => sync(&RealDisk, parent),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync(disk: &dyn Disk, folder: &Path) -> Result<(), StoreError> {
    disk.sync_folder(folder)
        .map_err(|e| problem(folder, &format!("cannot be synced ({e}): choose another with --data")))
}

/// Makes durable what can be read in a file of the folder; one that is not there is fine.
pub(super) fn renew(disk: &dyn Disk, data: &Path, name: &str) -> Result<(), StoreError> {
    match disk.renew(&data.join(name)) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(problem(data, &format!("{name} cannot be written ({e}): check the disk")))
        }
        _ => Ok(()),
    }
}

/// How long a lock may outlive its owner: a child process that is just being started holds all its parent had open until it runs
/// its own program, and a predecessor that was told to end may still be ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Takes the folder for this process. The lock goes with the process, however it ends. Blocks for a moment where somebody else has it.
pub(super) fn lock(data: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(data.join("LOCK"));
    let file = file.map_err(|e| problem(data, &format!("cannot be written to ({e}): choose another with --data")))?;
    let asked = clock::instant();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if asked.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(problem(data, "another tephra is using it: stop that one, or choose another with --data"));
            }
            Err(TryLockError::Error(e)) => {
                return Err(problem(data, &format!("cannot be locked ({e}): is it on a network share?")));
            }
        }
    }
}

/// Free bytes for this user.
pub(super) fn free_bytes(data: &Path) -> Result<u64, StoreError> {
    let about = rustix::fs::statvfs(data).map_err(|e| problem(data, &format!("cannot be looked at ({e})")))?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

fn problem(data: &Path, problem: &str) -> StoreError {
    StoreError::Folder { path: data.to_owned(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_a_starting_child_still_holds_is_waited_for_and_a_real_one_is_not() {
        let data = tempfile::tempdir().unwrap();
        let first = lock(data.path()).unwrap();
        // As after fork: the same open file, in other hands.
        let inherited = first.try_clone().unwrap();
        drop(first);
        let child = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(inherited);
        });
        let second = lock(data.path()).unwrap();
        child.join().unwrap();
        assert!(lock(data.path()).unwrap_err().to_string().contains("another tephra is using it"));
        drop(second);
    }
}
