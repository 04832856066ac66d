//! Spans of a route of which so many are to be drawn: all are looked at, and only those that may be drawn are read. So what is held follows
//! how many are drawn, and not how many there are.

use std::collections::HashSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use tephra_proto::ids::{ServiceName, TraceId};
use tokio::time::Instant;

use super::cancel::Cancel;
use super::damage::Looked;
use super::engine::check_range;
use super::fit::newest_that_fits;
use super::side_by_side::side_by_side;
use super::spans::{Arrived, EntrySpan, chosen_by};
use super::{QueryEngine, QueryError, QueryLimits};
use crate::base::labels::{Labels, Matcher};
use crate::base::range::TimeRange;
use crate::profile::model::Partial;
use crate::store::catalog::LevelSegment;
pub(crate) use crate::store::columnar::SpanLook;
use crate::store::columnar::{PartSpan, Processes, Segment, SpanGroup, Table};
use crate::store::compact::levels::TRACES;
use crate::store::{Store, StoreError};

/// How spans are drawn.
pub(crate) trait Drawing: Send + Sync {
    /// On which side a span is, and when its turn comes there: those with the smallest numbers are drawn. `None`: on neither. It depends on
    /// nothing but what is given.
    fn rank(&self, look: &SpanLook) -> Option<(usize, f64)>;
    /// How many of a side are drawn at most.
    fn drawn_max(&self) -> usize;
}

impl QueryEngine {
    /// Spans of a route whose window starts in the range, by start; only of instances with these labels: at least all of the traces of those
    /// that are drawn. Partial as [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// When the service is unknown, a limit is exceeded, or the store fails.
    pub(crate) async fn drawn_spans(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
        route: &str,
        drawing: &Arc<dyn Drawing>,
    ) -> Result<(Vec<EntrySpan>, Option<Partial>), QueryError> {
        check_range(range)?;
        self.know(service).await?;
        let holds = |spans: &Vec<EntrySpan>| !spans.is_empty();
        let ask = |range, by| self.drawn_in(service, range, labels, route, drawing.clone(), by);
        let (spans, partial) = newest_that_fits(range, self.deadline(), holds, ask).await?;
        let looked = Looked { service: Some(service.as_str()), range, profiles: None, traces: true };
        Ok((spans, self.with_damage(partial, looked).await?))
    }

    async fn drawn_in(
        &self,
        service: &ServiceName,
        range: TimeRange,
        labels: &[(String, String)],
        route: &str,
        drawing: Arc<dyn Drawing>,
        deadline: Instant,
    ) -> Result<Vec<EntrySpan>, QueryError> {
        let segments = self.segments_of(service, range).await?;
        let deleted = self.store.catalog().deleted_traces().await.map_err(StoreError::from)?;
        let of_samples = self.sample_labels(service).await?;
        let (routes, labels) = chosen_by(labels, &of_samples);
        if routes.iter().any(|(_, wanted)| wanted != route) {
            return Ok(Vec::new());
        }
        let (service, route) = (service.as_str().to_owned(), route.to_owned());
        self.run(deadline, move |store, limits, cancel| {
            let (traces, arrived): (Vec<_>, Vec<_>) = segments
                .into_iter()
                .filter(|s| matches!(s.segment.level, 0 | TRACES))
                .partition(|s| s.segment.level == TRACES);
            let asked = Arrived { service: &service, range, labels: &labels, of_samples: &of_samples };
            let mut spans = asked.spans(store, &arrived, limits, cancel, |span| *span.route == *route)?;
            spans.retain(|entry| !deleted.contains(&entry.span.link.trace_id));
            let drawing = drawing.as_ref();
            let mut best = [(); 2].map(|()| Best::of(drawing));
            for EntrySpan { span, .. } in &spans {
                let (start_ms, duration_us) = (span.start_ms, span.duration_us);
                let look = SpanLook { trace_id: span.link.trace_id, start_ms, duration_us, weight: span.weight };
                offer(&mut best, drawing, &look);
            }
            let asked = Asked { store, limits, cancel, service: &service, route: &route, range };
            let groups = asked.groups(&traces)?;
            asked.look(&groups, &labels, drawing, &deleted, &mut best)?;
            let wanted: FxHashSet<TraceId> =
                best.into_iter().flat_map(|best| best.found).map(|(_, trace)| trace).collect();
            spans.retain(|entry| wanted.contains(&entry.span.link.trace_id));
            spans.extend(asked.read(&groups, &labels, &wanted)?);
            spans.sort_by_key(|entry| (entry.span.start_ms, entry.span.link));
            Ok(spans)
        })
        .await
    }
}

/// The traces of spans with the smallest numbers. A quarter more than are drawn: should some be told of twice, there are others.
struct Best {
    max: usize,
    found: Vec<(f64, TraceId)>,
    /// No larger number is among them.
    bar: f64,
}

impl Best {
    fn of(drawing: &dyn Drawing) -> Self {
        Self::new(drawing.drawn_max() + drawing.drawn_max() / 4)
    }

    fn new(max: usize) -> Self {
        Self { max, found: Vec::new(), bar: f64::INFINITY }
    }

    fn offer(&mut self, number: f64, trace: TraceId) {
        if number > self.bar {
            return;
        }
        self.found.push((number, trace));
        if self.found.len() >= 2 * self.max {
            self.cut();
        }
    }

    /// Lets go of all but the smallest.
    fn cut(&mut self) {
        if self.found.len() > self.max {
            let (_, (bar, _), _) = self.found.select_nth_unstable_by(self.max - 1, |a, b| a.0.total_cmp(&b.0));
            self.bar = *bar;
            // Those that are as good as the last are as good as it.
            self.found.retain(|(number, _)| *number <= self.bar);
        }
    }

    fn absorb(&mut self, other: Self) {
        other.found.into_iter().for_each(|(number, trace)| self.offer(number, trace));
    }
}

fn offer(best: &mut [Best; 2], drawing: &dyn Drawing, look: &SpanLook) {
    if let Some((side, number)) = drawing.rank(look)
        && let Some(best) = best.get_mut(side)
    {
        best.offer(number, look.trace_id);
    }
}

/// A row group of a segment.
type Group<'a> = (&'a LevelSegment, Arc<Segment>, SpanGroup);

/// What is asked of compacted segments.
struct Asked<'a> {
    store: &'a Store,
    limits: &'a QueryLimits,
    cancel: &'a Cancel,
    service: &'a str,
    route: &'a str,
    range: TimeRange,
}

impl Asked<'_> {
    fn groups<'b>(&self, traces: &'b [LevelSegment]) -> Result<Vec<Group<'b>>, QueryError> {
        let of_segment = |row: &&'b LevelSegment| {
            self.cancel.check()?;
            let mut groups: Vec<Group<'b>> = Vec::new();
            let Some(segment) = self.store.columnar(row, &[Table::Spans])? else { return Ok(groups) };
            let segment = Arc::new(segment);
            for part in segment.parts_of(self.service) {
                let found = segment.span_groups(self.store.bulk().as_ref(), part, self.route, self.range);
                let Some(found) = self.store.checked(&row.segment.id, found)? else { break };
                groups.extend(found.into_iter().map(|group| (*row, segment.clone(), group)));
            }
            Ok(groups)
        };
        let rows: Vec<&LevelSegment> = traces.iter().collect();
        Ok(side_by_side(self.limits.threads, &rows, of_segment)?.into_iter().flatten().collect())
    }

    /// Looks at all spans.
    fn look(
        &self,
        groups: &[Group<'_>],
        labels: &[(String, String)],
        drawing: &dyn Drawing,
        deleted: &HashSet<TraceId>,
        best: &mut [Best; 2],
    ) -> Result<(), QueryError> {
        let matcher = Matcher::new(labels);
        let takes = |instance: &str, labels: &Labels| matcher.matches(|name| labels.get_of(instance, name));
        let of_process: Option<Processes<'_>> = if labels.is_empty() { None } else { Some(&takes) };
        // A few at a time, so that those that follow know what is good enough already.
        for some in groups.chunks(4 * self.limits.threads.max(1)) {
            let bars = [best[0].bar, best[1].bar];
            let of_group = |(row, segment, group): &Group<'_>| {
                self.cancel.check()?;
                let mut best = bars.map(|bar| Best { bar, ..Best::of(drawing) });
                let each = |look: SpanLook| {
                    if deleted.is_empty() || !deleted.contains(&look.trace_id) {
                        offer(&mut best, drawing, &look);
                    }
                };
                let bulk = self.store.bulk().as_ref();
                let looked = segment.look_at_spans(bulk, group, self.route, self.range, of_process, each);
                Ok(self.store.checked(&row.segment.id, looked)?.map(|()| best))
            };
            for found in side_by_side(self.limits.threads, some, of_group)?.into_iter().flatten() {
                best.iter_mut().zip(found).for_each(|(best, found)| best.absorb(found));
            }
        }
        best.iter_mut().for_each(Best::cut);
        Ok(())
    }

    /// Reads the spans of some traces.
    fn read(
        &self,
        groups: &[Group<'_>],
        labels: &[(String, String)],
        wanted: &FxHashSet<TraceId>,
    ) -> Result<Vec<EntrySpan>, QueryError> {
        let mut traces: Vec<[u8; 16]> = wanted.iter().map(|trace| trace.to_bytes()).collect();
        traces.sort_unstable();
        let matcher = Matcher::new(labels);
        let matches = |row: &PartSpan| {
            *row.span.route == *self.route
                && self.range.contains(row.window_ms)
                && matcher.matches(|name| row.labels.get_of(&row.instance, name))
        };
        let of_group = |(row, segment, group): &Group<'_>| {
            self.cancel.check()?;
            let read = segment.spans_of(self.store.bulk().as_ref(), group, &traces);
            let read = self.store.checked(&row.segment.id, read)?.unwrap_or_default();
            let entry = |PartSpan { span, instance, labels, .. }| EntrySpan { span, instance, labels };
            Ok(read.into_iter().filter(|row| matches(row)).map(entry).collect::<Vec<_>>())
        };
        Ok(side_by_side(self.limits.threads, groups, of_group)?.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_numbers_are_kept_in_whatever_order_they_come() {
        let trace = |n: u64| TraceId::from_bytes((u128::from(n) + 1).to_be_bytes()).unwrap();
        // A permutation of the numbers below 10 007, which is prime.
        let numbers = (0..10_007u64).map(|n| n * 4_567 % 10_007);
        let (mut whole, mut halves) = (Best::new(50), [Best::new(50), Best::new(50)]);
        for number in numbers {
            whole.offer(number as f64, trace(number));
            halves[(number % 2) as usize].offer(number as f64, trace(number));
        }
        let [mut one, other] = halves;
        one.absorb(other);
        let expected: Vec<TraceId> = (0..50).map(trace).collect();
        for mut best in [whole, one] {
            best.cut();
            best.found.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(best.found.iter().map(|(_, trace)| *trace).collect::<Vec<_>>(), expected);
        }
    }
}
