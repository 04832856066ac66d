//! Entry spans of a service.

use std::collections::BTreeSet;
use std::sync::Arc;

use tephra_proto::ids::ServiceName;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::cover::Piece;
use super::damage::Looked;
use super::engine::check_range;
use super::fit::newest_that_fits;
use super::gather::{Wanted, gather};
use super::side_by_side::side_by_side;
use super::{QueryEngine, QueryError, QueryLimits};
use crate::base::labels::{Labels, Matcher, ROUTE};
use crate::base::range::TimeRange;
use crate::profile::model::{Partial, SpanSummary};
use crate::store::catalog::LevelSegment;
use crate::store::columnar::Table;
use crate::store::compact::levels::TRACES;
use crate::store::{Store, StoreError};

/// Pairs of names and values.
type Pairs = Vec<(String, String)>;

/// Labels that choose routes, and those that choose instances. Of the labels that samples have, requests have one: their route.
pub(super) fn chosen_by(labels: &[(String, String)], of_samples: &BTreeSet<String>) -> (Pairs, Pairs) {
    let known = labels.iter().filter(|(name, _)| name == ROUTE || !of_samples.contains(name));
    known.cloned().partition(|(name, _)| name == ROUTE && of_samples.contains(name))
}

/// An entry span, and which process sent it.
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySpan {
    /// The span.
    pub span: SpanSummary,
    /// Which process.
    pub instance: Arc<str>,
    /// Its resource labels.
    pub labels: Labels,
}

impl QueryEngine {
    /// Entry spans of a service whose window starts in the range, by start; only of instances with these labels. Partial as
    /// [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// When the service is unknown, a limit is exceeded, or the store fails.
    pub async fn spans(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
    ) -> Result<(Vec<SpanSummary>, Option<Partial>), QueryError> {
        check_range(range)?;
        self.know(service).await?;
        let holds = |spans: &Vec<SpanSummary>| !spans.is_empty();
        let ask = |range, by| self.spans_all(service, range, labels, by);
        let (spans, partial) = newest_that_fits(range, self.deadline(), holds, ask).await?;
        let looked = Looked { service: Some(service.as_str()), range, profiles: None, traces: true };
        Ok((spans, self.with_damage(partial, looked).await?))
    }

    async fn spans_all(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
        deadline: Instant,
    ) -> Result<Vec<SpanSummary>, QueryError> {
        let segments = self.segments_of(service, range).await?;
        let deleted = self.store.catalog().deleted_traces().await.map_err(StoreError::from)?;
        let of_samples = self.sample_labels(service).await?;
        let service = service.as_str().to_owned();
        let (routes, labels) = chosen_by(labels, &of_samples);
        let on_route =
            move |span: &SpanSummary| routes.is_empty() || routes.iter().any(|(_, route)| **route == *span.route);
        self.run(deadline, move |store, limits, cancel| {
            // Spans are in the arrived segments, and in those of traces.
            let (traces, arrived): (Vec<_>, Vec<_>) = segments
                .into_iter()
                .filter(|s| matches!(s.segment.level, 0 | TRACES))
                .partition(|s| s.segment.level == TRACES);
            let asked = Arrived { service: &service, range, labels: &labels, of_samples: &of_samples };
            let spans = asked.spans(store, &arrived, limits, cancel, &on_route)?;
            let mut spans: Vec<SpanSummary> = spans.into_iter().map(|entry| entry.span).collect();
            let matcher = Matcher::new(&labels);
            let of_segment = |row: &LevelSegment| {
                cancel.check()?;
                let mut spans = Vec::new();
                let Some(segment) = store.columnar(row, &[Table::Spans])? else { return Ok(spans) };
                for part in segment.parts_of(&service) {
                    let read = segment.spans(store.bulk().as_ref(), part, range);
                    let Some(read) = store.checked(&row.segment.id, read)? else { break };
                    let matching = read.into_iter().filter(|row| {
                        on_route(&row.span) && matcher.matches(|name| row.labels.get_of(&row.instance, name))
                    });
                    spans.extend(matching.map(|row| row.span));
                    if spans.len() > limits.spans_max {
                        return Err(too_many(limits));
                    }
                }
                Ok(spans)
            };
            // A few at a time: of too many, not all are read before that is known.
            for some in traces.chunks(2 * limits.threads.max(1)) {
                spans.extend(side_by_side(limits.threads, some, of_segment)?.into_iter().flatten());
                if spans.len() > limits.spans_max {
                    return Err(too_many(limits));
                }
            }
            spans.retain(|span| !deleted.contains(&span.link.trace_id));
            spans.sort_by_key(|span| (span.start_ms, span.link));
            Ok(spans)
        })
        .await
    }
}

fn too_many(limits: &QueryLimits) -> QueryError {
    QueryError::TooLarge { what: "spans", limit: limits.spans_max as u64 }
}

/// What is asked of windows that were not compacted yet.
pub(super) struct Arrived<'a> {
    pub(super) service: &'a str,
    pub(super) range: TimeRange,
    pub(super) labels: &'a [(String, String)],
    pub(super) of_samples: &'a BTreeSet<String>,
}

impl Arrived<'_> {
    /// Their spans.
    ///
    /// # Errors
    /// When a limit is exceeded, or the store fails.
    pub(super) fn spans(
        &self,
        store: &Store,
        arrived: &[LevelSegment],
        limits: &QueryLimits,
        cancel: &Cancel,
        wanted: impl Fn(&SpanSummary) -> bool,
    ) -> Result<Vec<EntrySpan>, QueryError> {
        let Self { service, range, labels, of_samples } = *self;
        let pieces = [Piece { range, level: 0 }];
        let of_service = Wanted { service: Some(service), labels, sample_labels: of_samples, pieces: &pieces };
        let gathered = gather(store, arrived, &of_service, &[], limits, cancel)?;
        let mut spans = Vec::new();
        for pick in gathered.picks.iter().filter(|pick| pick.info().spans > 0) {
            cancel.check()?;
            let Some(window) = store.window(&pick.segment, pick.info())? else { continue };
            let instance: Arc<str> = window.header.instance.as_str().into();
            spans.extend(window.spans.iter().filter(|span| wanted(span)).map(|span| EntrySpan {
                span: span.clone(),
                instance: instance.clone(),
                labels: window.header.labels.clone(),
            }));
            if spans.len() > limits.spans_max {
                return Err(too_many(limits));
            }
        }
        Ok(spans)
    }
}
