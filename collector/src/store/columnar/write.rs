//! Writes segments, one part at a time, into memory: an object is put whole.

use std::collections::BTreeMap;

use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::part::Part;
use super::schema::{Table, kind_name, labels_to_text, types_to_text};
use super::table::{Layout, block_checksums};
use crate::profile::model::{Frame, Link, Node, SpanStatus};

/// Rows of one row group at most: what a reader must hold to look at any of them.
const ROW_GROUP_ROWS: usize = 1 << 17;

/// A table that is complete.
pub(crate) struct Finished {
    pub(crate) table: Table,
    pub(crate) bytes: Vec<u8>,
    /// Where the pages end and the footer begins.
    pub(crate) data_bytes: u64,
    /// CRC-32 of the footer.
    pub(crate) crc: u32,
}

/// Writes one segment. Ids run on from part to part, so that they are unique within the segment.
pub(crate) struct SegmentWriter {
    files: BTreeMap<Table, Open>,
    services: Vec<String>,
    next_node: i32,
    next_frame: i32,
    next_series: i32,
}

/// A table with at least one row.
struct Open {
    writer: SerializedFileWriter<Vec<u8>>,
    layout: Layout,
}

impl SegmentWriter {
    /// An empty segment.
    pub(crate) fn new() -> Self {
        Self { files: BTreeMap::new(), services: Vec::new(), next_node: 0, next_frame: 0, next_series: 0 }
    }

    /// Appends a part. Parts of one service follow one another.
    pub(crate) fn add(&mut self, part: &Part) -> Result<()> {
        self.services.push(part.service.clone());
        self.samples(part)?;
        self.totals(part)?;
        self.windows(part)?;
        self.series(part)?;
        self.stacks(part)?;
        self.frames(part)?;
        self.traces(part)?;
        self.spans(part)?;
        self.next_node += part.nodes.len() as i32;
        self.next_frame += part.frames.len() as i32;
        self.next_series += part.series.len() as i32;
        Ok(())
    }

    /// Bytes written so far, about.
    pub(crate) fn bytes(&self) -> usize {
        self.files.values().map(|open| open.writer.bytes_written()).sum()
    }

    /// True when no more ids fit, or nearly so.
    pub(crate) fn is_full(&self) -> bool {
        [self.next_node, self.next_frame, self.next_series].into_iter().any(|next| next > i32::MAX / 2)
    }

    /// Ends the tables. Those without rows do not exist.
    pub(crate) fn finish(self) -> Result<Vec<Finished>> {
        let finish = |(table, open): (Table, Open)| {
            let Open { mut writer, mut layout } = open;
            writer.flush()?;
            let data_bytes = writer.bytes_written();
            layout.services.clone_from(&self.services);
            layout.checksums = block_checksums(writer.inner().get(..data_bytes).unwrap_or_default());
            writer.append_key_value_metadata(KeyValue::new(Layout::KEY.to_owned(), layout.to_text()));
            let bytes = writer.into_inner()?;
            let crc = crc32fast::hash(bytes.get(data_bytes..).unwrap_or_default());
            Ok(Finished { table, bytes, data_bytes: data_bytes as u64, crc })
        };
        self.files.into_iter().map(finish).collect()
    }

    fn row_group(
        &mut self,
        table: Table,
        type_name: &str,
        write: impl FnOnce(&mut RowGroup<'_>) -> Result<()>,
    ) -> Result<()> {
        let part = self.services.len() as u32 - 1;
        let open = match self.files.entry(table) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let writer = SerializedFileWriter::new(Vec::new(), table.schema(), table.properties())?;
                place.insert(Open { writer, layout: Layout::default() })
            }
        };
        let mut group = RowGroup { writer: open.writer.next_row_group()? };
        write(&mut group)?;
        group.writer.close()?;
        open.layout.groups.push((part, type_name.to_owned()));
        Ok(())
    }

    fn samples(&mut self, part: &Part) -> Result<()> {
        let (node0, series0) = (self.next_node, self.next_series);
        let type_of = |row: &super::PartRow| part.series[row.series as usize].profile_type.name.as_str();
        for same_type in part.rows.chunk_by(|a, b| a.series == b.series || type_of(a) == type_of(b)) {
            let type_name = same_type.first().map_or("", type_of);
            for rows in same_type.chunks(ROW_GROUP_ROWS) {
                self.row_group(Table::Samples, type_name, |group| {
                    group.same_text(&part.service, rows.len())?;
                    group.same_text(type_name, rows.len())?;
                    group.int32(rows.iter().map(|row| series0 + row.series as i32))?;
                    group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                    group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                    group.int32(rows.iter().map(|row| node0 + row.node as i32))?;
                    group.int64(rows.iter().map(|row| row.value as i64))?;
                    group.int64(rows.iter().map(|row| row.samples as i64))
                })?;
            }
        }
        Ok(())
    }

    fn totals(&mut self, part: &Part) -> Result<()> {
        let series0 = self.next_series;
        for rows in part.totals.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Totals, "", |group| {
                group.same_text(&part.service, rows.len())?;
                group.int32(rows.iter().map(|row| series0 + row.series as i32))?;
                group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                group.int64(rows.iter().map(|row| row.value as i64))?;
                group.int64(rows.iter().map(|row| row.samples as i64))
            })?;
        }
        Ok(())
    }

    fn windows(&mut self, part: &Part) -> Result<()> {
        for rows in part.windows.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Windows, "", |group| {
                group.same_text(&part.service, rows.len())?;
                group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                group.int64(rows.iter().map(|row| row.from_ms as i64))?;
                group.int32(rows.iter().map(|row| row.until_ms.saturating_sub(row.from_ms) as i32))?;
                group.int32(rows.iter().map(|row| row.windows as i32))?;
                group.text(rows.iter().map(|row| &*row.instance))?;
                group.text(rows.iter().map(|row| labels_to_text(row.labels.iter())))?;
                group.text(rows.iter().map(|row| types_to_text(&row.types)))
            })?;
        }
        Ok(())
    }

    fn series(&mut self, part: &Part) -> Result<()> {
        let (series0, rows) = (self.next_series, &part.series);
        if rows.is_empty() {
            return Ok(());
        }
        self.row_group(Table::Series, "", |group| {
            group.same_text(&part.service, rows.len())?;
            group.int32((0..rows.len()).map(|i| series0 + i as i32))?;
            group.text(rows.iter().map(|row| row.profile_type.name.as_str()))?;
            group.text(rows.iter().map(|row| row.profile_type.unit.as_str()))?;
            group.text(rows.iter().map(|row| kind_name(row.profile_type.kind)))?;
            group.int64(rows.iter().map(|row| row.profile_type.period as i64))?;
            group.text(rows.iter().map(|row| &*row.instance))?;
            group.text(rows.iter().map(|row| labels_to_text(row.labels.iter())))
        })
    }

    fn stacks(&mut self, part: &Part) -> Result<()> {
        let (node0, frame0) = (self.next_node, self.next_frame);
        for (chunk, nodes) in part.nodes.chunks(ROW_GROUP_ROWS).enumerate() {
            let first = node0 + (chunk * ROW_GROUP_ROWS) as i32;
            self.row_group(Table::Stacks, "", |group| {
                group.same_text(&part.service, nodes.len())?;
                group.int32((0..nodes.len()).map(|i| first + i as i32))?;
                group.int32(nodes.iter().map(|node| match node.parent {
                    Node::ROOT => -1,
                    parent => node0 + parent as i32,
                }))?;
                group.int32(nodes.iter().map(|node| frame0 + node.frame as i32))
            })?;
        }
        Ok(())
    }

    fn frames(&mut self, part: &Part) -> Result<()> {
        let frame0 = self.next_frame;
        let names: std::collections::HashMap<_, _> =
            part.modules.iter().map(|module| (module.build_id, &*module.name)).collect();
        for (chunk, frames) in part.frames.chunks(ROW_GROUP_ROWS).enumerate() {
            let first = frame0 + (chunk * ROW_GROUP_ROWS) as i32;
            self.row_group(Table::Frames, "", |group| {
                group.same_text(&part.service, frames.len())?;
                group.int32((0..frames.len()).map(|i| first + i as i32))?;
                group.text(frames.iter().map(|frame| match frame {
                    Frame::Native { build_id, .. } => build_id.to_string(),
                    _ => String::new(),
                }))?;
                group.text(frames.iter().map(|frame| match frame {
                    Frame::Native { build_id, .. } => names.get(build_id).copied().unwrap_or(""),
                    _ => "",
                }))?;
                group.int64(frames.iter().map(|frame| match frame {
                    Frame::Native { address, .. } => *address as i64,
                    Frame::Symbolic { inlined: true, .. } => INLINED_ADDRESS,
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
            self.row_group(Table::Traces, "", |group| {
                group.same_text(&part.service, rows.len())?;
                group.links(rows.iter().map(|row| row.link))?;
                group.int64(rows.iter().map(|row| row.time_ms as i64))?;
                group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                group.int32(rows.iter().map(|row| series0 + row.series as i32))?;
                group.int32(rows.iter().map(|row| node0 + row.node as i32))?;
                group.int64(rows.iter().map(|row| row.value as i64))?;
                group.int64(rows.iter().map(|row| row.samples as i64))
            })?;
        }
        Ok(())
    }

    fn spans(&mut self, part: &Part) -> Result<()> {
        for rows in part.spans.chunks(ROW_GROUP_ROWS) {
            self.row_group(Table::Spans, "", |group| {
                group.same_text(&part.service, rows.len())?;
                group.links(rows.iter().map(|row| row.span.link))?;
                group.text(rows.iter().map(|row| &*row.span.route))?;
                group.int64(rows.iter().map(|row| row.span.start_ms as i64))?;
                group.int64(rows.iter().map(|row| row.span.duration_us as i64))?;
                group.text(rows.iter().map(|row| status_name(row.span.status)))?;
                group.column::<FloatType>(&rows.iter().map(|row| row.span.weight).collect::<Vec<_>>())?;
                group.int64(rows.iter().map(|row| row.window_ms as i64))?;
                group.int32(rows.iter().map(|row| row.window_len_ms as i32))?;
                group.text(rows.iter().map(|row| &*row.instance))?;
                group.text(rows.iter().map(|row| labels_to_text(row.labels.iter())))
            })?;
        }
        Ok(())
    }
}

/// How a truncated stack's stand-in is told from a function: no function has a negative line.
pub(super) const TRUNCATED: &str = "[truncated]";
pub(super) const TRUNCATED_LINE: i32 = -1;

/// The address of a named frame that was inlined: others with a name have 0.
pub(super) const INLINED_ADDRESS: i64 = 1;

fn status_name(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}

/// Writes the columns of a row group in the order of its schema.
struct RowGroup<'a> {
    writer: SerializedRowGroupWriter<'a, Vec<u8>>,
}

impl RowGroup<'_> {
    fn column<T: DataType>(&mut self, values: &[T::T]) -> Result<()> {
        let mut column = self.writer.next_column()?.expect("one call per column of the schema");
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()
    }

    fn int32(&mut self, values: impl Iterator<Item = i32>) -> Result<()> {
        self.column::<Int32Type>(&values.collect::<Vec<_>>())
    }

    fn int64(&mut self, values: impl Iterator<Item = i64>) -> Result<()> {
        self.column::<Int64Type>(&values.collect::<Vec<_>>())
    }

    /// The same text in each row. Written a piece at a time: the values are never all in memory.
    fn same_text(&mut self, text: &str, rows: usize) -> Result<()> {
        let values = vec![ByteArray::from(text); rows.min(4_096)];
        let mut column = self.writer.next_column()?.expect("one call per column of the schema");
        let mut left = rows;
        while left > 0 {
            let now = left.min(values.len());
            column.typed::<ByteArrayType>().write_batch(&values[..now], None, None)?;
            left -= now;
        }
        column.close()
    }

    fn text<S: AsRef<str>>(&mut self, values: impl Iterator<Item = S>) -> Result<()> {
        // Runs of equal text are the rule: they share one buffer.
        let mut last = ByteArray::from("");
        let shared = |value: S| {
            if last.data() != value.as_ref().as_bytes() {
                last = ByteArray::from(value.as_ref());
            }
            last.clone()
        };
        self.column::<ByteArrayType>(&values.map(shared).collect::<Vec<_>>())
    }

    /// Trace and span ids, which stand side by side.
    fn links(&mut self, links: impl Iterator<Item = Link> + Clone) -> Result<()> {
        let bytes = |id: Vec<u8>| FixedLenByteArray::from(id);
        let traces: Vec<_> = links.clone().map(|link| bytes(link.trace_id.to_bytes().to_vec())).collect();
        self.column::<FixedLenByteArrayType>(&traces)?;
        let span = |link: Link| bytes(link.span_id.map_or([0; 8], |id| id.to_bytes()).to_vec());
        self.column::<FixedLenByteArrayType>(&links.map(span).collect::<Vec<_>>())
    }
}
