//! The merged profile of a selection.

use std::sync::Arc;

use tokio::time::Instant;

use super::cover::Wish;
use super::fit::newest_that_fits;
use super::label_sets::LabelSets;
use super::merge::Parts;
use super::{Prepared, QueryEngine, QueryError, Selection, scan, slices};
use crate::base::clock;
use crate::base::labels::Matcher;
use crate::profile::model::{Cost, Labelled, Merged};
use crate::store::columnar::Table;

/// Tables that it is read from.
const MERGE_TABLES: [Table; 5] = [Table::Samples, Table::Windows, Table::Series, Table::Stacks, Table::Frames];

impl QueryEngine {
    /// The sum of all selected windows, by stack. Where the limits do not allow all of them: of the newest part of the range that
    /// they do allow, and `partial` says which. The same question asked at the same time is computed once.
    ///
    /// # Errors
    /// When the service or its type are unknown, not even a window fits the limits, or the store fails.
    pub async fn merge(&self, selection: &Selection) -> Result<Arc<Merged>, QueryError> {
        self.merge_prepared(&self.prepare(selection).await?).await
    }

    /// [`QueryEngine::merge`] of segments that were listed before, so that the answer and its revision are of one listing.
    ///
    /// # Errors
    /// As [`QueryEngine::merge`].
    pub async fn merge_prepared(&self, prepared: &Prepared) -> Result<Arc<Merged>, QueryError> {
        let key = (prepared.key(), self.timeout());
        self.merges.run(key, || self.clone().merge_fitting(prepared.clone())).await
    }

    async fn merge_fitting(self, prepared: Prepared) -> Result<Merged, QueryError> {
        let selection = prepared.selection();
        let ask = |range, by| self.merge_all(prepared.within(range), by);
        let (merged, partial) =
            newest_that_fits(selection.range(), self.deadline(), |merged: &Merged| merged.windows > 0, ask).await?;
        let partial = self.with_damage_of_merge(partial, selection).await?;
        Ok(Merged { from_ms: selection.from_ms, until_ms: selection.until_ms, partial, ..merged })
    }

    /// [`QueryEngine::merge_prepared`] with values told apart by the labels of samples instead of by time; without labels where the limits
    /// do not allow that.
    ///
    /// # Errors
    /// As [`QueryEngine::merge`].
    pub async fn merge_by_labels(&self, prepared: &Prepared) -> Result<Labelled, QueryError> {
        let sets = Arc::new(LabelSets::new(prepared.sample_labels().clone()));
        match self.merge_split(prepared.clone(), self.deadline(), Some(sets.clone())).await {
            Ok(merged) => {
                let partial = self.with_damage_of_merge(merged.partial, prepared.selection()).await?;
                Ok(sets.name(Merged { partial, ..merged }))
            }
            Err(error) if error.limit().is_none() => Err(error),
            Err(_) => {
                let merged = self.merge_prepared(prepared).await?;
                Ok(Labelled { merged: Merged::clone(&merged), label_sets: Vec::new() })
            }
        }
    }

    async fn merge_all(&self, prepared: Prepared, deadline: Instant) -> Result<Merged, QueryError> {
        let merged = self.merge_split(prepared.clone(), deadline, None).await?;
        self.tell_what_reaches(merged, prepared.selection(), deadline).await
    }

    async fn merge_split(
        &self,
        prepared: Prepared,
        deadline: Instant,
        by_labels: Option<Arc<LabelSets>>,
    ) -> Result<Merged, QueryError> {
        self.run(deadline, move |store, limits, cancel| {
            let (selection, sets) = (prepared.selection(), by_labels.as_deref());
            let by_instance = selection.labels.iter().any(|(name, _)| name == "instance");
            let wish = Wish::replicates(selection.range(), by_instance);
            let started = clock::task_instant();
            let mut plan = prepared.plan(store, wish, &MERGE_TABLES, limits, cancel)?;
            let slices = slices::replicates(selection.range(), &plan.spans(), plan.coarsest_ms());
            let linked = prepared.narrow(store, &mut plan, cancel)?;
            let planned = clock::task_instant();
            let (mut merger, rows) =
                scan::sum(store, &plan, Parts { slices: &slices, sets }, selection, limits, cancel)?;
            let labels = Matcher::new(&selection.labels);
            for window in &linked {
                merger.add_parts(window, Parts { slices: &slices, sets }, &labels, selection.trace)?;
            }
            let scanned = clock::task_instant();
            let mut merged = merger.finish(selection.range(), Parts { slices: &slices, sets }, plan.sources())?;
            merged.cost = Cost {
                plan: planned - started,
                scan: scanned - planned,
                order: scanned.elapsed(),
                rows,
                windows: (plan.carriers.len() + linked.len()) as u64,
            };
            if merged.rows.is_empty() {
                merged.empty_because = Some(plan.why_empty(selection));
            }
            Ok(merged)
        })
        .await
    }
}
