//! Entry spans, sorted by trace id.

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
    for rows in rows.chunks(ROW_GROUP_ROWS) {
        files.row_group(Table::Spans, "", |group| {
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
