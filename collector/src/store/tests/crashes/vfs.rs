//! SQLite on a model disk: what SQLite asks of a file system, passed on.
//!
//! SQLite keeps a VFS forever, so there is one for all disks, and the folder of a database says on which it is.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::time::Duration;

use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenKind, OpenOptions, Vfs};

use super::model::{ModelDisk, ModelFile};
use super::shared::{Holder, Shared};
use crate::store::disk::Disk;

/// What SQLite calls it.
pub(super) const VFS: &str = "model";

static MOUNTED: Mutex<BTreeMap<PathBuf, (ModelDisk, Arc<Shared>)>> = Mutex::new(BTreeMap::new());

fn mounted() -> MutexGuard<'static, BTreeMap<PathBuf, (ModelDisk, Arc<Shared>)>> {
    MOUNTED.lock().unwrap()
}

/// A folder that is on a model disk as long as this lives.
#[derive(Debug)]
pub(super) struct Mount {
    folder: PathBuf,
    shared: Arc<Shared>,
}

impl Mount {
    /// With no connection to a database in it yet.
    pub(super) fn new(folder: &Path, disk: &ModelDisk) -> Self {
        static REGISTERED: Once = Once::new();
        REGISTERED.call_once(|| sqlite_vfs::register(VFS, ModelVfs, false).unwrap());
        let shared = Arc::<Shared>::default();
        mounted().insert(folder.to_owned(), (disk.clone(), shared.clone()));
        Self { folder: folder.to_owned(), shared }
    }

    /// Waits until SQLite has closed all files: a connection that is dropped ends on a thread of its own.
    pub(super) async fn idle(&self) {
        // This one, and the one in the table.
        while Arc::strong_count(&self.shared) > 2 {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        mounted().remove(&self.folder);
    }
}

/// The disk of a file, and what its connections share.
fn disk_of(file: &Path) -> io::Result<(ModelDisk, Arc<Shared>)> {
    file.parent().and_then(|folder| mounted().get(folder).cloned()).ok_or_else(|| ErrorKind::NotFound.into())
}

struct ModelVfs;

impl Vfs for ModelVfs {
    type Handle = Handle;

    fn open(&self, path: &str, options: OpenOptions) -> io::Result<Handle> {
        let path = Path::new(path);
        let (disk, shared) = disk_of(path)?;
        let may_create = matches!(options.access, OpenAccess::Create | OpenAccess::CreateNew);
        let file = match disk.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound && may_create => disk.make(path)?,
            found => found?,
        };
        // As on Unix: the name of a log or journal is synced with its content, once; that of a database is ours to sync.
        let sync_name = may_create && matches!(options.kind, OpenKind::Wal | OpenKind::MainJournal);
        let unsynced_name = path.parent().filter(|_| sync_name).map(Path::to_owned);
        Ok(Handle { disk, file, unsynced_name, holder: Holder::new(shared) })
    }

    fn delete(&self, path: &str) -> io::Result<()> {
        disk_of(Path::new(path))?.0.remove(Path::new(path))
    }

    /// As on Unix: an empty journal is none.
    fn exists(&self, path: &str) -> io::Result<bool> {
        let (disk, _) = disk_of(Path::new(path))?;
        Ok(disk.open(Path::new(path)).is_ok_and(|file| file.len() > 0))
    }

    /// Nothing here is large enough to need one.
    fn temporary_name(&self) -> String {
        String::new()
    }

    fn random(&self, buffer: &mut [i8]) {
        buffer.fill(0);
    }

    /// Only where two connections want the same lock.
    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::sleep(duration);
        duration
    }
}

/// A file that SQLite has open.
pub(super) struct Handle {
    disk: ModelDisk,
    file: ModelFile,
    unsynced_name: Option<PathBuf>,
    holder: Holder,
}

impl DatabaseHandle for Handle {
    type WalIndex = Holder;

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.len() as u64)
    }

    /// SQLite wants zeros for what is not there.
    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.file.read_at(offset as usize, buffer);
        match buffer.get_mut(read..) {
            Some(rest) if !rest.is_empty() => {
                rest.fill(0);
                Err(ErrorKind::UnexpectedEof.into())
            }
            _ => Ok(()),
        }
    }

    fn write_all_at(&mut self, content: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(offset as usize, content).map_err(|error| match error.kind() {
            // What the glue takes for a full disk.
            ErrorKind::StorageFull => ErrorKind::WriteZero.into(),
            _ => error,
        })
    }

    fn sync(&mut self, _: bool) -> io::Result<()> {
        self.file.sync()?;
        if let Some(folder) = self.unsynced_name.take() {
            // As on Unix: whether this fails, SQLite does not want to know.
            let _ = self.disk.sync_folder(&folder);
        }
        Ok(())
    }

    /// Growing is only a hint, and SQLite's own VFS for Unix does not take it.
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > self.file.len() as u64 {
            return Ok(());
        }
        self.file.truncate(len as usize)
    }

    fn lock(&mut self, kind: LockKind) -> io::Result<bool> {
        Ok(self.holder.lock_database(kind))
    }

    fn reserved(&mut self) -> io::Result<bool> {
        Ok(self.holder.is_reserved())
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(self.holder.database_lock())
    }

    fn wal_index(&self, _: bool) -> io::Result<Holder> {
        Ok(self.holder.another())
    }
}
