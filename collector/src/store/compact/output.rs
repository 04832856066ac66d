//! Segments on their way out: parts become tables in memory, tables become objects, and the catalog hears of them last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::errors::ParquetError;

use super::builder::Rollup;
use super::levels::TRACES;
use crate::base::ids::{hex, unique_bytes};
use crate::profile::model::Kind;
use crate::store::arrived;
use crate::store::bulk::{Bulk, BulkError};
use crate::store::catalog::{NewSegment, SegmentRow, ServicePart, TableObject};
use crate::store::columnar::{Part, SegmentWriter};
use crate::store::identity::{AgentWindows, Content, FOOTER, SegmentFooter, ServiceEntry, TableEntry, key_block};

/// What all segments of a job say of themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Provenance {
    /// The store.
    pub(crate) store: String,
    /// The segments that were read.
    pub(crate) sources: Vec<String>,
    /// Deletions that were known when the job was begun.
    pub(crate) deletions: u64,
    /// It is in the next level already.
    pub(crate) rolled: bool,
    /// The objects that are written, by name: so that none is forgotten should the job fail.
    pub(crate) written: Arc<Mutex<Vec<String>>>,
}

/// Collects parts and writes a segment whenever there is enough for one.
pub(crate) struct Output<'a> {
    bulk: &'a dyn Bulk,
    rollup: Rollup,
    bytes_max: usize,
    provenance: Provenance,
    /// What the segments of the family hold together; empty: nobody knows.
    content: Content,
    /// Windows of the last day in it.
    agents: Vec<AgentWindows>,
    family: String,
    part: u32,
    writer: SegmentWriter,
    services: BTreeMap<String, ServicePart>,
    traces: u64,
    samples: u64,
    min_ms: u64,
    end_ms: u64,
    written: Vec<NewSegment>,
}

/// Why a segment could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error(transparent)]
    Bulk(#[from] BulkError),
    #[error("a segment could not be laid out: {0}")]
    Layout(#[from] ParquetError),
}

impl<'a> Output<'a> {
    /// Segments of about `bytes_max` bytes at most.
    pub(crate) fn new(bulk: &'a dyn Bulk, rollup: Rollup, bytes_max: usize, provenance: Provenance) -> Self {
        Self {
            bulk,
            rollup,
            bytes_max,
            provenance,
            content: Content::default(),
            agents: Vec::new(),
            family: hex(&unique_bytes()),
            part: 0,
            writer: SegmentWriter::new(),
            services: BTreeMap::new(),
            traces: 0,
            samples: 0,
            min_ms: u64::MAX,
            end_ms: 0,
            written: Vec::new(),
        }
    }

    /// Appends a part. Parts of one service follow one another.
    pub(crate) fn add(&mut self, part: &Part) -> Result<(), OutputError> {
        let windows = part.windows.iter().map(|w| (w.window_ms, w.window_len_ms, u64::from(w.windows)));
        let traces = part.traces.iter().map(|t| (t.window_ms, t.window_len_ms, 0));
        let spans = part.spans.iter().map(|s| (s.window_ms, s.window_len_ms, 0));
        let mut received = windows.chain(traces).chain(spans).peekable();
        if received.peek().is_none() {
            return Ok(());
        }
        // Only now, when there is more: so the last segment of a family knows that it is the last.
        if self.writer.bytes() >= self.bytes_max || self.writer.is_full() {
            self.write(false)?;
        }
        let span = self.services.entry(part.service.clone()).or_insert_with(|| ServicePart {
            service: part.service.clone(),
            min_ms: u64::MAX,
            max_ms: 0,
            windows: 0,
        });
        for (start_ms, len_ms, windows) in received {
            span.min_ms = span.min_ms.min(start_ms);
            span.max_ms = span.max_ms.max(start_ms);
            span.windows += windows;
            self.min_ms = self.min_ms.min(start_ms);
            self.end_ms = self.end_ms.max(start_ms + u64::from(len_ms));
        }
        self.traces += (part.traces.len() + part.spans.len()) as u64;
        self.samples += samples(part);
        self.writer.add(part)?;
        Ok(())
    }

    /// Ends a family, and begins another, which holds this.
    pub(crate) fn begin(&mut self, content: Content, agents: Vec<AgentWindows>) -> Result<(), OutputError> {
        self.write(true)?;
        (self.content, self.agents, self.family, self.part) = (content, agents, hex(&unique_bytes()), 0);
        Ok(())
    }

    /// Writes what was collected as a segment of its own.
    fn write(&mut self, last: bool) -> Result<(), OutputError> {
        let writer = std::mem::replace(&mut self.writer, SegmentWriter::new());
        let services = std::mem::take(&mut self.services);
        let (min_ms, max_ms) = (std::mem::replace(&mut self.min_ms, u64::MAX), std::mem::take(&mut self.end_ms));
        let (traces, samples) = (std::mem::take(&mut self.traces), std::mem::take(&mut self.samples));
        if services.is_empty() {
            return Ok(());
        }
        let id = hex(&unique_bytes());
        let mut tables = Vec::new();
        for finished in writer.finish()? {
            let name = finished.table.name();
            let object = hex(&blake3::hash(format!("{id} {name}").as_bytes()).as_bytes()[..16]);
            self.put(&object, &finished.bytes)?;
            tables.push(TableObject {
                name: name.to_owned(),
                object,
                bytes: finished.bytes.len() as u64,
                data_bytes: finished.data_bytes,
                crc: finished.crc,
            });
        }
        let level = match self.rollup {
            Rollup::Level(level) => level.number,
            Rollup::Traces => TRACES,
        };
        let segment = SegmentRow {
            id,
            level,
            min_ms,
            max_ms,
            bytes: tables.iter().map(|table| table.bytes).sum(),
            crc: 0,
            windows: services.values().map(|service| service.windows).sum(),
            samples,
            traces,
        };
        let mut new =
            NewSegment { segment, rolled: self.provenance.rolled, tables, services: services.into_values().collect() };
        self.write_footer(&mut new, last)?;
        self.written.push(new);
        Ok(())
    }

    /// Writes what a segment says of itself: after all else, so that it says that all else is there.
    fn write_footer(&mut self, new: &mut NewSegment, last: bool) -> Result<(), OutputError> {
        let NewSegment { segment, tables, services, .. } = new;
        if self.content == Content::default() {
            self.content = Content::of(key_block(segment.level, segment.min_ms), 0, &self.family);
        }
        let footer = SegmentFooter {
            store: self.provenance.store.clone(),
            segment: segment.id.clone(),
            level: segment.level,
            family: self.family.clone(),
            part: self.part,
            last,
            sources: self.provenance.sources.clone(),
            content: self.content.to_blocks(),
            agents: self.agents.clone(),
            deletions: self.provenance.deletions,
            min_ms: segment.min_ms,
            max_ms: segment.max_ms,
            windows: segment.windows,
            samples: segment.samples,
            traces: segment.traces,
            tables: tables.iter().cloned().map(TableEntry::from).collect(),
            services: services.iter().cloned().map(ServiceEntry::from).collect(),
            rolled: self.provenance.rolled,
        };
        let (bytes, crc) = footer.encode_object();
        self.put(&segment.id, &bytes)?;
        segment.bytes += bytes.len() as u64;
        let bytes = bytes.len() as u64;
        tables.push(TableObject { name: FOOTER.to_owned(), object: segment.id.clone(), bytes, data_bytes: 0, crc });
        self.part += 1;
        Ok(())
    }

    fn put(&self, object: &str, content: &[u8]) -> Result<(), BulkError> {
        self.provenance.written.lock().unwrap_or_else(PoisonError::into_inner).push(object.to_owned());
        self.bulk.put(object, content)
    }

    /// Ends with the segments that were written. Their objects are there; the catalog does not know them yet.
    pub(crate) fn finish(mut self) -> Result<Vec<NewSegment>, OutputError> {
        self.write(true)?;
        Ok(self.written)
    }
}

/// Samples of a part, as those of arrived windows are counted.
fn samples(part: &Part) -> u64 {
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for total in &part.totals {
        let of = part.series.get(total.series as usize).map(|series| &series.profile_type);
        if let Some(profile_type) = of.filter(|of| of.kind == Kind::Counter) {
            let samples = by_name.entry(&profile_type.name).or_default();
            *samples = samples.saturating_add(total.samples);
        }
    }
    arrived::stored_samples(by_name.into_iter())
}
