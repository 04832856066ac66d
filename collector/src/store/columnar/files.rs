//! The tables of a segment that is being written, in memory: row group by row group, column by column.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::slice::Iter;

use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};

use super::column::{About, Bytes8, Bytes16, Column, Holds, Text, Value};
use super::table::{Layout, block_checksums};
use super::tables::Table;
use crate::profile::model::Link;

/// Rows of one row group at most: what a reader must hold to look at any of them.
pub(super) const ROW_GROUP_ROWS: usize = 1 << 17;

/// A table that is complete.
pub(crate) struct Finished {
    pub(crate) table: Table,
    pub(crate) bytes: Vec<u8>,
    /// Where the pages end and the footer begins.
    pub(crate) data_bytes: u64,
    /// CRC-32 of the footer.
    pub(crate) crc: u32,
}

/// The tables that have a row.
#[derive(Default)]
pub(super) struct Files {
    files: BTreeMap<Table, Open>,
    services: Vec<String>,
}

/// A table with at least one row.
struct Open {
    writer: SerializedFileWriter<Vec<u8>>,
    layout: Layout,
}

impl Files {
    /// Begins a part: the row groups that follow are of this service.
    pub(super) fn begin_part(&mut self, service: &str) {
        self.services.push(service.to_owned());
    }

    /// Bytes written so far, about.
    pub(super) fn bytes(&self) -> usize {
        self.files.values().map(|open| open.writer.bytes_written()).sum()
    }

    /// Ends the tables.
    pub(super) fn finish(self) -> Result<Vec<Finished>> {
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

    /// A row group of a table, of the part that was begun last. `type_name` is that of its rows, where the table has one.
    pub(super) fn row_group(
        &mut self,
        table: Table,
        type_name: &str,
        write: impl FnOnce(&mut RowGroup<'_>) -> Result<()>,
    ) -> Result<()> {
        let part = self.services.len() as u32 - 1;
        let open = match self.files.entry(table) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let writer = SerializedFileWriter::new(Vec::new(), table.schema(), table.properties())?;
                place.insert(Open { writer, layout: Layout::default() })
            }
        };
        let columns = table.definition().columns.iter();
        let mut group = RowGroup { writer: open.writer.next_row_group()?, columns };
        write(&mut group)?;
        group.writer.close()?;
        open.layout.groups.push((part, type_name.to_owned()));
        Ok(())
    }
}

/// Writes the columns of a row group, in the order that its table has them in.
pub(super) struct RowGroup<'a> {
    writer: SerializedRowGroupWriter<'a, Vec<u8>>,
    columns: Iter<'static, About>,
}

impl RowGroup<'_> {
    fn next(&mut self, name: &str) -> Result<SerializedColumnWriter<'_>> {
        let expected = self.columns.next().map(|column| column.name);
        let wrong = || ParquetError::General(format!("column {name} is written where the table has {expected:?}"));
        if expected != Some(name) {
            return Err(wrong());
        }
        self.writer.next_column()?.ok_or_else(wrong)
    }

    fn column<T: Holds>(&mut self, column: Column<T>, values: &[Value<T>]) -> Result<()> {
        let mut open = self.next(column.name())?;
        open.typed::<T::Stored>().write_batch(values, None, None)?;
        open.close()
    }

    /// A column of numbers.
    pub(super) fn put<T: Holds>(&mut self, column: Column<T>, values: impl Iterator<Item = Value<T>>) -> Result<()> {
        self.column(column, &values.collect::<Vec<_>>())
    }

    /// The same text in each row. Written a piece at a time: the values are never all in memory.
    pub(super) fn same_text(&mut self, column: Column<Text>, text: &str, rows: usize) -> Result<()> {
        let values = vec![ByteArray::from(text); rows.min(4_096)];
        let mut open = self.next(column.name())?;
        let mut left = rows;
        while left > 0 {
            let now = left.min(values.len());
            open.typed::<ByteArrayType>().write_batch(&values[..now], None, None)?;
            left -= now;
        }
        open.close()
    }

    /// A column of texts.
    pub(super) fn texts<S: AsRef<str>>(&mut self, column: Column<Text>, values: impl Iterator<Item = S>) -> Result<()> {
        // Runs of equal text are the rule: they share one buffer.
        let mut last = ByteArray::from("");
        let shared = |value: S| {
            if last.data() != value.as_ref().as_bytes() {
                last = ByteArray::from(value.as_ref());
            }
            last.clone()
        };
        self.put(column, values.map(shared))
    }

    /// Trace and span ids, which stand side by side.
    pub(super) fn links(
        &mut self,
        (traces, spans): (Column<Bytes16>, Column<Bytes8>),
        links: impl Iterator<Item = Link> + Clone,
    ) -> Result<()> {
        let bytes = |id: Vec<u8>| FixedLenByteArray::from(id);
        self.put(traces, links.clone().map(|link| bytes(link.trace_id.to_bytes().to_vec())))?;
        self.put(spans, links.map(|link| bytes(link.span_id.map_or([0; 8], |id| id.to_bytes()).to_vec())))
    }
}
