//! Reads rows of a row group, column by column. A column is named; where it stands, its table knows.

use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use parquet::data_type::{ByteArray, FixedLenByteArray, FixedLenByteArrayType};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use rustc_hash::FxHashMap;
use tephra_proto::ids::{SpanId, TraceId};

use super::column::{Bytes8, Bytes16, Column, Holds, Text, Time, Value};
use super::table::{Problem, TableFile};
use crate::base::range::TimeRange;
use crate::profile::model::Link;
use crate::store::bulk::Bulk;

type Result<T> = std::result::Result<T, Problem>;

/// Rows of a row group: all, or some.
#[derive(Clone)]
pub(super) struct Rows<'a> {
    bulk: &'a dyn Bulk,
    file: &'a TableFile,
    group: usize,
    /// Stretches that ascend; `None`: all.
    only: Option<Arc<[Range<usize>]>>,
}

impl<'a> Rows<'a> {
    /// All of a row group: their columns are read whole.
    pub(super) fn new(bulk: &'a dyn Bulk, file: &'a TableFile, group: usize) -> Self {
        Self { bulk, file, group, only: None }
    }

    /// Some of them: only the pages that hold these are read.
    pub(super) fn only(&self, rows: Range<usize>) -> Self {
        Self { only: Some([rows].into()), ..self.clone() }
    }

    /// Single ones, which ascend.
    pub(super) fn picked(&self, rows: &[usize]) -> Self {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for row in rows {
            match stretches.last_mut() {
                Some(last) if last.end == *row => last.end += 1,
                _ => stretches.push(*row..*row + 1),
            }
        }
        Self { only: Some(stretches.into()), ..self.clone() }
    }

    /// The number of the row group in its table.
    pub(super) fn group(&self) -> usize {
        self.group
    }

    /// How many rows the row group has.
    pub(super) fn count(&self) -> Result<usize> {
        self.file.rows(self.group)
    }

    /// The table is damaged.
    pub(super) fn damaged(&self, problem: &str) -> Problem {
        self.file.damaged(problem)
    }

    /// The values of a column.
    pub(super) fn get<T: Holds>(&self, column: Column<T>) -> Result<Vec<Value<T>>> {
        let at = self.file.position(column.name())?;
        match &self.only {
            None => self.file.column::<T::Stored>(self.bulk, self.group, at),
            Some(rows) => self.file.slices::<T::Stored>(self.bulk, self.group, at, rows),
        }
    }

    /// The values of a column of texts, each distinct one parsed once.
    pub(super) fn texts<V: Clone>(&self, column: Column<Text>, parse: impl Fn(&str) -> Option<V>) -> Result<Vec<V>> {
        let values: Vec<ByteArray> = self.get(column)?;
        let mut known: FxHashMap<&[u8], V> = FxHashMap::default();
        let mut parsed = Vec::with_capacity(values.len());
        for value in &values {
            let value = value.data();
            let known = match known.entry(value) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let text = std::str::from_utf8(value).ok().and_then(&parse);
                    place.insert(text.ok_or_else(|| self.damaged("a text is malformed"))?)
                }
            };
            parsed.push(known.clone());
        }
        Ok(parsed)
    }

    /// Trace and span ids, which stand side by side.
    pub(super) fn links(&self, (traces, spans): (Column<Bytes16>, Column<Bytes8>)) -> Result<Vec<Link>> {
        let (traces, spans) = (self.get(traces)?, self.get(spans)?);
        let link = |(trace, span): (&FixedLenByteArray, &FixedLenByteArray)| {
            let trace_id = trace.data().try_into().ok().and_then(TraceId::from_bytes);
            let trace_id = trace_id.ok_or_else(|| self.damaged("a trace id is all zero"))?;
            Ok(Link { trace_id, span_id: span.data().try_into().ok().and_then(SpanId::from_bytes) })
        };
        traces.iter().zip(&spans).map(link).collect()
    }

    /// The first and the last time in a column; everything when its statistics do not say.
    pub(super) fn bounds(&self, column: Column<Time>) -> Result<(u64, u64)> {
        let at = self.file.position(column.name())?;
        Ok(match self.file.group(self.group).column(at).statistics() {
            Some(Statistics::Int64(range)) => {
                let known = |value: Option<&i64>, or: u64| value.map_or(or, |value| *value as u64);
                (known(range.min_opt(), 0), known(range.max_opt(), u64::MAX))
            }
            _ => (0, u64::MAX),
        })
    }

    /// False when no time in a column lies in `range`.
    pub(super) fn may_hold(&self, column: Column<Time>, range: TimeRange) -> Result<bool> {
        let (first, last) = self.bounds(column)?;
        Ok(last >= range.from_ms && first < range.until_ms)
    }

    /// All trace ids of the row group, or those of some rows.
    pub(super) fn trace_ids(&self, column: Column<Bytes16>, rows: Range<usize>) -> Result<Vec<[u8; 16]>> {
        self.ids(column, rows)
    }

    fn ids<T, const N: usize>(&self, column: Column<T>, rows: Range<usize>) -> Result<Vec<[u8; N]>>
    where
        T: Holds<Stored = FixedLenByteArrayType>,
    {
        let at = self.file.position(column.name())?;
        self.file.ids::<T::Stored, N>(self.bulk, self.group, at, rows)
    }

    /// Which rows have one of `ids`, which ascend, in a sorted column, and the position of that. Reads the pages that may hold one.
    pub(super) fn find_all(&self, column: Column<Bytes16>, ids: &[[u8; 16]]) -> Result<Vec<(usize, usize)>> {
        let at = self.file.position(column.name())?;
        let metadata = self.file.metadata();
        let pages = metadata.offset_index().and_then(|index| index.get(self.group)?.get(at));
        let bounds = metadata.column_index().and_then(|index| index.get(self.group)?.get(at));
        let (Some(pages), Some(ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(bounds))) = (pages, bounds) else {
            return Err(self.damaged("it has no page index"));
        };
        let pages = pages.page_locations();
        let holds = |page: usize| {
            let from = bounds.min_value(page).map_or(0, |min| ids.partition_point(|id| id.as_slice() < min));
            ids.get(from).is_some_and(|id| bounds.max_value(page).is_none_or(|max| id.as_slice() <= max))
        };
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for page in (0..pages.len()).filter(|page| holds(*page)) {
            let start = pages[page].first_row_index as usize;
            let end = pages.get(page + 1).map_or(self.count()?, |next| next.first_row_index as usize);
            match stretches.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        let mut found = Vec::new();
        for rows in stretches {
            let start = rows.start;
            let there = self.trace_ids(column, rows)?;
            let (Some(first), Some(last)) = (there.first(), there.last()) else { continue };
            let from = ids.partition_point(|id| id < first);
            let mut at = 0;
            for (of, id) in ids.iter().enumerate().skip(from).take_while(|(_, id)| *id <= last) {
                at += there[at..].partition_point(|other| other < id);
                while there.get(at) == Some(id) {
                    found.push((start + at, of));
                    at += 1;
                }
            }
        }
        Ok(found)
    }

    /// Which rows have `id` in a sorted column.
    pub(super) fn find(&self, column: Column<Bytes16>, id: &[u8; 16]) -> Result<Range<usize>> {
        let at = self.file.position(column.name())?;
        let metadata = self.file.metadata();
        let pages = metadata.offset_index().and_then(|index| index.get(self.group)?.get(at));
        let bounds = metadata.column_index().and_then(|index| index.get(self.group)?.get(at));
        let (Some(pages), Some(ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(bounds))) = (pages, bounds) else {
            return Err(self.damaged("it has no page index"));
        };
        let pages = pages.page_locations();
        let holds = |page: &usize| {
            bounds.min_value(*page).is_none_or(|min| min <= id.as_slice())
                && bounds.max_value(*page).is_none_or(|max| max >= id.as_slice())
        };
        let (Some(first), Some(last)) = ((0..pages.len()).find(holds), (0..pages.len()).rfind(holds)) else {
            return Ok(0..0);
        };
        let start = pages[first].first_row_index as usize;
        let end = pages.get(last + 1).map_or(self.count()?, |next| next.first_row_index as usize);
        let ids = self.only(start..end).get(column)?;
        let before = ids.partition_point(|other| other.data() < id.as_slice());
        let until = ids.partition_point(|other| other.data() <= id.as_slice());
        Ok(start + before..start + until)
    }
}
