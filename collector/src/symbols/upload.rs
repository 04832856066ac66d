//! Takes one file from a stream of chunks: at most as long as announced, on disk only, and checked to be the build it
//! claims to be before anything parses it.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

use tephra_proto::codec::{self, CodecError};
use tephra_proto::ids::BuildId;
use tephra_proto::label::NameError;
use tephra_proto::limits::{SYMBOL_CHUNK_BYTES_MAX, SYMBOL_FILE_BYTES_MAX};
use tephra_proto::v1::SymbolFile;
use tokio::sync::OwnedSemaphorePermit;

use super::folder::{Claim, Filed, State};
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
    /// The announced size.
    #[error("symbol file has {bytes} bytes, limit {SYMBOL_FILE_BYTES_MAX}, at least 1")]
    Size {
        /// What was announced.
        bytes: u64,
    },
    /// Chunks hold another number of bytes than announced.
    #[error("symbol file was announced with {announced} bytes, {received} came")]
    WrongLength {
        /// In the first chunk.
        announced: u64,
        /// So far.
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
    /// Somebody else is uploading it.
    #[error("build {0} is being uploaded already")]
    Busy(BuildId),
    /// Others are uploading.
    #[error("other symbol files are being received")]
    NoRoom,
    /// The disk.
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
}

/// A file in `incoming`, removed when dropped.
#[derive(Debug)]
pub(super) struct Incoming(pub(super) PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // What stays is swept at the next start.
        fs::remove_file(&self.0).ok();
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
    _place: OwnedSemaphorePermit,
}

impl Symbols {
    /// Begins to receive a file of `bytes` bytes that names the functions of a build, whatever is known of it already.
    ///
    /// # Errors
    /// When it is too large, or other files are being received.
    pub fn receive(&self, id: BuildId, bytes: u64) -> Result<ByHand, UploadError> {
        check_size(bytes)?;
        let place = self.place().ok_or(UploadError::NoRoom)?;
        Ok(ByHand { symbols: self.clone(), upload: self.begin(id, bytes)?, _place: place })
    }
}

impl ByHand {
    /// Takes the next bytes. Blocks.
    ///
    /// # Errors
    /// When more come than were announced, or the disk fails.
    pub fn write(&mut self, content: &[u8]) -> Result<(), UploadError> {
        self.upload.write(content)
    }

    /// Ends the file and makes a symbol table of it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// When it is not the build it was announced as, or has no names.
    pub fn finish(self) -> Result<Named, UploadError> {
        let received = self.upload.finish()?;
        let id = received.claim.id;
        let filed = self.symbols.symbolize(received);
        match (filed, self.symbols.shared.folder.state(&id)) {
            (Some(Filed::Poorer { known, new }), _) => Ok(Named { detail: known.detail, less: Some(new.detail) }),
            (_, Some(State::Ready { richness, .. })) => Ok(Named { detail: richness.detail, less: None }),
            (_, Some(State::Failed { reason })) => Err(UploadError::Unusable(reason)),
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

impl Upload {
    pub(super) fn begin(claim: Claim, path: PathBuf, announced: u64) -> Result<Self, UploadError> {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let path = Incoming(path);
        Ok(Self { claim, path, file, announced, received: 0 })
    }

    /// Takes the next chunk: one zstd frame.
    pub(super) fn chunk(&mut self, frame: &[u8]) -> Result<(), UploadError> {
        self.write(&codec::decompress(frame, SYMBOL_CHUNK_BYTES_MAX)?)
    }

    /// Takes the next bytes of the file.
    pub(super) fn write(&mut self, content: &[u8]) -> Result<(), UploadError> {
        let received = self.received + content.len() as u64;
        if received > self.announced {
            return Err(UploadError::WrongLength { announced: self.announced, received });
        }
        // What symbolization does not read comes as zeros: a hole in the file, so that it costs no disk either.
        if content.iter().all(|&byte| byte == 0) {
            self.file.seek(SeekFrom::Current(content.len() as i64))?;
        } else {
            self.file.write_all(content)?;
        }
        self.received = received;
        Ok(())
    }

    /// Ends the stream: the file is complete and is what it claims to be, or refused.
    pub(super) fn finish(self) -> Result<Received, UploadError> {
        if self.received != self.announced {
            return Err(UploadError::WrongLength { announced: self.announced, received: self.received });
        }
        self.file.set_len(self.received)?;
        job::check_identity(&self.file, &self.claim.id).map_err(UploadError::Identity)?;
        Ok(Received { claim: self.claim, path: self.path, bytes: self.received })
    }
}
