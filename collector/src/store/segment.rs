//! The L0 segment: accepted windows as they arrived, with an index at the end. `collector/FORMAT.md` has the bytes.
//!
//! Every part has a CRC-32, so a reader knows damage from data; nothing is ever read past a length that was not checked.

use bytes::{BufMut, Bytes};
use prost::Message;
use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX};
use tephra_proto::v1;

use super::bulk::{Bulk, BulkError};
use crate::base::labels::INSTANCE;
use crate::profile::decode::WindowId;
use crate::profile::model::{Kind, ProfileType};

const MAGIC: &[u8; 8] = b"TEPHRAL0";
const VERSION: u32 = 1;
/// Magic, version, four zero bytes.
const HEAD_BYTES: usize = 16;
/// Length and CRC of the footer, magic.
const TAIL_BYTES: usize = 16;
/// The three lengths before a window's header.
const WINDOW_HEAD_BYTES: usize = 12;
/// One read usually gets the whole footer.
const TAIL_READ_BYTES: u64 = 64 << 10;
/// A window's header: 16 labels and names stay far below.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Key and window number.
const TRACE_ENTRY_BYTES: usize = 12;

/// What a segment holds, at its end.
#[derive(Clone, PartialEq, Message)]
pub struct Footer {
    /// In the order they are stored.
    #[prost(message, repeated, tag = "1")]
    pub windows: Vec<WindowInfo>,
    /// Where the trace index starts.
    #[prost(uint64, tag = "2")]
    pub traces_offset: u64,
    /// Entries of the trace index.
    #[prost(uint32, tag = "3")]
    pub traces: u32,
    /// CRC-32 of the trace index.
    #[prost(uint32, tag = "4")]
    pub traces_crc: u32,
    /// The store it belongs to; empty: written before segments said so.
    #[prost(string, tag = "5")]
    pub store: String,
    /// The number of the commit that it is for, from 1; 0: written before commits had numbers.
    #[prost(uint64, tag = "6")]
    pub commit: u64,
    /// When it was written, unix milliseconds.
    #[prost(uint64, tag = "7")]
    pub written_ms: u64,
}

/// What a segment says of itself besides what it holds.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// See [`Footer::store`].
    pub store: String,
    /// See [`Footer::commit`].
    pub commit: u64,
    /// See [`Footer::written_ms`].
    pub written_ms: u64,
}

/// One window in a segment: what queries select by, so that they open only what they need.
#[derive(Clone, PartialEq, Message)]
pub struct WindowInfo {
    /// Where it starts.
    #[prost(uint64, tag = "1")]
    pub offset: u64,
    /// How long it is, CRC included.
    #[prost(uint32, tag = "2")]
    pub bytes: u32,
    /// Service.
    #[prost(string, tag = "3")]
    pub service: String,
    /// Instance.
    #[prost(string, tag = "4")]
    pub instance: String,
    /// Resource labels, by name.
    #[prost(message, repeated, tag = "5")]
    pub labels: Vec<v1::Label>,
    /// Start of the window, unix milliseconds.
    #[prost(uint64, tag = "6")]
    pub start_ms: u64,
    /// Its length, milliseconds.
    #[prost(uint32, tag = "7")]
    pub duration_ms: u32,
    /// Sums by type.
    #[prost(message, repeated, tag = "8")]
    pub types: Vec<TypeSum>,
    /// Span summaries in it.
    #[prost(uint32, tag = "9")]
    pub spans: u32,
    /// The agent instance it came from; empty: written before segments said so.
    #[prost(bytes = "vec", tag = "10")]
    pub agent_id: Vec<u8>,
    /// When that started, unix nanoseconds.
    #[prost(uint64, tag = "11")]
    pub boot_id: u64,
    /// Its number.
    #[prost(uint64, tag = "12")]
    pub sequence: u64,
    /// Requests that ended in it.
    #[prost(uint64, tag = "13")]
    pub requests: u64,
}

impl WindowInfo {
    /// Which window it is; `None` where the footer does not say.
    pub fn id(&self) -> Option<WindowId> {
        let agent_id = self.agent_id.as_slice().try_into().ok()?;
        Some(WindowId { agent_id, boot_id: self.boot_id, sequence: self.sequence })
    }

    /// The value of a label of the window; the instance is one of them.
    pub fn label(&self, name: &str) -> Option<&str> {
        if name == INSTANCE { Some(&self.instance) } else { value_of(&self.labels, name) }
    }
}

/// Sum of one series. A type that was sampled under several labels has several.
#[derive(Clone, PartialEq, Message)]
pub struct TypeSum {
    /// Name, unit, kind, period.
    #[prost(message, optional, tag = "1")]
    pub profile_type: Option<v1::ProfileType>,
    /// Sum of the values, in units of the type.
    #[prost(uint64, tag = "2")]
    pub total: u64,
    /// Samples behind it.
    #[prost(uint64, tag = "3")]
    pub samples: u64,
    /// Labels of the samples, besides those of the window, by name.
    #[prost(message, repeated, tag = "4")]
    pub labels: Vec<v1::Label>,
}

impl TypeSum {
    /// The type in our own terms; `None` for a kind of a later release.
    pub fn read_type(&self) -> Option<ProfileType> {
        let wire = self.profile_type.as_ref()?;
        let kind = match v1::Kind::try_from(wire.kind) {
            Ok(v1::Kind::Counter) => Kind::Counter,
            Ok(v1::Kind::Gauge) => Kind::Gauge,
            _ => return None,
        };
        Some(ProfileType { name: wire.name.clone(), unit: wire.unit.clone(), kind, period: wire.period })
    }

    /// The value of a label of its samples, besides those of the window.
    pub fn label(&self, name: &str) -> Option<&str> {
        value_of(&self.labels, name)
    }
}

fn value_of<'a>(labels: &'a [v1::Label], name: &str) -> Option<&'a str> {
    labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

/// A window on its way into a segment.
#[derive(Debug, Clone)]
pub struct PackedWindow {
    /// As it arrived.
    pub header: v1::PushHeader,
    /// As it arrived: one zstd frame.
    pub payload: Bytes,
    /// What it inflates to.
    pub payload_bytes: u32,
    /// What the footer says about it; offset and length are set when it is written.
    pub info: WindowInfo,
    /// Keys of the traces it holds, see [`trace_key`].
    pub traces: Vec<u64>,
}

impl PackedWindow {
    /// Bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        self.payload.len() + 2 * self.header.encoded_len() + self.traces.len() * 8 + self.info.types.len() * 96 + 512
    }
}

/// A complete segment in memory.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The object.
    pub bytes: Vec<u8>,
    /// Its footer.
    pub footer: Footer,
    /// The footer's CRC-32.
    pub crc: u32,
}

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The object store failed.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// The bytes are not what was written.
    #[error("segment {segment} is damaged: {problem}")]
    Damaged {
        /// Its id.
        segment: String,
        /// What is wrong.
        problem: String,
    },
}

/// What a trace is found by: the last 8 bytes of its id, the part that W3C asks to be random.
pub fn trace_key(trace_id: &tephra_proto::ids::TraceId) -> u64 {
    let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Lays out a segment.
pub fn encode(windows: &[PackedWindow], origin: Origin) -> Encoded {
    let payloads: usize = windows.iter().map(|window| window.payload.len() + 1_024).sum();
    let mut bytes = Vec::with_capacity(payloads + HEAD_BYTES + TAIL_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(0);
    let Origin { store, commit, written_ms } = origin;
    let mut footer = Footer { store, commit, written_ms, ..Footer::default() };
    let mut traces = Vec::new();
    for (number, window) in windows.iter().enumerate() {
        let start = bytes.len();
        let header = window.header.encode_to_vec();
        bytes.put_u32_le(header.len() as u32);
        bytes.put_u32_le(window.payload.len() as u32);
        bytes.put_u32_le(window.payload_bytes);
        bytes.put_slice(&header);
        bytes.put_slice(&window.payload);
        let crc = crc32fast::hash(bytes.get(start..).unwrap_or_default());
        bytes.put_u32_le(crc);
        footer.windows.push(WindowInfo {
            offset: start as u64,
            bytes: (bytes.len() - start) as u32,
            ..window.info.clone()
        });
        traces.extend(window.traces.iter().map(|key| (*key, number as u32)));
    }
    traces.sort_unstable();
    traces.dedup();
    footer.traces_offset = bytes.len() as u64;
    footer.traces = traces.len() as u32;
    for (key, number) in traces {
        bytes.put_u64_le(key);
        bytes.put_u32_le(number);
    }
    footer.traces_crc = crc32fast::hash(bytes.get(footer.traces_offset as usize..).unwrap_or_default());
    let crc = push_tail(&mut bytes, MAGIC, &footer.encode_to_vec());
    Encoded { bytes, footer, crc }
}

/// Ends an object with a footer. Answers its CRC-32.
fn push_tail(bytes: &mut Vec<u8>, magic: &[u8; 8], footer: &[u8]) -> u32 {
    let crc = crc32fast::hash(footer);
    bytes.put_slice(footer);
    bytes.put_u32_le(footer.len() as u32);
    bytes.put_u32_le(crc);
    bytes.put_slice(magic);
    crc
}

/// An object that is nothing but a footer; and its CRC-32.
pub(super) fn frame(magic: &[u8; 8], footer: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(footer.len() + HEAD_BYTES + TAIL_BYTES);
    bytes.put_slice(magic);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(0);
    let crc = push_tail(&mut bytes, magic, footer);
    (bytes, crc)
}

/// Reads the footer of an object of `object_bytes` bytes, and where it starts. Checks it against `crc` where it is known, and against
/// the CRC that the object itself holds.
pub(super) fn read_framed(
    bulk: &dyn Bulk,
    segment: &str,
    object_bytes: u64,
    magic: &[u8; 8],
    crc: Option<u32>,
) -> Result<(Vec<u8>, u64), SegmentError> {
    let damaged = |problem: String| SegmentError::Damaged { segment: segment.to_owned(), problem };
    let tail_offset = object_bytes.saturating_sub(TAIL_READ_BYTES);
    let mut tail = bulk.get_range(segment, tail_offset, TAIL_READ_BYTES as usize)?;
    if tail.len() as u64 != object_bytes - tail_offset || object_bytes < (HEAD_BYTES + TAIL_BYTES) as u64 {
        return Err(damaged(format!("{} of {object_bytes} bytes are there", tail_offset + tail.len() as u64)));
    }
    let Some((rest, last)) = tail.split_last_chunk::<TAIL_BYTES>() else {
        return Err(damaged("it is too short".to_owned()));
    };
    let (len, found_crc, found_magic) = (u32_at(last, 0) as u64, u32_at(last, 4), &last[8..]);
    if found_magic != magic || crc.is_some_and(|crc| crc != found_crc) {
        return Err(damaged("its end is not that of the registered segment".to_owned()));
    }
    let footer_end = object_bytes - TAIL_BYTES as u64;
    let Some(footer_offset) = footer_end.checked_sub(len).filter(|offset| *offset >= HEAD_BYTES as u64) else {
        return Err(damaged(format!("its footer claims {len} bytes")));
    };
    let footer = if footer_offset >= tail_offset {
        rest[(footer_offset - tail_offset) as usize..].to_vec()
    } else {
        tail = bulk.get_range(segment, footer_offset, len as usize)?;
        std::mem::take(&mut tail)
    };
    if crc32fast::hash(&footer) != found_crc {
        return Err(damaged("its footer does not match its checksum".to_owned()));
    }
    Ok((footer, footer_offset))
}

/// Reads and checks the footer of an object of `object_bytes` bytes, whose catalog row says `crc`.
///
/// # Errors
/// When the object cannot be read, or is not the one that was written.
pub fn read_footer(bulk: &dyn Bulk, segment: &str, object_bytes: u64, crc: u32) -> Result<Footer, SegmentError> {
    read_footer_of(bulk, segment, object_bytes, Some(crc)).map(|(footer, _)| footer)
}

/// The same without a catalog, by what the object says itself; and the CRC-32 that a row of the catalog would have.
///
/// # Errors
/// When the object cannot be read, or is no arrived segment.
pub fn read_footer_of(
    bulk: &dyn Bulk,
    segment: &str,
    object_bytes: u64,
    crc: Option<u32>,
) -> Result<(Footer, u32), SegmentError> {
    let damaged = |problem: String| SegmentError::Damaged { segment: segment.to_owned(), problem };
    let (footer, footer_offset) = read_framed(bulk, segment, object_bytes, MAGIC, crc)?;
    let crc = crc32fast::hash(&footer);
    let footer = Footer::decode(footer.as_slice()).map_err(|e| damaged(e.to_string()))?;
    let within = |offset: u64, bytes: u64| offset.checked_add(bytes).is_some_and(|end| end <= footer_offset);
    let windows_fit = footer.windows.iter().all(|window| within(window.offset, window.bytes.into()));
    if !windows_fit || !within(footer.traces_offset, u64::from(footer.traces) * TRACE_ENTRY_BYTES as u64) {
        return Err(damaged("its footer points outside".to_owned()));
    }
    Ok((footer, crc))
}

/// A window as it lies in a segment.
#[derive(Debug, Clone)]
pub struct StoredWindow {
    /// As it arrived.
    pub header: v1::PushHeader,
    /// As it arrived: one zstd frame.
    pub payload: Bytes,
    /// What it inflates to.
    pub payload_bytes: u32,
}

fn window_damaged(segment: &str, info: &WindowInfo, problem: &str) -> SegmentError {
    let problem = format!("window at byte {}: {problem}", info.offset);
    SegmentError::Damaged { segment: segment.to_owned(), problem }
}

/// Reads one window and checks it against its checksum.
///
/// # Errors
/// When the object cannot be read, or this part of it is damaged.
pub fn read_window(bulk: &dyn Bulk, segment: &str, info: &WindowInfo) -> Result<StoredWindow, SegmentError> {
    let damaged = |problem: &str| window_damaged(segment, info, problem);
    let limit = WINDOW_HEAD_BYTES + HEADER_BYTES_MAX + PAYLOAD_COMPRESSED_BYTES_MAX + 4;
    if info.bytes as usize > limit {
        return Err(damaged("too long"));
    }
    parse_window(segment, info, bulk.get_range(segment, info.offset, info.bytes as usize)?.into())
}

/// The same for one whose bytes were read already.
///
/// # Errors
/// When it is damaged.
pub fn parse_window(segment: &str, info: &WindowInfo, bytes: Bytes) -> Result<StoredWindow, SegmentError> {
    let damaged = |problem: &str| window_damaged(segment, info, problem);
    let Some((body, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(damaged("cut off"));
    };
    if bytes.len() != info.bytes as usize || crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(damaged("does not match its checksum"));
    }
    let Some((head, content)) = body.split_first_chunk::<WINDOW_HEAD_BYTES>() else {
        return Err(damaged("too short"));
    };
    let (header_len, payload_len, payload_bytes) =
        (u32_at(head, 0) as usize, u32_at(head, 4) as usize, u32_at(head, 8));
    if header_len.checked_add(payload_len) != Some(content.len()) || payload_bytes as usize > PAYLOAD_BYTES_MAX {
        return Err(damaged("its lengths do not add up"));
    }
    let (header, _) = content.split_at(header_len);
    let header = v1::PushHeader::decode(header).map_err(|e| damaged(&e.to_string()))?;
    let payload_start = WINDOW_HEAD_BYTES + header_len;
    let payload = bytes.slice(payload_start..payload_start + payload_len);
    Ok(StoredWindow { header, payload, payload_bytes })
}

/// Which windows of a segment hold which traces: sorted by key.
#[derive(Debug, Clone, Default)]
pub struct TraceIndex(Vec<(u64, u32)>);

impl TraceIndex {
    /// Numbers of the windows that may hold the trace: another trace with the same key is possible.
    pub fn find(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let start = self.0.partition_point(|(other, _)| *other < key);
        let from_there = self.0.get(start..).unwrap_or_default();
        from_there.iter().take_while(move |(other, _)| *other == key).map(|(_, number)| *number as usize)
    }

    /// Bytes of memory it takes.
    pub fn weight(&self) -> usize {
        self.0.len() * size_of::<(u64, u32)>()
    }
}

/// Reads the trace index.
///
/// # Errors
/// When the object cannot be read, or the index is damaged.
pub fn read_traces(bulk: &dyn Bulk, segment: &str, footer: &Footer) -> Result<TraceIndex, SegmentError> {
    let bytes = footer.traces as usize * TRACE_ENTRY_BYTES;
    let bytes = bulk.get_range(segment, footer.traces_offset, bytes)?;
    if crc32fast::hash(&bytes) != footer.traces_crc {
        let problem = "its trace index does not match its checksum".to_owned();
        return Err(SegmentError::Damaged { segment: segment.to_owned(), problem });
    }
    let (entries, _) = bytes.as_chunks::<TRACE_ENTRY_BYTES>();
    let read = |entry: &[u8; TRACE_ENTRY_BYTES]| {
        let [a, b, c, d, e, f, g, h, ..] = *entry;
        (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32_at(entry, 8))
    };
    Ok(TraceIndex(entries.iter().map(read).collect()))
}

/// Four bytes at a constant place of an array that has them.
fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}
