//! The file operations that durability rests on, one by one, so that a model can stand in for the disk and fail at each of them.
#![expect(clippy::disallowed_methods, reason = "this is the one disk that objects are on")]

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

/// The operations of a file system that the store rests on; tests put a model in its place.
///
/// # Errors
/// Each as the operating system says.
pub trait Disk: Send + Sync + Debug {
    /// Makes a folder and those above it.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;

    /// Creates a file, or empties it.
    fn create(&self, file: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file another name, in one step, in place of what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Writes the content of a file over itself and makes it durable: the kernel may show bytes that it has not brought to the disk,
    /// and, after a failed sync, never will.
    fn renew(&self, file: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Up to `bytes` bytes from `offset`.
    fn read(&self, file: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>>;

    /// What a folder holds: name, size, time of the last change. Names that are not UTF-8 are left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64, SystemTime)>>;
}

/// A file being written.
pub trait NewFile {
    /// Appends to what was written before.
    fn write(&mut self, content: &[u8]) -> io::Result<()>;

    /// Makes the content durable; not the name.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's.
#[derive(Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create(true).truncate(true).open(file)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn renew(&self, file: &Path) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(file)?;
        let mut piece = vec![0; 1 << 20];
        let mut offset = 0;
        loop {
            let bytes = file.read_at(&mut piece, offset)?;
            let Some(content @ [_, ..]) = piece.get(..bytes) else { return file.sync_all() };
            file.write_all_at(content, offset)?;
            offset += bytes as u64;
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn read(&self, file: &Path, offset: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let mut content = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        file.take(bytes).read_to_end(&mut content)?;
        Ok(content)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, u64, SystemTime)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let about = match entry.metadata() {
                // Removed since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => about?,
            };
            if let Ok(name) = entry.file_name().into_string() {
                found.push((name, about.len(), about.modified()?));
            }
        }
        Ok(found)
    }
}

impl NewFile for File {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.write_all(content)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_renewed_holds_what_it_held() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        assert_eq!(RealDisk.renew(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        // None, less than a piece, and some pieces.
        for bytes in [0, 1_000, (2 << 20) + 1] {
            let content: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
            fs::write(&file, &content).unwrap();
            RealDisk.renew(&file).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
        }
    }
}
