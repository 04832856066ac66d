//! What an answer rests on: all that is looked up for one link.

use std::sync::Arc;

use super::answer::{AnswerError, TypeChange};
use super::baseline::{Candidate, DEPLOY_REACH_MS, Moment, Passed, candidates};
use super::link::{AlertLink, Vs};
use super::slower::{Slower, slower};
use crate::analysis::requests::{Route, routes};
use crate::analysis::slow::{ExplainError, Explained, Question, Selector, explain};
use crate::analysis::{self, Findings};
use crate::base::range::TimeRange;
use crate::profile::model::{Merged, Partial};
use crate::query::{QueryEngine, QueryError, RequestsAsked, Selection};
use crate::store::Store;
use crate::store::catalog::{CatalogError, Event, EventKind};
use crate::symbols::Symbols;
use crate::work::blocking;

/// An alert event this close to the link's time is the alert the link is about.
const SAME_ALERT_MS: u64 = 120_000;

/// Longest distance from a window to a baseline, and the alerts that may have fired in it.
const ALERT_REACH_MS: u64 = 15 * 86_400_000;

/// Other types that are compared.
const TYPES_MAX: usize = 8;

/// Where it is looked up.
#[derive(Debug, Clone)]
pub(super) struct Sources {
    pub(super) engine: QueryEngine,
    pub(super) store: Arc<Store>,
    pub(super) symbols: Symbols,
}

/// Values of a type over time: starts in unix milliseconds, no value where no window is.
pub(super) type Levels = Vec<(u64, Option<f64>)>;

/// All that was found.
#[derive(Debug)]
pub(super) struct Evidence {
    /// The windows that are compared, and the rules that gave none.
    pub(super) chosen: Candidate,
    pub(super) tried: Vec<Passed>,
    /// What the comparison of the profiles found.
    pub(super) found: Findings,
    /// The deploy nearest before the window's end.
    pub(super) deploy: Option<Event>,
    /// The alert itself, where it was posted.
    pub(super) alert: Option<Event>,
    /// Requests in the window.
    pub(super) routes_now: Vec<Route>,
    /// Which of them got slower.
    pub(super) slower: Option<Slower>,
    /// The type over time, from one window before; empty where it is not known as a whole, or has nothing to be compared with.
    pub(super) levels: Levels,
    /// How the other types changed, largest change first.
    pub(super) types: Vec<TypeChange>,
}

impl Evidence {
    /// Looks everything up.
    ///
    /// # Errors
    /// When the service or the type is unknown, or the profiles cannot be read.
    pub(super) async fn gather(sources: &Sources, link: &AlertLink) -> Result<Self, AnswerError> {
        let Sources { engine, store, symbols } = sources;
        let asked = Asked { engine, link };
        let deploys = asked.events(store, EventKind::Deploy, DEPLOY_REACH_MS, link.at_ms).await?;
        let until = link.at_ms.saturating_add(SAME_ALERT_MS);
        let alerts = asked.events(store, EventKind::Alert, ALERT_REACH_MS, until).await?;
        let (candidates, tried) = candidates(link, &moments(&deploys), &moments(&alerts));
        let Chosen { candidate: chosen, before, now, tried } = asked.choose(candidates, tried).await?;
        let (service, symbols) = (link.service.to_string(), symbols.clone());
        let found = blocking(move || analysis::findings(&service, &before, &now, &symbols)).await?;
        let comparable = found.is_comparable();
        let routes_now = asked.routes(chosen.current).await?;
        let mut slower = slower(&asked.routes(chosen.baseline).await?, &routes_now);
        if let Some(slower) = slower.as_mut().filter(|_| comparable) {
            slower.why = asked.why_slow(chosen.current, &slower.route, &sources.symbols).await?;
        }
        Ok(Self {
            deploy: explaining(deploys, &chosen, link),
            alert: alerts.into_iter().rfind(|alert| alert.event.at_ms >= link.from_ms()),
            routes_now,
            slower,
            levels: if comparable { asked.levels_around().await? } else { Vec::new() },
            types: if comparable { asked.other_types(&chosen).await? } else { Vec::new() },
            chosen,
            tried,
            found,
        })
    }
}

/// A comparison that was settled on.
struct Chosen {
    candidate: Candidate,
    before: Arc<Merged>,
    now: Arc<Merged>,
    tried: Vec<Passed>,
}

/// A link, and whom to ask.
struct Asked<'a> {
    engine: &'a QueryEngine,
    link: &'a AlertLink,
}

impl Asked<'_> {
    /// Events of the service from `reach_ms` before the window.
    async fn events(
        &self,
        store: &Store,
        kind: EventKind,
        reach_ms: u64,
        until_ms: u64,
    ) -> Result<Vec<Event>, CatalogError> {
        let from_ms = self.link.from_ms().saturating_sub(reach_ms);
        store.catalog().events(Some(self.link.service.as_str()), from_ms, until_ms, Some(kind)).await
    }

    /// The first candidate whose baseline has data; where none has any, the last one looked at, empty as it is.
    async fn choose(&self, candidates: Vec<Candidate>, mut tried: Vec<Passed>) -> Result<Chosen, AnswerError> {
        let mut now: Option<(TimeRange, Arc<Merged>)> = None;
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
        // `prev` and `1w` are always candidates.
        let (Some((candidate, before)), Some((_, now))) = (last, now) else { return Err(AnswerError::NoBaseline) };
        tried.retain(|passed| passed.vs != candidate.vs);
        Ok(Chosen { candidate, before, now, tried })
    }

    async fn merge(&self, range: TimeRange) -> Result<Arc<Merged>, QueryError> {
        self.engine.merge(&self.selection(&self.link.profile_type, range)).await
    }

    async fn routes(&self, range: TimeRange) -> Result<Vec<Route>, QueryError> {
        let AlertLink { service, labels, .. } = self.link;
        let asked = RequestsAsked { service: service.clone(), range, labels: labels.clone(), step_ms: None };
        let over = self.engine.requests(&asked).await?;
        // Percentiles of a part say nothing about the whole.
        if over.partial.is_some() {
            return Ok(Vec::new());
        }
        let (spans, _) = self.engine.spans(service, range, labels).await?;
        Ok(routes(over.in_all(), &spans, over.covered_seconds()))
    }

    /// What is known of why the slowest requests to a route are slow: nothing where nothing tells them apart.
    async fn why_slow(&self, range: TimeRange, route: &str, symbols: &Symbols) -> Result<Vec<String>, AnswerError> {
        let AlertLink { service, labels, .. } = self.link;
        let question = Question {
            service: service.clone(),
            range,
            labels: labels.clone(),
            route: route.to_owned(),
            selector: Selector::Slowest { percent: 1.0 },
        };
        reasons(explain(self.engine, symbols, question).await)
    }

    async fn levels_around(&self) -> Result<Levels, QueryError> {
        let window = self.link.window();
        let range = TimeRange { from_ms: window.from_ms.saturating_sub(self.link.window_ms), ..window };
        let (levels, partial) = self.levels(&self.link.profile_type, range).await?;
        // Of a part nobody can say since when.
        Ok(if partial.is_none() { levels } else { Vec::new() })
    }

    async fn other_types(&self, chosen: &Candidate) -> Result<Vec<TypeChange>, QueryError> {
        let types = self.engine.types(&self.link.service).await?;
        let mut changes = Vec::new();
        for name in types.into_iter().map(|t| t.name).filter(|name| *name != self.link.profile_type).take(TYPES_MAX) {
            let (before, _) = self.levels(&name, chosen.baseline).await?;
            let (now, _) = self.levels(&name, chosen.current).await?;
            if let (Some(before), Some(now)) = (mean(&before).filter(|mean| *mean > 0.0), mean(&now)) {
                changes.push(TypeChange { name, delta_share: now / before - 1.0 });
            }
        }
        changes.sort_by(|a, b| b.delta_share.abs().total_cmp(&a.delta_share.abs()));
        Ok(changes)
    }

    /// A type over time, from the sums that windows carry: nothing is decoded for it. Also answers which part of the time it is about.
    async fn levels(&self, profile_type: &str, range: TimeRange) -> Result<(Levels, Option<Partial>), QueryError> {
        let timeline = self.engine.timeline(&self.selection(profile_type, range), None, None).await?;
        let points = timeline.series.first().map(|series| series.points.clone()).unwrap_or_default();
        Ok((points, timeline.partial))
    }

    fn selection(&self, profile_type: &str, TimeRange { from_ms, until_ms }: TimeRange) -> Selection {
        let AlertLink { service, labels, .. } = self.link;
        let (service, profile_type) = (service.clone(), profile_type.to_owned());
        Selection { service, profile_type, from_ms, until_ms, labels: labels.clone(), trace: None }
    }
}

/// What is worth telling of an explanation. Where there was too much to look at, the link still answers what it is about; of a part of the
/// requests nobody can say what the slowest of all are.
fn reasons(explained: Result<(Explained, Option<Partial>), ExplainError>) -> Result<Vec<String>, AnswerError> {
    match explained {
        Ok((explained, None)) if explained.finds_something() => Ok(explained.sentences),
        Ok(_) => Ok(Vec::new()),
        Err(ExplainError::Query(error)) if error.is_of_limit() => Ok(Vec::new()),
        Err(ExplainError::Query(error)) => Err(error.into()),
        Err(ExplainError::Work(error)) => Err(error.into()),
    }
}

fn moments(events: &[Event]) -> Vec<Moment> {
    events.iter().map(|event| Moment { at_ms: event.event.at_ms, title: event.event.title.clone() }).collect()
}

/// The last deploy before the end of the window, if it is near enough to have to do with it, or is what the baseline was chosen by.
fn explaining(deploys: Vec<Event>, chosen: &Candidate, link: &AlertLink) -> Option<Event> {
    let TimeRange { from_ms, until_ms } = chosen.current;
    let last = deploys.into_iter().rfind(|deploy| deploy.event.at_ms < until_ms)?;
    let near = last.event.at_ms >= from_ms.saturating_sub(link.window_ms);
    (near || chosen.vs == Vs::Deploy).then_some(last)
}

fn mean(levels: &[(u64, Option<f64>)]) -> Option<f64> {
    let values: Vec<f64> = levels.iter().filter_map(|(_, value)| *value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_to_explain_costs_a_sentence_and_what_fails_costs_the_answer() {
        let too_large = QueryError::TooLarge { what: "spans", limit: 7 };
        for error in [QueryError::OutOfTime, too_large, QueryError::TooManyWindows { found: 9, limit: 7 }] {
            assert!(reasons(Err(error.into())).is_ok_and(|reasons| reasons.is_empty()));
        }
        assert!(matches!(reasons(Err(QueryError::Cancelled.into())), Err(AnswerError::Query(QueryError::Cancelled))));
    }
}
