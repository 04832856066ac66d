//! Entry spans, sorted by trace id. Routes of many have row groups of their own, named by them: who asks about one reads no other's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::{SERVICE, Table};
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::decode::Window;
use crate::profile::model::SpanSummary;
use crate::store::columnar::column::{
    Bytes8, Bytes16, Coding, Column, Definition, Float, Int32, Int64, SMALL_PAGE, Text, Time,
};
use crate::store::columnar::files::{Files, ROW_GROUP_ROWS};
use crate::store::columnar::rows::Rows;
use crate::store::columnar::table::Problem;
use crate::store::columnar::text::{labels_from_text, labels_to_text, status_from_text, status_to_text};

/// An entry span, and who sent it in which window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartSpan {
    /// The span.
    pub(crate) span: SpanSummary,
    /// Start of its window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Which process.
    pub(crate) instance: Arc<str>,
    /// Resource labels.
    pub(crate) labels: Labels,
}

const TRACE_ID: Column<Bytes16> = Column::new("trace_id").coded(Coding::Sorted);
const SPAN_ID: Column<Bytes8> = Column::new("span_id").coded(Coding::Plain);
const ROUTE: Column<Text> = Column::new("route");
const START: Column<Time> = Column::new("start").coded(Coding::Differences);
const DURATION_US: Column<Int64> = Column::new("duration_us").coded(Coding::Differences);
const STATUS: Column<Text> = Column::new("status");
const WEIGHT: Column<Float> = Column::new("weight");
const WINDOW: Column<Time> = Column::new("window");
const WINDOW_MS: Column<Int32> = Column::new("window_ms");
const INSTANCE: Column<Text> = Column::new("instance");
const LABELS: Column<Text> = Column::new("labels");

/// The name of row groups in which any route may be, such as those of segments of before.
const ROUTES: &str = "";

/// Spans that a route has in a part, from which on they have row groups of their own.
const OWN_GROUP_ROWS: usize = 4 * SMALL_PAGE;

pub(super) static TABLE: Definition = Definition {
    name: "spans",
    columns: &[
        SERVICE.about(),
        TRACE_ID.about(),
        SPAN_ID.about(),
        ROUTE.about(),
        START.about(),
        DURATION_US.about(),
        STATUS.about(),
        WEIGHT.about(),
        WINDOW.about(),
        WINDOW_MS.about(),
        INSTANCE.about(),
        LABELS.about(),
    ],
    page_rows: SMALL_PAGE,
};

impl PartSpan {
    /// The spans of a window.
    pub(crate) fn all_of(window: &Window, instance: &Arc<str>) -> impl Iterator<Item = Self> {
        let header = &window.header;
        window.spans.iter().map(|span| Self {
            span: span.clone(),
            window_ms: header.start_ms,
            window_len_ms: header.duration_ms,
            instance: instance.clone(),
            labels: header.labels.clone(),
        })
    }

    /// Puts rows in their order.
    pub(crate) fn sort(rows: &mut [Self]) {
        let key = |row: &Self| (row.span.link, row.span.start_ms, row.window_ms);
        rows.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.instance.cmp(&b.instance)));
    }
}

pub(in crate::store::columnar) fn write(
    files: &mut Files,
    service: &str,
    rows: &[PartSpan],
) -> parquet::errors::Result<()> {
    let mut by_route: BTreeMap<&str, Vec<&PartSpan>> = BTreeMap::new();
    for row in rows {
        by_route.entry(&row.span.route).or_default().push(row);
    }
    // Routes of few rows lie together, in the order of all.
    by_route.retain(|_, rows| rows.len() >= OWN_GROUP_ROWS);
    let rest: Vec<&PartSpan> = rows.iter().filter(|row| !by_route.contains_key(&*row.span.route)).collect();
    let groups = [(ROUTES, rest)].into_iter().chain(by_route);
    for (route, rows) in groups {
        write_groups(files, service, route, &rows)?;
    }
    Ok(())
}

fn write_groups(files: &mut Files, service: &str, route: &str, rows: &[&PartSpan]) -> parquet::errors::Result<()> {
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Spans, route, |group| {
            group.same_text(SERVICE, service, rows.len())?;
            group.links((TRACE_ID, SPAN_ID), rows.iter().map(|row| row.span.link))?;
            group.texts(ROUTE, rows.iter().map(|row| &*row.span.route))?;
            group.put(START, rows.iter().map(|row| row.span.start_ms as i64))?;
            group.put(DURATION_US, rows.iter().map(|row| row.span.duration_us as i64))?;
            group.texts(STATUS, rows.iter().map(|row| status_to_text(row.span.status)))?;
            group.put(WEIGHT, rows.iter().map(|row| row.span.weight))?;
            group.put(WINDOW, rows.iter().map(|row| row.window_ms as i64))?;
            group.put(WINDOW_MS, rows.iter().map(|row| row.window_len_ms as i32))?;
            group.texts(INSTANCE, rows.iter().map(|row| &*row.instance))?;
            group.texts(LABELS, rows.iter().map(|row| labels_to_text(row.labels.iter())))
        })?;
    }
    Ok(())
}

/// Which of the rows are a trace's.
pub(in crate::store::columnar) fn find(rows: &Rows<'_>, trace: TraceId) -> Result<Range<usize>, Problem> {
    rows.find(TRACE_ID, &trace.to_bytes())
}

/// False when none of the spans' windows start in `range`.
pub(in crate::store::columnar) fn may_hold(rows: &Rows<'_>, range: TimeRange) -> Result<bool, Problem> {
    rows.may_hold(WINDOW, range)
}

/// What chooses spans of a route, before all else that is known of them is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SpanLook {
    /// Of which trace.
    pub(crate) trace_id: TraceId,
    /// Unix milliseconds.
    pub(crate) start_ms: u64,
    /// Microseconds.
    pub(crate) duration_us: u64,
    /// For how many requests it stands.
    pub(crate) weight: f32,
}

/// Processes that are asked for, by their instance and labels.
pub(crate) type Processes<'a> = &'a (dyn Fn(&str, &Labels) -> bool + Sync);

/// True when rows of a row group of that name may be of the route.
pub(in crate::store::columnar) fn may_be_of(group: &str, route: &str) -> bool {
    group == ROUTES || group == route
}

/// Looks at the rows of a route whose windows start in `range`, of processes that are asked for; `None`: of
/// all.
pub(in crate::store::columnar) fn look(
    rows: &Rows<'_>,
    (group, route): (&str, &str),
    range: TimeRange,
    of_process: Option<Processes<'_>>,
    mut each: impl FnMut(SpanLook),
) -> Result<(), Problem> {
    let count = rows.count()?;
    let mut wanted = match group {
        ROUTES => rows.texts(ROUTE, |text| Some(text == route))?,
        _ => vec![true; count],
    };
    let (first, last) = rows.bounds(WINDOW)?;
    if !(range.contains(first) && range.contains(last)) {
        let windows = rows.get(WINDOW)?;
        wanted.iter_mut().zip(windows).for_each(|(wanted, window)| *wanted &= range.contains(window as u64));
    }
    if !wanted.contains(&true) {
        return Ok(());
    }
    if let Some(takes) = of_process {
        let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
        let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
        let processes = instances.iter().zip(&labels);
        wanted.iter_mut().zip(processes).for_each(|(wanted, (instance, labels))| *wanted &= takes(instance, labels));
    }
    let traces = rows.trace_ids(TRACE_ID, 0..count)?;
    let (starts, durations, weights) = (rows.get(START)?, rows.get(DURATION_US)?, rows.get(WEIGHT)?);
    for at in (0..count).filter(|at| wanted[*at]) {
        let trace_id = TraceId::from_bytes(traces[at]).ok_or_else(|| rows.damaged("a trace id is all zero"))?;
        each(SpanLook {
            trace_id,
            start_ms: starts[at] as u64,
            duration_us: durations[at] as u64,
            weight: weights[at],
        });
    }
    Ok(())
}

/// Which of the rows are of some traces, whose ids ascend, and of which of them.
pub(in crate::store::columnar) fn find_all(
    rows: &Rows<'_>,
    traces: &[[u8; 16]],
) -> Result<Vec<(usize, usize)>, Problem> {
    rows.find_all(TRACE_ID, traces)
}

/// Traces that rows only complete, which stand for no request.
pub(in crate::store::columnar) fn completed(rows: &Rows<'_>, into: &mut Vec<TraceId>) -> Result<(), Problem> {
    let weights = rows.get(WEIGHT)?;
    let completing: Vec<usize> = (0..weights.len()).filter(|at| weights[*at] == 0.0).collect();
    if completing.is_empty() {
        return Ok(());
    }
    let ids = rows.trace_ids(TRACE_ID, 0..weights.len())?;
    into.extend(completing.into_iter().filter_map(|at| TraceId::from_bytes(*ids.get(at)?)));
    Ok(())
}

/// Some rows.
pub(in crate::store::columnar) fn read(rows: &Rows<'_>, into: &mut Vec<PartSpan>) -> Result<(), Problem> {
    let links = rows.links((TRACE_ID, SPAN_ID))?;
    let routes = rows.texts(ROUTE, |text| Some(Arc::<str>::from(text)))?;
    let (starts, durations) = (rows.get(START)?, rows.get(DURATION_US)?);
    let statuses = rows.texts(STATUS, |text| Some(status_from_text(text)))?;
    let weights = rows.get(WEIGHT)?;
    let (windows, lengths) = (rows.get(WINDOW)?, rows.get(WINDOW_MS)?);
    let instances = rows.texts(INSTANCE, |text| Some(Arc::<str>::from(text)))?;
    let labels = rows.texts(LABELS, |text| Some(labels_from_text(text)))?;
    for (i, link) in links.into_iter().enumerate() {
        let span = SpanSummary {
            link,
            route: routes[i].clone(),
            start_ms: starts[i] as u64,
            duration_us: durations[i] as u64,
            status: statuses[i],
            weight: weights[i],
        };
        into.push(PartSpan {
            span,
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            instance: instances[i].clone(),
            labels: labels[i].clone(),
        });
    }
    Ok(())
}
