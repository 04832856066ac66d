//! What requests cost: the samples that were taken while they ran, as a profile whose replicates are groups of requests where those of
//! other profiles are slices of time. So what is told per second of others is told per request of these, and the same tests hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::{ServiceName, TraceId};

use super::cancel::Cancel;
use super::cover::Piece;
use super::gather::{Wanted, gather};
use super::linked::Samples;
use super::merge::{Merger, Parts, Sources};
use super::side_by_side::side_by_side;
use super::slices::Slices;
use super::spans::EntrySpan;
use super::{QueryEngine, QueryError, QueryLimits};
use crate::base::labels::{Label, ROUTE};
use crate::base::range::TimeRange;
use crate::profile::decode::{SeriesRow, Window};
use crate::profile::model::{Kind, Merged, ProfileType, REPLICATES_MAX};
use crate::store::Store;
use crate::store::catalog::LevelSegment;
use crate::store::compact::levels::TRACES;

/// The longest window an agent may send: a request's samples are in windows that start up to this long before it.
const WINDOW_MS_MAX: u64 = 60_000;

/// By so much clocks of samples and of spans may differ: one tick of a sampler, rounded.
const TICK_MS: u64 = 20;

/// Requests to one route whose costs are asked for, by side.
#[derive(Debug, Clone, Default)]
pub struct RequestSides {
    /// All of their traces: a sample of a trace that came twice belongs to the request that ran when it was taken.
    pub all: Vec<EntrySpan>,
    /// Which of them are on each side, by position, in an order that has nothing to do with what they cost.
    pub sides: [Vec<usize>; 2],
}

/// What they cost.
#[derive(Debug, Clone, Default)]
pub struct RequestCosts {
    /// For each type that adds up, by name: one profile a side. Its replicates are groups of requests, a second stands for a request.
    pub types: Vec<[Merged; 2]>,
    /// For each request of each side, in the order they were given: the labels of its samples. `None`: no sample was taken in it.
    pub labels: [Vec<Option<BTreeSet<Label>>>; 2],
}

impl QueryEngine {
    /// What requests of a service cost that ended in the range.
    ///
    /// # Errors
    /// When a limit is exceeded, the time is up, or the store fails.
    pub async fn request_costs(
        &self,
        service: &ServiceName,
        range: TimeRange,
        asked: Arc<RequestSides>,
    ) -> Result<RequestCosts, QueryError> {
        let starts = asked.chosen().map(|(_, _, entry)| entry.span.start_ms).min().unwrap_or(range.from_ms);
        let reach = TimeRange {
            from_ms: starts.min(range.from_ms).saturating_sub(WINDOW_MS_MAX),
            until_ms: range.until_ms.saturating_add(WINDOW_MS_MAX),
        };
        let segments = self.segments_of(service, reach).await?;
        let service = service.as_str().to_owned();
        self.run(self.deadline(), move |store, limits, cancel| {
            let mut sums = Sums::new(&asked, limits);
            let traces = asked.traces();
            sums.add_arrived(store, &segments, &service, reach, cancel)?;
            let samples = Samples { store, service: &service, traces: &traces, cancel };
            let compacted: Vec<&LevelSegment> = segments.iter().filter(|row| may_hold(row, &traces)).collect();
            let groups = side_by_side(limits.threads, &compacted, |row| samples.groups(row))?;
            let groups: Vec<_> = groups.into_iter().flatten().collect();
            for window in side_by_side(limits.threads, &groups, |group| samples.read(group))?.iter().flatten() {
                sums.add(window)?;
            }
            sums.finish(range)
        })
        .await
    }
}

impl RequestSides {
    /// Those on a side: which, at which place of it.
    fn chosen(&self) -> impl Iterator<Item = (usize, usize, &EntrySpan)> {
        self.sides.iter().enumerate().flat_map(move |(side, chosen)| {
            chosen.iter().enumerate().filter_map(move |(at, all)| Some((side, at, self.all.get(*all)?)))
        })
    }

    /// When each trace has requests on a side, by id.
    fn traces(&self) -> BTreeMap<TraceId, TimeRange> {
        let mut traces: BTreeMap<TraceId, TimeRange> = BTreeMap::new();
        for (_, _, EntrySpan { span, .. }) in self.chosen() {
            let ran = ran(span.start_ms, span.duration_us);
            let known = traces.entry(span.link.trace_id).or_insert(ran);
            known.from_ms = known.from_ms.min(ran.from_ms);
            known.until_ms = known.until_ms.max(ran.until_ms);
        }
        traces
    }
}

/// From when until when a request ran.
fn ran(start_ms: u64, duration_us: u64) -> TimeRange {
    TimeRange {
        from_ms: start_ms.saturating_sub(TICK_MS),
        until_ms: start_ms.saturating_add(duration_us.div_ceil(1_000)).saturating_add(TICK_MS),
    }
}

/// Whether a segment may hold samples of one of the traces.
fn may_hold(row: &LevelSegment, traces: &BTreeMap<TraceId, TimeRange>) -> bool {
    let (min_ms, max_ms) = (row.segment.min_ms, row.segment.max_ms.saturating_add(WINDOW_MS_MAX));
    row.segment.level == TRACES && traces.values().any(|ran| ran.from_ms <= max_ms && ran.until_ms >= min_ms)
}

/// A request of a trace.
struct Ran {
    during: TimeRange,
    /// Its side and its place there, if it is on one.
    place: Option<(usize, usize)>,
}

/// Adds samples up by the request they were taken in.
struct Sums<'a> {
    limits: &'a QueryLimits,
    requests: FxHashMap<TraceId, Vec<Ran>>,
    /// Theirs: what their traces asked of other routes is no cost of theirs.
    route: Option<Arc<str>>,
    /// How many groups each side has, and how many requests each of them.
    groups: [Vec<u64>; 2],
    types: BTreeMap<(String, String), (ProfileType, [Merger; 2])>,
    labels: [Vec<Option<BTreeSet<Label>>>; 2],
}

impl<'a> Sums<'a> {
    fn new(asked: &RequestSides, limits: &'a QueryLimits) -> Self {
        let mut requests: FxHashMap<TraceId, Vec<Ran>> = FxHashMap::default();
        let mut places = BTreeMap::new();
        for (side, at, entry) in asked.chosen() {
            requests.entry(entry.span.link.trace_id).or_default();
            places.insert(entry.span.link, (side, at));
        }
        for EntrySpan { span, .. } in &asked.all {
            if let Some(ran_in) = requests.get_mut(&span.link.trace_id) {
                let during = ran(span.start_ms, span.duration_us);
                ran_in.push(Ran { during, place: places.get(&span.link).copied() });
            }
        }
        let groups = [0, 1].map(|side: usize| {
            let requests = asked.sides[side].len();
            let groups = requests.min(REPLICATES_MAX);
            (0..groups).map(|group| (requests - group).div_ceil(groups) as u64).collect()
        });
        let labels = [0, 1].map(|side: usize| vec![None; asked.sides[side].len()]);
        let route = asked.all.first().map(|entry| entry.span.route.clone());
        Self { limits, requests, route, groups, types: BTreeMap::new(), labels }
    }

    /// Adds the windows that were not compacted yet.
    fn add_arrived(
        &mut self,
        store: &Store,
        segments: &[LevelSegment],
        service: &str,
        reach: TimeRange,
        cancel: &Cancel,
    ) -> Result<(), QueryError> {
        let arrived: Vec<LevelSegment> = segments.iter().filter(|row| row.segment.level == 0).cloned().collect();
        let pieces = [Piece { range: reach, level: 0 }];
        let wanted = Wanted { service: Some(service), labels: &[], sample_labels: &BTreeSet::new(), pieces: &pieces };
        let gathered = gather(store, &arrived, &wanted, &[], self.limits, cancel)?;
        for pick in &gathered.picks {
            cancel.check()?;
            if let Some(window) = store.window(&pick.segment, pick.info())? {
                self.add(&window)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, window: &Window) -> Result<(), QueryError> {
        // By link of the window: the requests of its trace.
        let of_link: Vec<Option<&Vec<Ran>>> =
            window.links.iter().map(|link| self.requests.get(&link.trace_id)).collect();
        if of_link.iter().all(Option::is_none) {
            return Ok(());
        }
        let place = |row: &SeriesRow| {
            let requests = of_link.get(row.link? as usize).copied().flatten()?;
            let ran = match row.time_ms {
                Some(ms) => requests.iter().find(|ran| ran.during.contains(window.header.start_ms + u64::from(ms))),
                // Nobody knows when: then it is the first one's.
                None => requests.first(),
            };
            ran?.place
        };
        for series in window.series.iter().filter(|series| series.profile_type.kind == Kind::Counter) {
            let labels = series.all_labels(&window.header);
            if labels.get(ROUTE).is_some_and(|route| self.route.as_deref() != Some(route)) {
                continue;
            }
            let mut found = false;
            for (side, at) in series.rows.iter().filter_map(place) {
                found = true;
                if let Some(known) = self.labels[side].get_mut(at) {
                    let known = known.get_or_insert_default();
                    if !labels.pairs().iter().all(|label| known.contains(label)) {
                        known.extend(labels.pairs().iter().cloned());
                    }
                }
            }
            if !found {
                continue;
            }
            let profile_type = &series.profile_type;
            let key = (profile_type.name.clone(), profile_type.unit.clone());
            let (_, mergers) = self.types.entry(key).or_insert_with(|| {
                (profile_type.clone(), [0, 1].map(|_| Merger::new(profile_type.clone(), self.limits)))
            });
            for (side, merger) in mergers.iter_mut().enumerate() {
                let groups = self.groups[side].len().max(1);
                merger.add_rows(window, series, |row| {
                    place(row).filter(|(on, _)| *on == side).map(|(_, at)| (at % groups) as u16)
                })?;
            }
        }
        Ok(())
    }

    fn finish(self, range: TimeRange) -> Result<RequestCosts, QueryError> {
        let slices = self.groups.map(|groups| Slices::of_requests(range, &groups));
        let finish = |(_, [a, b]): (ProfileType, [Merger; 2])| {
            let of =
                |merger: Merger, side: usize| merger.finish(range, Parts::of_time(&slices[side]), Sources::default());
            Ok([of(a, 0)?, of(b, 1)?])
        };
        let types = self.types.into_values().map(finish).collect::<Result<_, QueryError>>()?;
        Ok(RequestCosts { types, labels: self.labels })
    }
}
