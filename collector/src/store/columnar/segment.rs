//! Reads segments: the dictionaries of one part, and the rows that a query or a compaction needs of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::dictionary::Dictionary;
use super::part::Part;
use super::rows::Rows;
use super::table::{Problem, TableFile};
use super::tables::{
    self, PartRequests, PartSpan, PartTotal, PartTrace, PartWindow, Processes, SampleColumns, SampleGroup, SpanLook,
    Table,
};
use crate::base::range::TimeRange;
use crate::profile::durations::Durations;
use crate::profile::model::SpanStatus;
use crate::store::bulk::Bulk;

type Result<T> = std::result::Result<T, Problem>;

/// Tables of one segment that were opened. A table that is not there has no rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    files: BTreeMap<Table, Arc<TableFile>>,
}

impl Segment {
    /// A segment of these tables.
    pub(crate) fn new(files: impl IntoIterator<Item = (Table, Arc<TableFile>)>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The service of each part.
    pub(crate) fn services(&self) -> &[String] {
        self.files.values().next().map_or(&[], |file| file.services())
    }

    /// The parts of a service.
    pub(crate) fn parts_of(&self, service: &str) -> impl Iterator<Item = usize> {
        self.services().iter().enumerate().filter(move |(_, name)| *name == service).map(|(part, _)| part)
    }

    /// Row groups of a part, with the type of their rows where the table has one.
    fn groups<'a>(
        &'a self,
        bulk: &'a dyn Bulk,
        table: Table,
        part: usize,
    ) -> impl Iterator<Item = (Rows<'a>, &'a str)> {
        let file = self.files.get(&table);
        file.into_iter()
            .flat_map(move |file| file.groups_of(part).map(move |(group, name)| (Rows::new(bulk, file, group), name)))
    }

    /// Row groups of a part.
    fn rows<'a>(&'a self, bulk: &'a dyn Bulk, table: Table, part: usize) -> impl Iterator<Item = Rows<'a>> {
        self.groups(bulk, table, part).map(|(rows, _)| rows)
    }

    /// The dictionaries of a part; `stacks` false: only its series.
    pub(crate) fn dictionary(&self, bulk: &dyn Bulk, part: usize, stacks: bool) -> Result<Dictionary> {
        let mut local = Dictionary::default();
        for rows in self.rows(bulk, Table::Series, part) {
            tables::read_series(&rows, |id, series| local.add_series(id, series))?;
        }
        if stacks {
            for rows in self.rows(bulk, Table::Frames, part) {
                tables::read_frames(&rows, &mut local)?;
            }
            for rows in self.rows(bulk, Table::Stacks, part) {
                tables::read_stacks(&rows, &mut local)?;
            }
        }
        Ok(local)
    }

    /// Row groups of samples of one type.
    pub(crate) fn sample_groups<'a>(
        &'a self,
        bulk: &'a dyn Bulk,
        part: usize,
        type_name: &'a str,
    ) -> impl Iterator<Item = SampleGroup> {
        let of_type = self.groups(bulk, Table::Samples, part).filter(move |(_, name)| *name == type_name);
        of_type.map(|(rows, _)| tables::sample_group(&rows))
    }

    /// One row group of samples.
    pub(crate) fn samples(&self, bulk: &dyn Bulk, group: usize, with_series: bool) -> Result<SampleColumns> {
        let Some(file) = self.files.get(&Table::Samples) else { return Ok(SampleColumns::default()) };
        tables::read_columns(&Rows::new(bulk, file, group), with_series)
    }

    /// Sums by series and window, of windows that start in `range`.
    pub(crate) fn totals(
        &self,
        bulk: &dyn Bulk,
        part: usize,
        dictionary: &Dictionary,
        range: TimeRange,
    ) -> Result<Vec<PartTotal>> {
        let mut totals = Vec::new();
        for rows in self.rows(bulk, Table::Totals, part) {
            tables::read_totals(&rows, range, dictionary, &mut totals)?;
        }
        Ok(totals)
    }

    /// What was received in windows that start in `range`.
    pub(crate) fn windows(&self, bulk: &dyn Bulk, part: usize, range: TimeRange) -> Result<Vec<PartWindow>> {
        let mut windows = Vec::new();
        for rows in self.rows(bulk, Table::Windows, part) {
            tables::read_windows(&rows, range, &mut windows)?;
        }
        Ok(windows)
    }

    /// Everything of a part: what compaction merges.
    pub(crate) fn whole(&self, bulk: &dyn Bulk, part: usize) -> Result<Part> {
        let dictionary = self.dictionary(bulk, part, true)?;
        let mut whole = Part {
            service: self.services().get(part).cloned().unwrap_or_default(),
            totals: self.totals(bulk, part, &dictionary, TimeRange::ALL)?,
            windows: self.windows(bulk, part, TimeRange::ALL)?,
            ..Part::default()
        };
        for rows in self.rows(bulk, Table::Samples, part) {
            tables::read_samples(&rows, &dictionary, &mut whole.rows)?;
        }
        for rows in self.rows(bulk, Table::Traces, part) {
            tables::read_traces(&rows, &dictionary, &mut whole.traces)?;
        }
        for rows in self.rows(bulk, Table::Spans, part) {
            tables::read_spans(&rows, &mut whole.spans)?;
        }
        whole.requests = self.requests(bulk, part, TimeRange::ALL)?;
        let Dictionary { modules, frames, nodes, series, .. } = dictionary;
        Ok(Part { modules, frames, nodes, series, ..whole })
    }

    /// Spans of a part whose windows start in `range`.
    pub(crate) fn spans(&self, bulk: &dyn Bulk, part: usize, range: TimeRange) -> Result<Vec<PartSpan>> {
        let mut spans = Vec::new();
        for rows in self.rows(bulk, Table::Spans, part) {
            if tables::may_hold_spans(&rows, range)? {
                tables::read_spans(&rows, &mut spans)?;
            }
        }
        spans.retain(|span| range.contains(span.window_ms));
        Ok(spans)
    }

    /// Requests of a part in windows that start in `range`.
    pub(crate) fn requests(&self, bulk: &dyn Bulk, part: usize, range: TimeRange) -> Result<Vec<PartRequests>> {
        let mut requests = Vec::new();
        for rows in self.rows(bulk, Table::Requests, part) {
            tables::read_requests(&rows, range, &mut requests)?;
        }
        Ok(requests)
    }

    /// Looks at requests of a part in windows that start in `range`, of processes that are asked for; `None`: of all. Told is the start of the
    /// window, the route, and how its requests ended and how long they took.
    pub(crate) fn look_at_requests(
        &self,
        bulk: &dyn Bulk,
        part: usize,
        range: TimeRange,
        of_process: Option<Processes<'_>>,
        mut each: impl FnMut(u64, &Arc<str>, SpanStatus, &Durations),
    ) -> Result<()> {
        for rows in self.rows(bulk, Table::Requests, part) {
            tables::look_at_requests(&rows, range, of_process, &mut each)?;
        }
        Ok(())
    }

    /// Where rows of a trace lie in a part: row groups and rows of the traces table, and of the spans table. Reads one page
    /// of ids of each row group that may hold it.
    pub(crate) fn find_trace(&self, bulk: &dyn Bulk, part: usize, trace_id: TraceId) -> Result<Found> {
        let mut found = Found::default();
        for rows in self.rows(bulk, Table::Traces, part) {
            found.traces.push((rows.group(), tables::find_traces(&rows, trace_id)?));
        }
        for rows in self.rows(bulk, Table::Spans, part) {
            found.spans.push((rows.group(), tables::find_spans(&rows, trace_id)?));
        }
        found.traces.retain(|(_, rows)| !rows.is_empty());
        found.spans.retain(|(_, rows)| !rows.is_empty());
        Ok(found)
    }

    /// Row groups of traced samples of a part, with the first and the last time at which one was taken, unix milliseconds.
    pub(crate) fn trace_groups(&self, bulk: &dyn Bulk, part: usize) -> Result<Vec<(usize, (u64, u64))>> {
        self.rows(bulk, Table::Traces, part).map(|rows| Ok((rows.group(), tables::bounds_of_traces(&rows)?))).collect()
    }

    /// Which rows of a row group are samples of some traces, whose ids ascend: of each the row, and the position of its trace among those.
    pub(crate) fn find_samples(
        &self,
        bulk: &dyn Bulk,
        group: usize,
        traces: &[[u8; 16]],
    ) -> Result<Vec<(usize, usize)>> {
        let Some(file) = self.files.get(&Table::Traces) else { return Ok(Vec::new()) };
        tables::find_samples_of(&Rows::new(bulk, file, group), traces)
    }

    /// Reads what [`Segment::find_samples`] found of the same traces, without their spans.
    pub(crate) fn samples_at(
        &self,
        bulk: &dyn Bulk,
        group: usize,
        traces: &[[u8; 16]],
        found: &[(usize, usize)],
        dictionary: &Dictionary,
    ) -> Result<Vec<PartTrace>> {
        let Some(file) = self.files.get(&Table::Traces) else { return Ok(Vec::new()) };
        let rows: Vec<usize> = found.iter().map(|(row, _)| *row).collect();
        let ids = found.iter().filter_map(|(_, at)| traces.get(*at)).copied();
        tables::read_traces_of(&Rows::new(bulk, file, group).picked(&rows), ids, dictionary)
    }

    /// Row groups of a part that may hold spans of a route in windows that start in `range`.
    pub(crate) fn span_groups(
        &self,
        bulk: &dyn Bulk,
        part: usize,
        route: &str,
        range: TimeRange,
    ) -> Result<Vec<SpanGroup>> {
        let mut groups = Vec::new();
        for (rows, name) in self.groups(bulk, Table::Spans, part) {
            if tables::may_be_of_route(name, route) && tables::may_hold_spans(&rows, range)? {
                groups.push(SpanGroup { group: rows.group(), name: name.to_owned() });
            }
        }
        Ok(groups)
    }

    /// Looks at the spans of a route in a row group, see [`SpanLook`].
    pub(crate) fn look_at_spans(
        &self,
        bulk: &dyn Bulk,
        SpanGroup { group, name }: &SpanGroup,
        route: &str,
        range: TimeRange,
        of_process: Option<Processes<'_>>,
        each: impl FnMut(SpanLook),
    ) -> Result<()> {
        let Some(file) = self.files.get(&Table::Spans) else { return Ok(()) };
        tables::look_at_spans(&Rows::new(bulk, file, *group), (name, route), range, of_process, each)
    }

    /// Spans of some traces, whose ids ascend, in a row group.
    pub(crate) fn spans_of(&self, bulk: &dyn Bulk, group: &SpanGroup, traces: &[[u8; 16]]) -> Result<Vec<PartSpan>> {
        let mut spans = Vec::new();
        let Some(file) = self.files.get(&Table::Spans) else { return Ok(spans) };
        let rows = Rows::new(bulk, file, group.group);
        let found = tables::find_spans_of(&rows, traces)?;
        if !found.is_empty() {
            let found: Vec<usize> = found.into_iter().map(|(row, _)| row).collect();
            tables::read_spans(&rows.picked(&found), &mut spans)?;
        }
        Ok(spans)
    }

    /// Traces that spans of a part only complete.
    pub(crate) fn completed_traces(&self, bulk: &dyn Bulk, part: usize) -> Result<Vec<TraceId>> {
        let mut completed = Vec::new();
        for rows in self.rows(bulk, Table::Spans, part) {
            tables::completed_traces(&rows, &mut completed)?;
        }
        Ok(completed)
    }

    /// Reads what [`Segment::find_trace`] found.
    pub(crate) fn trace(
        &self,
        bulk: &dyn Bulk,
        found: &Found,
        dictionary: &Dictionary,
    ) -> Result<(Vec<PartTrace>, Vec<PartSpan>)> {
        let (mut traces, mut spans) = (Vec::new(), Vec::new());
        if let Some(file) = self.files.get(&Table::Traces) {
            for (group, rows) in &found.traces {
                tables::read_traces(&Rows::new(bulk, file, *group).only(rows.clone()), dictionary, &mut traces)?;
            }
        }
        if let Some(file) = self.files.get(&Table::Spans) {
            for (group, rows) in &found.spans {
                tables::read_spans(&Rows::new(bulk, file, *group).only(rows.clone()), &mut spans)?;
            }
        }
        // Each route may have row groups of its own.
        PartSpan::sort(&mut spans);
        Ok((traces, spans))
    }
}

/// A row group of spans.
#[derive(Debug)]
pub(crate) struct SpanGroup {
    group: usize,
    name: String,
}

/// Rows of a trace, by row group.
#[derive(Debug, Default)]
pub(crate) struct Found {
    traces: Vec<(usize, Range<usize>)>,
    spans: Vec<(usize, Range<usize>)>,
}

impl Found {
    /// True when there is nothing of the trace.
    pub(crate) fn is_empty(&self) -> bool {
        self.traces.is_empty() && self.spans.is_empty()
    }
}
