//! The store's view of compacted segments: tables opened through a cache, damage set aside.

use std::sync::Arc;

use tracing::warn;

use super::bulk::BulkError;
use super::catalog::LevelSegment;
use super::columnar::{Dictionary, Problem, Segment, Table, TableFile};
use super::segment::SegmentError;
use super::{Store, StoreError};

impl Store {
    /// Opens tables of a compacted segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn columnar(&self, row: &LevelSegment, tables: &[Table]) -> Result<Option<Segment>, StoreError> {
        let mut files = Vec::with_capacity(tables.len());
        for table in tables {
            let Some(object) = row.tables.iter().find(|object| object.name == table.name()) else { continue };
            if let Some(file) = self.tables.get(&object.object) {
                files.push((*table, file));
                continue;
            }
            let opened = TableFile::open(self.bulk.as_ref(), *table, object);
            let Some(file) = self.checked(&row.segment.id, opened)? else { return Ok(None) };
            let file = Arc::new(file);
            self.tables.put(object.object.clone(), file.clone(), file.weight());
            files.push((*table, file));
        }
        Ok(Some(Segment::new(files)))
    }

    /// The dictionaries of a part of a segment; `stacks` false: only its series. `None` when it is damaged. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn dictionary(
        &self,
        id: &str,
        segment: &Segment,
        part: usize,
        stacks: bool,
    ) -> Result<Option<Arc<Dictionary>>, StoreError> {
        let key = (id.to_owned(), part, stacks);
        if let Some(known) = self.dictionaries.get(&key) {
            return Ok(Some(known));
        }
        let Some(read) = self.checked(id, segment.dictionary(self.bulk.as_ref(), part, stacks))? else {
            return Ok(None);
        };
        let read = Arc::new(read);
        self.dictionaries.put(key, read.clone(), read.weight());
        Ok(Some(read))
    }

    /// What was read; `None`, and the segment set aside at the next opportunity, when it is damaged.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn checked<T>(&self, id: &str, read: Result<T, Problem>) -> Result<Option<T>, StoreError> {
        let error = match read {
            Ok(read) => return Ok(Some(read)),
            Err(Problem::Bulk(BulkError::Missing { name })) => SegmentError::Bulk(BulkError::Missing { name }),
            Err(Problem::Bulk(error)) => return Err(error.into()),
            Err(damaged) => {
                warn!(segment = %id, problem = %damaged, "a compacted segment is damaged");
                SegmentError::Damaged { segment: id.to_owned(), problem: damaged.to_string() }
            }
        };
        self.unreadable(id, error).map(|()| None)
    }
}
