//! What the catalog knows of a selection, listed once. Everything that an answer is made of is chosen from this list, and so is its
//! revision: they cannot come from two different moments.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cancel::Cancel;
use super::cover::Wish;
use super::engine::{Inputs, check_range};
use super::gather::{Wanted, gather};
use super::plan::Plan;
use super::{QueryEngine, QueryError, QueryLimits, Selection, linked};
use crate::base::labels::Matcher;
use crate::base::range::TimeRange;
use crate::profile::decode::Window;
use crate::profile::model::ProfileType;
use crate::store::catalog::{Horizons, LevelSegment};
use crate::store::columnar::Table;
use crate::store::{Store, StoreError};

impl QueryEngine {
    /// What may hold what is selected, listed once: the answer to it and the answer's revision are made of the same list.
    ///
    /// # Errors
    /// When the range is empty, service or type are unknown, or the store fails.
    pub async fn prepare(&self, selection: &Selection) -> Result<Prepared, QueryError> {
        check_range(selection.range())?;
        let known = self.types(&selection.service).await?;
        let Some(fallback) = known.iter().find(|t| t.name == selection.profile_type).cloned() else {
            return Err(QueryError::UnknownType {
                service: selection.service.to_string(),
                profile_type: selection.profile_type.clone(),
                known: known.into_iter().map(|t| t.name).collect(),
            });
        };
        let catalog = self.store.catalog();
        let segments = self.segments_of(&selection.service, selection.range()).await?.into();
        // After the segments: what retention lets go of in between is then answered by coarser ones, which were listed too.
        let horizons = catalog.horizons(selection.service.as_str()).await.map_err(StoreError::from)?;
        let deleted = match selection.trace {
            Some(trace) => catalog.is_deleted(&trace).await.map_err(StoreError::from)?,
            None => false,
        };
        let sample_labels = self.sample_labels(&selection.service).await?;
        Ok(Prepared { selection: selection.clone(), segments, horizons, sample_labels, fallback, deleted })
    }
}

/// What the catalog knows about a selection, as of one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    selection: Selection,
    segments: Arc<[LevelSegment]>,
    horizons: Horizons,
    sample_labels: BTreeSet<String>,
    fallback: ProfileType,
    /// The selected trace was deleted.
    deleted: bool,
}

impl Prepared {
    /// The selection that the segments were listed for.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What an answer is made of: objects that never change, by id and version. The same inputs give the same answer, to the byte.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, u32)> {
        // A deletion changes what counts of a segment, and so its revision.
        self.segments.iter().map(|row| (row.segment.id.as_str(), row.segment.crc.wrapping_add(row.revision as u32)))
    }

    /// Narrows it to a part of the range, without asking the catalog again.
    pub(super) fn within(&self, range: TimeRange) -> Self {
        let overlaps = |row: &&LevelSegment| row.segment.max_ms >= range.from_ms && row.segment.min_ms < range.until_ms;
        let segments = match range == self.selection.range() {
            true => self.segments.clone(),
            false => self.segments.iter().filter(overlaps).cloned().collect(),
        };
        Self { selection: self.selection.within(range), segments, ..self.clone() }
    }

    /// Names of the labels that single samples have.
    pub(super) fn sample_labels(&self) -> &BTreeSet<String> {
        &self.sample_labels
    }

    /// What tells identical questions to an unchanged store from others.
    pub(super) fn key(&self) -> (Selection, Inputs) {
        (self.selection.clone(), self.inputs().map(|(id, version)| (id.to_owned(), version)).collect())
    }

    /// What is needed for an answer that wishes so.
    pub(super) fn plan(
        &self,
        store: &Store,
        wish: Wish,
        tables: &[Table],
        limits: &QueryLimits,
        cancel: &Cancel,
    ) -> Result<Plan, QueryError> {
        let selection = &self.selection;
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
    pub(super) fn narrow(&self, store: &Store, plan: &mut Plan, cancel: &Cancel) -> Result<Vec<Window>, QueryError> {
        let selection = &self.selection;
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
