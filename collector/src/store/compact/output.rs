//! Segments on their way out: parts become tables in memory, tables become objects, and the catalog hears of them last.

use std::collections::BTreeMap;

use parquet::errors::ParquetError;

use super::builder::Rollup;
use super::levels::TRACES;
use crate::store::bulk::{Bulk, BulkError};
use crate::store::catalog::{NewSegment, SegmentRow, ServicePart, TableObject};
use crate::store::columnar::{Part, SegmentWriter};
use crate::store::unique_bytes;

/// Collects parts and writes a segment whenever there is enough for one.
pub(crate) struct Output<'a> {
    bulk: &'a dyn Bulk,
    rollup: Rollup,
    bytes_max: usize,
    writer: SegmentWriter,
    services: BTreeMap<String, ServicePart>,
    traces: u64,
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
    pub(crate) fn new(bulk: &'a dyn Bulk, rollup: Rollup, bytes_max: usize) -> Self {
        Self {
            bulk,
            rollup,
            bytes_max,
            writer: SegmentWriter::new(),
            services: BTreeMap::new(),
            traces: 0,
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
        self.writer.add(part)?;
        if self.writer.bytes() >= self.bytes_max || self.writer.is_full() {
            self.close()?;
        }
        Ok(())
    }

    /// Writes what was collected as a segment of its own.
    pub(crate) fn close(&mut self) -> Result<(), OutputError> {
        let writer = std::mem::replace(&mut self.writer, SegmentWriter::new());
        let services = std::mem::take(&mut self.services);
        let (min_ms, max_ms) = (std::mem::replace(&mut self.min_ms, u64::MAX), std::mem::take(&mut self.end_ms));
        let traces = std::mem::take(&mut self.traces);
        if services.is_empty() {
            return Ok(());
        }
        let id = hex(&unique_bytes());
        let mut tables = Vec::new();
        for finished in writer.finish()? {
            let name = finished.table.name();
            let object = hex(&blake3::hash(format!("{id} {name}").as_bytes()).as_bytes()[..16]);
            self.bulk.put(&object, &finished.bytes)?;
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
            samples: 0,
            traces,
        };
        self.written.push(NewSegment { segment, rolled: false, tables, services: services.into_values().collect() });
        Ok(())
    }

    /// Ends with the segments that were written. Their objects are there; the catalog does not know them yet.
    pub(crate) fn finish(mut self) -> Result<Vec<NewSegment>, OutputError> {
        self.close()?;
        Ok(self.written)
    }
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
