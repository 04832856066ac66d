//! Reads windows as they arrived, through the caches. What is damaged is noted, and left out.

use std::sync::Arc;

use bytes::Bytes;

use super::catalog::SegmentRow;
use super::segment::{self, Footer, SegmentError, StoredWindow, TraceIndex, WindowInfo};
use super::{Store, StoreError};
use crate::profile::decode::{self, Lateness, Window};

impl Store {
    /// The footer of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn footer(&self, row: &SegmentRow) -> Result<Option<Arc<Footer>>, StoreError> {
        if let Some(footer) = self.footers.get(&row.id) {
            return Ok(Some(footer));
        }
        match segment::read_footer(self.bulk.as_ref(), &row.id, row.bytes, row.crc) {
            Ok(footer) => {
                let footer = Arc::new(footer);
                let bytes = footer.windows.len() * 512 + 256;
                self.footers.put(row.id.clone(), footer.clone(), bytes);
                Ok(Some(footer))
            }
            Err(error) => self.unreadable(&row.id, error).map(|()| None),
        }
    }

    /// The trace index of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn trace_index(&self, row: &SegmentRow) -> Result<Option<Arc<TraceIndex>>, StoreError> {
        if let Some(index) = self.traces.get(&row.id) {
            return Ok(Some(index));
        }
        let Some(footer) = self.footer(row)? else { return Ok(None) };
        match segment::read_traces(self.bulk.as_ref(), &row.id, &footer) {
            Ok(index) => {
                let index = Arc::new(index);
                self.traces.put(row.id.clone(), index.clone(), index.weight() + 128);
                Ok(Some(index))
            }
            Err(error) => self.unreadable(&row.id, error).map(|()| None),
        }
    }

    /// One window of a segment; `None` when it is damaged or was let go of. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn window(&self, row: &SegmentRow, info: &WindowInfo) -> Result<Option<Arc<Window>>, StoreError> {
        let key = (row.id.clone(), info.offset);
        if let Some(window) = self.windows.get(&key) {
            return Ok(Some(window));
        }
        let Some(window) = self.window_once(row, info)? else { return Ok(None) };
        let window = Arc::new(window);
        self.windows.put(key, window.clone(), window.weight());
        Ok(Some(window))
    }

    /// The same for whoever reads a window once and never again: it displaces nothing that queries need. Blocks.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn window_once(&self, row: &SegmentRow, info: &WindowInfo) -> Result<Option<Window>, StoreError> {
        self.checked_window(row, info, segment::read_window(self.bulk.as_ref(), &row.id, info))
    }

    /// The same for whoever has the whole object.
    ///
    /// # Errors
    /// As [`Store::window_once`].
    pub(crate) fn window_in(
        &self,
        object: &Bytes,
        row: &SegmentRow,
        info: &WindowInfo,
    ) -> Result<Option<Window>, StoreError> {
        let start = usize::try_from(info.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(info.bytes as usize).min(object.len());
        let bytes = object.slice(start.min(end)..end);
        self.checked_window(row, info, segment::parse_window(&row.id, info, bytes))
    }

    fn checked_window(
        &self,
        row: &SegmentRow,
        info: &WindowInfo,
        read: Result<StoredWindow, SegmentError>,
    ) -> Result<Option<Window>, StoreError> {
        let problem = match read {
            Ok(stored) => match decode::decode(&stored.header, &stored.payload, stored.payload_bytes, Lateness::Stored)
            {
                Ok(window) => return Ok(Some(window)),
                Err(rejection) => rejection.to_string(),
            },
            Err(SegmentError::Damaged { problem, .. }) => problem,
            Err(other) => return self.unreadable(&row.id, other).map(|()| None),
        };
        self.note_window(row, info, &problem);
        Ok(None)
    }
}
