//! Selection → segments → one merged profile, with work limits. The web view, the JSON API, alert pages and the gate all ask here,
//! so they can never disagree.
//!
//! | module | what it does |
//! |---|---|
//! | [`selection`], [`answers`] | what can be asked, and what is answered |
//! | [`cover`], [`plan`] | which level answers for which part of the range, and what of its segments is needed |
//! | [`slices`] | replicates and covered time |
//! | [`scan`], [`columns`] | opens windows and parts on several threads |
//! | [`merge`], [`sums`] | the exact sum of prefix trees, and the canonical order of the answer |
//! | [`label_sets`] | the same told apart by the labels of samples, for exports |
//! | [`reach`] | what to say of a range that only a long window reaches into |
//! | [`linked`] | windows of single traces, from compacted segments |
//! | [`timeline`], [`overview`], [`trace`] | answers other than one merged profile |
//! | [`fit`] | what does not fit the limits is answered for the newest part of the range that does |
//! | [`flight`] | identical questions at the same time are computed once |
//! | [`cancel`] | a dropped future stops its work, and so does the end of its time |

mod answers;
mod cancel;
mod columns;
mod cover;
mod damage;
mod fit;
mod flight;
mod label_sets;
mod linked;
mod merge;
mod overview;
mod plan;
mod reach;
mod scan;
mod selection;
mod slices;
mod sums;
#[cfg(test)]
mod tests;
mod timeline;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::{ServiceName, TraceId};

pub use answers::{
    SPARK_POINTS, ServiceOverview, TRACE_SAMPLES_MAX, Timeline, TimelineSeries, TraceSample, TraceService, TraceView,
};
pub use selection::{QueryError, QueryLimits, Selection, TimeRange};
pub use timeline::REST_LABEL;

use crate::profile::decode::Window;
use crate::profile::model::{Cost, Labelled, Merged, Partial, ProfileType, SpanSummary};
use crate::store::catalog::{Horizons, LevelSegment};
use crate::store::columnar::schema::Table;
use crate::store::compact::levels::TRACES;
use crate::store::{Store, StoreError};
use cancel::Cancel;
use cover::{Piece, Wish};
use damage::{Looked, covered};
use fit::newest_that_fits;
use flight::SingleFlight;
use label_sets::LabelSets;
use merge::Parts;
use plan::{Matcher, Measured, Plan, Wanted, gather};
use tokio::time::Instant;

/// Answers questions about what is stored. Cheap to clone; every answer is computed off the async threads, and dropping its
/// future stops the work.
#[derive(Debug, Clone)]
pub struct QueryEngine {
    store: Arc<Store>,
    limits: QueryLimits,
    merges: Arc<SingleFlight<(Selection, Duration), Merged>>,
    timelines: Arc<SingleFlight<TimelineKey, Timeline>>,
}

/// Selection, step, label, time.
type TimelineKey = (Selection, Option<u64>, Option<String>, Duration);

impl QueryEngine {
    /// An engine over a store.
    pub fn new(store: Arc<Store>, limits: QueryLimits) -> Self {
        Self { store, limits, merges: Arc::default(), timelines: Arc::default() }
    }

    /// The same engine for a question with less time. More than the engine's own limit is never given.
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Self {
        let mut engine = self.clone();
        engine.limits.timeout = timeout.min(self.limits.timeout);
        engine
    }

    /// How long one question may take.
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limits.timeout
    }

    /// The sum of all selected windows, by stack. Where the limits do not allow all of them: of the newest part of the range that
    /// they do allow, and `partial` says which. The same question asked at the same time is computed once.
    ///
    /// # Errors
    /// When the service or its type are unknown, not even a window fits the limits, or the store fails.
    pub async fn merge(&self, selection: &Selection) -> Result<Arc<Merged>, QueryError> {
        let key = (selection.clone(), self.limits.timeout);
        self.merges.run(key, || self.clone().merge_fitting(selection.clone())).await
    }

    async fn merge_fitting(self, selection: Selection) -> Result<Merged, QueryError> {
        let ask = |range, by| self.merge_all(selection.within(range), by);
        let (merged, partial) =
            newest_that_fits(selection.range(), self.deadline(), |merged: &Merged| merged.windows > 0, ask).await?;
        let partial = self.with_damage_of_merge(partial, &selection).await?;
        Ok(Merged { from_ms: selection.from_ms, until_ms: selection.until_ms, partial, ..merged })
    }

    /// The same told apart by the labels of samples instead of by time; without labels where the limits do not allow that.
    ///
    /// # Errors
    /// As [`QueryEngine::merge`].
    pub async fn merge_by_labels(&self, selection: &Selection) -> Result<Labelled, QueryError> {
        let names = self.sample_labels(&selection.service).await?;
        let sets = Arc::new(LabelSets::new(names));
        match self.merge_split(selection.clone(), self.deadline(), Some(sets.clone())).await {
            Ok(merged) => {
                let partial = self.with_damage_of_merge(merged.partial, selection).await?;
                Ok(sets.name(Merged { partial, ..merged }))
            }
            Err(error) if error.limit().is_none() => Err(error),
            Err(_) => {
                let merged = self.merge(selection).await?;
                Ok(Labelled { merged: Merged::clone(&merged), label_sets: Vec::new() })
            }
        }
    }

    async fn merge_all(&self, selection: Selection, deadline: Instant) -> Result<Merged, QueryError> {
        let merged = self.merge_split(selection.clone(), deadline, None).await?;
        self.tell_what_reaches(merged, &selection, deadline).await
    }

    async fn merge_split(
        &self,
        selection: Selection,
        deadline: Instant,
        by_labels: Option<Arc<LabelSets>>,
    ) -> Result<Merged, QueryError> {
        let sources = self.prepare(&selection).await?;
        self.run(deadline, move |store, limits, cancel| {
            let sets = by_labels.as_deref();
            let by_instance = selection.labels.iter().any(|(name, _)| name == "instance");
            let wish = Wish::replicates(selection.range(), by_instance);
            let started = Instant::now();
            let mut plan = sources.plan(store, &selection, wish, &MERGE_TABLES, limits, cancel)?;
            let slices = slices::replicates(selection.range(), &plan.spans(), plan.coarsest_ms());
            let linked = sources.narrow(store, &mut plan, &selection, cancel)?;
            let planned = Instant::now();
            let (mut merger, rows) =
                scan::sum(store, &plan, Parts { slices: &slices, sets }, &selection, limits, cancel)?;
            let labels = Matcher::new(&selection.labels);
            for window in &linked {
                merger.add_parts(window, Parts { slices: &slices, sets }, &labels, selection.trace)?;
            }
            let scanned = Instant::now();
            let mut merged = merger.finish(selection.range(), Parts { slices: &slices, sets }, plan.sources())?;
            merged.cost = Cost {
                plan: planned - started,
                scan: scanned - planned,
                order: scanned.elapsed(),
                rows,
                windows: (plan.carriers.len() + linked.len()) as u64,
            };
            if merged.rows.is_empty() {
                merged.empty_because = Some(plan.why_empty(&selection));
            }
            Ok(merged)
        })
        .await
    }

    /// Values over time, in steps of `step_ms` (by default few enough for a picture), split by a label where given. Partial as
    /// [`QueryEngine::merge`] is.
    ///
    /// # Errors
    /// As [`QueryEngine::merge`], and when the step gives too many points.
    pub async fn timeline(
        &self,
        selection: &Selection,
        step_ms: Option<u64>,
        by: Option<&str>,
    ) -> Result<Arc<Timeline>, QueryError> {
        let by = by.map(str::to_owned);
        let key = (selection.clone(), step_ms, by.clone(), self.limits.timeout);
        self.timelines.run(key, || self.clone().timeline_fitting(selection.clone(), step_ms, by)).await
    }

    async fn timeline_fitting(
        self,
        selection: Selection,
        step_ms: Option<u64>,
        by: Option<String>,
    ) -> Result<Timeline, QueryError> {
        let ask = |range, deadline| self.timeline_all(selection.within(range), step_ms, by.clone(), deadline);
        let (timeline, partial) =
            newest_that_fits(selection.range(), self.deadline(), Timeline::holds_data, ask).await?;
        let names = selection.labels.iter().map(|(name, _)| name.as_str()).chain(by.as_deref());
        let by_instance = names.into_iter().any(|name| name == "instance");
        let range = covered(selection.range(), partial);
        let wish = Wish::points(range, step_ms, timeline::POINTS_DEFAULT, by_instance);
        let partial = self.with_damage(partial, Looked::by(&selection, wish)).await?;
        Ok(Timeline { partial, ..timeline })
    }

    async fn timeline_all(
        &self,
        selection: Selection,
        step_ms: Option<u64>,
        by: Option<String>,
        deadline: Instant,
    ) -> Result<Timeline, QueryError> {
        let sources = self.prepare(&selection).await?;
        self.run(deadline, move |store, limits, cancel| {
            let names = selection.labels.iter().map(|(name, _)| name.as_str()).chain(by.as_deref());
            let by_instance = names.into_iter().any(|name| name == "instance");
            let wish = Wish::points(selection.range(), step_ms, timeline::POINTS_DEFAULT, by_instance);
            let mut plan = sources.plan(store, &selection, wish, &SUM_TABLES, limits, cancel)?;
            let grid = timeline::Grid::new(selection.range(), step_ms, &plan.spans(), plan.coarsest_ms())?;
            let Some(trace) = selection.trace else {
                let measured = plan.measured(store, &selection.labels, cancel)?;
                return timeline::draw(&plan, grid, by.as_deref(), &measured);
            };
            let mut windows = sources.narrow(store, &mut plan, &selection, cancel)?.into_iter().map(Arc::new).collect();
            plan.open_carriers(store, &mut windows, cancel)?;
            let measured: Vec<Measured> =
                windows.iter().flat_map(|window| plan.measure(window, &selection.labels, trace)).collect();
            timeline::draw(&plan, grid, by.as_deref(), &measured)
        })
        .await
    }

    /// All services that were ever heard of, the busiest of the range first.
    ///
    /// # Errors
    /// When a limit is exceeded or the store fails.
    pub async fn services(&self, range: TimeRange) -> Result<(Vec<ServiceOverview>, Option<Partial>), QueryError> {
        check_range(range)?;
        let holds = |services: &Vec<ServiceOverview>| services.iter().any(|service| service.instances > 0);
        let (services, partial) =
            newest_that_fits(range, self.deadline(), holds, |range, by| self.services_all(range, by)).await?;
        let wish = Wish::points(covered(range, partial), None, SPARK_POINTS as u64, false);
        let looked = Looked { service: None, range, profiles: Some(wish), traces: false };
        Ok((services, self.with_damage(partial, looked).await?))
    }

    async fn services_all(&self, range: TimeRange, deadline: Instant) -> Result<Vec<ServiceOverview>, QueryError> {
        let catalog = self.store.catalog();
        let services = catalog.services().await.map_err(StoreError::from)?;
        let mut types = BTreeMap::new();
        for service in &services {
            let known = catalog.profile_types(&service.name).await.map_err(StoreError::from)?;
            types.insert(service.name.clone(), known.into_iter().map(|t| t.name).collect::<Vec<_>>());
        }
        let segments = catalog.levels_in(range.from_ms, range.until_ms, false).await.map_err(StoreError::from)?;
        let horizons = catalog.horizons("").await.map_err(StoreError::from)?;
        self.run(deadline, move |store, limits, cancel| {
            let wish = Wish::points(range, None, SPARK_POINTS as u64, false);
            let pieces = wish.cover(range, &horizons);
            let wanted = Wanted { service: None, labels: &[], sample_labels: &BTreeSet::new(), pieces: &pieces };
            let gathered = gather(store, &segments, &wanted, &SUM_TABLES, limits, cancel)?;
            let cpu = gathered.sums(store, overview::is_cpu, cancel)?;
            Ok(overview::overview(services, &types, &gathered.received, &cpu, range))
        })
        .await
    }

    /// Profile types of a service, by name.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn types(&self, service: &ServiceName) -> Result<Vec<ProfileType>, QueryError> {
        self.know(service).await?;
        Ok(self.store.catalog().profile_types(service.as_str()).await.map_err(StoreError::from)?)
    }

    /// Names of a service's labels seen in the range, those of single samples among them; `instance` is one of them.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn labels(&self, service: &ServiceName, range: TimeRange) -> Result<Vec<String>, QueryError> {
        self.know(service).await?;
        let catalog = self.store.catalog();
        let names = catalog.label_names(service.as_str(), range.from_ms, range.until_ms).await;
        Ok(names.map_err(StoreError::from)?)
    }

    /// Values of one label seen in the range.
    ///
    /// # Errors
    /// When the service is unknown or the store fails.
    pub async fn label_values(
        &self,
        service: &ServiceName,
        name: &str,
        range: TimeRange,
    ) -> Result<Vec<String>, QueryError> {
        self.know(service).await?;
        let catalog = self.store.catalog();
        let values = catalog.label_values(service.as_str(), name, range.from_ms, range.until_ms).await;
        Ok(values.map_err(StoreError::from)?)
    }

    /// Everything that carries a trace id, across services; `None` when nothing does. Where there is too much of it, or too little
    /// time: its newest part, and `partial` says which.
    ///
    /// # Errors
    /// When not even a part was found in time, a limit is exceeded, or the store fails.
    pub async fn trace(&self, trace_id: TraceId) -> Result<Option<TraceView>, QueryError> {
        let catalog = self.store.catalog();
        let TimeRange { from_ms, until_ms } = TimeRange::ALL;
        if catalog.is_deleted(&trace_id).await.map_err(StoreError::from)? {
            return Ok(None);
        }
        let segments = catalog.levels_in(from_ms, until_ms, true).await.map_err(StoreError::from)?;
        let work = move |store: &Store, limits: &QueryLimits, cancel: &Cancel| {
            trace::view(store, &segments, trace_id, limits, cancel)
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
        let TimeRange { from_ms, until_ms } = TimeRange::ALL;
        let segments = catalog.levels_in(from_ms, until_ms, true).await.map_err(StoreError::from)?;
        let holders = self
            .run(self.deadline(), move |store, _, cancel| linked::holders(store, &segments, trace_id, cancel))
            .await?;
        // What is merged into other segments in between is found again: the answer leaves it out until then.
        self.store.delete_trace(&trace_id, &holders, crate::store::now_ms()).await?;
        Ok(())
    }

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
        // Of the labels that samples have, a span has one: its route.
        let (routes, labels): (Vec<_>, Vec<_>) = labels
            .iter()
            .filter(|(name, _)| name == ROUTE || !of_samples.contains(name))
            .cloned()
            .partition(|(name, _)| name == ROUTE && of_samples.contains(name));
        let on_route =
            move |span: &SpanSummary| routes.is_empty() || routes.iter().any(|(_, route)| **route == *span.route);
        self.run(deadline, move |store, limits, cancel| {
            let mut spans = Vec::new();
            let too_many = || QueryError::TooLarge { what: "spans", limit: limits.spans_max as u64 };
            // Spans are in the arrived segments, and in those of traces.
            let (traces, arrived): (Vec<_>, Vec<_>) = segments
                .into_iter()
                .filter(|s| matches!(s.segment.level, 0 | TRACES))
                .partition(|s| s.segment.level == TRACES);
            let pieces = [Piece { range, level: 0 }];
            let wanted =
                Wanted { service: Some(&service), labels: &labels, sample_labels: &of_samples, pieces: &pieces };
            let gathered = gather(store, &arrived, &wanted, &[], limits, cancel)?;
            for pick in gathered.picks.iter().filter(|pick| pick.info().spans > 0) {
                cancel.check()?;
                let Some(window) = store.window(&pick.segment, pick.info())? else { continue };
                spans.extend(window.spans.iter().filter(|span| on_route(span)).cloned());
                if spans.len() > limits.spans_max {
                    return Err(too_many());
                }
            }
            let matcher = Matcher::new(&labels);
            for row in &traces {
                cancel.check()?;
                let Some(segment) = store.columnar(row, &[Table::Spans])? else { continue };
                for part in segment.parts_of(&service) {
                    let read = segment.spans(store.bulk().as_ref(), part, &(range.from_ms..range.until_ms));
                    let Some(read) = store.checked(&row.segment.id, read)? else { break };
                    let matching = read.into_iter().filter(|span| matcher.matches(&span.instance, &span.labels));
                    spans.extend(matching.map(|span| span.span).filter(&on_route));
                    if spans.len() > limits.spans_max {
                        return Err(too_many());
                    }
                }
            }
            spans.retain(|span| !deleted.contains(&span.link.trace_id));
            spans.sort_by_key(|span| (span.start_ms, span.link));
            Ok(spans)
        })
        .await
    }

    /// What an answer would be made of, without making it: objects that never change, by id and checksum. The same inputs give the same
    /// answer, to the byte.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn inputs(&self, selection: &Selection) -> Result<Vec<(String, u32)>, QueryError> {
        let segments = self.segments_of(&selection.service, selection.range()).await?;
        // A deletion changes what counts of a segment, and so its revision.
        let version = |row: &LevelSegment| row.segment.crc.wrapping_add(row.revision as u32);
        Ok(segments.into_iter().map(|row| (row.segment.id.clone(), version(&row))).collect())
    }

    /// What may hold what is selected, and the type as the catalog knows it.
    async fn prepare(&self, selection: &Selection) -> Result<Sources, QueryError> {
        check_range(selection.range())?;
        self.know(&selection.service).await?;
        let known = self.types(&selection.service).await?;
        let Some(fallback) = known.iter().find(|t| t.name == selection.profile_type).cloned() else {
            return Err(QueryError::UnknownType {
                service: selection.service.to_string(),
                profile_type: selection.profile_type.clone(),
                known: known.into_iter().map(|t| t.name).collect(),
            });
        };
        let catalog = self.store.catalog();
        let segments = self.segments_of(&selection.service, selection.range()).await?;
        // After the segments: what retention lets go of in between is then answered by coarser ones, which were listed too.
        let horizons = catalog.horizons(selection.service.as_str()).await.map_err(StoreError::from)?;
        let deleted = match selection.trace {
            Some(trace) => catalog.is_deleted(&trace).await.map_err(StoreError::from)?,
            None => false,
        };
        let sample_labels = self.sample_labels(&selection.service).await?;
        Ok(Sources { segments, horizons, sample_labels, fallback, deleted })
    }

    async fn segments_of(&self, service: &ServiceName, range: TimeRange) -> Result<Vec<LevelSegment>, QueryError> {
        let catalog = self.store.catalog();
        let segments = catalog.levels_of(service.as_str(), range.from_ms, range.until_ms).await;
        Ok(segments.map_err(StoreError::from)?)
    }

    /// Names of the labels that single samples of a service have.
    async fn sample_labels(&self, service: &ServiceName) -> Result<BTreeSet<String>, QueryError> {
        let names = self.store.catalog().sample_label_names(service.as_str()).await;
        Ok(names.map_err(StoreError::from)?)
    }

    async fn know(&self, service: &ServiceName) -> Result<(), QueryError> {
        if self.store.catalog().knows_service(service.as_str()).await.map_err(StoreError::from)? {
            return Ok(());
        }
        Err(QueryError::UnknownService { service: service.to_string() })
    }

    /// Runs `work` on a thread of its own, until `deadline`. Dropping the returned future cancels it.
    async fn run<T: Send + 'static>(
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

fn check_range(range: TimeRange) -> Result<(), QueryError> {
    let TimeRange { from_ms, until_ms } = range;
    if from_ms < until_ms { Ok(()) } else { Err(QueryError::EmptyRange { from_ms, until_ms }) }
}

/// The label that agents give samples and spans alike.
const ROUTE: &str = "route";

/// Tables that a merged profile is read from, …
const MERGE_TABLES: [Table; 5] = [Table::Samples, Table::Windows, Table::Series, Table::Stacks, Table::Frames];
/// … and those of answers over time.
const SUM_TABLES: [Table; 3] = [Table::Totals, Table::Windows, Table::Series];

/// What the catalog knows about a selection.
#[derive(Debug)]
struct Sources {
    segments: Vec<LevelSegment>,
    horizons: Horizons,
    sample_labels: BTreeSet<String>,
    fallback: ProfileType,
    /// The selected trace was deleted.
    deleted: bool,
}

impl Sources {
    fn plan(
        &self,
        store: &Store,
        selection: &Selection,
        wish: Wish,
        tables: &[Table],
        limits: &QueryLimits,
        cancel: &Cancel,
    ) -> Result<Plan, QueryError> {
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
    fn narrow(
        &self,
        store: &Store,
        plan: &mut Plan,
        selection: &Selection,
        cancel: &Cancel,
    ) -> Result<Vec<Window>, QueryError> {
        let Some(trace) = selection.trace else { return Ok(Vec::new()) };
        plan.narrow_to_trace(store, trace, cancel)?;
        if self.deleted {
            plan.carriers.clear();
            return Ok(Vec::new());
        }
        let matcher = Matcher::new(&selection.labels);
        let mut windows = linked::windows(store, &self.segments, trace, Some(selection.service.as_str()), cancel)?;
        windows.retain(|window| {
            selection.range().contains(window.header.start_ms)
                && matcher.matches(window.header.instance.as_str(), &window.header.labels)
        });
        Ok(windows)
    }
}
