//! What readers find damaged: it is left out of answers, put on record, set aside, and told.

use std::sync::PoisonError;

use tracing::warn;

use super::bulk::BulkError;
use super::catalog::{DamageTotals, DamagedWindow, SegmentRow};
use super::segment::{SegmentError, WindowInfo};
use super::{Store, StoreError};
use crate::conditions::Severity;

/// Enough to know that a disk is dying.
const DAMAGED_WINDOWS_MAX: usize = 10_000;

impl Store {
    /// How many single windows were found damaged since the start; whole segments are counted by the catalog.
    pub fn damaged_windows(&self) -> u64 {
        self.damaged_windows.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// Notes a damaged window. The rest of its segment is still good: only this window is lost.
    pub(super) fn note_window(&self, row: &SegmentRow, info: &WindowInfo, problem: &str) {
        let key = (row.id.clone(), info.offset);
        let mut known = self.damaged_windows.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < DAMAGED_WINDOWS_MAX && known.insert(key) {
            warn!(segment = %row.id, offset = info.offset, problem, "a stored window is damaged and will not be served");
            let (segment, service) = (row.id.clone(), info.service.clone());
            let window = DamagedWindow { segment, offset: info.offset, service, start_ms: info.start_ms };
            self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner).push(window);
        }
    }

    /// Notes a segment that could not be read.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn unreadable(&self, id: &str, error: SegmentError) -> Result<(), StoreError> {
        match error {
            // Retention may have been faster; if the catalog still lists it, `settle_damage` says so.
            SegmentError::Bulk(BulkError::Missing { .. }) => {}
            SegmentError::Bulk(error) => return Err(error.into()),
            SegmentError::Damaged { ref problem, .. } => {
                warn!(segment = %id, %problem, "a segment is damaged and will not be served");
            }
        }
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        Ok(())
    }

    /// Says how much is damaged, as long as anything is.
    ///
    /// # Errors
    /// When the catalog fails.
    pub async fn tell_damage(&self) -> Result<(), StoreError> {
        let DamageTotals { segments, windows } = self.catalog.damage_totals().await?;
        let message = (segments + windows > 0).then(|| {
            format!(
                "{segments} segments and {windows} windows in others are damaged or lost, and left out of answers, which say so: look after \
                 the disk, and restore them from a backup if you need them"
            )
        });
        self.conditions.set("data_damaged", Severity::Degraded, message);
        Ok(())
    }

    /// Puts single damaged windows on record.
    async fn note_damage(&self) -> Result<(), StoreError> {
        let windows = std::mem::take(&mut *self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner));
        if windows.is_empty() {
            return Ok(());
        }
        let noted = self.catalog.note_damage(&windows).await;
        if noted.is_err() {
            self.damage_to_note.lock().unwrap_or_else(PoisonError::into_inner).extend(windows);
        }
        Ok(noted?)
    }

    /// Puts on record, and sets aside, what readers found damaged. Answers how many segments were set aside.
    ///
    /// # Errors
    /// When catalog or disk fail.
    pub async fn settle_damage(&self) -> Result<u64, StoreError> {
        self.note_damage().await?;
        let damaged = std::mem::take(&mut *self.damaged.lock().unwrap_or_else(PoisonError::into_inner));
        let mut settled = 0;
        for id in damaged {
            if self.catalog.quarantine(&id).await? {
                settled += 1;
                let objects = self.catalog.objects_of(&id).await?;
                let bulk = self.bulk.clone();
                tokio::task::spawn_blocking(move || objects.iter().try_for_each(|object| bulk.quarantine(object)))
                    .await??;
            }
        }
        Ok(settled)
    }
}
