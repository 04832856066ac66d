//! Which windows were received: coverage and instances, also where nothing was sampled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{SERVICE, Table};
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::decode::Window;
use crate::profile::model::ProfileType;
use crate::store::columnar::column::{Coding, Column, Definition, Int32, LARGE_PAGE, Text, Time};
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;
use crate::store::columnar::text::{labels_from_text, labels_to_text, types_from_text, types_to_text};

/// An unbroken stretch of time in which one instance sent its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartWindow {
    /// Start of the window they were added up to, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Its length in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Start of the stretch, unix milliseconds.
    pub(crate) from_ms: u64,
    /// Its end, exclusive.
    pub(crate) until_ms: u64,
    /// Windows received.
    pub(crate) windows: u32,
    /// Which process: kept at every level.
    pub(crate) instance: Arc<str>,
    /// Resource labels.
    pub(crate) labels: Labels,
    /// The types they carried, by name; with the series' fields, so that a type which changed its unit is told apart.
    pub(crate) types: Arc<[ProfileType]>,
}

const WINDOW: Column<Time> = Column::new("window").coded(Coding::Differences);
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const COVERED_FROM: Column<Time> = Column::new("covered_from").coded(Coding::Differences);
const COVERED_MS: Column<Int32> = Column::new("covered_ms");
const WINDOWS: Column<Int32> = Column::new("windows");
const INSTANCE: Column<Text> = Column::new("instance");
const LABELS: Column<Text> = Column::new("labels");
const TYPES: Column<Text> = Column::new("types");

pub(super) static TABLE: Definition = Definition {
    name: "windows",
    columns: &[
        SERVICE.about(),
        WINDOW.about(),
        WINDOW_MS.about(),
        COVERED_FROM.about(),
        COVERED_MS.about(),
        WINDOWS.about(),
        INSTANCE.about(),
        LABELS.about(),
        TYPES.about(),
    ],
    page_rows: LARGE_PAGE,
};

impl PartWindow {
    /// A window as its agent sent it.
    pub(crate) fn of(window: &Window) -> Self {
        let header = &window.header;
        Self {
            window_ms: header.start_ms,
            window_len_ms: header.duration_ms,
            from_ms: header.start_ms,
            until_ms: header.end_ms(),
            windows: 1,
            instance: header.instance.as_str().into(),
            labels: header.labels.clone(),
            types: window.series.iter().map(|series| series.profile_type.clone()).collect(),
        }
    }
}

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    rows: &[PartWindow],
) -> parquet::errors::Result<()> {
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Windows, "", |group| {
            group.same_text(SERVICE, service, rows.len())?;
            group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
            group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
            group.put(COVERED_FROM, rows.iter().map(|row| row.from_ms as i64))?;
            group.put(COVERED_MS, rows.iter().map(|row| row.until_ms.saturating_sub(row.from_ms) as i32))?;
            group.put(WINDOWS, rows.iter().map(|row| row.windows as i32))?;
            group.texts(INSTANCE, rows.iter().map(|row| &*row.instance))?;
            group.texts(LABELS, rows.iter().map(|row| labels_to_text(row.labels.iter())))?;
            group.texts(TYPES, rows.iter().map(|row| types_to_text(&row.types)))
        })?;
    }
    Ok(())
}

/// Those that start in `range`.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    range: TimeRange,
    into: &mut Vec<PartWindow>,
) -> Result<(), Problem> {
    if !rows.may_hold(WINDOW, range)? {
        return Ok(());
    }
    let (windows, lengths) = (rows.get(WINDOW)?, rows.get(WINDOW_MS)?);
    let (from, covered, counts) = (rows.get(COVERED_FROM)?, rows.get(COVERED_MS)?, rows.get(WINDOWS)?);
    let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
    let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
    let types = rows.texts(TYPES, |text| types_from_text(text).map(Arc::<[ProfileType]>::from))?;
    for i in (0..windows.len()).filter(|i| range.contains(windows[*i] as u64)) {
        into.push(PartWindow {
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            from_ms: from[i] as u64,
            until_ms: (from[i] as u64).saturating_add(u64::from(covered[i] as u32)),
            windows: counts[i] as u32,
            instance: instances[i].clone(),
            labels: labels[i].clone(),
            types: types[i].clone(),
        });
    }
    Ok(())
}

/// Windows that are still coming in, by what their rows are told apart by.
#[derive(Debug, Default)]
pub(crate) struct WindowSums(BTreeMap<Key, Received>);

/// Start of the window, its length, instance and labels.
type Key = (u64, u32, Arc<str>, Labels);

/// What was received of an instance in a window.
#[derive(Debug, Default)]
struct Received {
    /// Covered stretches, unix milliseconds, and how many windows they were.
    stretches: Vec<Stretch>,
    types: BTreeSet<ProfileType>,
}

/// From, until, how many windows.
type Stretch = (u64, u64, u32);

impl WindowSums {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Counts what was received.
    pub(crate) fn add(&mut self, window: PartWindow) {
        let key = (window.window_ms, window.window_len_ms, window.instance, window.labels);
        let received = self.0.entry(key).or_default();
        received.stretches.push((window.from_ms, window.until_ms, window.windows));
        for found in window.types.iter() {
            if !received.types.contains(found) {
                received.types.insert(found.clone());
            }
        }
    }

    /// As rows, in their order.
    pub(crate) fn into_rows(self) -> Vec<PartWindow> {
        let rows = self.0.into_iter().flat_map(|((window_ms, window_len_ms, instance, labels), received)| {
            let types: Arc<[ProfileType]> = received.types.into_iter().collect();
            union(received.stretches).into_iter().map(move |(from_ms, until_ms, windows)| PartWindow {
                window_ms,
                window_len_ms,
                from_ms,
                until_ms,
                windows,
                instance: instance.clone(),
                labels: labels.clone(),
                types: types.clone(),
            })
        });
        rows.collect()
    }
}

/// Joins stretches that touch or overlap.
fn union(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    let mut joined: Vec<Stretch> = Vec::with_capacity(1);
    for (from, until, windows) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => {
                last.1 = last.1.max(until);
                last.2 = last.2.saturating_add(windows);
            }
            _ => joined.push((from, until, windows)),
        }
    }
    joined
}
