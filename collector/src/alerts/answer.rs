//! What an alert link answers: the same for the page, for machines and for a chat's preview.

use serde::Serialize;
use tephra_proto::label::NameError;

use super::baseline::Passed;
use super::link::{AlertLink, Vs, encode};
use crate::profile::header::{Mover, Sentence, TypeInfo};
use crate::query::QueryError;
use crate::store::catalog::{CatalogError, Event};

/// The answer to an alert link.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The question.
    pub link: AlertLink,
    /// What was compared.
    pub profile_type: TypeInfo,
    /// The unit of all values in it.
    pub unit: String,
    /// The window that was looked at, unix milliseconds, end exclusive. It may start later than asked for: at a deploy.
    pub window: (u64, u64),
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
    /// Unix milliseconds, end exclusive.
    pub range: (u64, u64),
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
    /// The link's service has no valid name.
    #[error(transparent)]
    Service(#[from] NameError),
    /// The profiles.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The events.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The computation itself.
    #[error("the comparison failed: {0}")]
    Task(String),
}

impl Answer {
    /// Where to go from here.
    pub fn links(&self) -> Links {
        let (service, name) = (encode(&self.link.service), encode(&self.profile_type.name));
        let labels: String =
            self.link.labels.iter().map(|(label, value)| format!("&label.{label}={}", encode(value))).collect();
        let ((b_from, b_until), (a_from, a_until)) = (self.window, self.baseline.range);
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
