//! Counts what a serialized `WindowPayload` would become, before anything is allocated for it.
//!
//! Two bytes on the wire can ask for an empty message of a hundred bytes in memory, and one byte of a packed column for
//! eight. So the counts are taken from the bytes themselves and checked against the limits; only then does prost decode.

use std::sync::Arc;

use tephra_proto::durations::BINS;
use tephra_proto::limits::{
    WINDOW_FRAMES_MAX, WINDOW_LABEL_SETS_MAX, WINDOW_LINKS_MAX, WINDOW_MODULES_MAX, WINDOW_REQUEST_ROWS_MAX,
    WINDOW_SAMPLES_MAX, WINDOW_SERIES_MAX, WINDOW_SPANS_MAX, WINDOW_STACK_NODES_MAX, WINDOW_STRINGS_MAX,
};
use tephra_proto::v1;

use super::rejection::Rejection;
use super::{Series, SeriesRow};
use crate::base::labels::Labels;
use crate::profile::model::{Frame, Link, Module, Node, RouteDurations, SpanSummary};

/// Refuses a payload whose tables would exceed the limits. Answers how many bytes of memory they will take at most.
pub(super) fn check_counts(payload: &[u8]) -> Result<usize, Rejection> {
    let mut seen = Seen::default();
    for field in Fields(payload) {
        let (number, value) = field?;
        match (number, value) {
            (1, _) => seen.strings += 1,
            (2, _) => seen.modules += 1,
            (3, Value::Bytes(table)) => columns(table, None, &mut seen.frames)?,
            (4, Value::Bytes(table)) => columns(table, None, &mut seen.nodes)?,
            (5, Value::Bytes(series)) => {
                seen.series += 1;
                columns(series, None, &mut seen.rows)?;
            }
            (6, Value::Bytes(table)) => {
                for field in Fields(table) {
                    if let (_, Value::Bytes(ids)) = field? {
                        seen.link_bytes += ids.len();
                    }
                }
            }
            (7, Value::Bytes(set)) => {
                seen.label_sets += 1;
                columns(set, None, &mut seen.labels)?;
            }
            (8, Value::Bytes(table)) => columns(table, Some(SPAN_WEIGHT), &mut seen.spans)?,
            (9, Value::Bytes(table)) => columns(table, None, &mut seen.requests)?,
            _ => {}
        }
    }
    seen.check()?;
    // Strings are copied once, from the message into the window.
    Ok(seen.memory() + 2 * payload.len())
}

#[derive(Default)]
struct Seen {
    strings: usize,
    modules: usize,
    frames: Columns,
    nodes: Columns,
    series: usize,
    rows: Columns,
    link_bytes: usize,
    label_sets: usize,
    labels: Columns,
    spans: Columns,
    requests: Columns,
}

/// Entries per column number, over all occurrences of the table.
type Columns = [usize; 16];

fn longest(columns: &Columns) -> usize {
    columns.iter().copied().max().unwrap_or(0)
}

impl Seen {
    /// Bytes that the message and the window take together: a column doubles while it grows, so at worst three times its
    /// entries are there at one moment; every block of the allocator has 16 bytes of its own.
    fn memory(&self) -> usize {
        const GROWTH: usize = 3;
        let per = [
            (self.strings, GROWTH * size_of::<String>() + size_of::<Arc<str>>() + 64),
            (self.modules, GROWTH * size_of::<v1::Module>() + size_of::<Module>() + 64),
            // Columns that came packed are there a second time, plain; with each frame stands what was seen below it.
            (longest(&self.frames), GROWTH * 32 + 8 + 8 + size_of::<Frame>()),
            (longest(&self.nodes), GROWTH * 24 + 8 + size_of::<Node>() + 6),
            (self.series, GROWTH * size_of::<v1::Series>() + size_of::<Series>() + 256),
            (longest(&self.rows), GROWTH * 32 + 3 * size_of::<SeriesRow>()),
            // What was taken under other labels is a series of its own.
            (longest(&self.rows).min(self.series * self.label_sets), size_of::<Series>() + 256),
            (self.link_bytes / 8, GROWTH * 8 + size_of::<Link>()),
            (self.label_sets, GROWTH * size_of::<v1::LabelSet>() + size_of::<Labels>() + 64),
            (longest(&self.labels), GROWTH * 8 + 2 * size_of::<Arc<str>>()),
            // Those that say nothing of their requests are counted from their spans.
            (longest(&self.spans), GROWTH * 32 + size_of::<SpanSummary>() + 64),
            (longest(&self.requests), GROWTH * 16 + size_of::<RouteDurations>() + 16),
        ];
        per.into_iter().map(|(count, bytes)| count * bytes).sum()
    }

    fn check(&self) -> Result<(), Rejection> {
        let counts = [
            ("strings", self.strings, WINDOW_STRINGS_MAX),
            ("modules", self.modules, WINDOW_MODULES_MAX),
            ("frames", longest(&self.frames), WINDOW_FRAMES_MAX),
            ("stack nodes", longest(&self.nodes), WINDOW_STACK_NODES_MAX),
            ("series", self.series, WINDOW_SERIES_MAX),
            ("samples", longest(&self.rows), WINDOW_SAMPLES_MAX),
            ("links", self.link_bytes / 16, WINDOW_LINKS_MAX * 2),
            ("label sets", self.label_sets, WINDOW_LABEL_SETS_MAX),
            ("sample labels", longest(&self.labels), WINDOW_SAMPLES_MAX),
            ("spans", longest(&self.spans), WINDOW_SPANS_MAX),
            ("bins of requests", longest(&self.requests), WINDOW_REQUEST_ROWS_MAX * usize::from(BINS)),
        ];
        for (what, count, limit) in counts {
            if count > limit {
                return Err(Rejection::TooMany { what, count, limit });
            }
        }
        Ok(())
    }
}

/// Adds the entries of a table's columns: packed, or one by one.
fn columns(table: &[u8], float_column: Option<u32>, counts: &mut Columns) -> Result<(), Rejection> {
    for field in Fields(table) {
        let (number, value) = field?;
        // Field 1 of a series is its type, a message: counting its bytes as varints errs on the safe side.
        let entries = match value {
            Value::Bytes(packed) if float_column == Some(number) => packed.len() / 4,
            // Every varint ends with the one byte whose high bit is clear.
            Value::Bytes(packed) => packed.iter().filter(|byte| **byte < 0x80).count(),
            Value::Number => 1,
        };
        if let Some(count) = counts.get_mut(number as usize) {
            *count += entries;
        }
    }
    Ok(())
}

/// `weight` of the span table: the one column that is not made of varints.
const SPAN_WEIGHT: u32 = 6;

enum Value<'a> {
    Bytes(&'a [u8]),
    Number,
}

/// The fields of one serialized message.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Value<'a>), Rejection> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Rejection::malformed("field number too large"))?;
        let value = match key & 7 {
            0 => {
                self.varint()?;
                Value::Number
            }
            1 => {
                self.take(8)?;
                Value::Number
            }
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).unwrap_or(usize::MAX))?)
            }
            5 => {
                self.take(4)?;
                Value::Number
            }
            wire => return Err(Rejection::malformed(format!("wire type {wire} is never written"))),
        };
        Ok((number, value))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Rejection> {
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return Err(Rejection::malformed(format!("a field of {len} bytes, {} are left", self.0.len())));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Rejection> {
        let mut value = 0u64;
        for (i, byte) in self.0.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
            if *byte < 0x80 {
                self.0 = self.0.get(i + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(Rejection::malformed("a varint does not end"))
    }
}
