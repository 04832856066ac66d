//! One trace across services: found by index, so only what holds it is opened.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::cancel::Cancel;
use super::damage::Looked;
use super::linked;
use super::merge::{Merger, Parts, Sources};
use super::slices::{Span, replicates};
use super::{QueryEngine, QueryError, QueryLimits, TRACE_SAMPLES_MAX, TraceSample, TraceService, TraceView};
use crate::base::clock::now_ms;
use crate::base::labels::Matcher;
use crate::base::range::TimeRange;
use crate::profile::decode::Window;
use crate::profile::model::{Partial, PartialReason};
use crate::store::catalog::LevelSegment;
use crate::store::segment::trace_key;
use crate::store::{Store, StoreError};

/// Windows of one trace: a request lasts seconds, even a batch job's hour is 360 windows per service.
const WINDOWS_MAX: usize = 2_000;

impl QueryEngine {
    /// Everything that carries a trace id, across services; `None` when nothing does. Where there is too much of it, or too little
    /// time: its newest part, and `partial` says which.
    ///
    /// # Errors
    /// When not even a part was found in time, a limit is exceeded, or the store fails.
    pub async fn trace(&self, trace_id: TraceId) -> Result<Option<TraceView>, QueryError> {
        let catalog = self.store.catalog();
        if catalog.is_deleted(&trace_id).await.map_err(StoreError::from)? {
            return Ok(None);
        }
        let segments = catalog.levels_in(TimeRange::ALL, true).await.map_err(StoreError::from)?;
        let work = move |store: &Store, limits: &QueryLimits, cancel: &Cancel| {
            view(store, &segments, trace_id, limits, cancel)
        };
        let Some(view) = self.run(self.deadline(), work).await? else { return Ok(None) };
        let range = TimeRange { from_ms: view.from_ms, until_ms: view.until_ms };
        let looked = Looked { service: None, range, profiles: None, traces: true };
        let partial = self.with_damage(view.partial, looked).await?;
        Ok(Some(TraceView { partial, ..view }))
    }

    /// Deletes what carries a trace id, for good; what it adds to the profiles of its services stays.
    ///
    /// # Errors
    /// When the store fails, or the time is up; then nothing is deleted.
    pub async fn delete_trace(&self, trace_id: TraceId) -> Result<(), QueryError> {
        let catalog = self.store.catalog();
        let segments = catalog.levels_in(TimeRange::ALL, true).await.map_err(StoreError::from)?;
        let holders = self
            .run(self.deadline(), move |store, _, cancel| linked::holders(store, &segments, trace_id, cancel))
            .await?;
        // What is merged into other segments in between is found again: the answer leaves it out until then.
        self.store.delete_trace(&trace_id, &holders, now_ms()).await?;
        Ok(())
    }
}

/// Everything of one trace in these segments; `None` when there is nothing. Where the time is too short: its newest part.
pub(super) fn view(
    store: &Store,
    segments: &[LevelSegment],
    trace_id: TraceId,
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<Option<TraceView>, QueryError> {
    let mut newest = Newest::new();
    let mut rows: Vec<&LevelSegment> = segments.iter().collect();
    rows.sort_by_key(|row| Reverse(row.segment.max_ms));
    // What started before then may be missing.
    let mut known_from_ms = None;
    for row in rows {
        match add_segment(&mut newest, store, row, trace_id, cancel) {
            Ok(()) => {}
            Err(QueryError::OutOfTime) => {
                known_from_ms = Some(row.segment.max_ms);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let (mut windows, is_cut) = newest.finish();
    if let Some(from_ms) = known_from_ms {
        windows.retain(|window| window.header.start_ms >= from_ms);
        // That nothing was found would be taken for an answer.
        if windows.is_empty() {
            return Err(QueryError::OutOfTime);
        }
    }
    // In one order, wherever they came from.
    windows.sort_by_cached_key(|window| (window.header.start_ms, window.header.instance.as_str().to_owned()));
    let Some(from_ms) = windows.iter().map(|window| window.header.start_ms).min() else { return Ok(None) };
    let until_ms = windows.iter().map(|window| window.header.end_ms()).max().unwrap_or(from_ms);
    let range = TimeRange { from_ms, until_ms };
    let partial = match known_from_ms {
        _ if is_cut => Some(Partial { reason: PartialReason::Windows, from_ms, until_ms, is_damaged: false }),
        Some(from_ms) => Some(Partial { reason: PartialReason::Time, from_ms, until_ms, is_damaged: false }),
        None => None,
    };
    let mut by_service: BTreeMap<String, Vec<Arc<Window>>> = BTreeMap::new();
    for window in windows {
        by_service.entry(window.header.service.as_str().to_owned()).or_default().push(window);
    }
    let services = by_service
        .into_iter()
        .map(|(service, windows)| one_service(service, &windows, trace_id, range, limits))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(TraceView { trace_id, from_ms, until_ms, services, partial }))
}

/// Adds the windows of a segment that hold something of the trace.
fn add_segment(
    newest: &mut Newest<Arc<Window>>,
    store: &Store,
    row: &LevelSegment,
    trace_id: TraceId,
    cancel: &Cancel,
) -> Result<(), QueryError> {
    cancel.check()?;
    let segment = &row.segment;
    if segment.level != 0 {
        for window in linked::windows(store, std::slice::from_ref(row), trace_id, None, cancel)? {
            newest.add(window.header.start_ms, Arc::new(window));
        }
        return Ok(());
    }
    let Some(index) = store.trace_index(segment)? else { return Ok(()) };
    let mut numbers = index.find(trace_key(&trace_id)).peekable();
    if numbers.peek().is_none() {
        return Ok(());
    }
    let Some(footer) = store.footer(segment)? else { return Ok(()) };
    let windows = numbers.filter_map(|number| footer.windows.get(number));
    for info in windows.filter(|info| row.services.contains(&info.service)) {
        cancel.check()?;
        let Some(window) = store.window(segment, info)? else { continue };
        // The index knows half of the id only.
        if window.links.iter().any(|link| link.trace_id == trace_id) {
            newest.add(window.header.start_ms, window);
        }
    }
    Ok(())
}

/// The newest of what started at some time, in bounded memory, however much there is and in whichever order it comes.
struct Newest<T> {
    found: Vec<(u64, T)>,
    /// What started then or before is left out.
    out: Option<u64>,
}

impl<T> Newest<T> {
    fn new() -> Self {
        Self { found: Vec::new(), out: None }
    }

    fn add(&mut self, start_ms: u64, what: T) {
        if self.out.is_none_or(|out| start_ms > out) {
            self.found.push((start_ms, what));
        }
        if self.found.len() >= 2 * WINDOWS_MAX {
            self.cut();
        }
    }

    /// What is left, and whether there was more.
    fn finish(mut self) -> (Vec<T>, bool) {
        self.cut();
        (self.found.into_iter().map(|(_, what)| what).collect(), self.out.is_some())
    }

    /// Leaves the newest; what started at one time stays or goes together, so that what stays is all there is of its time.
    fn cut(&mut self) {
        self.found.sort_by_key(|(start_ms, _)| std::cmp::Reverse(*start_ms));
        let Some(&(first_out, _)) = self.found.get(WINDOWS_MAX) else { return };
        // Unless there is too much of one time alone.
        let is_one_time = self.found.first().is_some_and(|(newest, _)| *newest == first_out);
        let out = if is_one_time { first_out.saturating_sub(1) } else { first_out };
        self.found.retain(|(start_ms, _)| *start_ms > out);
        self.found.truncate(WINDOWS_MAX);
        self.out = Some(out);
    }
}

fn one_service(
    service: String,
    windows: &[Arc<Window>],
    trace_id: TraceId,
    range: TimeRange,
    limits: &QueryLimits,
) -> Result<TraceService, QueryError> {
    let mut spans = Vec::new();
    let mut samples = Vec::new();
    let mut types = BTreeMap::new();
    let mut labels = BTreeSet::new();
    for window in windows {
        spans.extend(window.spans.iter().filter(|span| span.link.trace_id == trace_id).cloned());
        for series in &window.series {
            let before = samples.len();
            for row in &series.rows {
                let link = row.link.and_then(|link| window.links.get(link as usize));
                let Some(link) = link.filter(|link| link.trace_id == trace_id) else { continue };
                samples.push(TraceSample {
                    at_ms: window.header.start_ms + u64::from(row.time_ms.unwrap_or(0)),
                    span_id: link.span_id,
                    profile_type: series.profile_type.name.clone(),
                    value: row.value,
                });
            }
            if samples.len() > before {
                labels.extend(series.all_labels(&window.header).owned());
                let newest =
                    types.entry(series.profile_type.name.clone()).or_insert_with(|| (0, series.profile_type.clone()));
                if window.header.start_ms >= newest.0 {
                    *newest = (window.header.start_ms, series.profile_type.clone());
                }
            }
        }
    }
    spans.sort_by_key(|span| (span.start_ms, span.link));
    samples.sort_by(|a, b| {
        (a.at_ms, &a.profile_type, a.span_id, a.value).cmp(&(b.at_ms, &b.profile_type, b.span_id, b.value))
    });
    let samples_left_out = samples.len().saturating_sub(TRACE_SAMPLES_MAX);
    samples.truncate(TRACE_SAMPLES_MAX);
    let times: Vec<Span> =
        windows.iter().map(|window| Span::window(window.header.start_ms, window.header.duration_ms)).collect();
    let slices = replicates(range, &times, 0);
    // Compacted segments answer with one window for each combination of labels.
    let distinct: HashSet<_> = windows.iter().map(|w| (w.header.start_ms, w.header.instance.as_str())).collect();
    let mut sources = Sources { windows: distinct.len() as u64, labels, ..Sources::default() };
    for window in windows {
        sources.instances.insert(window.header.instance.as_str().to_owned());
        sources.labels.extend(window.header.labels.owned());
    }
    let types = types
        .into_values()
        .map(|(_, profile_type)| {
            let mut merger = Merger::new(profile_type, limits);
            for window in windows {
                if let Some(replicate) = slices.replicate(window.header.start_ms) {
                    merger.add(window, replicate, &Matcher::new(&[]), Some(trace_id))?;
                }
            }
            merger.finish(range, Parts::of_time(&slices), sources.clone())
        })
        .collect::<Result<Vec<_>, QueryError>>()?;
    Ok(TraceService { service, spans, types, samples, samples_left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(all: impl Iterator<Item = u64>, start_of: fn(u64) -> u64) -> (Vec<u64>, bool) {
        let mut newest = Newest::new();
        all.for_each(|number| newest.add(start_of(number), number));
        let (mut left, is_cut) = newest.finish();
        left.sort_unstable();
        (left, is_cut)
    }

    #[test]
    fn the_newest_are_the_same_in_whichever_order_they_come_and_whole_times_of_them() {
        // Three of each time, of which 666 times fit.
        let expected = ((9_000 - 666 * 3..9_000).collect(), true);
        assert_eq!(newest(0..9_000, |n| n / 3), expected);
        assert_eq!(newest((0..9_000).rev(), |n| n / 3), expected);
        for factor in [7, 1_009, 3_001, 7_919] {
            assert_eq!(newest((0..9_000).map(|n| n * factor % 9_000), |n| n / 3), expected, "by {factor}");
        }
        assert_eq!(newest(0..2_000, |n| n / 3), ((0..2_000).collect(), false));
        let (left, is_cut) = newest(0..9_000, |_| 7);
        assert_eq!((left.len(), is_cut), (WINDOWS_MAX, true), "of one time alone");
    }
}
