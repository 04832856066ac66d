//! How many requests a service's routes answered, how they ended and how long they took: exact counts over any range, in steps of time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::ServiceName;
use tokio::time::Instant;

use super::cancel::Cancel;
use super::cover::Wish;
use super::damage::{Looked, covered};
use super::engine::check_range;
use super::fit::newest_that_fits;
use super::gather::{Gathered, PartPick, Received, Wanted, gather};
use super::side_by_side::side_by_side;
use super::slices::coverage;
use super::spans::chosen_by;
use super::{QueryEngine, QueryError};
use crate::base::labels::{INSTANCE, Labels, Matcher};
use crate::base::range::TimeRange;
use crate::profile::decode::of_spans;
use crate::profile::durations::Durations;
use crate::profile::model::{Partial, RouteDurations, SpanStatus, SpanSummary};
use crate::store::catalog::LevelSegment;
use crate::store::columnar::{PartWindow, Processes, Table};
use crate::store::compact::levels::TRACES;
use crate::store::{Store, StoreError};

const TABLES: [Table; 2] = [Table::Requests, Table::Windows];

/// Steps of one answer.
const STEPS_MAX: u64 = 1_500;

/// Which requests.
#[derive(Debug, Clone)]
pub struct RequestsAsked {
    /// Whose.
    pub service: ServiceName,
    /// Those that ended in windows which start in it.
    pub range: TimeRange,
    /// Of instances with these labels; `route` chooses routes.
    pub labels: Vec<(String, String)>,
    /// Steps of time in milliseconds, on whole multiples of it; all in one step where there is none.
    pub step_ms: Option<u64>,
}

/// Requests by route, outcome and step of time.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestsOver {
    /// Start of the first step, unix milliseconds.
    pub start_ms: u64,
    /// Length of a step, milliseconds.
    pub step_ms: u64,
    /// For how much of each step something was received, milliseconds.
    pub covered_ms: Vec<u64>,
    /// What ended in each step in which something did, by its number.
    pub routes: BTreeMap<Arc<str>, BTreeMap<SpanStatus, BTreeMap<usize, Durations>>>,
    /// Which part of the range is in it, where the limits did not allow all of it.
    pub partial: Option<Partial>,
}

impl RequestsOver {
    /// All steps of a route together, by outcome.
    pub fn by_status(&self, route: &str) -> BTreeMap<SpanStatus, Durations> {
        let mut sums = BTreeMap::new();
        for (status, steps) in self.routes.get(route).into_iter().flatten() {
            let sum: &mut Durations = sums.entry(*status).or_default();
            steps.values().for_each(|durations| sum.add(durations));
        }
        sums
    }

    /// Every route with its requests by outcome, all steps together.
    pub fn in_all(&self) -> impl Iterator<Item = (&str, BTreeMap<SpanStatus, Durations>)> {
        self.routes.keys().map(|route| (&**route, self.by_status(route)))
    }

    /// Seconds in which something was received.
    pub fn covered_seconds(&self) -> f64 {
        self.covered_ms.iter().sum::<u64>() as f64 / 1e3
    }

    fn holds_data(&self) -> bool {
        !self.routes.is_empty()
    }

    fn step(&self, window_ms: u64) -> usize {
        (window_ms.saturating_sub(self.start_ms) / self.step_ms) as usize
    }

    fn count(&mut self, window_ms: u64, requests: RouteDurations) {
        let RouteDurations { route, status, durations } = requests;
        self.add(self.step(window_ms), &route, status, &durations);
    }

    fn add(&mut self, step: usize, route: &Arc<str>, status: SpanStatus, durations: &Durations) {
        let steps = match self.routes.get_mut(route) {
            Some(known) => known,
            None => self.routes.entry(route.clone()).or_default(),
        };
        steps.entry(status).or_default().entry(step).or_default().add(durations);
    }
}

impl QueryEngine {
    /// Requests of a service. Partial as [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// When the service is unknown, the range is empty, there are more steps than an answer has, a limit is exceeded, or the store fails.
    pub async fn requests(&self, asked: &RequestsAsked) -> Result<RequestsOver, QueryError> {
        let RequestsAsked { service, range, step_ms, .. } = asked;
        check_range(*range)?;
        if let Some(step_ms) = *step_ms {
            let steps = range.millis().checked_div(step_ms).map_or(u64::MAX, |steps| steps + 2);
            if steps > STEPS_MAX {
                return Err(QueryError::BadStep { step_ms, points: steps, limit: STEPS_MAX });
            }
        }
        self.know(service).await?;
        let ask = |range, by| self.requests_all(RequestsAsked { range, ..asked.clone() }, by);
        let (over, partial) = newest_that_fits(*range, self.deadline(), RequestsOver::holds_data, ask).await?;
        let wish = asked.wish(covered(*range, partial));
        let looked = Looked { service: Some(service.as_str()), range: *range, profiles: Some(wish), traces: false };
        Ok(RequestsOver { partial: self.with_damage(partial, looked).await?, ..over })
    }

    async fn requests_all(&self, asked: RequestsAsked, deadline: Instant) -> Result<RequestsOver, QueryError> {
        let RequestsAsked { service, range, .. } = &asked;
        let segments = self.segments_of(service, *range).await?;
        // After the segments: what retention lets go of in between is then answered by coarser ones, which were listed too.
        let horizons = self.store.catalog().horizons(service.as_str()).await.map_err(StoreError::from)?;
        let of_samples = self.sample_labels(service).await?;
        let since_ms = self.store.catalog().requests_since().await.map_err(StoreError::from)?;
        self.run(deadline, move |store, limits, cancel| {
            let RequestsAsked { service, range, labels, .. } = &asked;
            let pieces = asked.wish(*range).cover(*range, &horizons);
            let (routes, labels) = chosen_by(labels, &of_samples);
            let wanted = Wanted {
                service: Some(service.as_str()),
                labels: &labels,
                sample_labels: &of_samples,
                pieces: &pieces,
            };
            let gathered = gather(store, &segments, &wanted, &TABLES, limits, cancel)?;
            let mut over = asked.nothing_yet(&gathered);
            let on_route = |route: &Arc<str>| routes.is_empty() || routes.iter().any(|(_, wanted)| **wanted == **route);
            for pick in gathered.picks.iter().filter(|pick| pick.info().requests > 0 || pick.info().spans > 0) {
                cancel.check()?;
                let Some(window) = store.window(&pick.segment, pick.info())? else { continue };
                for requests in window.requests.iter().filter(|requests| on_route(&requests.route)) {
                    over.count(window.header.start_ms, requests.clone());
                }
            }
            let (recent, older): (Vec<&PartPick>, Vec<&PartPick>) =
                gathered.parts.iter().partition(|pick| pick.bounds().from_ms >= since_ms);
            let of_part = |pick: &&PartPick| {
                cancel.check()?;
                counted_in(store, pick, &labels, on_route, |window_ms| over.step(window_ms))
            };
            let counts = side_by_side(limits.threads, &recent, of_part)?;
            for ((route, status, step), durations) in counts.into_iter().flatten() {
                over.add(step, &route, status, &durations);
            }
            let matcher = Matcher::new(&labels);
            // Windows that may be older than histograms; and those that have some, in whichever part of their service.
            let (mut old, mut counted) = (Vec::new(), HashSet::new());
            for pick in older {
                cancel.check()?;
                let bulk = store.bulk().as_ref();
                let read = pick.segment.requests(bulk, pick.part, pick.bounds());
                let Some(rows) = store.checked(&pick.row.segment.id, read)? else { continue };
                let read = pick.segment.windows(bulk, pick.part, pick.bounds());
                let Some(windows) = store.checked(&pick.row.segment.id, read)? else { continue };
                counted.extend(rows.iter().map(|row| (row.window_ms, row.window_len_ms, row.labels.clone())));
                let wanted = |window: &PartWindow| window.window_ms < since_ms && pick.wants(window.window_ms);
                old.extend(windows.into_iter().filter(wanted));
                for row in rows.into_iter().filter(|row| pick.wants(row.window_ms)) {
                    let matches = matcher.matches(|name| row.labels.get_of(&row.instance, name));
                    if matches && on_route(&row.requests.route) {
                        over.count(row.window_ms, row.requests);
                    }
                }
            }
            old.retain(|window| !counted.contains(&(window.window_ms, window.window_len_ms, window.labels.clone())));
            let told_by_spans: Vec<Stretch> =
                old.into_iter().map(|window| (window.instance, window.from_ms, window.until_ms)).collect();
            for (window_ms, span) in spans_of(store, &segments, service, &told_by_spans, &labels, cancel)? {
                if on_route(&span.route) {
                    of_spans(&[span]).into_iter().for_each(|requests| over.count(window_ms, requests));
                }
            }
            Ok(over)
        })
        .await
    }
}

/// Requests to a route that ended alike in a step of time.
type Count = ((Arc<str>, SpanStatus, usize), Durations);

/// The latest sum of a route: whose name that is, and where it is, if anybody wants it.
type Latest = (Arc<str>, Option<usize>);

/// Adds up what a part says of requests: its rows come by time, so each sum is soon complete, and made only once or twice.
fn counted_in(
    store: &Store,
    pick: &PartPick,
    labels: &[(String, String)],
    on_route: impl Fn(&Arc<str>) -> bool,
    step: impl Fn(u64) -> usize,
) -> Result<Vec<Count>, QueryError> {
    let matcher = Matcher::new(labels);
    let takes = |instance: &str, labels: &Labels| matcher.matches(|name| labels.get_of(instance, name));
    let of_process: Option<Processes<'_>> = if labels.is_empty() { None } else { Some(&takes) };
    let mut counts: Vec<Count> = Vec::new();
    // By where the route's name lies, which equal ones share: the name, so that it stays there, and the latest sum.
    let mut latest: FxHashMap<(*const u8, SpanStatus), Latest> = FxHashMap::default();
    let each = |window_ms: u64, route: &Arc<str>, status: SpanStatus, durations: &Durations| {
        if !pick.wants(window_ms) {
            return;
        }
        let known = latest.entry((route.as_ptr(), status));
        let (_, known) = known.or_insert_with(|| (route.clone(), on_route(route).then_some(usize::MAX)));
        let Some(at) = known else { return };
        let step = step(window_ms);
        match counts.get_mut(*at).filter(|((_, _, of), _)| *of == step) {
            Some((_, sum)) => sum.add(durations),
            None => {
                *at = counts.len();
                counts.push(((route.clone(), status, step), durations.clone()));
            }
        }
    };
    let read = pick.segment.look_at_requests(store.bulk().as_ref(), pick.part, pick.bounds(), of_process, each);
    Ok(if store.checked(&pick.row.segment.id, read)?.is_some() { counts } else { Vec::new() })
}

impl RequestsAsked {
    fn wish(&self, range: TimeRange) -> Wish {
        let by_instance = self.labels.iter().any(|(name, _)| name == INSTANCE);
        match self.step_ms {
            None => Wish::replicates(range, by_instance),
            Some(step_ms) => Wish::points(range, Some(step_ms), STEPS_MAX, by_instance),
        }
    }

    fn nothing_yet(&self, gathered: &Gathered) -> RequestsOver {
        let TimeRange { from_ms, until_ms } = self.range;
        let step_ms = self.step_ms.unwrap_or(until_ms - from_ms);
        let start_ms = if self.step_ms.is_some() { from_ms - from_ms % step_ms } else { from_ms };
        let steps = (until_ms - start_ms).div_ceil(step_ms) as usize;
        let spans: Vec<_> = gathered.received.iter().map(Received::span).collect();
        let covered_ms = coverage(start_ms, step_ms, steps, &spans);
        RequestsOver { start_ms, step_ms, covered_ms, routes: BTreeMap::new(), partial: None }
    }
}

/// An instance, and from when until when it sent something, unix milliseconds.
type Stretch = (Arc<str>, u64, u64);

/// Spans in windows of these stretches, with the start of their windows. Segments that were written before there were histograms have
/// none, and their spans stand for their requests.
fn spans_of(
    store: &Store,
    segments: &[LevelSegment],
    service: &ServiceName,
    stretches: &[Stretch],
    labels: &[(String, String)],
    cancel: &Cancel,
) -> Result<Vec<(u64, SpanSummary)>, QueryError> {
    let mut by_instance: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
    for (instance, from_ms, until_ms) in stretches {
        by_instance.entry(instance).or_default().push((*from_ms, *until_ms));
    }
    let bounds = TimeRange {
        from_ms: stretches.iter().map(|(_, from_ms, _)| *from_ms).min().unwrap_or(0),
        until_ms: stretches.iter().map(|(_, _, until_ms)| *until_ms).max().unwrap_or(0),
    };
    let matcher = Matcher::new(labels);
    let mut found = Vec::new();
    for row in segments.iter().filter(|row| row.segment.level == TRACES && !stretches.is_empty()) {
        cancel.check()?;
        let Some(segment) = store.columnar(row, &[Table::Spans])? else { continue };
        for part in segment.parts_of(service.as_str()) {
            let read = segment.spans(store.bulk().as_ref(), part, bounds);
            let Some(spans) = store.checked(&row.segment.id, read)? else { break };
            for span in spans {
                let at_ms = span.window_ms;
                let stretches = by_instance.get(&*span.instance).into_iter().flatten();
                let told = stretches.into_iter().any(|(from_ms, until_ms)| (*from_ms..*until_ms).contains(&at_ms));
                if told && matcher.matches(|name| span.labels.get_of(&span.instance, name)) {
                    found.push((at_ms, span.span));
                }
            }
        }
    }
    Ok(found)
}
