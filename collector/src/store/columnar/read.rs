//! Reads segments: the dictionaries of one service, and the rows of one type of it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArrayType, DataType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use tephra_proto::ids::{BuildId, SpanId, TraceId};

use super::part::{Part, PartRow, PartSeries, PartTrace, PartWindow};
use super::schema::{Table, labels_from_text};
use super::write::{TRUNCATED, TRUNCATED_LINE};
use crate::profile::model::{Frame, Kind, Link, Module, Node, ProfileType, SpanStatus, SpanSummary};

/// Why a segment could not be read. It is damaged: set it aside and go on.
#[derive(Debug, thiserror::Error)]
pub enum ColumnarError {
    /// Not a Parquet file, or a damaged one.
    #[error("{table:?} table is damaged: {source}")]
    Damaged {
        /// Which file.
        table: Table,
        /// What the Parquet reader found.
        source: ParquetError,
    },
    /// Not the bytes that were written. Checked first: the Parquet reader trusts its input more than a disk deserves.
    #[error("{table:?} table has checksum {found:08x}, the catalog says {expected:08x}")]
    Checksum {
        /// Which file.
        table: Table,
        /// What the catalog has.
        expected: u32,
        /// What the file has.
        found: u32,
    },
    /// Well-formed, but one column says what another does not allow.
    #[error("{table:?} table is inconsistent: {what}")]
    Inconsistent {
        /// Which file.
        table: Table,
        /// What is wrong.
        what: &'static str,
    },
}

type Result<T> = std::result::Result<T, ColumnarError>;

/// An open segment. Opening reads the files' footers; columns are read when asked for.
pub struct Segment {
    files: Vec<SerializedFileReader<Bytes>>,
}

impl Segment {
    /// Opens the files of a segment. `file` gives each table's bytes and the CRC-32 they had when they were written.
    ///
    /// # Errors
    /// When a file has another checksum, is not Parquet, or has other columns.
    pub fn open(mut file: impl FnMut(Table) -> (Bytes, u32)) -> Result<Self> {
        let files = Table::ALL.map(|table| (table, file(table)));
        for (table, (bytes, expected)) in &files {
            let found = crc32fast::hash(bytes);
            if found != *expected {
                return Err(ColumnarError::Checksum { table: *table, expected: *expected, found });
            }
        }
        let open = |(table, (bytes, _)): (Table, (Bytes, u32))| {
            let reader = SerializedFileReader::new(bytes).map_err(damaged(table))?;
            let expected = table.schema();
            if reader.metadata().file_metadata().schema_descr().root_schema().get_fields() != expected.get_fields() {
                return Err(ColumnarError::Inconsistent { table, what: "its columns are not those of this version" });
            }
            Ok(reader)
        };
        Ok(Self { files: files.into_iter().map(open).collect::<Result<_>>()? })
    }

    /// Names of the services in the segment, in order.
    ///
    /// # Errors
    /// When the windows table is damaged.
    pub fn services(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for group in self.groups(Table::Windows) {
            if let Some(name) = constant_text(group, 0)
                && names.last() != Some(&name)
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Reads what a service has of one type (`None`: of all) in windows that start in `range` (unix milliseconds),
    /// without traces and spans.
    ///
    /// # Errors
    /// When a table is damaged or inconsistent.
    pub fn part(&self, service: &str, profile_type: Option<&str>, range: &Range<u64>) -> Result<Part> {
        let mut local = self.dictionaries(service)?;
        self.read_rows(&mut local, profile_type, range)?;
        self.read_windows(&mut local, range)?;
        Ok(local.part)
    }

    /// Reads all of a service: what compaction merges.
    ///
    /// # Errors
    /// When a table is damaged or inconsistent.
    pub fn whole(&self, service: &str) -> Result<Part> {
        let mut part = self.part(service, None, &(0..u64::MAX))?;
        let ids = self.dictionaries(service)?;
        for index in self.groups_of(Table::Traces, service) {
            for row in read_traces(&self.columns(Table::Traces, index)?)? {
                part.traces.push(ids.trace(&row)?);
            }
        }
        part.spans = self.spans(service, &(0..u64::MAX))?;
        Ok(part)
    }

    /// Reads the samples that belong to one trace, a part for each service that worked for it.
    ///
    /// # Errors
    /// When a table is damaged or inconsistent.
    pub fn trace(&self, trace_id: TraceId) -> Result<Vec<Part>> {
        let mut found: Vec<(String, Vec<TraceRow>)> = Vec::new();
        for (index, group) in self.groups(Table::Traces).enumerate() {
            if !may_hold(group, 1, &trace_id.to_bytes()) {
                continue;
            }
            let mut rows = read_traces(&self.columns(Table::Traces, index)?)?;
            rows.retain(|row| row.link.trace_id == trace_id);
            if let (Some(service), false) = (constant_text(group, 0), rows.is_empty()) {
                found.push((service, rows));
            }
        }
        let mut parts: Vec<Part> = Vec::new();
        for (service, rows) in found {
            let mut local = self.dictionaries(&service)?;
            for row in &rows {
                let row = local.trace(row)?;
                local.part.traces.push(row);
            }
            parts.push(local.part);
        }
        Ok(parts)
    }

    /// Reads a service's entry spans that started in `range`.
    ///
    /// # Errors
    /// When the table is damaged or inconsistent.
    pub fn spans(&self, service: &str, range: &Range<u64>) -> Result<Vec<SpanSummary>> {
        let mut spans = Vec::new();
        for index in self.groups_of(Table::Spans, service) {
            let all = read_spans(&self.columns(Table::Spans, index)?)?;
            spans.extend(all.into_iter().filter(|span| range.contains(&span.start_ms)));
        }
        Ok(spans)
    }

    fn groups(&self, table: Table) -> impl Iterator<Item = &RowGroupMetaData> {
        self.files[table as usize].metadata().row_groups().iter()
    }

    /// Row groups hold one service each: its name is their minimum and maximum.
    fn groups_of(&self, table: Table, service: &str) -> Vec<usize> {
        let column = usize::from(table == Table::Series);
        let of_service = |group: &RowGroupMetaData| constant_text(group, column).is_some_and(|name| name == service);
        self.groups(table).enumerate().filter(|(_, group)| of_service(group)).map(|(index, _)| index).collect()
    }

    fn columns(&self, table: Table, group: usize) -> Result<Columns<'_>> {
        let reader = self.files[table as usize].get_row_group(group).map_err(damaged(table))?;
        let rows = usize::try_from(reader.metadata().num_rows())
            .map_err(|_| ColumnarError::Inconsistent { table, what: "a negative number of rows" })?;
        Ok(Columns { reader, table, rows })
    }

    /// The dictionaries of a service. Its parts follow one another, so their ids run on as if they were one.
    fn dictionaries(&self, service: &str) -> Result<Local> {
        let mut local = Local::new(service);
        for index in self.groups_of(Table::Frames, service) {
            local.add_frames(&self.columns(Table::Frames, index)?)?;
        }
        for index in self.groups_of(Table::Stacks, service) {
            local.add_nodes(&self.columns(Table::Stacks, index)?)?;
        }
        for index in self.groups_of(Table::Series, service) {
            local.add_series(&self.columns(Table::Series, index)?)?;
        }
        Ok(local)
    }

    fn read_rows(&self, local: &mut Local, profile_type: Option<&str>, range: &Range<u64>) -> Result<()> {
        let service = local.part.service.clone();
        for index in self.groups_of(Table::Samples, &service) {
            let columns = self.columns(Table::Samples, index)?;
            let found = constant_text(columns.reader.metadata(), 1);
            if profile_type.is_some_and(|wanted| found.is_none_or(|name| name != wanted)) {
                continue;
            }
            let (series, windows) = (columns.read::<Int32Type>(2)?, columns.read::<Int64Type>(3)?);
            let (lengths, stacks) = (columns.read::<Int32Type>(4)?, columns.read::<Int64Type>(5)?);
            let (values, samples) = (columns.read::<Int64Type>(6)?, columns.read::<Int64Type>(7)?);
            for i in 0..columns.rows {
                let window_ms = windows[i] as u64;
                if range.contains(&window_ms) {
                    let row = PartRow {
                        series: local.series_index(series[i], Table::Samples)?,
                        window_ms,
                        window_len_ms: lengths[i] as u32,
                        node: local.node_index(stacks[i], Table::Samples)?,
                        value: values[i] as u64,
                        samples: samples[i] as u64,
                    };
                    local.part.rows.push(row);
                }
            }
        }
        Ok(())
    }

    fn read_windows(&self, local: &mut Local, range: &Range<u64>) -> Result<()> {
        let service = local.part.service.clone();
        for index in self.groups_of(Table::Windows, &service) {
            let columns = self.columns(Table::Windows, index)?;
            let (starts, lengths) = (columns.read::<Int64Type>(1)?, columns.read::<Int32Type>(2)?);
            let (covered, instances) = (columns.read::<Int32Type>(3)?, columns.text(4)?);
            let (counts, labels) = (columns.read::<Int32Type>(5)?, columns.text(6)?);
            for i in 0..columns.rows {
                if range.contains(&(starts[i] as u64)) {
                    local.part.windows.push(PartWindow {
                        window_ms: starts[i] as u64,
                        window_len_ms: lengths[i] as u32,
                        covered_ms: covered[i] as u32,
                        instance: instances[i].clone(),
                        instances: counts[i] as u32,
                        labels: labels_from_text(&labels[i]),
                    });
                }
            }
        }
        Ok(())
    }
}

/// A service's dictionaries, and the ids they start at in the segment.
struct Local {
    part: Part,
    first_frame: Option<i64>,
    first_node: Option<i64>,
    first_series: Option<i32>,
}

impl Local {
    fn new(service: &str) -> Self {
        let part = Part { service: service.to_owned(), ..Part::default() };
        Self { part, first_frame: None, first_node: None, first_series: None }
    }

    fn add_frames(&mut self, columns: &Columns<'_>) -> Result<()> {
        let (ids, build_ids) = (columns.read::<Int64Type>(1)?, columns.text(2)?);
        let (modules, addresses) = (columns.text(3)?, columns.read::<Int64Type>(4)?);
        let (functions, files) = (columns.text(5)?, columns.text(6)?);
        let lines = columns.read::<Int32Type>(7)?;
        for i in 0..columns.rows {
            let first = *self.first_frame.get_or_insert(ids[i]);
            columns.require(ids[i] == first + self.part.frames.len() as i64, "ids do not run on")?;
            let frame = if !build_ids[i].is_empty() {
                let build_id = BuildId::parse(&build_ids[i]).map_err(|_| columns.wrong("a build id is malformed"))?;
                if !self.part.modules.iter().any(|module| module.build_id == build_id) {
                    self.part.modules.push(Module { build_id, name: Arc::from(&*modules[i]) });
                }
                Frame::Native { build_id, address: addresses[i] as u64 }
            } else if lines[i] == TRUNCATED_LINE && functions[i] == TRUNCATED {
                Frame::Truncated
            } else {
                let (function, file) = (Arc::from(&*functions[i]), Arc::from(&*files[i]));
                Frame::Symbolic { function, file, line: lines[i] as u32 }
            };
            self.part.frames.push(frame);
        }
        Ok(())
    }

    fn add_nodes(&mut self, columns: &Columns<'_>) -> Result<()> {
        let (ids, parents) = (columns.read::<Int64Type>(1)?, columns.read::<Int64Type>(2)?);
        let frames = columns.read::<Int64Type>(3)?;
        let first_frame = self.first_frame.unwrap_or(0);
        let known_frames = first_frame..first_frame + self.part.frames.len() as i64;
        for i in 0..columns.rows {
            let first = *self.first_node.get_or_insert(ids[i]);
            columns.require(ids[i] == first + self.part.nodes.len() as i64, "ids do not run on")?;
            columns.require(known_frames.contains(&frames[i]), "a frame is not in the frames table")?;
            let parent = match parents[i] {
                -1 => Node::ROOT,
                parent if (first..ids[i]).contains(&parent) => (parent - first) as u32,
                _ => return Err(columns.wrong("a parent does not precede its child")),
            };
            self.part.nodes.push(Node { parent, frame: (frames[i] - first_frame) as u32 });
        }
        Ok(())
    }

    fn add_series(&mut self, columns: &Columns<'_>) -> Result<()> {
        let (ids, names) = (columns.read::<Int32Type>(0)?, columns.text(2)?);
        let (units, kinds) = (columns.text(3)?, columns.text(4)?);
        let (periods, instances) = (columns.read::<Int64Type>(5)?, columns.text(6)?);
        let labels = columns.text(7)?;
        for i in 0..columns.rows {
            let first = *self.first_series.get_or_insert(ids[i]);
            let next = i64::from(first) + self.part.series.len() as i64;
            columns.require(i64::from(ids[i]) == next, "ids do not run on")?;
            let kind = match kinds[i].as_str() {
                "counter" => Kind::Counter,
                "gauge" => Kind::Gauge,
                _ => return Err(columns.wrong("a kind is neither counter nor gauge")),
            };
            let (name, unit) = (names[i].clone(), units[i].clone());
            let profile_type = ProfileType { name, unit, kind, period: periods[i] as u64 };
            let (instance, labels) = (instances[i].clone(), labels_from_text(&labels[i]));
            self.part.series.push(PartSeries { profile_type, instance, labels });
        }
        Ok(())
    }

    fn node_index(&self, id: i64, table: Table) -> Result<u32> {
        index(id, self.first_node.unwrap_or(0), self.part.nodes.len())
            .ok_or(ColumnarError::Inconsistent { table, what: "a stack is not in the stacks table" })
    }

    fn series_index(&self, id: i32, table: Table) -> Result<u32> {
        index(i64::from(id), i64::from(self.first_series.unwrap_or(0)), self.part.series.len())
            .ok_or(ColumnarError::Inconsistent { table, what: "a series is not in the series table" })
    }

    fn trace(&self, row: &TraceRow) -> Result<PartTrace> {
        Ok(PartTrace {
            link: row.link,
            time_ms: row.time_ms,
            series: self.series_index(row.series, Table::Traces)?,
            node: self.node_index(row.stack, Table::Traces)?,
            value: row.value,
        })
    }
}

/// Where `id` stands among `len` ids that start at `first`.
fn index(id: i64, first: i64, len: usize) -> Option<u32> {
    let local = usize::try_from(id.checked_sub(first)?).ok().filter(|local| *local < len)?;
    u32::try_from(local).ok()
}

/// A row of the traces table, with ids of the segment.
struct TraceRow {
    link: Link,
    time_ms: u64,
    series: i32,
    stack: i64,
    value: u64,
}

fn read_traces(columns: &Columns<'_>) -> Result<Vec<TraceRow>> {
    let links = columns.links(1)?;
    let (times, series) = (columns.read::<Int64Type>(3)?, columns.read::<Int32Type>(4)?);
    let (stacks, values) = (columns.read::<Int64Type>(5)?, columns.read::<Int64Type>(6)?);
    let row = |(i, link): (usize, Link)| TraceRow {
        link,
        time_ms: times[i] as u64,
        series: series[i],
        stack: stacks[i],
        value: values[i] as u64,
    };
    Ok(links.into_iter().enumerate().map(row).collect())
}

fn read_spans(columns: &Columns<'_>) -> Result<Vec<SpanSummary>> {
    let (links, routes) = (columns.links(1)?, columns.text(3)?);
    let (starts, durations) = (columns.read::<Int64Type>(4)?, columns.read::<Int64Type>(5)?);
    let (statuses, weights) = (columns.text(6)?, columns.read::<FloatType>(7)?);
    let row = |(i, link): (usize, Link)| SpanSummary {
        link,
        route: Arc::from(&*routes[i]),
        start_ms: starts[i] as u64,
        duration_us: durations[i] as u64,
        status: match statuses[i].as_str() {
            "ok" => SpanStatus::Ok,
            "error" => SpanStatus::Error,
            _ => SpanStatus::Unset,
        },
        weight: weights[i],
    };
    Ok(links.into_iter().enumerate().map(row).collect())
}

/// The columns of one row group, each of exactly `rows` values.
struct Columns<'a> {
    reader: Box<dyn RowGroupReader + 'a>,
    table: Table,
    rows: usize,
}

impl Columns<'_> {
    fn read<T: DataType>(&self, column: usize) -> Result<Vec<T::T>> {
        let reader = self.reader.get_column_reader(column).map_err(damaged(self.table))?;
        let mut reader = get_typed_column_reader::<T>(reader);
        let mut values = Vec::new();
        while values.len() < self.rows {
            let wanted = (self.rows - values.len()).min(READ_BATCH_ROWS);
            let (records, ..) = reader.read_records(wanted, None, None, &mut values).map_err(damaged(self.table))?;
            self.require(records > 0, "a column is shorter than its row group")?;
        }
        Ok(values)
    }

    fn text(&self, column: usize) -> Result<Vec<String>> {
        let text =
            |value: parquet::data_type::ByteArray| value.as_utf8().map(str::to_owned).map_err(damaged(self.table));
        self.read::<ByteArrayType>(column)?.into_iter().map(text).collect()
    }

    /// Trace and span ids, which stand side by side.
    fn links(&self, column: usize) -> Result<Vec<Link>> {
        let trace_ids = self.read::<FixedLenByteArrayType>(column)?;
        let span_ids = self.read::<FixedLenByteArrayType>(column + 1)?;
        let link =
            |(trace_id, span_id): (&parquet::data_type::FixedLenByteArray, &parquet::data_type::FixedLenByteArray)| {
                let trace_id = trace_id.data().try_into().ok().and_then(TraceId::from_bytes);
                let trace_id = trace_id.ok_or_else(|| self.wrong("a trace id is all zero"))?;
                Ok(Link { trace_id, span_id: span_id.data().try_into().ok().and_then(SpanId::from_bytes) })
            };
        trace_ids.iter().zip(&span_ids).map(link).collect()
    }

    fn require(&self, holds: bool, what: &'static str) -> Result<()> {
        if holds { Ok(()) } else { Err(self.wrong(what)) }
    }

    fn wrong(&self, what: &'static str) -> ColumnarError {
        ColumnarError::Inconsistent { table: self.table, what }
    }
}

/// How many values are decoded before the next look at the count: a damaged count costs one batch, not the machine.
const READ_BATCH_ROWS: usize = 1 << 16;

fn damaged(table: Table) -> impl Fn(ParquetError) -> ColumnarError {
    move |source| ColumnarError::Damaged { table, source }
}

/// The text that every row of the group has in `column`, if it is one text.
fn constant_text(group: &RowGroupMetaData, column: usize) -> Option<String> {
    match group.column(column).statistics()? {
        Statistics::ByteArray(range) if range.min_opt()? == range.max_opt()? => {
            range.min_opt()?.as_utf8().ok().map(str::to_owned)
        }
        _ => None,
    }
}

/// False when the group's statistics exclude `value`.
fn may_hold(group: &RowGroupMetaData, column: usize, value: &[u8]) -> bool {
    match group.column(column).statistics() {
        Some(Statistics::FixedLenByteArray(range)) => {
            let (min, max) = (range.min_bytes_opt(), range.max_bytes_opt());
            min.is_none_or(|min| min <= value) && max.is_none_or(|max| value <= max)
        }
        _ => true,
    }
}
