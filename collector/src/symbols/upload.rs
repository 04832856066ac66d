//! Takes one file from a stream of chunks: at most as long as announced, on disk only, and checked to be the build it
//! claims to be before anything parses it.
#![expect(clippy::disallowed_methods, reason = "files on their way are made and removed here")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tephra_proto::codec::{self, CodecError};
use tephra_proto::ids::BuildId;
use tephra_proto::label::NameError;
use tephra_proto::limits::{SYMBOL_CHUNK_BYTES_MAX, SYMBOL_FILE_BYTES_MAX};
use tephra_proto::v1::SymbolFile;

use super::folder::{Claim, Filed, State};
use super::places::Place;
pub use super::places::PlaceError;
use super::room::{Room, RoomError};
use super::table::Detail;
use super::{Symbols, job};

/// Why an upload was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// The stream has no first chunk, or that one does not say which file it is.
    #[error("the first chunk does not name the file")]
    Nameless,
    /// A later chunk names a file again.
    #[error("a chunk in the middle names another file")]
    NamedTwice,
    /// The announced build id.
    #[error(transparent)]
    BuildId(#[from] NameError),
    /// Announced as empty, or as larger than a symbol file may be.
    #[error("symbol file has {bytes} bytes, limit {SYMBOL_FILE_BYTES_MAX}, at least 1")]
    Size {
        /// The announced size in bytes.
        bytes: u64,
    },
    /// Chunks hold another number of bytes than announced.
    #[error("symbol file was announced with {announced} bytes, {received} came")]
    WrongLength {
        /// Bytes that the first chunk announced.
        announced: u64,
        /// Bytes that have come until then.
        received: u64,
    },
    /// A chunk does not decompress.
    #[error(transparent)]
    Chunk(#[from] CodecError),
    /// The file is not the build it was announced as, or no ELF file.
    #[error("{0}")]
    Identity(String),
    /// It could not be symbolized.
    #[error("{0}")]
    Unusable(String),
    /// Nobody could look at it.
    #[error("{0}")]
    Unread(String),
    /// Somebody else is uploading it.
    #[error("build {0} is being uploaded already")]
    Busy(BuildId),
    /// Others are uploading, or it does not keep the pace.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It takes far more of the disk than it was on the way.
    #[error(
        "{sent} bytes were sent for {stored} bytes of the file that are not zeros: no real file is compressed so well"
    )]
    Bomb {
        /// Bytes as they came, compressed.
        sent: u64,
        /// Bytes that they take of the disk.
        stored: u64,
    },
    /// There is no room on the disk.
    #[error(transparent)]
    Disk(#[from] RoomError),
    /// The disk is full or fails.
    #[error("symbol file cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// A file that is being received. Dropped early, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Upload {
    claim: Claim,
    path: Incoming,
    file: File,
    announced: u64,
    received: u64,
    /// As it came, compressed.
    sent: u64,
    /// Its name is a hash of what does not come.
    ends_withheld: bool,
}

/// A file in `incoming`, removed when dropped, and the room that it takes on the disk.
#[derive(Debug)]
pub(super) struct Incoming {
    path: PathBuf,
    room: Arc<Room>,
    stored: u64,
}

impl Incoming {
    pub(super) fn new(path: PathBuf, room: Arc<Room>) -> Self {
        Self { path, room, stored: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes room for more bytes of it.
    fn grow(&mut self, bytes: u64) -> Result<(), UploadError> {
        self.room.take(bytes)?;
        self.stored += bytes;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What stays is swept at the next start.
        fs::remove_file(&self.path).ok();
        self.room.give_back(self.stored);
    }
}

/// A complete file of the announced build.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) claim: Claim,
    pub(super) path: Incoming,
    pub(super) bytes: u64,
}

/// Reads what an upload announces.
pub(super) fn announced(file: &SymbolFile) -> Result<BuildId, UploadError> {
    check_size(file.file_bytes)?;
    Ok(BuildId::from_bytes(&file.build_id)?)
}

fn check_size(bytes: u64) -> Result<(), UploadError> {
    if bytes == 0 || bytes > SYMBOL_FILE_BYTES_MAX { Err(UploadError::Size { bytes }) } else { Ok(()) }
}

/// A file that somebody sends by hand. Dropped early, it leaves nothing behind.
#[derive(Debug)]
pub struct ByHand {
    symbols: Symbols,
    upload: Upload,
    place: Place,
}

impl Symbols {
    /// Begins to receive a file of `bytes` bytes that names the functions of a build, whatever is known of it already.
    ///
    /// # Errors
    /// When it is too large, or other files are being received.
    pub fn receive(&self, id: BuildId, bytes: u64) -> Result<ByHand, UploadError> {
        check_size(bytes)?;
        let place = self.shared.places.take()?;
        Ok(ByHand { symbols: self.clone(), upload: self.begin(id, bytes)?, place })
    }
}

impl ByHand {
    /// Waits for what the sender has next.
    ///
    /// # Errors
    /// When it is too slow, or gives way to another.
    pub async fn next<T>(&self, next: impl Future<Output = T>) -> Result<T, UploadError> {
        Ok(self.place.next(next).await?)
    }

    /// Takes the next bytes. Blocks.
    ///
    /// # Errors
    /// When more come than were announced, or the disk is full or fails.
    pub fn write(&mut self, content: &[u8]) -> Result<(), UploadError> {
        self.upload.sent += content.len() as u64;
        self.upload.write(content)?;
        self.place.received(content.len() as u64);
        Ok(())
    }

    /// Ends the file and makes a symbol table of it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When it is not the build it was announced as, or has no names.
    pub fn finish(self) -> Result<Named, UploadError> {
        self.place.complete();
        let received = self.upload.finish()?;
        let id = received.claim.id;
        let filed = self.symbols.symbolize(received);
        match (filed, self.symbols.shared.folder.state(&id)) {
            (Some(Filed::Poorer { known, new }), _) => Ok(Named { detail: known.detail, less: Some(new.detail) }),
            (_, Some(State::Ready { richness, .. })) => Ok(Named { detail: richness.detail, less: None }),
            (_, Some(State::Failed(failure))) if failure.of_file => Err(UploadError::Unusable(failure.reason)),
            (_, Some(State::Failed(failure))) => Err(UploadError::Unread(failure.reason)),
            _ => Err(UploadError::Io(io::Error::other("the symbol table could not be stored"))),
        }
    }
}

/// What is known of a build after a file was sent by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// What its table tells.
    pub detail: Detail,
    /// What this file tells, where that is less than an earlier one did: the earlier one's table stays.
    pub less: Option<Detail>,
}

/// The disk's blocks, and those of most files' holes.
const BLOCK: usize = 4096;

/// Symbols and debug info are compressed three to eight times: what claims to be far more than that is no file, but a way to fill a disk.
const RATIO_MAX: u64 = 64;

impl Upload {
    pub(super) fn begin(claim: Claim, path: PathBuf, room: Arc<Room>, announced: u64) -> Result<Self, UploadError> {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let path = Incoming::new(path, room);
        Ok(Self { claim, path, file, announced, received: 0, sent: 0, ends_withheld: false })
    }

    /// The same for a file without a build id whose ends stay with its sender.
    pub(super) fn with_ends_withheld(self, ends_withheld: bool) -> Self {
        Self { ends_withheld, ..self }
    }

    /// Bytes of the file that came so far.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next chunk: one zstd frame.
    pub(super) fn chunk(&mut self, frame: &[u8]) -> Result<(), UploadError> {
        self.sent += frame.len() as u64;
        self.write(&codec::decompress(frame, SYMBOL_CHUNK_BYTES_MAX)?)
    }

    /// Takes the next bytes of the file.
    fn write(&mut self, content: &[u8]) -> Result<(), UploadError> {
        let received = self.received + content.len() as u64;
        if received > self.announced {
            return Err(UploadError::WrongLength { announced: self.announced, received });
        }
        let is_hole = |part: &[u8]| part.iter().all(|&byte| byte == 0);
        let (mut at, mut rest) = (self.received, content);
        while !rest.is_empty() {
            let first = (BLOCK - at as usize % BLOCK).min(rest.len());
            let hole = is_hole(&rest[..first]);
            let like_it = rest[first..].chunks(BLOCK).take_while(|block| is_hole(block) == hole).map(<[u8]>::len);
            let (run, after) = rest.split_at(first + like_it.sum::<usize>());
            // What symbolization does not read comes as zeros: a hole in the file, so that it costs no disk either.
            if !hole {
                self.store(run, at)?;
            }
            (at, rest) = (at + run.len() as u64, after);
        }
        self.received = received;
        Ok(())
    }

    fn store(&mut self, run: &[u8], at: u64) -> Result<(), UploadError> {
        self.path.grow(run.len() as u64)?;
        let (sent, stored) = (self.sent, self.path.stored);
        if stored > (SYMBOL_CHUNK_BYTES_MAX as u64).saturating_add(sent.saturating_mul(RATIO_MAX)) {
            return Err(UploadError::Bomb { sent, stored });
        }
        Ok(self.file.write_all_at(run, at)?)
    }

    /// Ends the stream: the file is complete and is what it claims to be, or refused.
    pub(super) fn finish(self) -> Result<Received, UploadError> {
        if self.received != self.announced {
            return Err(UploadError::WrongLength { announced: self.announced, received: self.received });
        }
        self.file.set_len(self.received)?;
        job::check_identity(&self.file, &self.claim.id, self.ends_withheld).map_err(UploadError::Identity)?;
        Ok(Received { claim: self.claim, path: self.path, bytes: self.received })
    }
}
