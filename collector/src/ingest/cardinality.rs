//! Cardinality caps: what strangers may invent (services, series, agents, types) is bounded for each service, so that neither the
//! catalog nor a query's tables grow with it.
//!
//! Beyond the cap on series a window is kept, under one overflow series of its service: its stacks still count, only who sent
//! them is lost. Beyond the cap on labels of samples a sample is kept, under one overflow value of its label. Beyond the other caps a
//! window is sent back for later: agents keep it and come again. Who was there before a flood of names keeps its place, also across
//! restarts; who sends nothing makes room; and the types that our own agents send have places that nobody can take. Each collector counts
//! for itself.

mod known;
mod recent;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tephra_proto::ids::InstanceName;
use tephra_proto::v1;

use super::relabel::OVERFLOW_VALUE;
use crate::base::labels::{Label, Labels};
use crate::conditions::{Conditions, Severity};
use crate::profile::decode::{Header, Window};
use crate::profile::model::OWN_TYPES;
use recent::Recent;

/// The instance that windows beyond the cap on series are filed under; they have no labels.
pub const OVERFLOW_INSTANCE: &str = "__other__";

/// How much one collector lets be invented.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Series (instance and resource labels) of one service that sent something within the last hour. A service with 500
    /// instances that is deployed three times an hour has 2 000.
    pub series_max: usize,
    /// Labels of single samples (name and value) of one service within the last hour.
    pub sample_labels_max: usize,
    /// Services that sent something within the last day.
    pub services_max: usize,
    /// Agents (processes, counted anew at each start) of one service within the last day: each has a row that
    /// tells repeats from new windows.
    pub agents_max: usize,
    /// Profile types of one service within the last day, besides [`OWN_TYPES`].
    pub types_max: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { series_max: 2_000, sample_labels_max: 1_000, services_max: 10_000, agents_max: 50_000, types_max: 128 }
    }
}

/// A series or a label that was not seen for this long makes room for another.
const SERIES_IDLE_MS: u64 = 3_600_000;

/// A service, agent or type that was not seen for this long makes room.
const IDLE_MS: u64 = 86_400_000;

/// Services named on the status page because they overflow.
const NAMED_MAX: usize = 100;

/// A condition is over once nothing was turned away for this long.
const OVER_AFTER_MS: u64 = 300_000;

/// So many conditions at a time are enough to see what is going on.
const TOLD_MAX: usize = 64;

/// There is no room for what a window names: it is to be sent again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The collector has as many services as it keeps.
    #[error(
        "service {service:?} is new, and {limit} services send to this collector already: one that sends nothing makes room"
    )]
    Services {
        /// The new one.
        service: String,
        /// How many there may be.
        limit: usize,
    },
    /// Its service has as many of something as it may.
    #[error("service {service:?} has {limit} {what} already: one that sends nothing makes room")]
    OfService {
        /// Which service.
        service: String,
        /// Of what.
        what: &'static str,
        /// How many it may have.
        limit: usize,
    },
}

/// The series that a window is filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Series {
    /// The one it names.
    Own,
    /// The overflow series of its service.
    Overflow,
}

/// What becomes of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) series: Series,
    /// Labels of its samples that there is no room for.
    pub(super) beyond: HashSet<Label>,
}

/// Rewrites a window's header, as it arrived and as it was checked, to the overflow series.
pub(super) fn move_to_overflow(wire: &mut v1::PushHeader, checked: &mut Header) {
    wire.instance = OVERFLOW_INSTANCE.to_owned();
    wire.labels.clear();
    checked.instance = overflow_instance();
    checked.labels = Labels::default();
}

fn overflow_instance() -> InstanceName {
    // A constant that is within the grammar.
    InstanceName::parse(OVERFLOW_INSTANCE).unwrap_or_else(|_| unreachable!("{OVERFLOW_INSTANCE} is a name"))
}

/// Who sent something lately.
#[derive(Debug)]
pub(super) struct Cardinality {
    caps: Caps,
    hasher: RandomState,
    services: Mutex<Recent<String, Service>>,
    conditions: Conditions,
    /// Conditions that were told, and when something last gave cause to.
    told: Mutex<HashMap<(&'static str, String), u64>>,
}

/// What is known of one service.
#[derive(Debug, Default)]
struct Service {
    series: Recent<u64, ()>,
    /// Instances that sent something before this process started, and when: each has a place until it is heard of or idle.
    expected: HashMap<u64, u64>,
    sample_labels: Recent<u64, ()>,
    agents: Recent<u64, ()>,
    types: Recent<String, ()>,
    overflowed: u64,
}

/// Windows of a service that went to its overflow series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overflow {
    /// Which service.
    pub service: String,
    /// How many windows since the start.
    pub windows: u64,
}

impl Cardinality {
    pub(super) fn new(caps: Caps, conditions: Conditions) -> Self {
        #[expect(clippy::disallowed_methods, reason = "whoever sends names must not know which of them collide")]
        let hasher = RandomState::new();
        let (services, told) = (Mutex::default(), Mutex::default());
        Self { caps, hasher, services, conditions, told }
    }

    /// Files a window that was checked.
    pub(super) fn file(&self, window: &Window, now_ms: u64) -> Result<Filed, Full> {
        let filed = self.file_in(&mut self.lock(), window, now_ms);
        let service = window.header.service.as_str();
        match &filed {
            Err(full) => {
                let subject = match full {
                    Full::Services { .. } => "services".to_owned(),
                    Full::OfService { what, .. } => format!("{what} of {service}"),
                };
                let message = || format!("windows are sent back: {full}; find out who invents names");
                self.tell("names_full", subject, Severity::Degraded, message, now_ms);
            }
            Ok(Filed { series, beyond }) => {
                if *series == Series::Overflow {
                    let limit = self.caps.series_max;
                    let message = || {
                        format!(
                            "{service} has more than {limit} series an hour: further ones are stored as instance {OVERFLOW_INSTANCE}; leave \
                             out a label, or allow more with --series-max"
                        )
                    };
                    self.tell("series_merged", service.to_owned(), Severity::Notice, message, now_ms);
                }
                if let Some((name, _)) = beyond.iter().next() {
                    let limit = self.caps.sample_labels_max;
                    let message = || {
                        format!(
                            "samples of {service} have more than {limit} labels an hour: further values, as of {name}, are stored as \
                             {OVERFLOW_VALUE}"
                        )
                    };
                    self.tell("labels_merged", service.to_owned(), Severity::Notice, message, now_ms);
                }
            }
        }
        filed
    }

    fn file_in(&self, services: &mut Recent<String, Service>, window: &Window, now_ms: u64) -> Result<Filed, Full> {
        let header = &window.header;
        let name = header.service.as_str();
        let Caps { series_max, sample_labels_max, services_max, agents_max, types_max } = self.caps;
        let no_room = || Full::Services { service: name.to_owned(), limit: services_max };
        let service = services.seen(name, services_max, now_ms, IDLE_MS).ok_or_else(no_room)?;
        let full = |what, limit| Full::OfService { service: name.to_owned(), what, limit };
        for series in &window.series {
            let name = series.profile_type.name.as_str();
            if !OWN_TYPES.contains(&name) {
                let seen = service.types.seen(name, types_max, now_ms, IDLE_MS);
                seen.ok_or_else(|| full("profile types", types_max))?;
            }
        }
        let agent = self.hasher.hash_one((header.id.agent_id, header.id.boot_id));
        service.agents.seen(&agent, agents_max, now_ms, IDLE_MS).ok_or_else(|| full("agents", agents_max))?;
        let series = match self.has_series(service, header, series_max, now_ms) {
            true => Series::Own,
            false => Series::Overflow,
        };
        service.overflowed += u64::from(series == Series::Overflow);
        let mut labels: HashSet<Label> =
            window.series.iter().flat_map(|series| series.labels.pairs()).cloned().collect();
        labels.retain(|(name, value)| {
            let label = self.hasher.hash_one((&**name, &**value));
            service.sample_labels.seen(&label, sample_labels_max, now_ms, SERIES_IDLE_MS).is_none()
        });
        Ok(Filed { series, beyond: labels })
    }

    /// Says whether there is room for the window's series.
    fn has_series(&self, service: &mut Service, header: &Header, limit: usize, now_ms: u64) -> bool {
        let series = self.hasher.hash_one((header.instance.as_str(), &header.labels));
        // The first series of an instance that is expected takes the place that is kept for it.
        service.expected.remove(&self.hasher.hash_one(header.instance.as_str()));
        let mut seen = |expected: usize| {
            service.series.seen(&series, limit.saturating_sub(expected), now_ms, SERIES_IDLE_MS).is_some()
        };
        if seen(service.expected.len()) {
            return true;
        }
        let before = service.expected.len();
        service.expected.retain(|_, last_ms| now_ms.saturating_sub(*last_ms) < SERIES_IDLE_MS);
        service.expected.len() < before && seen(service.expected.len())
    }

    /// Ends the conditions for which there was no cause for a while.
    pub(super) fn settle(&self, now_ms: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(kind, subject), last_ms| {
            let lasts = now_ms.saturating_sub(*last_ms) < OVER_AFTER_MS;
            if !lasts {
                self.conditions.end(kind, subject);
            }
            lasts
        });
    }

    fn tell(
        &self,
        kind: &'static str,
        subject: String,
        severity: Severity,
        message: impl FnOnce() -> String,
        now_ms: u64,
    ) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, subject);
        if let Some(last_ms) = told.get_mut(&key) {
            *last_ms = now_ms;
        } else if told.len() < TOLD_MAX {
            self.conditions.begin(kind, &key.1, severity, message());
            told.insert(key, now_ms);
        }
    }

    /// Services with an overflow series, the largest first; at most 100.
    pub(super) fn overflows(&self) -> Vec<Overflow> {
        let services = self.lock();
        let over = services.iter().filter(|(_, service)| service.overflowed > 0);
        let mut over: Vec<_> =
            over.map(|(name, s)| Overflow { service: name.clone(), windows: s.overflowed }).collect();
        over.sort_by(|a, b| b.windows.cmp(&a.windows).then_with(|| a.service.cmp(&b.service)));
        over.truncate(NAMED_MAX);
        over
    }

    pub(super) fn caps(&self) -> &Caps {
        &self.caps
    }

    fn lock(&self) -> MutexGuard<'_, Recent<String, Service>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
