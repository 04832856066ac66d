//! Reads segments: the dictionaries of one part, and the rows that a query or a compaction needs of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::Type;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use rustc_hash::FxHashMap;
use tephra_proto::ids::{BuildId, SpanId, TraceId};

use super::part::{Part, PartRow, PartSeries, PartSpan, PartTotal, PartTrace, PartWindow};
use super::schema::{Table, kind_of, labels_from_text, types_from_text};
use super::table::{Problem, TableFile};
use super::write::{INLINED_ADDRESS, TRUNCATED, TRUNCATED_LINE};
use crate::base::labels::Labels;
use crate::profile::model::{Frame, Link, Module, Node, ProfileType, SpanStatus, SpanSummary};
use crate::store::bulk::Bulk;

type Result<T> = std::result::Result<T, Problem>;

/// Tables of one segment that were opened. A table that is not there has no rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Segment {
    files: BTreeMap<Table, Arc<TableFile>>,
}

/// What the ids of one part stand for.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// Mapped files that native frames lie in.
    pub(crate) modules: Vec<Module>,
    /// Distinct frames.
    pub(crate) frames: Vec<Frame>,
    /// Prefix tree, parents first.
    pub(crate) nodes: Vec<Node>,
    /// What rows have in common.
    pub(crate) series: Vec<PartSeries>,
    first_frame: i32,
    first_node: i32,
    first_series: i32,
}

/// What is known of a row group of samples before it is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleGroup {
    /// Its number in the table.
    pub(crate) group: usize,
    /// First and last start of a window in it, unix milliseconds.
    pub(crate) first_ms: u64,
    /// See above.
    pub(crate) last_ms: u64,
    /// How many rows it has.
    pub(crate) rows: usize,
}

/// The values of one row group of samples; all of equal length.
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

    fn groups(&self, table: Table, part: usize) -> impl Iterator<Item = (&Arc<TableFile>, usize, &str)> {
        let file = self.files.get(&table);
        file.into_iter().flat_map(move |file| file.groups_of(part).map(move |(group, name)| (file, group, name)))
    }

    /// The dictionaries of a part; `stacks` false: only its series.
    pub(crate) fn dictionary(&self, bulk: &dyn Bulk, part: usize, stacks: bool) -> Result<Dictionary> {
        let mut local = Dictionary::default();
        for (file, group, _) in self.groups(Table::Series, part) {
            local.add_series(bulk, file, group)?;
        }
        if stacks {
            for (file, group, _) in self.groups(Table::Frames, part) {
                local.add_frames(bulk, file, group)?;
            }
            for (file, group, _) in self.groups(Table::Stacks, part) {
                local.add_nodes(bulk, file, group)?;
            }
        }
        Ok(local)
    }

    /// Row groups of samples of one type.
    pub(crate) fn sample_groups(&self, part: usize, type_name: &str) -> impl Iterator<Item = SampleGroup> {
        let of_type = self.groups(Table::Samples, part).filter(move |(_, _, name)| *name == type_name);
        of_type.map(|(file, group, _)| {
            let (first_ms, last_ms) = file.window_range(group, 3);
            SampleGroup { group, first_ms, last_ms, rows: file.rows(group).unwrap_or(0) }
        })
    }

    /// One row group of samples.
    pub(crate) fn samples(&self, bulk: &dyn Bulk, group: usize, with_series: bool) -> Result<SampleColumns> {
        let Some(file) = self.files.get(&Table::Samples) else { return Ok(SampleColumns::default()) };
        let series = if with_series { file.column::<Int32Type>(bulk, group, 2)? } else { Vec::new() };
        Ok(SampleColumns {
            series,
            windows: file.column::<Int64Type>(bulk, group, 3)?,
            stacks: file.column::<Int32Type>(bulk, group, 5)?,
            values: file.column::<Int64Type>(bulk, group, 6)?,
            samples: file.column::<Int64Type>(bulk, group, 7)?,
        })
    }

    /// Sums by series and window, of windows that start in `range`.
    pub(crate) fn totals(
        &self,
        bulk: &dyn Bulk,
        part: usize,
        dictionary: &Dictionary,
        range: &Range<u64>,
    ) -> Result<Vec<PartTotal>> {
        let mut totals = Vec::new();
        for (file, group, _) in self.groups(Table::Totals, part) {
            let (first, last) = file.window_range(group, 2);
            if last < range.start || first >= range.end {
                continue;
            }
            let (series, windows) =
                (file.column::<Int32Type>(bulk, group, 1)?, file.column::<Int64Type>(bulk, group, 2)?);
            let lengths = file.column::<Int32Type>(bulk, group, 3)?;
            let (values, samples) =
                (file.column::<Int64Type>(bulk, group, 4)?, file.column::<Int64Type>(bulk, group, 5)?);
            for i in 0..windows.len() {
                if range.contains(&(windows[i] as u64)) {
                    totals.push(PartTotal {
                        series: dictionary.series_index(series[i]).ok_or_else(|| file.damaged(NO_SERIES))?,
                        window_ms: windows[i] as u64,
                        window_len_ms: lengths[i] as u32,
                        value: values[i] as u64,
                        samples: samples[i] as u64,
                    });
                }
            }
        }
        Ok(totals)
    }

    /// What was received in windows that start in `range`.
    pub(crate) fn windows(&self, bulk: &dyn Bulk, part: usize, range: &Range<u64>) -> Result<Vec<PartWindow>> {
        let mut found = Vec::new();
        for (file, group, _) in self.groups(Table::Windows, part) {
            let (first, last) = file.window_range(group, 1);
            if last < range.start || first >= range.end {
                continue;
            }
            let (windows, lengths) =
                (file.column::<Int64Type>(bulk, group, 1)?, file.column::<Int32Type>(bulk, group, 2)?);
            let (from, covered) =
                (file.column::<Int64Type>(bulk, group, 3)?, file.column::<Int32Type>(bulk, group, 4)?);
            let counts = file.column::<Int32Type>(bulk, group, 5)?;
            let instances = texts(bulk, file, group, 6, |text| Some(Arc::<str>::from(text)))?;
            let labels =
                texts(bulk, file, group, 7, |text| Some(labels_from_text(text).into_iter().collect::<Labels>()))?;
            let types = texts(bulk, file, group, 8, |text| types_from_text(text).map(Arc::<[ProfileType]>::from))?;
            for i in 0..windows.len() {
                if range.contains(&(windows[i] as u64)) {
                    found.push(PartWindow {
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
            }
        }
        Ok(found)
    }

    /// Everything of a part: what compaction merges.
    pub(crate) fn whole(&self, bulk: &dyn Bulk, part: usize) -> Result<Part> {
        let all = 0..u64::MAX;
        let dictionary = self.dictionary(bulk, part, true)?;
        let mut whole = Part {
            service: self.services().get(part).cloned().unwrap_or_default(),
            totals: self.totals(bulk, part, &dictionary, &all)?,
            windows: self.windows(bulk, part, &all)?,
            ..Part::default()
        };
        for (file, group, _) in self.groups(Table::Samples, part) {
            let lengths = file.column::<Int32Type>(bulk, group, 4)?;
            let columns = self.samples(bulk, group, true)?;
            for (i, length) in lengths.iter().enumerate() {
                whole.rows.push(PartRow {
                    series: dictionary.series_index(columns.series[i]).ok_or_else(|| file.damaged(NO_SERIES))?,
                    window_ms: columns.windows[i] as u64,
                    window_len_ms: *length as u32,
                    node: dictionary.node_index(columns.stacks[i]).ok_or_else(|| file.damaged(NO_STACK))?,
                    value: columns.values[i] as u64,
                    samples: columns.samples[i] as u64,
                });
            }
        }
        for (file, group, _) in self.groups(Table::Traces, part) {
            read_traces(bulk, file, group, 0..file.rows(group)?, &dictionary, &mut whole.traces)?;
        }
        for (file, group, _) in self.groups(Table::Spans, part) {
            read_spans(bulk, file, group, 0..file.rows(group)?, &mut whole.spans)?;
        }
        let Dictionary { modules, frames, nodes, series, .. } = dictionary;
        Ok(Part { modules, frames, nodes, series, ..whole })
    }

    /// Row groups of spans of a part.
    pub(crate) fn spans(&self, bulk: &dyn Bulk, part: usize, range: &Range<u64>) -> Result<Vec<PartSpan>> {
        let mut spans = Vec::new();
        for (file, group, _) in self.groups(Table::Spans, part) {
            let (first, last) = file.window_range(group, 8);
            if last >= range.start && first < range.end {
                read_spans(bulk, file, group, 0..file.rows(group)?, &mut spans)?;
            }
        }
        spans.retain(|span| range.contains(&span.window_ms));
        Ok(spans)
    }

    /// Where rows of a trace lie in a part: row groups and rows of the traces table, and of the spans table. Reads one page
    /// of ids of each row group that may hold it.
    pub(crate) fn find_trace(&self, bulk: &dyn Bulk, part: usize, trace_id: TraceId) -> Result<Found> {
        let mut found = Found::default();
        for (table, places) in [(Table::Traces, &mut found.traces), (Table::Spans, &mut found.spans)] {
            for (file, group, _) in self.groups(table, part) {
                let rows = file.find(bulk, group, &trace_id.to_bytes())?;
                if !rows.is_empty() {
                    places.push((group, rows));
                }
            }
        }
        Ok(found)
    }

    /// Reads what [`Segment::find_trace`] found.
    pub(crate) fn trace(
        &self,
        bulk: &dyn Bulk,
        found: &Found,
        dictionary: &Dictionary,
    ) -> Result<(Vec<PartTrace>, Vec<PartSpan>)> {
        let (mut traces, mut spans) = (Vec::new(), Vec::new());
        for (group, rows) in &found.traces {
            if let Some(file) = self.files.get(&Table::Traces) {
                read_traces(bulk, file, *group, rows.clone(), dictionary, &mut traces)?;
            }
        }
        for (group, rows) in &found.spans {
            if let Some(file) = self.files.get(&Table::Spans) {
                read_spans(bulk, file, *group, rows.clone(), &mut spans)?;
            }
        }
        Ok((traces, spans))
    }
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

impl TableFile {
    /// First and last start of a window in a row group; everything when its statistics do not say.
    fn window_range(&self, group: usize, column: usize) -> (u64, u64) {
        match self.group(group).column(column).statistics() {
            Some(Statistics::Int64(range)) => {
                let known = |value: Option<&i64>, or: u64| value.map_or(or, |value| *value as u64);
                (known(range.min_opt(), 0), known(range.max_opt(), u64::MAX))
            }
            _ => (0, u64::MAX),
        }
    }

    /// Rows of a row group, sorted by the 16 bytes in column 1, that hold `id`.
    fn find(&self, bulk: &dyn Bulk, group: usize, id: &[u8; 16]) -> Result<Range<usize>> {
        let rows = self.rows(group)?;
        let pages = self.metadata().offset_index().and_then(|index| index.get(group)?.get(1));
        let bounds = self.metadata().column_index().and_then(|index| index.get(group)?.get(1));
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
        let end = pages.get(last + 1).map_or(rows, |next| next.first_row_index as usize);
        let ids = self.slice::<FixedLenByteArrayType>(bulk, group, 1, start..end)?;
        let before = ids.partition_point(|other| other.data() < id.as_slice());
        let until = ids.partition_point(|other| other.data() <= id.as_slice());
        Ok(start + before..start + until)
    }
}

const NO_STACK: &str = "a stack is not in the stacks table";
const NO_SERIES: &str = "a series is not in the series table";

impl Dictionary {
    /// Memory it takes, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |frame: &Frame| match frame {
            Frame::Symbolic { function, .. } => function.len() + 48,
            _ => 0,
        };
        512 + self.frames.iter().map(|frame| size_of::<Frame>() + text(frame)).sum::<usize>()
            + self.nodes.len() * size_of::<Node>()
            + self.series.len() * 256
            + self.modules.len() * 128
    }

    /// Index of a node by its id in the segment.
    pub(crate) fn node_index(&self, id: i32) -> Option<u32> {
        index(id, self.first_node, self.nodes.len())
    }

    /// Index of a series by its id in the segment.
    pub(crate) fn series_index(&self, id: i32) -> Option<u32> {
        index(id, self.first_series, self.series.len())
    }

    fn add_frames(&mut self, bulk: &dyn Bulk, file: &TableFile, group: usize) -> Result<()> {
        let ids = file.column::<Int32Type>(bulk, group, 1)?;
        let builds = texts(bulk, file, group, 2, |text| match text {
            "" => Some(None),
            hex => BuildId::parse(hex).ok().map(Some),
        })?;
        let modules = texts(bulk, file, group, 3, |text| Some(Arc::<str>::from(text)))?;
        let addresses = file.column::<Int64Type>(bulk, group, 4)?;
        let functions = texts(bulk, file, group, 5, |text| Some(Arc::<str>::from(text)))?;
        let files = texts(bulk, file, group, 6, |text| Some(Arc::<str>::from(text)))?;
        let lines = file.column::<Int32Type>(bulk, group, 7)?;
        if self.frames.is_empty() {
            self.first_frame = ids.first().copied().unwrap_or(0);
        }
        let mut known: std::collections::HashSet<BuildId> = self.modules.iter().map(|module| module.build_id).collect();
        for i in 0..ids.len() {
            if i64::from(ids[i]) != i64::from(self.first_frame) + self.frames.len() as i64 {
                return Err(file.damaged("ids do not run on"));
            }
            let frame = if let Some(build_id) = builds[i] {
                if known.insert(build_id) {
                    self.modules.push(Module { build_id, name: modules[i].clone() });
                }
                Frame::Native { build_id, address: addresses[i] as u64 }
            } else if lines[i] == TRUNCATED_LINE && &*functions[i] == TRUNCATED {
                Frame::Truncated
            } else {
                Frame::Symbolic {
                    function: functions[i].clone(),
                    file: files[i].clone(),
                    line: lines[i] as u32,
                    inlined: addresses[i] == INLINED_ADDRESS,
                }
            };
            self.frames.push(frame);
        }
        Ok(())
    }

    fn add_nodes(&mut self, bulk: &dyn Bulk, file: &TableFile, group: usize) -> Result<()> {
        let (ids, parents) = (file.column::<Int32Type>(bulk, group, 1)?, file.column::<Int32Type>(bulk, group, 2)?);
        let frames = file.column::<Int32Type>(bulk, group, 3)?;
        if self.nodes.is_empty() {
            self.first_node = ids.first().copied().unwrap_or(0);
        }
        for i in 0..ids.len() {
            if i64::from(ids[i]) != i64::from(self.first_node) + self.nodes.len() as i64 {
                return Err(file.damaged("ids do not run on"));
            }
            let parent = match parents[i] {
                -1 => Node::ROOT,
                parent => index(parent, self.first_node, self.nodes.len())
                    .ok_or_else(|| file.damaged("a parent does not precede its child"))?,
            };
            let frame = index(frames[i], self.first_frame, self.frames.len())
                .ok_or_else(|| file.damaged("a frame is not in the frames table"))?;
            self.nodes.push(Node { parent, frame });
        }
        Ok(())
    }

    fn add_series(&mut self, bulk: &dyn Bulk, file: &TableFile, group: usize) -> Result<()> {
        let own = |text: &str| Some(text.to_owned());
        let ids = file.column::<Int32Type>(bulk, group, 1)?;
        let (names, units) = (texts(bulk, file, group, 2, own)?, texts(bulk, file, group, 3, own)?);
        let kinds = texts(bulk, file, group, 4, kind_of)?;
        let periods = file.column::<Int64Type>(bulk, group, 5)?;
        let instances = texts(bulk, file, group, 6, |text| Some(Arc::<str>::from(text)))?;
        let labels = texts(bulk, file, group, 7, |text| Some(labels_from_text(text).into_iter().collect::<Labels>()))?;
        if self.series.is_empty() {
            self.first_series = ids.first().copied().unwrap_or(0);
        }
        for i in 0..ids.len() {
            if i64::from(ids[i]) != i64::from(self.first_series) + self.series.len() as i64 {
                return Err(file.damaged("ids do not run on"));
            }
            let (name, unit) = (names[i].clone(), units[i].clone());
            let profile_type = ProfileType { name, unit, kind: kinds[i], period: periods[i] as u64 };
            let (instance, labels) = (instances[i].clone(), labels[i].clone());
            self.series.push(PartSeries { profile_type, instance, labels });
        }
        Ok(())
    }
}

/// Where `id` stands among `len` ids that start at `first`.
fn index(id: i32, first: i32, len: usize) -> Option<u32> {
    let local = u32::try_from(id.checked_sub(first)?).ok()?;
    ((local as usize) < len).then_some(local)
}

fn read_traces(
    bulk: &dyn Bulk,
    file: &TableFile,
    group: usize,
    rows: Range<usize>,
    dictionary: &Dictionary,
    into: &mut Vec<PartTrace>,
) -> Result<()> {
    let links = links(bulk, file, group, &rows)?;
    let times = file.slice::<Int64Type>(bulk, group, 3, rows.clone())?;
    let windows = file.slice::<Int64Type>(bulk, group, 4, rows.clone())?;
    let lengths = file.slice::<Int32Type>(bulk, group, 5, rows.clone())?;
    let series = file.slice::<Int32Type>(bulk, group, 6, rows.clone())?;
    let stacks = file.slice::<Int32Type>(bulk, group, 7, rows.clone())?;
    let values = file.slice::<Int64Type>(bulk, group, 8, rows.clone())?;
    let samples = file.slice::<Int64Type>(bulk, group, 9, rows)?;
    for (i, link) in links.into_iter().enumerate() {
        into.push(PartTrace {
            link,
            time_ms: times[i] as u64,
            window_ms: windows[i] as u64,
            window_len_ms: lengths[i] as u32,
            series: dictionary.series_index(series[i]).ok_or_else(|| file.damaged(NO_SERIES))?,
            node: dictionary.node_index(stacks[i]).ok_or_else(|| file.damaged(NO_STACK))?,
            value: values[i] as u64,
            samples: samples[i] as u64,
        });
    }
    Ok(())
}

fn read_spans(
    bulk: &dyn Bulk,
    file: &TableFile,
    group: usize,
    rows: Range<usize>,
    into: &mut Vec<PartSpan>,
) -> Result<()> {
    let links = links(bulk, file, group, &rows)?;
    let text = |column| file.slice::<ByteArrayType>(bulk, group, column, rows.clone());
    let routes = interned(file, &text(3)?, |text| Some(Arc::<str>::from(text)))?;
    let starts = file.slice::<Int64Type>(bulk, group, 4, rows.clone())?;
    let durations = file.slice::<Int64Type>(bulk, group, 5, rows.clone())?;
    let statuses = interned(file, &text(6)?, |text| {
        Some(match text {
            "ok" => SpanStatus::Ok,
            "error" => SpanStatus::Error,
            _ => SpanStatus::Unset,
        })
    })?;
    let weights = file.slice::<FloatType>(bulk, group, 7, rows.clone())?;
    let windows = file.slice::<Int64Type>(bulk, group, 8, rows.clone())?;
    let lengths = file.slice::<Int32Type>(bulk, group, 9, rows.clone())?;
    let instances = interned(file, &text(10)?, |text| Some(Arc::<str>::from(text)))?;
    let labels = interned(file, &text(11)?, |text| Some(labels_from_text(text).into_iter().collect::<Labels>()))?;
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

/// Trace and span ids, in columns 1 and 2.
fn links(bulk: &dyn Bulk, file: &TableFile, group: usize, rows: &Range<usize>) -> Result<Vec<Link>> {
    let trace_ids = file.slice::<FixedLenByteArrayType>(bulk, group, 1, rows.clone())?;
    let span_ids = file.slice::<FixedLenByteArrayType>(bulk, group, 2, rows.clone())?;
    trace_ids
        .iter()
        .zip(&span_ids)
        .map(|(trace, span)| {
            let trace_id = trace.data().try_into().ok().and_then(TraceId::from_bytes);
            let trace_id = trace_id.ok_or_else(|| file.damaged("a trace id is all zero"))?;
            Ok(Link { trace_id, span_id: span.data().try_into().ok().and_then(SpanId::from_bytes) })
        })
        .collect()
}

/// A text column, each distinct text parsed once.
fn texts<V: Clone>(
    bulk: &dyn Bulk,
    file: &TableFile,
    group: usize,
    column: usize,
    parse: impl Fn(&str) -> Option<V>,
) -> Result<Vec<V>> {
    debug_assert_eq!(file.group(group).column(column).column_type(), Type::BYTE_ARRAY);
    interned(file, &file.column::<ByteArrayType>(bulk, group, column)?, parse)
}

fn interned<V: Clone>(file: &TableFile, values: &[ByteArray], parse: impl Fn(&str) -> Option<V>) -> Result<Vec<V>> {
    let mut known: FxHashMap<&[u8], V> = FxHashMap::default();
    let mut parsed = Vec::with_capacity(values.len());
    for value in values {
        let value = value.data();
        let known = match known.entry(value) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let text = std::str::from_utf8(value).ok().and_then(&parse);
                place.insert(text.ok_or_else(|| file.damaged("a text is malformed"))?)
            }
        };
        parsed.push(known.clone());
    }
    Ok(parsed)
}
