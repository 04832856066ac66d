//! Sums of samples by window and series: pictures over time need no samples.

use rustc_hash::FxHashMap;

use super::{Ids, NO_SERIES, PartRow, SERVICE, Table};
use crate::base::range::TimeRange;
use crate::store::columnar::column::{Coding, Column, Definition, Int32, Int64, LARGE_PAGE, Time};
use crate::store::columnar::dictionary::Dictionary;
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;

/// The sum of a series in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartTotal {
    /// Index into the series.
    pub(crate) series: u32,
    /// Start of the window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// As in [`PartRow::value`].
    pub(crate) value: u64,
    /// As in [`PartRow::samples`].
    pub(crate) samples: u64,
}

const SERIES: Column<Int32> = Column::new("series");
const WINDOW: Column<Time> = Column::new("window").coded(Coding::Differences);
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const VALUE: Column<Int64> = Column::new("value");
const SAMPLES: Column<Int64> = Column::new("samples");

pub(super) static TABLE: Definition = Definition {
    name: "totals",
    columns: &[SERVICE.about(), SERIES.about(), WINDOW.about(), WINDOW_MS.about(), VALUE.about(), SAMPLES.about()],
    page_rows: LARGE_PAGE,
};

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    first: Ids,
    rows: &[PartTotal],
) -> parquet::errors::Result<()> {
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Totals, "", |group| {
            group.same_text(SERVICE, service, rows.len())?;
            group.put(SERIES, rows.iter().map(|row| first.series + row.series as i32))?;
            group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
            group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
            group.put(VALUE, rows.iter().map(|row| row.value as i64))?;
            group.put(SAMPLES, rows.iter().map(|row| row.samples as i64))
        })?;
    }
    Ok(())
}

/// Those of windows that start in `range`.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    range: TimeRange,
    dictionary: &Dictionary,
    into: &mut Vec<PartTotal>,
) -> Result<(), Problem> {
    if !rows.may_hold(WINDOW, range)? {
        return Ok(());
    }
    let (series, windows, lengths) = (rows.get(SERIES)?, rows.get(WINDOW)?, rows.get(WINDOW_MS)?);
    let (values, samples) = (rows.get(VALUE)?, rows.get(SAMPLES)?);
    for i in (0..windows.len()).filter(|i| range.contains(windows[*i] as u64)) {
        into.push(PartTotal {
            series: dictionary.series_index(series[i]).ok_or_else(|| rows.damaged(NO_SERIES))?,
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            value: values[i] as u64,
            samples: samples[i] as u64,
        });
    }
    Ok(())
}

/// Series, start of the window, its length.
type Key = (u32, u64, u32);

/// Value and samples.
type Sum = (u128, u128);

/// Totals of rows that are still coming in.
#[derive(Debug, Default)]
pub(crate) struct TotalSums {
    sums: FxHashMap<Key, Sum>,
    /// That of the rows that came last, one after the other: not yet among the others.
    last: Option<(Key, Sum)>,
}

impl TotalSums {
    /// How many there are, about.
    pub(crate) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Counts a row.
    pub(crate) fn add(&mut self, row: &PartRow) {
        let key = (row.series, row.window_ms, row.window_len_ms);
        if self.last.as_ref().is_none_or(|last| last.0 != key) {
            self.end_last();
        }
        let (_, sum) = self.last.get_or_insert((key, (0, 0)));
        sum.0 += u128::from(row.value);
        sum.1 += u128::from(row.samples);
    }

    fn end_last(&mut self) {
        if let Some((key, (value, samples))) = self.last.take() {
            let total = self.sums.entry(key).or_default();
            total.0 += value;
            total.1 += samples;
        }
    }

    /// As rows, in their order; `series` is where each went. What exceeds the largest number of a column becomes several rows.
    pub(crate) fn into_rows(mut self, series: &[u32]) -> Vec<PartTotal> {
        const MOST: u128 = i64::MAX as u128;
        self.end_last();
        let mut totals = Vec::with_capacity(self.sums.len());
        for ((own, window_ms, window_len_ms), (mut value, mut samples)) in self.sums {
            let series = series[own as usize];
            loop {
                let now = (value.min(MOST), samples.min(MOST));
                totals.push(PartTotal { series, window_ms, window_len_ms, value: now.0 as u64, samples: now.1 as u64 });
                (value, samples) = (value - now.0, samples - now.1);
                if value == 0 && samples == 0 {
                    break;
                }
            }
        }
        totals.sort_unstable_by_key(|row| (row.window_ms, row.window_len_ms, row.series, row.value));
        totals
    }
}
