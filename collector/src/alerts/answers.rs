//! Computes answers to alert links, and remembers them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tephra_proto::ids::ServiceName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::{Answer, AnswerError, Baseline, TraceRef, TypeChange};
use super::baseline::{Candidate, DEPLOY_REACH_MS, Moment, Passed, candidates};
use super::link::AlertLink;
use super::onset::onset;
use super::words::{self, Compared};
use crate::analysis::requests::{Route, routes};
use crate::analysis::{self, Findings};
use crate::profile::header::Sentence;
use crate::profile::model::Merged;
use crate::query::{QueryEngine, QueryError, Selection, TimeRange};
use crate::store::Store;
use crate::store::catalog::{Event, EventKind};
use crate::symbols::Symbols;

/// Answers kept: a storm of alerts, at some 20 KiB each.
const ANSWERS_MAX: usize = 256;

/// After this long everything that agents hold back has arrived: the answer will not change any more.
pub const SETTLED_AFTER_MS: u64 = 120_000;

/// How long an answer is good before that.
const UNSETTLED_MS: u64 = 15_000;

/// How long it is good once it has settled: late data and late symbols still get in.
const SETTLED_MS: u64 = 600_000;

/// An alert event this close to the link's time is the alert the link is about.
const SAME_ALERT_MS: u64 = 120_000;

/// Longest distance from a window to a baseline, and the alerts that may have fired in it.
const ALERT_REACH_MS: u64 = 15 * 86_400_000;

const TRACES_MAX: usize = 5;

/// Other types that are compared.
const TYPES_MAX: usize = 8;

/// Answers alert links.
#[derive(Debug)]
pub struct Answers {
    engine: QueryEngine,
    store: Arc<Store>,
    symbols: Symbols,
    known: Mutex<VecDeque<Known>>,
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

#[derive(Debug)]
struct Known {
    link: AlertLink,
    computed_ms: u64,
    answer: Arc<Answer>,
}

/// A comparison that was settled on.
struct Chosen {
    candidate: Candidate,
    before: Arc<Merged>,
    now: Arc<Merged>,
    tried: Vec<Passed>,
}

impl Answers {
    /// Over what is stored.
    pub fn new(engine: QueryEngine, store: Arc<Store>, symbols: Symbols) -> Self {
        let (waiting, turn) = (Arc::new(Semaphore::new(ANSWERS_MAX)), Arc::new(Semaphore::new(1)));
        Self { engine, store, symbols, known: Mutex::default(), waiting, turn }
    }

    /// An answer that was computed lately enough.
    pub fn ready(&self, link: &AlertLink, now_ms: u64) -> Option<Arc<Answer>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|known| known.link == *link)?;
        let settled = found.computed_ms >= link.at_ms.saturating_add(SETTLED_AFTER_MS);
        let good_for = if settled { SETTLED_MS } else { UNSETTLED_MS };
        (now_ms.saturating_sub(found.computed_ms) < good_for).then(|| found.answer.clone())
    }

    /// A place in the queue of answers that nobody waits for; `None` when it is full.
    pub fn queue(&self) -> Option<OwnedSemaphorePermit> {
        self.waiting.clone().try_acquire_owned().ok()
    }

    /// Waits until no other answer that nobody waits for is being computed: people come first.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }

    /// Computes an answer and remembers it.
    ///
    /// # Errors
    /// When the service or the type is unknown, or the profiles cannot be read.
    pub async fn compute(&self, link: &AlertLink, now_ms: u64) -> Result<Arc<Answer>, AnswerError> {
        let answer = Arc::new(self.answer(link).await?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| known.link != *link);
        known.truncate(ANSWERS_MAX - 1);
        known.push_front(Known { link: link.clone(), computed_ms: now_ms, answer: answer.clone() });
        Ok(answer)
    }

    async fn answer(&self, link: &AlertLink) -> Result<Answer, AnswerError> {
        let service = ServiceName::parse(&link.service)?;
        let asked = Asked { engine: &self.engine, service: &service, link };
        let (name, from) = (Some(service.as_str()), link.from_ms());
        let catalog = self.store.catalog();
        let deploys =
            catalog.events(name, from.saturating_sub(DEPLOY_REACH_MS), link.at_ms, Some(EventKind::Deploy)).await?;
        let until = link.at_ms.saturating_add(SAME_ALERT_MS);
        let alerts = catalog.events(name, from.saturating_sub(ALERT_REACH_MS), until, Some(EventKind::Alert)).await?;
        let chosen = asked.choose(&moments(&deploys), &moments(&alerts)).await?;
        let Chosen { candidate, before, now, tried } = chosen;

        let symbols = self.symbols.clone();
        let of = service.to_string();
        let compared = move || analysis::findings(&of, &before, &now, &symbols);
        let found = tokio::task::spawn_blocking(compared).await.map_err(|e| AnswerError::Task(e.to_string()))?;

        let deploy = deploys.into_iter().rfind(|deploy| deploy.event.at_ms < candidate.current.1);
        let deploy = deploy.filter(|deploy| deploy.event.at_ms >= candidate.current.0.saturating_sub(link.window_ms));
        let Findings { profile_type, before, now, movers, summary } = found;
        let compared = Compared {
            service: service.as_str(),
            profile_type: &link.profile_type,
            before: &before,
            now: &now,
            summary: &summary,
            movers: &movers,
        };
        let headline = compared.headline();
        let (confidence, confidence_why) = compared.confidence(candidate.doubt.as_deref());
        let comparable = before.total > 0 && now.total > 0;

        let (routes_before, routes_now) = asked.routes(&candidate).await?;
        let mut sentences: Vec<Sentence> = Vec::new();
        if comparable {
            sentences.extend(summary.into_iter().filter(|sentence| sentence.kind != "headline"));
            let causes = sentences.iter().take_while(|sentence| sentence.kind == "cause").count();
            let since = asked.since().await?.map(|onset| words::since(onset, deploy.as_ref()));
            let details = since.into_iter().chain(words::slower(&routes_before, &routes_now));
            sentences.splice(causes..causes, details);
        }
        Ok(Answer {
            profile_type,
            unit: now.unit,
            window: candidate.current,
            baseline: Baseline { vs: candidate.vs, range: candidate.baseline, why: why(link, &candidate, &tried) },
            tried,
            deploy,
            alert: alerts.into_iter().rfind(|alert| alert.event.at_ms >= from),
            headline,
            sentences,
            movers,
            confidence,
            confidence_why,
            traces: slowest(&routes_now),
            types: if comparable { asked.other_types(&candidate).await? } else { Vec::new() },
            link: link.clone(),
        })
    }
}

/// A question with what it takes to look things up.
struct Asked<'a> {
    engine: &'a QueryEngine,
    service: &'a ServiceName,
    link: &'a AlertLink,
}

impl Asked<'_> {
    fn selection(&self, profile_type: &str, (from_ms, until_ms): (u64, u64)) -> Selection {
        Selection {
            service: self.service.clone(),
            profile_type: profile_type.to_owned(),
            from_ms,
            until_ms,
            labels: self.link.labels.clone(),
            trace: None,
        }
    }

    async fn merge(&self, range: (u64, u64)) -> Result<Arc<Merged>, QueryError> {
        self.engine.merge(&self.selection(&self.link.profile_type, range)).await
    }

    /// The first baseline with data; where none has any, the last one looked at, empty as it is.
    async fn choose(&self, deploys: &[Moment], alerts: &[Moment]) -> Result<Chosen, AnswerError> {
        let (candidates, mut tried) = candidates(self.link, deploys, alerts);
        let mut now: Option<((u64, u64), Arc<Merged>)> = None;
        let mut last = None;
        for candidate in candidates {
            let current = match now.take() {
                Some((range, merged)) if range == candidate.current => merged,
                _ => self.merge(candidate.current).await?,
            };
            let before = self.merge(candidate.baseline).await?;
            // Without a window there is nothing to choose a baseline for.
            if !before.rows.is_empty() || current.rows.is_empty() {
                return Ok(Chosen { candidate, before, now: current, tried });
            }
            let why_not = before.empty_because.clone().unwrap_or_else(|| "no data".to_owned());
            tried.push(Passed { vs: candidate.vs, why_not });
            now = Some((candidate.current, current));
            last = Some((candidate, before));
        }
        match (last, now) {
            (Some((candidate, before)), Some((_, now))) => {
                tried.retain(|passed| passed.vs != candidate.vs);
                Ok(Chosen { candidate, before, now, tried })
            }
            // `prev` and `1w` are always candidates.
            _ => Err(AnswerError::Task("no baseline is possible for this link".to_owned())),
        }
    }

    async fn routes(&self, candidate: &Candidate) -> Result<(Vec<Route>, Vec<Route>), QueryError> {
        let mut both = Vec::with_capacity(2);
        for (from_ms, until_ms) in [candidate.baseline, candidate.current] {
            let range = TimeRange { from_ms, until_ms };
            let (spans, partial) = self.engine.spans(self.service, range, &self.link.labels).await?;
            // Percentiles of a part say nothing about the whole.
            both.push(if partial.is_none() { routes(&spans) } else { Vec::new() });
        }
        let now = both.pop().unwrap_or_default();
        Ok((both.pop().unwrap_or_default(), now))
    }

    /// Since when the level is what it is, looking back one window further than the link.
    async fn since(&self) -> Result<Option<super::onset::Onset>, QueryError> {
        let range = (self.link.from_ms().saturating_sub(self.link.window_ms), self.link.at_ms);
        let selection = self.selection(&self.link.profile_type, range);
        let timeline = self.engine.timeline(&selection, None, None).await?;
        // Of a part nobody can say since when.
        let whole = timeline.series.first().filter(|_| timeline.partial.is_none());
        Ok(whole.and_then(|series| onset(&series.points)))
    }

    async fn other_types(&self, candidate: &Candidate) -> Result<Vec<TypeChange>, QueryError> {
        let types = self.engine.types(self.service).await?;
        let mut changes = Vec::new();
        for name in types.into_iter().map(|t| t.name).filter(|name| *name != self.link.profile_type).take(TYPES_MAX) {
            let before = self.level(&name, candidate.baseline).await?;
            let now = self.level(&name, candidate.current).await?;
            if let (Some(before), Some(now)) = (before.filter(|level| *level > 0.0), now) {
                changes.push(TypeChange { name, delta_share: now / before - 1.0 });
            }
        }
        changes.sort_by(|a, b| b.delta_share.abs().total_cmp(&a.delta_share.abs()));
        Ok(changes)
    }

    /// Mean of a type over a range, from the sums that windows carry: nothing is decoded for it.
    async fn level(&self, name: &str, range: (u64, u64)) -> Result<Option<f64>, QueryError> {
        let timeline = self.engine.timeline(&self.selection(name, range), None, None).await?;
        let points = timeline.series.first().map(|series| series.points.as_slice()).unwrap_or_default();
        let values: Vec<f64> = points.iter().filter_map(|(_, value)| *value).collect();
        Ok((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
    }
}

fn moments(events: &[Event]) -> Vec<Moment> {
    events.iter().map(|event| Moment { at_ms: event.event.at_ms, title: event.event.title.clone() }).collect()
}

/// Why this baseline, as a sentence.
fn why(link: &AlertLink, candidate: &Candidate, tried: &[Passed]) -> String {
    let what = &candidate.what;
    let reason = match link.vs {
        Some(asked) if asked == candidate.vs => "as the link asks".to_owned(),
        Some(asked) => {
            let why_not =
                tried.iter().find(|passed| passed.vs == asked).map_or("it has no data", |passed| &passed.why_not);
            format!("because the link asks for {}, but {why_not}", asked.as_str())
        }
        None if tried.is_empty() => "the first choice, and it has data".to_owned(),
        None => "the first in the order deploy, 1d, 1w, prev that has data".to_owned(),
    };
    match &candidate.doubt {
        Some(doubt) => format!("Compared with {what}: {reason}; with doubts, because {doubt}."),
        None => format!("Compared with {what}: {reason}."),
    }
}

/// The slowest requests of the window, at most two of a route.
fn slowest(routes: &[Route]) -> Vec<TraceRef> {
    let mut traces: Vec<TraceRef> = routes
        .iter()
        .flat_map(|route| {
            route.slowest.iter().take(2).map(|request| TraceRef {
                trace_id: request.trace_id.clone(),
                route: route.route.clone(),
                duration_us: request.duration_us,
                start_ms: request.start_ms,
            })
        })
        .collect();
    traces.sort_by_key(|trace| std::cmp::Reverse(trace.duration_us));
    traces.truncate(TRACES_MAX);
    traces
}
