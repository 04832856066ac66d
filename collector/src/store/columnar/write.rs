//! Writes segments, one part at a time.

use std::io::Write;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::Result;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::part::Part;
use super::schema::{Table, labels_to_text};
use crate::profile::model::{Frame, Kind, Node, SpanStatus};

/// Rows of one row group at most: what a reader must hold to look at any of them.
const ROW_GROUP_ROWS: usize = 1 << 18;

/// The files of a finished segment, in the order of [`Table::ALL`].
pub type SegmentFiles<W> = Vec<(Table, W)>;

/// Writes one segment. Ids run on from part to part, so that they are unique within the segment.
pub struct SegmentWriter<W: Write + Send> {
    files: Vec<(Table, SerializedFileWriter<W>)>,
    next_node: i64,
    next_frame: i64,
    next_series: i32,
}

impl<W: Write + Send> SegmentWriter<W> {
    /// Starts a segment; `sink` gives the file of each table.
    ///
    /// # Errors
    /// When a sink refuses its first bytes.
    pub fn new(mut sink: impl FnMut(Table) -> W) -> Result<Self> {
        let open = |table: Table| {
            SerializedFileWriter::new(sink(table), table.schema(), table.properties()).map(|writer| (table, writer))
        };
        let files = Table::ALL.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Self { files, next_node: 0, next_frame: 0, next_series: 0 })
    }

    /// Appends one service's part. Parts come in the order of their service names.
    ///
    /// # Errors
    /// When a sink refuses bytes.
    pub fn add(&mut self, part: &Part) -> Result<()> {
        self.samples(part)?;
        self.series(part)?;
        self.stacks(part)?;
        self.frames(part)?;
        self.traces(part)?;
        self.spans(part)?;
        self.windows(part)?;
        self.next_node += part.nodes.len() as i64;
        self.next_frame += part.frames.len() as i64;
        self.next_series += part.series.len() as i32;
        Ok(())
    }

    /// Ends the files and hands them back.
    ///
    /// # Errors
    /// When a sink refuses bytes.
    pub fn finish(self) -> Result<SegmentFiles<W>> {
        self.files.into_iter().map(|(table, writer)| Ok((table, writer.into_inner()?))).collect()
    }

    fn row_group(&mut self, table: Table, write: impl FnOnce(&mut RowGroup<'_, W>) -> Result<()>) -> Result<()> {
        let (_, file) = &mut self.files[table as usize];
        let mut group = RowGroup { writer: file.next_row_group()? };
        write(&mut group)?;
        group.writer.close()?;
        Ok(())
    }

    fn samples(&mut self, part: &Part) -> Result<()> {
        let (node0, series0) = (self.next_node, self.next_series);
        let type_of = |row: &super::PartRow| part.series[row.series as usize].profile_type.name.as_str();
        for same_type in part.rows.chunk_by(|a, b| type_of(a) == type_of(b)) {
            for rows in same_type.chunks(ROW_GROUP_ROWS) {
                self.row_group(Table::Samples, |group| {
                    group.text(rows.iter().map(|_| part.service.as_str()))?;
                    group.text(rows.iter().map(type_of))?;
                    group.int32(rows.iter().map(|row| series0 + row.series as i32))?;
                    group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                    group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                    group.int64(rows.iter().map(|row| node0 + i64::from(row.node)))?;
                    group.int64(rows.iter().map(|row| row.value as i64))?;
                    group.int64(rows.iter().map(|row| row.samples as i64))
                })?;
            }
        }
        Ok(())
    }

    fn series(&mut self, part: &Part) -> Result<()> {
        let (series0, rows) = (self.next_series, &part.series);
        if rows.is_empty() {
            return Ok(());
        }
        self.row_group(Table::Series, |group| {
            group.int32((0..rows.len()).map(|i| series0 + i as i32))?;
            group.text(rows.iter().map(|_| part.service.as_str()))?;
            group.text(rows.iter().map(|row| row.profile_type.name.as_str()))?;
            group.text(rows.iter().map(|row| row.profile_type.unit.as_str()))?;
            group.text(rows.iter().map(|row| kind_name(row.profile_type.kind)))?;
            group.int64(rows.iter().map(|row| row.profile_type.period as i64))?;
            group.text(rows.iter().map(|row| row.instance.as_str()))?;
            group.text(rows.iter().map(|row| labels_to_text(&row.labels)))
        })
    }

    fn stacks(&mut self, part: &Part) -> Result<()> {
        let (node0, frame0) = (self.next_node, self.next_frame);
        for (chunk, nodes) in part.nodes.chunks(ROW_GROUP_ROWS).enumerate() {
            let first = node0 + (chunk * ROW_GROUP_ROWS) as i64;
            self.row_group(Table::Stacks, |group| {
                group.text(nodes.iter().map(|_| part.service.as_str()))?;
                group.int64((0..nodes.len()).map(|i| first + i as i64))?;
                group.int64(nodes.iter().map(|node| match node.parent {
                    Node::ROOT => -1,
                    parent => node0 + i64::from(parent),
                }))?;
                group.int64(nodes.iter().map(|node| frame0 + i64::from(node.frame)))
            })?;
        }
        Ok(())
    }

    fn frames(&mut self, part: &Part) -> Result<()> {
        let frame0 = self.next_frame;
        let module_name = |frame: &Frame| match frame {
            Frame::Native { build_id, .. } => {
                part.modules.iter().find(|module| module.build_id == *build_id).map_or("", |module| &module.name)
            }
            _ => "",
        };
        for (chunk, frames) in part.frames.chunks(ROW_GROUP_ROWS).enumerate() {
            let first = frame0 + (chunk * ROW_GROUP_ROWS) as i64;
            self.row_group(Table::Frames, |group| {
                group.text(frames.iter().map(|_| part.service.as_str()))?;
                group.int64((0..frames.len()).map(|i| first + i as i64))?;
                group.text(frames.iter().map(|frame| match frame {
                    Frame::Native { build_id, .. } => build_id.to_string(),
                    _ => String::new(),
                }))?;
                group.text(frames.iter().map(module_name))?;
                group.int64(frames.iter().map(|frame| match frame {
                    Frame::Native { address, .. } => *address as i64,
                    _ => 0,
                }))?;
                group.text(frames.iter().map(|frame| match frame {
                    Frame::Symbolic { function, .. } => function,
                    Frame::Truncated => TRUNCATED,
                    Frame::Native { .. } => "",
                }))?;
                group.text(frames.iter().map(|frame| match frame {
                    Frame::Symbolic { file, .. } => &**file,
                    _ => "",
                }))?;
                group.int32(frames.iter().map(|frame| match frame {
                    Frame::Symbolic { line, .. } => *line as i32,
                    Frame::Truncated => TRUNCATED_LINE,
                    Frame::Native { .. } => 0,
                }))
            })?;
        }
        Ok(())
    }

    fn traces(&mut self, part: &Part) -> Result<()> {
        let (node0, series0) = (self.next_node, self.next_series);
        for rows in part.traces.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Traces, |group| {
                group.text(rows.iter().map(|_| part.service.as_str()))?;
                group.bytes(rows.iter().map(|row| row.link.trace_id.to_bytes().to_vec()))?;
                group.bytes(rows.iter().map(|row| row.link.span_id.map_or([0; 8], |id| id.to_bytes()).to_vec()))?;
                group.int64(rows.iter().map(|row| row.time_ms as i64))?;
                group.int32(rows.iter().map(|row| series0 + row.series as i32))?;
                group.int64(rows.iter().map(|row| node0 + i64::from(row.node)))?;
                group.int64(rows.iter().map(|row| row.value as i64))
            })?;
        }
        Ok(())
    }

    fn spans(&mut self, part: &Part) -> Result<()> {
        for rows in part.spans.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Spans, |group| {
                group.text(rows.iter().map(|_| part.service.as_str()))?;
                group.bytes(rows.iter().map(|row| row.link.trace_id.to_bytes().to_vec()))?;
                group.bytes(rows.iter().map(|row| row.link.span_id.map_or([0; 8], |id| id.to_bytes()).to_vec()))?;
                group.text(rows.iter().map(|row| &*row.route))?;
                group.int64(rows.iter().map(|row| row.start_ms as i64))?;
                group.int64(rows.iter().map(|row| row.duration_us as i64))?;
                group.text(rows.iter().map(|row| status_name(row.status)))?;
                group.column::<FloatType>(rows.iter().map(|row| row.weight).collect())
            })?;
        }
        Ok(())
    }

    fn windows(&mut self, part: &Part) -> Result<()> {
        for rows in part.windows.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Windows, |group| {
                group.text(rows.iter().map(|_| part.service.as_str()))?;
                group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                group.int32(rows.iter().map(|row| row.covered_ms as i32))?;
                group.text(rows.iter().map(|row| row.instance.as_str()))?;
                group.int32(rows.iter().map(|row| row.instances as i32))?;
                group.text(rows.iter().map(|row| labels_to_text(&row.labels)))
            })?;
        }
        Ok(())
    }
}

/// How a truncated stack's stand-in is told from a function: no function has a negative line.
pub(super) const TRUNCATED: &str = "[truncated]";
pub(super) const TRUNCATED_LINE: i32 = -1;

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

pub(super) fn status_name(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}

/// Writes the columns of a row group in the order of its schema.
struct RowGroup<'a, W: Write + Send> {
    writer: SerializedRowGroupWriter<'a, W>,
}

impl<W: Write + Send> RowGroup<'_, W> {
    fn column<T: DataType>(&mut self, values: Vec<T::T>) -> Result<()> {
        let mut column = self.writer.next_column()?.expect("one call per column of the schema");
        column.typed::<T>().write_batch(&values, None, None)?;
        column.close()
    }

    fn int32(&mut self, values: impl Iterator<Item = i32>) -> Result<()> {
        self.column::<Int32Type>(values.collect())
    }

    fn int64(&mut self, values: impl Iterator<Item = i64>) -> Result<()> {
        self.column::<Int64Type>(values.collect())
    }

    fn text<S: AsRef<str>>(&mut self, values: impl Iterator<Item = S>) -> Result<()> {
        // Runs of equal text are the rule (service, type): they share one buffer.
        let mut last = ByteArray::from("");
        let shared = |value: S| {
            if last.data() != value.as_ref().as_bytes() {
                last = ByteArray::from(value.as_ref());
            }
            last.clone()
        };
        self.column::<ByteArrayType>(values.map(shared).collect())
    }

    fn bytes(&mut self, values: impl Iterator<Item = Vec<u8>>) -> Result<()> {
        self.column::<FixedLenByteArrayType>(values.map(FixedLenByteArray::from).collect())
    }
}
