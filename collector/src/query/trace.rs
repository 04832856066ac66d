//! One trace across services: found by index, so only what holds it is opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::cancel::Cancel;
use super::linked;
use super::merge::{Merger, Sources};
use super::plan::Matcher;
use super::slices::{Span, replicates};
use super::{QueryError, QueryLimits, TRACE_SAMPLES_MAX, TimeRange, TraceSample, TraceService, TraceView};
use crate::profile::decode::Window;
use crate::profile::model::{Partial, PartialReason};
use crate::store::Store;
use crate::store::catalog::LevelSegment;
use crate::store::segment::trace_key;

/// Windows of one trace: a request lasts seconds, even a batch job's hour is 360 windows per service.
const WINDOWS_MAX: usize = 2_000;

/// Everything of one trace in these segments; `None` when there is nothing.
pub(super) fn view(
    store: &Store,
    segments: &[LevelSegment],
    trace_id: TraceId,
    limits: &QueryLimits,
    cancel: &Cancel,
) -> Result<Option<TraceView>, QueryError> {
    let mut newest = Newest::default();
    for row in segments.iter().filter(|row| row.segment.level == 0) {
        let segment = &row.segment;
        cancel.check()?;
        let Some(index) = store.trace_index(segment)? else { continue };
        let mut numbers = index.find(trace_key(&trace_id)).peekable();
        if numbers.peek().is_none() {
            continue;
        }
        let Some(footer) = store.footer(segment)? else { continue };
        let batches = numbers.filter_map(|number| footer.batches.get(number));
        for info in batches.filter(|info| row.services.contains(&info.service)) {
            cancel.check()?;
            let Some(window) = store.window(segment, info)? else { continue };
            // The index knows half of the id only.
            if !window.links.iter().any(|link| link.trace_id == trace_id) {
                continue;
            }
            newest.add(window);
        }
    }
    for window in linked::windows(store, segments, trace_id, None, cancel)? {
        newest.add(Arc::new(window));
    }
    let (windows, is_cut) = newest.finish();
    let Some(from_ms) = windows.iter().map(|window| window.header.start_ms).min() else { return Ok(None) };
    let until_ms = windows.iter().map(|window| window.header.end_ms()).max().unwrap_or(from_ms);
    let range = TimeRange { from_ms, until_ms };
    let partial = is_cut.then_some(Partial { reason: PartialReason::Windows, from_ms, until_ms });
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

/// The newest windows of a trace, in bounded memory, however many there are and in whichever order they come.
#[derive(Default)]
struct Newest {
    windows: Vec<Arc<Window>>,
    is_cut: bool,
}

impl Newest {
    fn add(&mut self, window: Arc<Window>) {
        self.windows.push(window);
        if self.windows.len() >= 2 * WINDOWS_MAX {
            self.cut();
        }
    }

    /// By time and instance, and whether there were more.
    fn finish(mut self) -> (Vec<Arc<Window>>, bool) {
        self.cut();
        let key = |window: &Arc<Window>| (window.header.start_ms, window.header.instance.as_str().to_owned());
        self.windows.sort_by_cached_key(key);
        (self.windows, self.is_cut)
    }

    /// Leaves the newest; those that started at one time stay or go together, so that what stays is all there is of its time.
    fn cut(&mut self) {
        let start = |window: &Arc<Window>| window.header.start_ms;
        self.windows.sort_by_key(|window| std::cmp::Reverse(start(window)));
        let Some(first_out) = self.windows.get(WINDOWS_MAX).map(start) else { return };
        let newest = self.windows.first().map(start);
        self.windows.retain(|window| start(window) > first_out || newest == Some(first_out));
        self.windows.truncate(WINDOWS_MAX);
        self.is_cut = true;
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
                labels.extend(series.all_labels(&window.header));
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
        sources.labels.extend(window.header.labels.iter().cloned());
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
            merger.finish(range, &slices, sources.clone())
        })
        .collect::<Result<Vec<_>, QueryError>>()?;
    Ok(TraceService { service, spans, types, samples, samples_left_out })
}
