//! Offers the collector the symbols of this process's binaries, and uploads those it wants: once per build, slowly.
//!
//! What travels is the file as it lies on disk, at its own offsets, with everything but symbols, debug info and notes
//! sent as zeros: neither code nor data leaves the host.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tephra_proto::codec;
use tephra_proto::limits::{SYMBOL_CHUNK_BYTES_MAX, SYMBOL_FILE_BYTES_MAX};
use tephra_proto::v1::symbol_service_client::SymbolServiceClient;
use tephra_proto::v1::{OfferRequest, SymbolFile, UploadChunk};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::elf::{self, Outline};
use super::{Binaries, Binary, REPLY_BYTES_MAX, TIMEOUT};
use crate::notice::Notice;

/// Not sooner than this is one build tried again, whether it failed or the collector forgot it.
const AGAIN_AFTER: Duration = Duration::from_secs(120);

/// A build that takes longer is not for this connection.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(1800);

/// Share of one CPU that an upload takes at most, as rest per work.
const REST_PER_WORK: u32 = 10;
const REST_MAX: Duration = Duration::from_millis(200);

/// Where to tell what the collector asked for.
#[derive(Debug, Clone)]
pub(super) struct Symbols(mpsc::Sender<Vec<Vec<u8>>>);

impl Symbols {
    /// The collector answered, and wants these builds. Never waits: it will ask again.
    pub(super) fn wanted(&self, build_ids: Vec<Vec<u8>>) {
        let _ = self.0.try_send(build_ids);
    }
}

/// Starts the task that offers and uploads, on the current runtime.
pub(super) fn spawn(channel: Channel, binaries: Arc<Binaries>) -> Symbols {
    let (sender, mut receiver) = mpsc::channel(1);
    let client = SymbolServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    let mut uploader = Uploader {
        client,
        binaries,
        offered: Arc::default(),
        tried: HashMap::new(),
        postponed: Vec::new(),
        since: SystemTime::now(),
    };
    tokio::spawn(async move {
        while let Some(wanted) = receiver.recv().await {
            uploader.serve(wanted).await;
        }
    });
    Symbols(sender)
}

struct Uploader {
    client: SymbolServiceClient<Channel>,
    binaries: Arc<Binaries>,
    /// What was offered last; every change of it is offered again.
    offered: Arc<[Binary]>,
    /// Builds that were tried, and when they may be tried again.
    tried: HashMap<Vec<u8>, Instant>,
    /// Wanted by the collector, which takes few files at a time: tried again as soon as it is next heard of.
    postponed: Vec<Vec<u8>>,
    since: SystemTime,
}

/// Why a build's symbols stay here.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("its file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("its file was replaced since it was loaded")]
    Replaced,
    #[error("its file has no symbols")]
    Stripped,
    #[error("its file has {bytes} bytes, limit {SYMBOL_FILE_BYTES_MAX}")]
    TooLarge { bytes: u64 },
    #[error("the collector did not take them: {}", .0.message())]
    Status(#[from] tonic::Status),
    #[error("the upload took longer than {} s", UPLOAD_TIMEOUT.as_secs())]
    TooSlow,
}

impl Uploader {
    /// The collector is there: offer what is new, and upload what it wants.
    async fn serve(&mut self, mut wanted: Vec<Vec<u8>>) {
        let binaries = self.binaries.get();
        wanted.append(&mut self.postponed);
        if binaries != self.offered {
            match self.offer(&binaries).await {
                Ok(also) => {
                    wanted.extend(also);
                    self.offered = Arc::clone(&binaries);
                }
                Err(status) => say(&format!("could not offer symbols: {}", status.message())),
            }
        }
        for binary in binaries.iter().filter(|binary| wanted.contains(&binary.build_id)) {
            let now = Instant::now();
            if self.tried.get(&binary.build_id).is_some_and(|again| now < *again) {
                continue;
            }
            self.tried.insert(binary.build_id.clone(), now + AGAIN_AFTER);
            match self.upload(binary).await {
                Ok(()) | Err(NotSent::Stripped) => {}
                Err(NotSent::Status(status)) if status.code() == tonic::Code::Unavailable => {
                    self.tried.remove(&binary.build_id);
                    self.postponed.push(binary.build_id.clone());
                }
                Err(why) => say(&format!("no symbols of {}: {why}", binary.name)),
            }
        }
    }

    async fn offer(&mut self, binaries: &[Binary]) -> Result<Vec<Vec<u8>>, tonic::Status> {
        let known = binaries.iter().filter_map(|binary| Some(describe(binary, &self.open(binary).ok()?.1)));
        let files: Vec<SymbolFile> = known.collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let reply = timeout(TIMEOUT, self.client.offer(OfferRequest { files })).await;
        Ok(reply.map_err(|_| tonic::Status::deadline_exceeded("no answer"))??.into_inner().wanted)
    }

    async fn upload(&mut self, binary: &Binary) -> Result<(), NotSent> {
        let (file, outline) = self.open(binary)?;
        let first = describe(binary, &outline);
        // One chunk is on the wire while the next is read.
        let (chunks, receiver) = mpsc::channel(1);
        let reading = tokio::spawn(read_chunks(file, outline, first, chunks));
        let sent = timeout(UPLOAD_TIMEOUT, self.client.upload(ReceiverStream::new(receiver))).await;
        let read = reading.await.unwrap_or_else(|_| Err(io::Error::other("reading it failed")));
        sent.map_err(|_| NotSent::TooSlow)??;
        Ok(read?)
    }

    fn open(&self, binary: &Binary) -> Result<(File, Outline), NotSent> {
        let file = File::open(&binary.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > SYMBOL_FILE_BYTES_MAX {
            return Err(NotSent::TooLarge { bytes: metadata.len() });
        }
        let outline = elf::outline(&file)?;
        let same = match &outline.build_id {
            Some(id) => *id == binary.build_id,
            // Named by a hash of its file: the same as long as nobody wrote to it.
            None => metadata.modified().is_ok_and(|written| written < self.since),
        };
        if !same {
            return Err(NotSent::Replaced);
        }
        if outline.has_symbols { Ok((file, outline)) } else { Err(NotSent::Stripped) }
    }
}

fn describe(binary: &Binary, outline: &Outline) -> SymbolFile {
    SymbolFile {
        build_id: binary.build_id.clone(),
        name: binary.name.clone(),
        file_bytes: outline.file_bytes,
        has_debug_info: outline.has_debug_info,
    }
}

/// Reads, blanks and compresses the file chunk by chunk, and rests in between. Ends early when the upload does.
async fn read_chunks(
    file: File,
    outline: Outline,
    first: SymbolFile,
    chunks: mpsc::Sender<UploadChunk>,
) -> io::Result<()> {
    let mut first = Some(first);
    let mut at = 0;
    while at < outline.file_bytes {
        let started = Instant::now();
        let end = outline.file_bytes.min(at + SYMBOL_CHUNK_BYTES_MAX as u64);
        let content = blanked(&file, &outline, at, end)?;
        let data = codec::compress(&content).map_err(io::Error::other)?;
        let work = started.elapsed();
        if chunks.send(UploadChunk { file: first.take(), data: data.into() }).await.is_err() {
            return Ok(());
        }
        sleep((work * REST_PER_WORK).min(REST_MAX)).await;
        at = end;
    }
    Ok(())
}

/// The bytes `from..to` of the file, zero where nothing is kept.
fn blanked(file: &File, outline: &Outline, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; (to - from) as usize];
    for kept in outline.kept.iter().filter(|kept| kept.start < to && kept.end > from) {
        let (start, end) = (kept.start.max(from), kept.end.min(to));
        if let Some(part) = content.get_mut((start - from) as usize..(end - from) as usize) {
            file.read_exact_at(part, start)?;
        }
    }
    Ok(content)
}

fn say(text: &str) {
    static SYMBOLS: Notice = Notice::new();
    SYMBOLS.say(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploaded_file_still_outlines_and_holds_no_code() {
        let file = File::open("/proc/self/exe").unwrap();
        let outline = elf::outline(&file).unwrap();
        let mut copy = Vec::new();
        let mut at = 0;
        while at < outline.file_bytes {
            let end = outline.file_bytes.min(at + 1_000_003);
            copy.extend(blanked(&file, &outline, at, end).unwrap());
            at = end;
        }
        assert_eq!(copy.len() as u64, outline.file_bytes);
        let mut original = vec![0; copy.len()];
        file.read_exact_at(&mut original, 0).unwrap();
        let mut kept = vec![false; copy.len()];
        for range in &outline.kept {
            kept[range.start as usize..range.end as usize].fill(true);
        }
        for ((copy, original), kept) in copy.iter().zip(&original).zip(&kept) {
            assert_eq!(*copy, if *kept { *original } else { 0 });
        }
        let is_blanked = kept.iter().zip(&original).any(|(kept, byte)| !kept && *byte != 0);
        assert!(is_blanked, "a binary has code");
    }
}
