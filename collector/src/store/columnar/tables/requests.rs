//! How many requests ended, how, and how long they took: a histogram for each window, route and status.

use std::collections::BTreeMap;
use std::sync::Arc;

use parquet::data_type::ByteArray;

use super::{Processes, SERVICE, Table};
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::decode::Window;
use crate::profile::durations::Durations;
use crate::profile::model::{RouteDurations, SpanStatus};
use crate::store::columnar::column::{Bytes, Coding, Column, Definition, Int32, Int64, LARGE_PAGE, Text, Time};
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;
use crate::store::columnar::text::{labels_from_text, labels_to_text, status_from_text, status_to_text};

/// The requests of a route that ended alike in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartRequests {
    /// Start of the window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Which process; empty where the level adds them up.
    pub(crate) instance: Arc<str>,
    /// Resource labels.
    pub(crate) labels: Labels,
    /// The requests.
    pub(crate) requests: RouteDurations,
}

const WINDOW: Column<Time> = Column::new("window").coded(Coding::Differences);
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const INSTANCE: Column<Text> = Column::new("instance");
const LABELS: Column<Text> = Column::new("labels");
const ROUTE: Column<Text> = Column::new("route");
const STATUS: Column<Text> = Column::new("status");
const SUM_US: Column<Int64> = Column::new("sum_us").coded(Coding::Differences);
const MAX_US: Column<Int64> = Column::new("max_us").coded(Coding::Differences);
/// For each bin that holds something, ascending: the difference from the bin before it, then how many requests are in it; LEB128 numbers.
const BINS: Column<Bytes> = Column::new("bins").coded(Coding::Plain);

const BAD_BINS: &str = "bins are not those of any durations";

pub(super) static TABLE: Definition = Definition {
    name: "requests",
    columns: &[
        SERVICE.about(),
        WINDOW.about(),
        WINDOW_MS.about(),
        INSTANCE.about(),
        LABELS.about(),
        ROUTE.about(),
        STATUS.about(),
        SUM_US.about(),
        MAX_US.about(),
        BINS.about(),
    ],
    page_rows: LARGE_PAGE,
};

impl PartRequests {
    /// Those of a window as its agent sent it.
    pub(crate) fn all_of(window: &Window, instance: &Arc<str>) -> impl Iterator<Item = Self> {
        let header = &window.header;
        window.requests.iter().map(|requests| Self {
            window_ms: header.start_ms,
            window_len_ms: header.duration_ms,
            instance: instance.clone(),
            labels: header.labels.clone(),
            requests: requests.clone(),
        })
    }
}

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    rows: &[PartRequests],
) -> parquet::errors::Result<()> {
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Requests, "", |group| {
            group.same_text(SERVICE, service, rows.len())?;
            group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
            group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
            group.texts(INSTANCE, rows.iter().map(|row| &*row.instance))?;
            group.texts(LABELS, rows.iter().map(|row| labels_to_text(row.labels.iter())))?;
            group.texts(ROUTE, rows.iter().map(|row| &*row.requests.route))?;
            group.texts(STATUS, rows.iter().map(|row| status_to_text(row.requests.status)))?;
            group.put(SUM_US, rows.iter().map(|row| row.requests.durations.sum_us() as i64))?;
            group.put(MAX_US, rows.iter().map(|row| row.requests.durations.max_us() as i64))?;
            group.put(BINS, rows.iter().map(|row| ByteArray::from(bins_to_bytes(&row.requests.durations))))
        })?;
    }
    Ok(())
}

/// Those of windows that start in `range`.
pub(in crate::store::columnar) fn read(
    rows: &Rows<'_>,
    range: TimeRange,
    into: &mut Vec<PartRequests>,
) -> Result<(), Problem> {
    if !rows.may_hold(WINDOW, range)? {
        return Ok(());
    }
    let (windows, lengths) = (rows.get(WINDOW)?, rows.get(WINDOW_MS)?);
    let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
    let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
    let routes = rows.texts(ROUTE, |text| Some(Arc::<str>::from(text)))?;
    let statuses = rows.texts(STATUS, |text| Some(status_from_text(text)))?;
    let (sums, maxima, bins) = (rows.get(SUM_US)?, rows.get(MAX_US)?, rows.get(BINS)?);
    for i in (0..windows.len()).filter(|i| range.contains(windows[*i] as u64)) {
        let bins = bins_from_bytes(bins[i].data()).ok_or_else(|| rows.damaged(BAD_BINS))?;
        let durations = Durations::from_bins(bins, sums[i] as u64, maxima[i] as u64);
        into.push(PartRequests {
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            instance: instances[i].clone(),
            labels: labels[i].clone(),
            requests: RouteDurations {
                route: routes[i].clone(),
                status: statuses[i],
                durations: durations.map_err(|_| rows.damaged(BAD_BINS))?,
            },
        });
    }
    Ok(())
}

/// Looks at those of windows that start in `range`, of processes that are asked for; `None`: of all. Told is the start of the window, the route, and how
/// its requests ended and how long they took. In their order; routes that are equal are the same.
pub(in crate::store::columnar) fn look(
    rows: &Rows<'_>,
    range: TimeRange,
    of_process: Option<Processes<'_>>,
    mut each: impl FnMut(u64, &Arc<str>, SpanStatus, &Durations),
) -> Result<(), Problem> {
    if !rows.may_hold(WINDOW, range)? {
        return Ok(());
    }
    let windows = rows.get(WINDOW)?;
    let mut wanted: Vec<bool> = windows.iter().map(|window| range.contains(*window as u64)).collect();
    if let Some(takes) = of_process {
        let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
        let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
        let processes = instances.iter().zip(&labels);
        wanted.iter_mut().zip(processes).for_each(|(wanted, (instance, labels))| *wanted &= takes(instance, labels));
    }
    let routes = rows.texts(ROUTE, |text| Some(Arc::<str>::from(text)))?;
    let statuses = rows.texts(STATUS, |text| Some(status_from_text(text)))?;
    let (sums, maxima, bins) = (rows.get(SUM_US)?, rows.get(MAX_US)?, rows.get(BINS)?);
    for i in (0..windows.len()).filter(|i| wanted[*i]) {
        let bins = bins_from_bytes(bins[i].data()).ok_or_else(|| rows.damaged(BAD_BINS))?;
        let durations = Durations::from_bins(bins, sums[i] as u64, maxima[i] as u64);
        let durations = durations.map_err(|_| rows.damaged(BAD_BINS))?;
        each(windows[i] as u64, &routes[i], statuses[i], &durations);
    }
    Ok(())
}

fn bins_to_bytes(durations: &Durations) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 * durations.bins().len());
    let mut before = 0;
    for (bin, requests) in durations.bins() {
        prost::encoding::encode_varint(u64::from(bin - before), &mut bytes);
        prost::encoding::encode_varint(*requests, &mut bytes);
        before = *bin;
    }
    bytes
}

fn bins_from_bytes(mut bytes: &[u8]) -> Option<Vec<(u16, u64)>> {
    let mut bins = Vec::with_capacity(bytes.len() / 2);
    let mut bin = 0u16;
    while !bytes.is_empty() {
        let step = prost::encoding::decode_varint(&mut bytes).ok()?;
        let requests = prost::encoding::decode_varint(&mut bytes).ok()?;
        bin = bin.checked_add(u16::try_from(step).ok()?)?;
        bins.push((bin, requests));
    }
    Some(bins)
}

/// Requests that are still coming in, by what their rows are told apart by.
#[derive(Debug, Default)]
pub(crate) struct RequestSums {
    sums: BTreeMap<Key, Durations>,
    bins: usize,
}

/// Start of the window, its length, instance, labels, route and status.
type Key = (u64, u32, Arc<str>, Labels, Arc<str>, SpanStatus);

impl RequestSums {
    /// Memory they take, about, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.sums.len() * 192 + self.bins * 16
    }

    /// Counts requests.
    pub(crate) fn add(&mut self, row: PartRequests) {
        let PartRequests { window_ms, window_len_ms, instance, labels, requests } = row;
        let RouteDurations { route, status, durations } = requests;
        let sum = self.sums.entry((window_ms, window_len_ms, instance, labels, route, status)).or_default();
        let before = sum.bins().len();
        sum.add(&durations);
        self.bins += sum.bins().len() - before;
    }

    /// As rows, in their order.
    pub(crate) fn into_rows(self) -> Vec<PartRequests> {
        let row = |((window_ms, window_len_ms, instance, labels, route, status), durations)| PartRequests {
            window_ms,
            window_len_ms,
            instance,
            labels,
            requests: RouteDurations { route, status, durations },
        };
        self.sums.into_iter().map(row).collect()
    }
}
