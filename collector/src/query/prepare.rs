//! What the catalog knows of a selection: everything that an answer is made of is chosen from this.

use std::collections::BTreeSet;

use super::cancel::Cancel;
use super::engine::check_range;
use super::gather::{Wanted, gather};
use super::levels::Wish;
use super::plan::Plan;
use super::{QueryEngine, QueryError, QueryLimits, Selection, linked};
use crate::base::labels::Matcher;
use crate::profile::decode::Window;
use crate::profile::model::ProfileType;
use crate::store::catalog::{Horizons, LevelSegment};
use crate::store::columnar::Table;
use crate::store::{Store, StoreError};

impl QueryEngine {
    /// What an answer would be made of, without making it: objects that never change, by id and checksum. The same inputs give the same
    /// answer, to the byte.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn inputs(&self, selection: &Selection) -> Result<Vec<(String, u32)>, QueryError> {
        let segments = self.segments_of(&selection.service, selection.range()).await?;
        // A deletion changes what counts of a segment, and so its revision.
        let version = |row: &LevelSegment| row.segment.crc.wrapping_add(row.revision as u32);
        Ok(segments.into_iter().map(|row| (row.segment.id.clone(), version(&row))).collect())
    }

    /// What may hold what is selected, and the type as the catalog knows it.
    pub(super) async fn prepare(&self, selection: &Selection) -> Result<Prepared, QueryError> {
        check_range(selection.range())?;
        self.know(&selection.service).await?;
        let known = self.types(&selection.service).await?;
        let Some(fallback) = known.iter().find(|t| t.name == selection.profile_type).cloned() else {
            return Err(QueryError::UnknownType {
                service: selection.service.to_string(),
                profile_type: selection.profile_type.clone(),
                known: known.into_iter().map(|t| t.name).collect(),
            });
        };
        let catalog = self.store.catalog();
        let segments = self.segments_of(&selection.service, selection.range()).await?;
        // After the segments: what retention lets go of in between is then answered by coarser ones, which were listed too.
        let horizons = catalog.horizons(selection.service.as_str()).await.map_err(StoreError::from)?;
        let deleted = match selection.trace {
            Some(trace) => catalog.is_deleted(&trace).await.map_err(StoreError::from)?,
            None => false,
        };
        let sample_labels = self.sample_labels(&selection.service).await?;
        Ok(Prepared { segments, horizons, sample_labels, fallback, deleted })
    }
}

/// What the catalog knows about a selection.
#[derive(Debug)]
pub(super) struct Prepared {
    segments: Vec<LevelSegment>,
    horizons: Horizons,
    sample_labels: BTreeSet<String>,
    fallback: ProfileType,
    /// The selected trace was deleted.
    deleted: bool,
}

impl Prepared {
    /// What is needed for an answer that wishes so.
    pub(super) fn plan(
        &self,
        store: &Store,
        selection: &Selection,
        wish: Wish,
        tables: &[Table],
        limits: &QueryLimits,
        cancel: &Cancel,
    ) -> Result<Plan, QueryError> {
        let pieces = wish.cover(selection.range(), &self.horizons);
        let wanted = Wanted {
            service: Some(selection.service.as_str()),
            labels: &selection.labels,
            sample_labels: &self.sample_labels,
            pieces: &pieces,
        };
        let gathered = gather(store, &self.segments, &wanted, tables, limits, cancel)?;
        let mut plan = Plan::new(gathered, selection, self.fallback.clone());
        plan.misses_instances = wish.misses_instances(&pieces);
        plan.sample_labels.clone_from(&self.sample_labels);
        Ok(plan)
    }

    /// Where a trace is selected: leaves the plan only the arrived windows that may hold it, and answers what compacted segments hold
    /// of it.
    pub(super) fn narrow(
        &self,
        store: &Store,
        plan: &mut Plan,
        selection: &Selection,
        cancel: &Cancel,
    ) -> Result<Vec<Window>, QueryError> {
        let Some(trace) = selection.trace else { return Ok(Vec::new()) };
        plan.narrow_to_trace(store, trace, cancel)?;
        if self.deleted {
            plan.carriers.clear();
            return Ok(Vec::new());
        }
        let matcher = Matcher::new(&selection.labels);
        let mut windows = linked::windows(store, &self.segments, trace, Some(selection.service.as_str()), cancel)?;
        windows.retain(|window| {
            selection.range().contains(window.header.start_ms) && matcher.matches(|name| window.header.label(name))
        });
        Ok(windows)
    }
}
