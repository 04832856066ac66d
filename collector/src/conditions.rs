//! What an operator must know while it lasts: a line in the log when it begins, a line when it ends, a row on the status page meanwhile, and,
//! where nothing can be stored or answered until it ends, the reason in `/readyz`.
//!
//! A thousand refused windows are one condition, so a log says it once; who asks later is told as well, which a log cannot do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use crate::base::clock::now_ms;

/// Subjects of one kind that are told at once; a further one is told once another is over.
const SUBJECTS_MAX: usize = 32;

/// How much of the collector a condition stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Everything works; somebody should look.
    Notice,
    /// Some of the work is not done: `/readyz` stays 200.
    Degraded,
    /// Windows are not taken, or questions not answered: `/readyz` says so with 503.
    Unready,
}

impl Severity {
    /// As it is written in `/api/v1/status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Degraded => "degraded",
            Self::Unready => "unready",
        }
    }
}

/// Something that is the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The kind, `snake_case`, for rules of alerting: `disk_full`.
    pub kind: &'static str,
    /// What it is about, where one kind can hold of several things: a build id, a segment. Empty otherwise.
    pub subject: String,
    /// Whether the collector still does its work.
    pub severity: Severity,
    /// A sentence for the operator: what is the case, and what to do.
    pub message: String,
    /// When it began, unix milliseconds.
    pub since_ms: u64,
}

/// All that is the case now. Cheap to clone; clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Arc<Mutex<BTreeMap<(&'static str, String), Condition>>>);

impl Conditions {
    /// Something is the case. Says so in the log if it was not before; whoever calls it again only brings the message up to date.
    pub fn begin(&self, kind: &'static str, subject: &str, severity: Severity, message: impl Into<String>) {
        let message = message.into();
        let mut known = self.lock();
        if let Some(condition) = known.get_mut(&(kind, subject.to_owned())) {
            (condition.severity, condition.message) = (severity, message);
            return;
        }
        if known.keys().filter(|(of, _)| *of == kind).count() >= SUBJECTS_MAX {
            return;
        }
        warn!(condition = kind, subject, severity = severity.name(), "{message}");
        let condition = Condition { kind, subject: subject.to_owned(), severity, message, since_ms: now_ms() };
        known.insert((kind, subject.to_owned()), condition);
    }

    /// It is no longer the case. Says so in the log if it was.
    pub fn end(&self, kind: &'static str, subject: &str) {
        if let Some(condition) = self.lock().remove(&(kind, subject.to_owned())) {
            let lasted_s = now_ms().saturating_sub(condition.since_ms) / 1000;
            info!(condition = kind, subject, lasted_s, "over: {}", condition.message);
        }
    }

    /// [`Self::begin`] with the message, or [`Self::end`] without one.
    pub fn set(&self, kind: &'static str, severity: Severity, message: Option<String>) {
        match message {
            Some(message) => self.begin(kind, "", severity, message),
            None => self.end(kind, ""),
        }
    }

    /// What is the case, the worst first, then the oldest.
    pub fn all(&self) -> Vec<Condition> {
        let mut all: Vec<Condition> = self.lock().values().cloned().collect();
        all.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.since_ms.cmp(&b.since_ms)));
        all
    }

    /// Why this collector is not ready, if it is not.
    pub fn unready(&self) -> Option<String> {
        let mut worst = self.all().into_iter().filter(|condition| condition.severity == Severity::Unready);
        worst.next().map(|condition| condition.message)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Condition>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_condition_begins_once_and_ends_once() {
        let conditions = Conditions::default();
        conditions.set("disk_full", Severity::Unready, Some("5 bytes left".to_owned()));
        let since = conditions.all()[0].since_ms;
        conditions.set("disk_full", Severity::Unready, Some("4 bytes left".to_owned()));
        assert_eq!(conditions.all().len(), 1);
        assert_eq!(conditions.all()[0].since_ms, since);
        assert_eq!(conditions.unready().as_deref(), Some("4 bytes left"));
        conditions.set("disk_full", Severity::Unready, None);
        assert_eq!((conditions.all().len(), conditions.unready()), (0, None));
    }

    #[test]
    fn only_what_stops_the_collector_makes_it_unready_and_comes_first() {
        let conditions = Conditions::default();
        conditions.begin("symbols_failed", "ab12", Severity::Notice, "no names for ab12");
        conditions.begin("compaction_failed", "", Severity::Degraded, "compaction failed");
        assert_eq!(conditions.unready(), None);
        conditions.begin("writes_failed", "", Severity::Unready, "writes fail");
        let kinds: Vec<_> = conditions.all().iter().map(|condition| condition.kind).collect();
        assert_eq!(kinds, ["writes_failed", "compaction_failed", "symbols_failed"]);
        assert_eq!(conditions.unready().as_deref(), Some("writes fail"));
    }

    #[test]
    fn a_flood_of_subjects_is_bounded() {
        let conditions = Conditions::default();
        for subject in 0..1000 {
            conditions.begin("symbols_failed", &subject.to_string(), Severity::Notice, "x");
        }
        assert_eq!(conditions.all().len(), SUBJECTS_MAX);
    }
}
