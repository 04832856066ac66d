//! Which combinations of labels the processes of a service had: no samples are opened.

use std::collections::{BTreeSet, HashSet};

use tephra_proto::ids::ServiceName;
use tokio::time::Instant;

use super::cover::Wish;
use super::engine::check_range;
use super::fit::newest_that_fits;
use super::gather::{Wanted, gather};
use super::{QueryEngine, QueryError};
use crate::base::labels::{INSTANCE, Labels};
use crate::base::range::TimeRange;
use crate::profile::model::Partial;
use crate::store::StoreError;
use crate::store::columnar::Table;

/// Combinations in one answer.
const SETS_MAX: usize = 10_000;

impl QueryEngine {
    /// Combinations of labels of a service's processes in the range, `instance` among them where it is still kept; only of those with
    /// these labels. Labels that single samples have alone are in none. Partial as [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// When the range is empty, there are too many, or the store fails.
    pub async fn processes(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
    ) -> Result<(BTreeSet<Labels>, Option<Partial>), QueryError> {
        check_range(range)?;
        let ask = |range, by| self.processes_all(service, range, labels, by);
        newest_that_fits(range, self.deadline(), |sets: &BTreeSet<Labels>| !sets.is_empty(), ask).await
    }

    async fn processes_all(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
        deadline: Instant,
    ) -> Result<BTreeSet<Labels>, QueryError> {
        let segments = self.segments_of(service, range).await?;
        // After the segments: what retention lets go of in between is then answered by coarser ones, which were listed too.
        let horizons = self.store.catalog().horizons(service.as_str()).await.map_err(StoreError::from)?;
        let of_samples = self.sample_labels(service).await?;
        let (service, labels) = (service.as_str().to_owned(), labels.to_vec());
        self.run(deadline, move |store, limits, cancel| {
            let by_instance = labels.iter().any(|(name, _)| name == INSTANCE);
            let pieces = Wish::replicates(range, by_instance).cover(range, &horizons);
            let wanted =
                Wanted { service: Some(&service), labels: &labels, sample_labels: &of_samples, pieces: &pieces };
            let gathered = gather(store, &segments, &wanted, &[Table::Windows], limits, cancel)?;
            let distinct: HashSet<_> = gathered.received.iter().map(|r| (&r.instance, &r.labels)).collect();
            if distinct.len() > SETS_MAX {
                return Err(QueryError::TooLarge { what: "combinations of labels", limit: SETS_MAX as u64 });
            }
            let with_instance = distinct.into_iter().map(|(instance, labels)| {
                if instance.is_empty() {
                    labels.clone()
                } else {
                    labels.with(&[(INSTANCE, &**instance)].into_iter().collect())
                }
            });
            Ok(with_instance.collect())
        })
        .await
    }
}
