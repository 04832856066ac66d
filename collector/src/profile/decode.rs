//! Turns an untrusted window into a [`Window`] whose every index is known to be valid.
//!
//! Pure: no I/O, no clock, and no allocation that was not first checked against the limits. Refuses rather than repairs.
//! What is in the store is decoded by the same code: a disk is not more trustworthy than a network.

mod columns;
mod header;
mod prescan;
mod rejection;
mod requests;
mod tables;
#[cfg(test)]
mod tests;

use prost::Message;
use tephra_proto::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX};
use tephra_proto::{codec, packing, v1};

pub(crate) use header::COUNT_MAX;
pub use header::{Header, Lateness, WindowId, check, check_header};
pub use rejection::Rejection;
pub(crate) use requests::of_spans;

use super::model::{Frame, Link, Module, Node, ProfileType, RouteDurations, SpanSummary};
use crate::base::labels::Labels;

/// One window of one instance, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Who, when, and what was lost.
    pub header: Header,
    /// Mapped files.
    pub modules: Vec<Module>,
    /// Distinct frames, not necessarily without repeats.
    pub frames: Vec<Frame>,
    /// The prefix tree, parents first. A stack that was cut hangs below a [`Frame::Truncated`] root.
    pub nodes: Vec<Node>,
    /// At most one per type and labels.
    pub series: Vec<Series>,
    /// Trace contexts.
    pub links: Vec<Link>,
    /// Entry spans: examples of the requests.
    pub spans: Vec<SpanSummary>,
    /// All requests that ended, each route and status once.
    pub requests: Vec<RouteDurations>,
}

/// All samples of one type that were taken under the same labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What is measured.
    pub profile_type: ProfileType,
    /// What the samples are labelled with besides the labels of the window; no name is in both.
    pub labels: Labels,
    /// Its rows.
    pub rows: Vec<SeriesRow>,
}

/// Samples that share stack and trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesRow {
    /// Leaf node.
    pub node: u32,
    /// In units of the type.
    pub value: u64,
    /// How many samples it stands for.
    pub samples: u64,
    /// Index into the links.
    pub link: Option<u32>,
    /// Milliseconds from the start of the window to the first sample.
    pub time_ms: Option<u32>,
}

impl Series {
    /// Sum of the values; fits by the checks of [`decode`].
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|row| row.value).sum()
    }

    /// The value of a label of its samples in `window`, which it belongs to.
    pub fn label<'a>(&'a self, window: &'a Header, name: &str) -> Option<&'a str> {
        window.label(name).or_else(|| self.labels.get(name))
    }

    /// The labels of `window`, which it belongs to, and its own, by name.
    pub fn all_labels(&self, window: &Header) -> Labels {
        window.labels.with(&self.labels)
    }

    /// Sum of the samples; fits by the checks of [`decode`].
    pub fn samples(&self) -> u64 {
        self.rows.iter().map(|row| row.samples).sum()
    }
}

impl Window {
    /// Bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        let rows: usize = self.series.iter().map(|series| series.rows.len()).sum();
        512 + rows * size_of::<SeriesRow>()
            + self.frames.len() * (size_of::<Frame>() + 16)
            + self.nodes.len() * size_of::<Node>()
            + self.links.len() * size_of::<Link>()
            + self.spans.len() * size_of::<SpanSummary>()
            + self.requests.iter().map(|one| 64 + 16 * one.durations.bins().len()).sum::<usize>()
            + self.modules.len() * size_of::<Module>()
    }
}

/// Checks and decodes one window. `payload` is compressed; `payload_bytes` is what its sender says it inflates to.
///
/// # Errors
/// Names what is wrong, where, and the limit.
pub fn decode(
    header: &v1::PushHeader,
    payload: &[u8],
    payload_bytes: u32,
    lateness: Lateness,
) -> Result<Window, Rejection> {
    let header = check(header, lateness)?;
    Opened::open(payload, payload_bytes)?.read(header)
}

/// A payload that was inflated and counted, but not decoded: what decoding will cost is known before it is spent.
#[derive(Debug)]
pub struct Opened {
    payload: Vec<u8>,
    memory: usize,
}

impl Opened {
    /// Inflates a payload and counts what its tables hold.
    ///
    /// # Errors
    /// When it is larger than allowed or than its sender said, is damaged, or holds more than the limits.
    pub fn open(payload: &[u8], payload_bytes: u32) -> Result<Self, Rejection> {
        if payload.len() > PAYLOAD_COMPRESSED_BYTES_MAX {
            return Err(Rejection::TooLarge { bytes: payload.len(), limit: PAYLOAD_COMPRESSED_BYTES_MAX });
        }
        let payload = codec::decompress_exact(payload, payload_bytes as usize, PAYLOAD_BYTES_MAX)?;
        let memory = prescan::check_counts(&payload)?;
        Ok(Self { payload, memory })
    }

    /// The most that [`Opened::read`] takes at one moment, in bytes, beside the inflated payload.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Decodes the tables of the window that `header` announced.
    ///
    /// # Errors
    /// Names what is wrong, where, and the limit.
    pub fn read(self, header: Header) -> Result<Window, Rejection> {
        let mut wire =
            v1::WindowPayload::decode(self.payload.as_slice()).map_err(|e| Rejection::malformed(e.to_string()))?;
        drop(self.payload);
        packing::unpack(&mut wire).map_err(|e| Rejection::malformed(e.to_string()))?;
        tables::read(header, wire)
    }
}

/// Checks a window that this process built from another format: what a payload from outside holds is counted before it is decoded, and
/// whoever builds one counts while building.
///
/// # Errors
/// Names what is wrong, where, and the limit.
pub fn read_built(header: Header, payload: v1::WindowPayload) -> Result<Window, Rejection> {
    tables::read(header, payload)
}
