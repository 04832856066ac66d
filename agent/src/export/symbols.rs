//! Offers the collector the symbols of this process's binaries, and uploads those it wants: once per build, slowly.
//!
//! What travels is the file as it lies on disk, at its own offsets, with everything but symbols, debug info and notes
//! sent as zeros: neither code nor data leaves the host. Two things make up for a stripped file: the debug file that the
//! distribution installed for it, and the names of the code that the loader chose (see [`ifunc`]).

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tephra_proto::codec;
use tephra_proto::limits::{SYMBOL_CHUNK_BYTES_MAX, SYMBOL_FILE_BYTES_MAX};
use tephra_proto::v1::symbol_service_client::SymbolServiceClient;
use tephra_proto::v1::{OfferRequest, SymbolFile, UploadChunk};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::connect::{Connection, TIMEOUT};
use super::ifunc;
use super::outline::{Outline, outline};
use super::{Binaries, Binary, REPLY_BYTES_MAX};
use crate::clock;
use crate::notice::Notice;

/// Not sooner than this is one build tried again, whether it failed or the collector forgot it.
const AGAIN_AFTER: Duration = Duration::from_secs(120);

/// Nor is one whose file the collector says is wrong, as one of before says of a file without a build id.
const REFUSED_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);

/// A build that takes longer is not for this connection.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(1800);

/// Where distributions install what they stripped, by build id.
const DEBUG_FILES: &str = "/usr/lib/debug/.build-id";

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
pub(super) fn spawn(connection: Connection, binaries: Arc<Binaries>) -> Symbols {
    let (sender, mut receiver) = mpsc::channel(1);
    let client = SymbolServiceClient::new(connection).max_decoding_message_size(REPLY_BYTES_MAX);
    let mut uploader = Uploader {
        client,
        binaries,
        offered: Arc::default(),
        tried: HashMap::new(),
        postponed: Vec::new(),
        since: clock::now(),
    };
    tokio::spawn(async move {
        while let Some(wanted) = receiver.recv().await {
            uploader.serve(wanted).await;
        }
    });
    Symbols(sender)
}

struct Uploader {
    client: SymbolServiceClient<Connection>,
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

impl NotSent {
    /// The same file would be refused the same way.
    fn is_for_good(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == tonic::Code::InvalidArgument)
    }
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
                Err(status) => say(&format!("could not offer symbols: {} ({:?})", status.message(), status.code())),
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
                Err(why @ NotSent::Status(_)) if why.is_for_good() => {
                    self.tried.insert(binary.build_id.clone(), now + REFUSED_AGAIN_AFTER);
                    say(&format!("no symbols of {}: {why}", binary.name));
                }
                Err(NotSent::Status(status)) if status.code() == tonic::Code::Unavailable => {
                    self.tried.remove(&binary.build_id);
                    self.postponed.push(binary.build_id.clone());
                }
                Err(why) => say(&format!("no symbols of {}: {why}", binary.name)),
            }
        }
    }

    async fn offer(&mut self, binaries: &[Binary]) -> Result<Vec<Vec<u8>>, tonic::Status> {
        let known = binaries.iter().filter_map(|binary| Some(describe(binary, &self.open(binary).ok()?.outline)));
        let files: Vec<SymbolFile> = known.collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let reply = timeout(TIMEOUT, self.client.offer(OfferRequest { files })).await;
        Ok(reply.map_err(|_| tonic::Status::deadline_exceeded("no answer"))??.into_inner().wanted)
    }

    async fn upload(&mut self, binary: &Binary) -> Result<(), NotSent> {
        let mut source = self.open(binary)?;
        source.patch = ifunc::resolved_exports(&source.file, &source.outline, &binary.path);
        let first = describe(binary, &source.outline);
        // One chunk is on the wire while the next is read.
        let (chunks, receiver) = mpsc::channel(1);
        let reading = tokio::spawn(read_chunks(source, first, chunks));
        let sent = timeout(UPLOAD_TIMEOUT, self.client.upload(ReceiverStream::new(receiver))).await;
        let read = reading.await.unwrap_or_else(|_| Err(io::Error::other("reading it failed")));
        sent.map_err(|_| NotSent::TooSlow)??;
        Ok(read?)
    }

    fn open(&self, binary: &Binary) -> Result<Source, NotSent> {
        let source = Source::open(&binary.path)?;
        let same = match &source.outline.build_id {
            Some(id) => *id == binary.build_id,
            // Named by a hash of its file: the same as long as nobody wrote to it.
            None => source.file.metadata()?.modified().is_ok_and(|written| written < self.since),
        };
        if !same {
            return Err(NotSent::Replaced);
        }
        let fuller = (!source.outline.has_debug_info).then(|| debug_file(Path::new(DEBUG_FILES), &binary.build_id));
        let source = fuller.flatten().unwrap_or(source);
        if source.outline.has_symbols { Ok(source) } else { Err(NotSent::Stripped) }
    }
}

/// A file that names functions.
#[derive(Debug)]
struct Source {
    file: File,
    outline: Outline,
    /// What is sent instead of the file's own bytes, and where.
    patch: Option<(u64, Vec<u8>)>,
}

impl Source {
    fn open(path: &Path) -> Result<Self, NotSent> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > SYMBOL_FILE_BYTES_MAX {
            return Err(NotSent::TooLarge { bytes: metadata.len() });
        }
        let outline = outline(&file)?;
        Ok(Self { file, outline, patch: None })
    }

    /// The bytes `from..to`, zero where nothing is kept.
    fn read(&self, from: u64, to: u64) -> io::Result<Vec<u8>> {
        let mut content = vec![0; (to - from) as usize];
        for kept in self.outline.kept.iter().filter(|kept| kept.start < to && kept.end > from) {
            let (start, end) = (kept.start.max(from), kept.end.min(to));
            if let Some(part) = content.get_mut((start - from) as usize..(end - from) as usize) {
                self.file.read_exact_at(part, start)?;
            }
        }
        if let Some((at, patch)) = &self.patch {
            overlay(&mut content, from, patch, *at);
        }
        Ok(content)
    }
}

/// Writes those bytes of `patch`, which starts at `at`, that fall into `content`, which starts at `from`.
fn overlay(content: &mut [u8], from: u64, patch: &[u8], at: u64) {
    let (into, part) = (at.saturating_sub(from) as usize, from.saturating_sub(at) as usize);
    let into = content.get_mut(into..).unwrap_or_default();
    let part = patch.get(part..).unwrap_or_default();
    into.iter_mut().zip(part).for_each(|(into, byte)| *into = *byte);
}

/// The debug file of a build, if it is installed: `<folder>/ab/cdef….debug`, as GDB and the distributions agree.
fn debug_file(folder: &Path, build_id: &[u8]) -> Option<Source> {
    let [first, rest @ ..] = build_id else { return None };
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let path: PathBuf = folder.join(format!("{first:02x}")).join(format!("{rest}.debug"));
    let source = Source::open(&path).ok()?;
    (source.outline.has_symbols && source.outline.build_id.as_deref() == Some(build_id)).then_some(source)
}

fn describe(binary: &Binary, outline: &Outline) -> SymbolFile {
    SymbolFile {
        build_id: binary.build_id.clone(),
        name: binary.name.clone(),
        file_bytes: outline.file_bytes,
        has_debug_info: outline.has_debug_info,
        // Named by a hash of its ends, which are code and data and stay here: the collector cannot compute it again.
        ends_withheld: outline.build_id.is_none(),
    }
}

/// Reads and compresses the source chunk by chunk, and rests in between. Ends early when the upload does.
async fn read_chunks(source: Source, first: SymbolFile, chunks: mpsc::Sender<UploadChunk>) -> io::Result<()> {
    let mut first = Some(first);
    let (mut at, file_bytes) = (0, source.outline.file_bytes);
    while at < file_bytes {
        let started = Instant::now();
        let end = file_bytes.min(at + SYMBOL_CHUNK_BYTES_MAX as u64);
        let content = source.read(at, end)?;
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

fn say(text: &str) {
    static SYMBOLS: Notice = Notice::new();
    SYMBOLS.say(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uploaded_file_still_outlines_and_holds_no_code() {
        let source = Source::open(Path::new("/proc/self/exe")).unwrap();
        let copy = in_chunks(&source);
        assert_eq!(copy.len() as u64, source.outline.file_bytes);
        let original = std::fs::read("/proc/self/exe").unwrap();
        let mut kept = vec![false; copy.len()];
        for range in &source.outline.kept {
            kept[range.start as usize..range.end as usize].fill(true);
        }
        for ((copy, original), kept) in copy.iter().zip(&original).zip(&kept) {
            assert_eq!(*copy, if *kept { *original } else { 0 });
        }
        let is_blanked = kept.iter().zip(&original).any(|(kept, byte)| !kept && *byte != 0);
        assert!(is_blanked, "a binary has code");
    }

    /// What the collector gets.
    fn in_chunks(source: &Source) -> Vec<u8> {
        let step = |at: u64| source.read(at, source.outline.file_bytes.min(at + 1_000_003)).unwrap();
        (0..source.outline.file_bytes).step_by(1_000_003).flat_map(step).collect()
    }

    #[test]
    fn a_patch_replaces_its_place_and_nothing_else_wherever_chunks_end() {
        let mut source = Source::open(Path::new("/proc/self/exe")).unwrap();
        let plain = in_chunks(&source);
        for (at, bytes) in [(1_000_000, 6), (500, 1_200_000), (0, 1)] {
            source.patch = Some((at as u64, vec![0xee; bytes]));
            let mut expected = plain.clone();
            expected[at..at + bytes].fill(0xee);
            assert!(in_chunks(&source) == expected, "{bytes} bytes at {at}");
        }
    }

    #[test]
    fn a_debug_file_counts_when_it_is_of_this_very_build() {
        let build_id = Source::open(Path::new("/proc/self/exe")).unwrap().outline.build_id.unwrap();
        let folder = std::env::temp_dir().join(format!("tephra-debug-{}", std::process::id()));
        let place = |id: &[u8]| {
            let rest: String = id[1..].iter().map(|byte| format!("{byte:02x}")).collect();
            folder.join(format!("{:02x}", id[0])).join(format!("{rest}.debug"))
        };
        let mut other = build_id.clone();
        *other.last_mut().unwrap() ^= 1;
        for id in [&build_id, &other] {
            std::fs::create_dir_all(place(id).parent().unwrap()).unwrap();
            std::fs::copy("/proc/self/exe", place(id)).unwrap();
        }
        let found = [&build_id[..], &other, b"", b"\x01"].map(|id| debug_file(&folder, id).is_some());
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, [true, false, false, false]);
    }
}
