//! Values by service, type, window, series and stack: what merged profiles are summed from.

use super::{Ids, NO_SERIES, NO_STACK, PartSeries, SERVICE, Table};
use crate::profile::decode::SeriesRow;
use crate::store::columnar::column::{Coding, Column, Definition, Int32, Int64, LARGE_PAGE, Text, Time};
use crate::store::columnar::dictionary::Dictionary;
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartRow {
    /// Index into the series.
    pub(crate) series: u32,
    /// Start of the window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Leaf node.
    pub(crate) node: u32,
    /// In units of the type. Gauges: value × milliseconds, so that coarser windows are exact sums and a mean is one
    /// division away.
    pub(crate) value: u64,
    /// Samples behind it. Gauges: × milliseconds too.
    pub(crate) samples: u64,
}

const TYPE: Column<Text> = Column::new("type");
const SERIES: Column<Int32> = Column::new("series");
const WINDOW: Column<Time> = Column::new("window").coded(Coding::Differences);
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const STACK: Column<Int32> = Column::new("stack").coded(Coding::Differences);
const VALUE: Column<Int64> = Column::new("value");
const SAMPLES: Column<Int64> = Column::new("samples");

pub(super) static TABLE: Definition = Definition {
    name: "samples",
    columns: &[
        SERVICE.about(),
        TYPE.about(),
        SERIES.about(),
        WINDOW.about(),
        WINDOW_MS.about(),
        STACK.about(),
        VALUE.about(),
        SAMPLES.about(),
    ],
    page_rows: LARGE_PAGE,
};

impl PartRow {
    /// A row of a window, which counts `weight` times.
    pub(crate) fn of(row: &SeriesRow, weight: u64, window: (u64, u32), series: u32, node: u32) -> Self {
        let weighted = |value: u64| value.saturating_mul(weight).min(i64::MAX as u64);
        let (window_ms, window_len_ms) = window;
        Self { series, window_ms, window_len_ms, node, value: weighted(row.value), samples: weighted(row.samples) }
    }

    /// What may be summed has the same key; in a segment, rows of one type are sorted by it.
    pub(crate) fn key(&self) -> (u64, u32, u32, u32) {
        (self.window_ms, self.window_len_ms, self.series, self.node)
    }

    /// Adds another of the same key; false where the sum does not fit: two rows are right as well.
    pub(crate) fn absorb(&mut self, other: &Self) -> bool {
        let fits = |a: u64, b: u64| a.checked_add(b).filter(|sum| *sum <= i64::MAX as u64);
        let (Some(value), Some(samples)) = (fits(self.value, other.value), fits(self.samples, other.samples)) else {
            return false;
        };
        (self.value, self.samples) = (value, samples);
        true
    }
}

/// Row groups hold rows of one type.
pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    first: Ids,
    rows: &[PartRow],
    series: &[PartSeries],
) -> parquet::errors::Result<()> {
    let type_of = |row: &PartRow| series[row.series as usize].profile_type.name.as_str();
    for same_type in rows.chunk_by(|a, b| a.series == b.series || type_of(a) == type_of(b)) {
        let type_name = same_type.first().map_or("", type_of);
        for rows in same_type.chunks(ROW_GROUP_ROWS) {
            files.row_group(Table::Samples, type_name, |group| {
                group.same_text(SERVICE, service, rows.len())?;
                group.same_text(TYPE, type_name, rows.len())?;
                group.put(SERIES, rows.iter().map(|row| first.series + row.series as i32))?;
                group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
                group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
                group.put(STACK, rows.iter().map(|row| first.node + row.node as i32))?;
                group.put(VALUE, rows.iter().map(|row| row.value as i64))?;
                group.put(SAMPLES, rows.iter().map(|row| row.samples as i64))
            })?;
        }
    }
    Ok(())
}

/// What is known of a row group before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleGroup {
    /// Its number in the table.
    pub(crate) group: usize,
    /// First start of a window in it, unix milliseconds.
    pub(crate) first_ms: u64,
    /// Last one.
    pub(crate) last_ms: u64,
    /// How many rows it has.
    pub(crate) rows: usize,
}

/// The values of one row group; all of equal length.
#[derive(Debug, Default)]
pub(crate) struct SampleColumns {
    /// Ids of series; empty when they were not asked for.
    pub(crate) series: Vec<i32>,
    /// Starts of windows, unix milliseconds, never falling.
    pub(crate) windows: Vec<i64>,
    /// Ids of leaf nodes.
    pub(crate) stacks: Vec<i32>,
    /// See [`PartRow::value`].
    pub(crate) values: Vec<i64>,
    /// See [`PartRow::samples`].
    pub(crate) samples: Vec<i64>,
}

pub(in crate::store::columnar) fn sample_group(rows: &Rows<'_>) -> SampleGroup {
    let (first_ms, last_ms) = rows.bounds(WINDOW).unwrap_or((0, u64::MAX));
    SampleGroup { group: rows.group(), first_ms, last_ms, rows: rows.count().unwrap_or(0) }
}

/// As a query sums them.
pub(in crate::store::columnar) fn read_columns(rows: &Rows<'_>, with_series: bool) -> Result<SampleColumns, Problem> {
    Ok(SampleColumns {
        series: if with_series { rows.get(SERIES)? } else { Vec::new() },
        windows: rows.get(WINDOW)?,
        stacks: rows.get(STACK)?,
        values: rows.get(VALUE)?,
        samples: rows.get(SAMPLES)?,
    })
}

/// As compaction merges them.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    dictionary: &Dictionary,
    into: &mut Vec<PartRow>,
) -> Result<(), Problem> {
    let lengths = rows.get(WINDOW_MS)?;
    let columns = read_columns(rows, true)?;
    for (i, length) in lengths.iter().enumerate() {
        into.push(PartRow {
            series: dictionary.series_index(columns.series[i]).ok_or_else(|| rows.damaged(NO_SERIES))?,
            window_ms: columns.windows[i] as u64,
            window_len_ms: *length as u32,
            node: dictionary.node_index(columns.stacks[i]).ok_or_else(|| rows.damaged(NO_STACK))?,
            value: columns.values[i] as u64,
            samples: columns.samples[i] as u64,
        });
    }
    Ok(())
}
