//! One Parquet table in bulk storage. Nothing is decoded that was not checked first: the footer against the checksum in the
//! catalog, and everything else against checksums by block that the footer holds. The Parquet reader trusts its input more
//! than a disk deserves.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{DataType, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use serde::{Deserialize, Serialize};

use super::tables::Table;
use crate::store::bulk::{Bulk, BulkError};
use crate::store::catalog::TableObject;

/// Bytes that share a checksum.
const BLOCK_BYTES: usize = 32 << 10;

/// Why a table could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The object store failed.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// The bytes are not what was written: set the segment aside and go on.
    #[error("{table} table is damaged: {problem}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// What is wrong.
        problem: String,
    },
}

type Result<T> = std::result::Result<T, Problem>;

/// What is known about a table's row groups before any is read; kept with the file's own metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The service of each part.
    pub(super) services: Vec<String>,
    /// The part of each row group, and the type where the table has one.
    pub(super) groups: Vec<(u32, String)>,
    /// CRC-32 of each block of the pages, as hexadecimal text.
    pub(super) checksums: String,
}

impl Layout {
    /// The key of the Parquet metadata.
    pub(super) const KEY: &'static str = "tephra";

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are JSON")
    }
}

/// CRC-32 of each block, one after the other.
pub(super) fn block_checksums(bytes: &[u8]) -> String {
    bytes.chunks(BLOCK_BYTES).map(|block| format!("{:08x}", crc32fast::hash(block))).collect()
}

/// An open table: its footer is in memory, and was what the catalog says.
#[derive(Debug)]
pub(crate) struct TableFile {
    table: Table,
    object: String,
    data_bytes: u64,
    metadata: ParquetMetaData,
    services: Vec<String>,
    groups: Vec<(u32, String)>,
    checksums: Vec<u32>,
}

impl TableFile {
    /// Reads and checks the footer.
    pub(crate) fn open(bulk: &dyn Bulk, table: Table, row: &TableObject) -> Result<Self> {
        let damaged = |problem: String| Problem::Damaged { table: table.name(), problem };
        let tail_bytes = row.bytes.checked_sub(row.data_bytes).ok_or_else(|| damaged("no footer".to_owned()))?;
        let tail = bulk.get_range(&row.object, row.data_bytes, tail_bytes as usize)?;
        if tail.len() as u64 != tail_bytes || crc32fast::hash(&tail) != row.crc {
            return Err(damaged("its end is not that of the registered table".to_owned()));
        }
        let tail = Bytes::from(tail);
        let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
        let parsed = reader.try_parse_sized(&tail, row.bytes).and_then(|()| reader.finish());
        let metadata = parsed.map_err(|e| damaged(e.to_string()))?;
        let file = metadata.file_metadata();
        if file.schema_descr().root_schema().get_fields() != table.schema().get_fields() {
            return Err(damaged("its columns are not those of this version".to_owned()));
        }
        let text = file.key_value_metadata().into_iter().flatten().find(|pair| pair.key == Layout::KEY);
        let text = text.and_then(|pair| pair.value.as_deref()).unwrap_or_default();
        let layout: Layout = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let checksum =
            |digits: &[u8]| std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let checksums: Option<Vec<u32>> = layout.checksums.as_bytes().chunks(8).map(checksum).collect();
        let checksums = checksums.ok_or_else(|| damaged("its checksums are malformed".to_owned()))?;
        let fits = layout.groups.len() == metadata.num_row_groups()
            && checksums.len() as u64 == row.data_bytes.div_ceil(BLOCK_BYTES as u64)
            && layout.groups.iter().all(|(part, _)| (*part as usize) < layout.services.len());
        if !fits {
            return Err(damaged("its layout does not fit its row groups".to_owned()));
        }
        let Layout { services, groups, .. } = layout;
        Ok(Self {
            table,
            object: row.object.clone(),
            data_bytes: row.data_bytes,
            metadata,
            services,
            groups,
            checksums,
        })
    }

    /// Memory it takes, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        1_024 + self.metadata.memory_size() + self.checksums.len() * 4 + self.groups.len() * 40
    }

    /// The service of each part.
    pub(super) fn services(&self) -> &[String] {
        &self.services
    }

    /// Row groups of a part, with the type of their rows where the table has one.
    pub(super) fn groups_of(&self, part: usize) -> impl Iterator<Item = (usize, &str)> {
        let of_part = move |(_, (of, _)): &(usize, &(u32, String))| *of as usize == part;
        self.groups.iter().enumerate().filter(of_part).map(|(group, (_, name))| (group, name.as_str()))
    }

    pub(super) fn group(&self, group: usize) -> &RowGroupMetaData {
        self.metadata.row_group(group)
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Where a column stands.
    pub(super) fn position(&self, name: &str) -> Result<usize> {
        let at = self.table.definition().position(name);
        at.ok_or_else(|| self.damaged(&format!("it has no column {name}")))
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> Result<usize> {
        usize::try_from(self.group(group).num_rows()).map_err(|_| self.damaged("a negative number of rows"))
    }

    /// All values of a column in a row group.
    pub(super) fn column<T: DataType>(&self, bulk: &dyn Bulk, group: usize, column: usize) -> Result<Vec<T::T>> {
        let rows = self.rows(group)?;
        let (start, bytes) = self.group(group).column(column).byte_range();
        let chunk = self.read(bulk, start..start + bytes)?;
        let mut values = Vec::new();
        self.decode::<T>(chunk, group, column, std::slice::from_ref(&(0..rows)), false, &mut values)?;
        Ok(values)
    }

    /// Some values of a column, in stretches that ascend: only the pages that hold one are read.
    pub(super) fn slices<T: DataType>(
        &self,
        bulk: &dyn Bulk,
        group: usize,
        column: usize,
        stretches: &[Range<usize>],
    ) -> Result<Vec<T::T>> {
        let (chunk, _) = self.pages(bulk, group, column, stretches)?;
        let mut values = Vec::new();
        self.decode::<T>(chunk, group, column, stretches, true, &mut values)?;
        Ok(values)
    }

    /// Values of a column of so many bytes each, such as ids. As they lie in the pages: nothing is made of each by itself.
    pub(super) fn ids<T: DataType<T = FixedLenByteArray>, const N: usize>(
        &self,
        bulk: &dyn Bulk,
        group: usize,
        column: usize,
        rows: Range<usize>,
    ) -> Result<Vec<[u8; N]>> {
        let (chunk, firsts) = self.pages(bulk, group, column, std::slice::from_ref(&rows))?;
        let about = self.group(group).column(column);
        let index = self.metadata.offset_index().and_then(|index| index.get(group)?.get(column));
        let locations = index.map(|index| index.page_locations().clone());
        let wrong = |e: ParquetError| self.damaged(&e.to_string());
        let mut reader =
            SerializedPageReader::new(Arc::new(chunk), about, self.rows(group)?, locations).map_err(wrong)?;
        let mut ids = Vec::with_capacity(rows.len());
        for (page, first) in firsts.iter().enumerate() {
            let end = firsts.get(page + 1).map_or(self.rows(group)?, |next| *next);
            if *first >= rows.end || end <= rows.start {
                reader.skip_next_page().map_err(wrong)?;
                continue;
            }
            let Some(Page::DataPage { buf, encoding: Encoding::PLAIN, .. }) = reader.get_next_page().map_err(wrong)?
            else {
                // Written in another way: then one by one.
                let values = self.slices::<T>(bulk, group, column, &[rows])?;
                let id = |value: &FixedLenByteArray| value.data().try_into().ok();
                let ids: Option<Vec<[u8; N]>> = values.iter().map(id).collect();
                return ids.ok_or_else(|| self.damaged("an id has another length"));
            };
            let (in_page, _) = buf.as_chunks::<N>();
            let wanted = in_page.get(rows.start.saturating_sub(*first)..rows.end.min(end) - first);
            ids.extend_from_slice(wanted.ok_or_else(|| self.damaged("a page is shorter than its index says"))?);
        }
        if ids.len() != rows.len() {
            return Err(self.damaged("a column is shorter than its row group"));
        }
        Ok(ids)
    }

    /// The pages that hold some rows of a column, in stretches that ascend, and the first row of each page there is.
    fn pages(
        &self,
        bulk: &dyn Bulk,
        group: usize,
        column: usize,
        stretches: &[Range<usize>],
    ) -> Result<(Chunk, Vec<usize>)> {
        let (start, bytes) = self.group(group).column(column).byte_range();
        let Some(index) = self.metadata.offset_index().and_then(|index| index.get(group)?.get(column)) else {
            return Err(self.damaged("it has no page index"));
        };
        let pages = index.page_locations();
        let after = |page: usize| pages.get(page + 1).map_or(usize::MAX, |next| next.first_row_index as usize);
        let holds = |page: &usize| {
            let first = pages[*page].first_row_index as usize;
            let at = stretches.partition_point(|rows| rows.end <= first);
            stretches.get(at).is_some_and(|rows| rows.start < after(*page) && rows.start < rows.end)
        };
        // Where they lie; what is nearly side by side is read at once.
        let mut places: Vec<Range<u64>> = Vec::new();
        for page in (0..pages.len()).filter(holds) {
            let from = pages[page].offset as u64;
            let until = from.saturating_add(pages[page].compressed_page_size as u64);
            match places.last_mut() {
                Some(last) if from.saturating_sub(last.end) <= BLOCK_BYTES as u64 => last.end = until,
                _ => places.push(from..until),
            }
        }
        let mut chunk = Chunk { pieces: Vec::new(), end: start + bytes };
        let first_page = pages.first().map_or(start, |page| page.offset as u64);
        if first_page > start {
            chunk.pieces.push((start, self.read(bulk, start..first_page)?.pieces.remove(0).1));
        }
        for place in places {
            chunk.pieces.push((place.start, self.read(bulk, place)?.pieces.remove(0).1));
        }
        Ok((chunk, pages.iter().map(|page| page.first_row_index as usize).collect()))
    }

    fn decode<T: DataType>(
        &self,
        chunk: Chunk,
        group: usize,
        column: usize,
        stretches: &[Range<usize>],
        by_page: bool,
        values: &mut Vec<T::T>,
    ) -> Result<()> {
        let about = self.group(group).column(column);
        let pages = self.metadata.offset_index().filter(|_| by_page);
        let pages = pages.and_then(|index| Some(index.get(group)?.get(column)?.page_locations().clone()));
        let wrong = |e: ParquetError| self.damaged(&e.to_string());
        let reader = SerializedPageReader::new(Arc::new(chunk), about, self.rows(group)?, pages).map_err(wrong)?;
        let reader = get_column_reader(about.column_descr_ptr(), Box::new(reader));
        let mut reader = get_typed_column_reader::<T>(reader);
        let (mut at, mut wanted) = (0, 0);
        for rows in stretches {
            let between = rows.start.saturating_sub(at);
            if between > 0 && reader.skip_records(between).map_err(wrong)? != between {
                return Err(self.damaged("a column is shorter than its row group"));
            }
            (at, wanted) = (rows.end, wanted + rows.len());
            while values.len() < wanted {
                let missing = wanted - values.len();
                let (records, ..) = reader.read_records(missing, None, None, values).map_err(wrong)?;
                if records == 0 {
                    return Err(self.damaged("a column is shorter than its row group"));
                }
            }
        }
        Ok(())
    }

    /// Bytes of the pages, checked by the blocks they lie in.
    fn read(&self, bulk: &dyn Bulk, range: Range<u64>) -> Result<Chunk> {
        let block = BLOCK_BYTES as u64;
        if range.start > range.end || range.end > self.data_bytes {
            return Err(self.damaged("it points outside of its pages"));
        }
        let start = range.start - range.start % block;
        let end = (range.end.div_ceil(block) * block).min(self.data_bytes);
        let bytes = bulk.get_range(&self.object, start, (end - start) as usize)?;
        let expected = self.checksums.get((start / block) as usize..).unwrap_or_default();
        let intact = bytes.len() as u64 == end - start
            && bytes.chunks(BLOCK_BYTES).zip(expected).all(|(block, crc)| crc32fast::hash(block) == *crc);
        if !intact {
            return Err(self.damaged(&format!("bytes {start} to {end} do not match their checksums")));
        }
        let bytes = Bytes::from(bytes).slice((range.start - start) as usize..(range.end - start) as usize);
        Ok(Chunk { pieces: vec![(range.start, bytes)], end: range.end })
    }

    pub(super) fn damaged(&self, problem: &str) -> Problem {
        Problem::Damaged { table: self.table.name(), problem: problem.to_owned() }
    }
}

/// Parts of an object in memory, at the offsets they have in it.
struct Chunk {
    pieces: Vec<(u64, Bytes)>,
    end: u64,
}

impl Chunk {
    fn at(&self, start: u64) -> parquet::errors::Result<Bytes> {
        let piece = self.pieces.iter().find_map(|(offset, bytes)| {
            let from = usize::try_from(start.checked_sub(*offset)?).ok().filter(|from| *from < bytes.len())?;
            Some(bytes.slice(from..))
        });
        piece.ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.end
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.at(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.at(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} were not read")));
        }
        Ok(bytes.slice(..length))
    }
}
