//! Samples with a trace id, sorted by it.

use std::ops::Range;

use tephra_proto::ids::TraceId;

use super::{Ids, NO_SERIES, NO_STACK, SERVICE, Table};
use crate::profile::decode::{SeriesRow, Window};
use crate::profile::model::Link;
use crate::store::columnar::column::{Bytes8, Bytes16, Coding, Column, Definition, Int32, Int64, SMALL_PAGE, Time};
use crate::store::columnar::dictionary::Dictionary;
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;

/// A sample with its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartTrace {
    /// Trace and span.
    pub(crate) link: Link,
    /// When the first sample was taken, unix milliseconds.
    pub(crate) time_ms: u64,
    /// Start of its window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Index into the series.
    pub(crate) series: u32,
    /// Leaf node.
    pub(crate) node: u32,
    /// In units of the type, gauges too.
    pub(crate) value: u64,
    /// Samples behind it.
    pub(crate) samples: u64,
}

const TRACE_ID: Column<Bytes16> = Column::new("trace_id").coded(Coding::Sorted);
const SPAN_ID: Column<Bytes8> = Column::new("span_id").coded(Coding::Plain);
const TIME: Column<Time> = Column::new("time").coded(Coding::Differences);
const WINDOW: Column<Time> = Column::new("window");
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const SERIES: Column<Int32> = Column::new("series");
const STACK: Column<Int32> = Column::new("stack");
const VALUE: Column<Int64> = Column::new("value");
const SAMPLES: Column<Int64> = Column::new("samples");

pub(super) static TABLE: Definition = Definition {
    name: "traces",
    columns: &[
        SERVICE.about(),
        TRACE_ID.about(),
        SPAN_ID.about(),
        TIME.about(),
        WINDOW.about(),
        WINDOW_MS.about(),
        SERIES.about(),
        STACK.about(),
        VALUE.about(),
        SAMPLES.about(),
    ],
    page_rows: SMALL_PAGE,
};

impl PartTrace {
    /// A row of a window.
    pub(crate) fn of(window: &Window, row: &SeriesRow, link: Link, series: u32, node: u32) -> Self {
        let header = &window.header;
        Self {
            link,
            time_ms: header.start_ms + u64::from(row.time_ms.unwrap_or(0)),
            window_ms: header.start_ms,
            window_len_ms: header.duration_ms,
            series,
            node,
            value: row.value,
            samples: row.samples,
        }
    }

    /// Puts rows in their order.
    pub(crate) fn sort(rows: &mut [Self]) {
        rows.sort_unstable_by_key(|row| (row.link, row.time_ms, row.window_ms, row.series, row.node, row.value));
    }
}

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    first: Ids,
    rows: &[PartTrace],
) -> parquet::errors::Result<()> {
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Traces, "", |group| {
            group.same_text(SERVICE, service, rows.len())?;
            group.links((TRACE_ID, SPAN_ID), rows.iter().map(|row| row.link))?;
            group.put(TIME, rows.iter().map(|row| row.time_ms as i64))?;
            group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
            group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
            group.put(SERIES, rows.iter().map(|row| first.series + row.series as i32))?;
            group.put(STACK, rows.iter().map(|row| first.node + row.node as i32))?;
            group.put(VALUE, rows.iter().map(|row| row.value as i64))?;
            group.put(SAMPLES, rows.iter().map(|row| row.samples as i64))
        })?;
    }
    Ok(())
}

/// Which of the rows are a trace's.
pub(in crate::store::columnar) fn find(rows: &Rows<'_>, trace: TraceId) -> Result<Range<usize>, Problem> {
    rows.find(TRACE_ID, &trace.to_bytes())
}

/// Which of the rows are of some traces, whose ids ascend, and of which of them.
pub(in crate::store::columnar) fn find_all(
    rows: &Rows<'_>,
    traces: &[[u8; 16]],
) -> Result<Vec<(usize, usize)>, Problem> {
    rows.find_all(TRACE_ID, traces)
}

/// The first and the last time at which one of the rows was sampled, unix milliseconds.
pub(in crate::store::columnar) fn bounds(rows: &Rows<'_>) -> Result<(u64, u64), Problem> {
    rows.bounds(TIME)
}

/// Some rows.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    dictionary: &Dictionary,
    into: &mut Vec<PartTrace>,
) -> Result<(), Problem> {
    into.extend(read_linked(rows, rows.links((TRACE_ID, SPAN_ID))?.into_iter(), dictionary)?);
    Ok(())
}

/// Some rows, of which somebody knows the traces. In which of their spans they were taken is left out.
pub(in crate::store::columnar) fn read_of(
    rows: &Rows<'_>,
    traces: impl Iterator<Item = [u8; 16]>,
    dictionary: &Dictionary,
) -> Result<Vec<PartTrace>, Problem> {
    let link = |id| Some(Link { trace_id: TraceId::from_bytes(id)?, span_id: None });
    read_linked(rows, traces.filter_map(link), dictionary)
}

fn read_linked(
    rows: &Rows<'_>,
    links: impl Iterator<Item = Link>,
    dictionary: &Dictionary,
) -> Result<Vec<PartTrace>, Problem> {
    let (times, windows, lengths) = (rows.get(TIME)?, rows.get(WINDOW)?, rows.get(WINDOW_MS)?);
    let (series, stacks) = (rows.get(SERIES)?, rows.get(STACK)?);
    let (values, samples) = (rows.get(VALUE)?, rows.get(SAMPLES)?);
    let mut read = Vec::with_capacity(times.len());
    for (i, link) in links.enumerate().take(times.len()) {
        read.push(PartTrace {
            link,
            time_ms: times[i] as u64,
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            series: dictionary.series_index(series[i]).ok_or_else(|| rows.damaged(NO_SERIES))?,
            node: dictionary.node_index(stacks[i]).ok_or_else(|| rows.damaged(NO_STACK))?,
            value: values[i] as u64,
            samples: samples[i] as u64,
        });
    }
    Ok(read)
}
