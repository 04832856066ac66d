//! The engine: what every question shares, whoever asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::ServiceName;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::flight::SingleFlight;
use super::{QueryError, QueryLimits, Selection, Timeline};
use crate::base::clock;
use crate::base::range::TimeRange;
use crate::profile::model::Merged;
use crate::store::catalog::LevelSegment;
use crate::store::{Store, StoreError};

/// Answers questions about what is stored. Cheap to clone; every answer is computed off the async threads, and dropping its
/// future stops the work.
#[derive(Debug, Clone)]
pub struct QueryEngine {
    pub(super) store: Arc<Store>,
    pub(super) limits: QueryLimits,
    pub(super) merges: Arc<SingleFlight<MergeKey, Merged>>,
    pub(super) timelines: Arc<SingleFlight<TimelineKey, Timeline>>,
}

/// Segments, by id and version.
pub(super) type Inputs = Vec<(String, u32)>;

/// Selection and segments, time.
pub(super) type MergeKey = ((Selection, Inputs), Duration);

/// Selection and segments, step, label, time.
pub(super) type TimelineKey = ((Selection, Inputs), Option<u64>, Option<String>, Duration);

impl QueryEngine {
    /// An engine over a store.
    pub fn new(store: Arc<Store>, limits: QueryLimits) -> Self {
        Self { store, limits, merges: Arc::default(), timelines: Arc::default() }
    }

    /// An engine over another store, with the same limits.
    #[must_use]
    pub fn over(&self, store: Arc<Store>) -> Self {
        Self::new(store, self.limits.clone())
    }

    /// The same engine for a question with less time. More than the engine's own limit is never given.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        let mut engine = self.clone();
        engine.limits.timeout = timeout.min(self.limits.timeout);
        engine
    }

    /// The longest that one question may take, from when it is asked.
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    pub(super) fn deadline(&self) -> Instant {
        clock::task_instant() + self.limits.timeout
    }

    pub(super) async fn segments_of(
        &self,
        service: &ServiceName,
        range: TimeRange,
    ) -> Result<Vec<LevelSegment>, QueryError> {
        let catalog = self.store.catalog();
        let segments = catalog.levels_of(service.as_str(), range).await;
        Ok(segments.map_err(StoreError::from)?)
    }

    /// Names of the labels that single samples of a service have.
    pub(super) async fn sample_labels(&self, service: &ServiceName) -> Result<BTreeSet<String>, QueryError> {
        let names = self.store.catalog().sample_label_names(service.as_str()).await;
        Ok(names.map_err(StoreError::from)?)
    }

    /// Refuses a service that nothing was ever received from.
    pub(super) async fn know(&self, service: &ServiceName) -> Result<(), QueryError> {
        if self.store.catalog().knows_service(service.as_str()).await.map_err(StoreError::from)? {
            return Ok(());
        }
        Err(QueryError::UnknownService { service: service.to_string() })
    }

    /// Runs `work` on a thread of its own, until `deadline`. Dropping the returned future cancels it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&Store, &QueryLimits, &Cancel) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let (store, limits, cancel) = (self.store.clone(), self.limits.clone(), Cancel::at(deadline.into_std()));
        let guard = cancel.on_drop();
        let answer = tokio::task::spawn_blocking(move || work(&store, &limits, &cancel)).await;
        drop(guard);
        // What the work found damaged is set aside now; that it fails is no reason to withhold the answer.
        if let Err(error) = self.store.settle_damage().await {
            tracing::warn!(%error, "damaged segments could not be set aside");
        }
        answer.map_err(StoreError::from)?
    }
}

/// Refuses a range that is empty.
pub(super) fn check_range(range: TimeRange) -> Result<(), QueryError> {
    let TimeRange { from_ms, until_ms } = range;
    if from_ms < until_ms { Ok(()) } else { Err(QueryError::EmptyRange { from_ms, until_ms }) }
}
