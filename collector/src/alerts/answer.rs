//! What an alert link answers: the same for the page, for machines and for a chat's preview.

use serde::Serialize;
use serde_json::{Value, json};

use super::baseline::Passed;
use super::link::{AlertLink, Vs};
use crate::base::range::TimeRange;
use crate::profile::report::{Mover, Sentence, TypeInfo};
use crate::query::QueryError;
use crate::store::catalog::{CatalogError, Event};
use crate::urls::encode;
use crate::work::WorkError;

/// The answer to an alert link.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question.
    pub link: AlertLink,
    /// What was compared.
    pub profile_type: TypeInfo,
    /// The unit of all values in it.
    pub unit: String,
    /// The window that was looked at. It may start later than asked for: at a deploy.
    pub window: TimeRange,
    /// What it was compared with.
    pub baseline: Baseline,
    /// Baselines that were looked at before, and why they were not taken.
    pub tried: Vec<Passed>,
    /// The deploy nearest before the window's end.
    pub deploy: Option<Event>,
    /// The alert itself, where it was posted.
    pub alert: Option<Event>,
    /// The cause in one sentence.
    pub headline: String,
    /// The rest, most important first.
    pub sentences: Vec<Sentence>,
    /// Functions that changed, largest change first.
    pub movers: Vec<Mover>,
    /// How far to trust it.
    pub confidence: Confidence,
    /// Why.
    pub confidence_why: String,
    /// Requests worth a look, best first.
    pub traces: Vec<TraceRef>,
    /// How the other types changed in the same windows, largest change first.
    pub types: Vec<TypeChange>,
}

/// What a window was compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// By which rule.
    pub vs: Vs,
    /// From when to when.
    pub range: TimeRange,
    /// Why this one, as a sentence.
    pub why: String,
}

/// How far to trust an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// Enough samples on both sides.
    High,
    /// Few samples, or a doubtful baseline.
    Low,
    /// Nothing to compare.
    None,
}

impl Confidence {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
            Self::None => "none",
        }
    }
}

/// A request to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceRef {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Such as `GET /checkout`.
    pub route: String,
    /// Microseconds.
    pub duration_us: u64,
    /// Unix milliseconds.
    pub start_ms: u64,
}

/// How another type changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TypeChange {
    /// `alloc_space`, …
    pub name: String,
    /// 0.1: a tenth more than in the baseline.
    pub delta_share: f64,
}

/// Where to go from an answer; all relative to the collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Links {
    /// The answer, for people.
    pub page: String,
    /// The comparison.
    pub diff: String,
    /// The window's flame graph.
    pub flame: String,
    /// The first of the traces.
    pub trace: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The profiles.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The events.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// It had no turn, took too long, or failed.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// No rule gave anything to compare with.
    #[error("no baseline is possible for this link")]
    NoBaseline,
}

impl Answer {
    /// The answer as `/alert.json` gives it.
    pub fn to_json(&self) -> Value {
        let range = |range: TimeRange| json!({ "from": range.from_ms, "until": range.until_ms });
        let mut baseline = range(self.baseline.range);
        baseline["vs"] = self.baseline.vs.as_str().into();
        baseline["why"] = self.baseline.why.clone().into();
        let tried: Vec<Value> =
            self.tried.iter().map(|tried| json!({ "vs": tried.vs.as_str(), "why_not": tried.why_not })).collect();
        json!({
            "service": self.link.service.as_str(),
            "type": self.profile_type,
            "unit": self.unit,
            "at": self.link.at_ms,
            "window": range(self.window),
            "baseline": baseline,
            "tried": tried,
            "deploy": self.deploy.as_ref().map(Event::to_json),
            "alert": self.alert.as_ref().map(Event::to_json),
            "headline": self.headline,
            "sentences": self.sentences,
            "movers": self.movers,
            "confidence": self.confidence.as_str(),
            "confidence_why": self.confidence_why,
            "traces": self.traces,
            "types": self.types,
            "links": self.links(),
        })
    }

    /// Where to go from here.
    pub fn links(&self) -> Links {
        let (service, name) = (encode(self.link.service.as_str()), encode(&self.profile_type.name));
        let labels: String =
            self.link.labels.iter().map(|(label, value)| format!("&label.{label}={}", encode(value))).collect();
        let TimeRange { from_ms: a_from, until_ms: a_until } = self.baseline.range;
        let TimeRange { from_ms: b_from, until_ms: b_until } = self.window;
        Links {
            page: self.link.to_url(),
            diff: format!(
                "/diff?service={service}&type={name}&a.from={a_from}&a.until={a_until}&b.from={b_from}&b.until={b_until}{labels}"
            ),
            flame: format!("/s/{service}?type={name}&from={b_from}&until={b_until}{labels}"),
            trace: self.traces.first().map(|trace| format!("/trace/{}", trace.trace_id)),
        }
    }
}
