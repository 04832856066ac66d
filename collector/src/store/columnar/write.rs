//! Writes segments, one part at a time, into memory: an object is put whole.

use parquet::errors::Result;

use super::files::{Files, Finished};
use super::part::Part;
use super::tables::{self, Ids};

/// Writes one segment. Ids run on from part to part, so that they are unique within the segment.
pub(crate) struct SegmentWriter {
    files: Files,
    next: Ids,
}

impl SegmentWriter {
    /// An empty segment.
    pub(crate) fn new() -> Self {
        Self { files: Files::default(), next: Ids::default() }
    }

    /// Appends a part. Parts of one service follow one another.
    pub(crate) fn add(&mut self, part: &Part) -> Result<()> {
        let (files, service, first) = (&mut self.files, part.service.as_str(), self.next);
        files.begin_part(service);
        tables::write_samples(files, service, first, &part.rows, &part.series)?;
        tables::write_totals(files, service, first, &part.totals)?;
        tables::write_windows(files, service, &part.windows)?;
        tables::write_series(files, service, first, &part.series)?;
        tables::write_stacks(files, service, first, &part.nodes)?;
        tables::write_frames(files, service, first, &part.frames, &part.modules)?;
        tables::write_traces(files, service, first, &part.traces)?;
        tables::write_spans(files, service, &part.spans)?;
        tables::write_requests(files, service, &part.requests)?;
        self.next.node += part.nodes.len() as i32;
        self.next.frame += part.frames.len() as i32;
        self.next.series += part.series.len() as i32;
        Ok(())
    }

    /// Bytes written so far, about.
    pub(crate) fn bytes(&self) -> usize {
        self.files.bytes()
    }

    /// True when no more ids fit, or nearly so.
    pub(crate) fn is_full(&self) -> bool {
        [self.next.node, self.next.frame, self.next.series].into_iter().any(|next| next > i32::MAX / 2)
    }

    /// Ends the tables. Those without rows do not exist.
    pub(crate) fn finish(self) -> Result<Vec<Finished>> {
        self.files.finish()
    }
}
