//! Cardinality caps: what strangers may invent (services, series, agents, types) is bounded for each service, so that neither the
//! catalog nor a query's tables grow with it.
//!
//! Beyond the cap on series a window is kept, under one overflow series of its service: its stacks still count, only who sent
//! them is lost. Beyond the cap on labels of samples a sample is kept, under one overflow value of its label. Each collector counts for itself, and starts anew with its process.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use tephra_proto::ids::InstanceName;
use tephra_proto::v1;

use super::relabel::LabelPairs;
use crate::profile::decode::{Header, Rejection, Window};

/// The instance that windows beyond the cap on series are filed under; they have no labels.
pub const OVERFLOW_INSTANCE: &str = "__other__";

/// The value of labels of samples beyond the cap.
pub const OVERFLOW_VALUE: &str = "__other__";

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
    /// Profile types of one service.
    pub types_max: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { series_max: 2_000, sample_labels_max: 1_000, services_max: 10_000, agents_max: 50_000, types_max: 128 }
    }
}

/// A series that sent nothing for this long makes room for another.
const SERIES_IDLE_MS: u64 = 3_600_000;

/// A service or agent that sent nothing for this long is forgotten.
const IDLE_MS: u64 = 86_400_000;

/// How often a full table is searched for idle entries.
const SWEEP_MS: u64 = 60_000;

/// Services named on the status page because they overflow.
const NAMED_MAX: usize = 100;

/// Where a window belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the series it names.
    Own,
    /// In the overflow series of its service.
    Overflow,
}

/// What becomes of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) place: Place,
    /// Labels of its samples that there is no room for.
    pub(super) beyond: LabelPairs,
}

/// Rewrites a window's header, as it arrived and as it was checked, to the overflow series.
pub(super) fn move_to_overflow(wire: &mut v1::PushHeader, checked: &mut Header) {
    wire.instance = OVERFLOW_INSTANCE.to_owned();
    wire.labels.clear();
    checked.instance = overflow_instance();
    checked.labels.clear();
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
}

/// What is known of one service.
#[derive(Debug, Default)]
struct Service {
    series: Recent<u64, ()>,
    sample_labels: Recent<u64, ()>,
    agents: Recent<u64, ()>,
    types: BTreeSet<String>,
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
    pub(super) fn new(caps: Caps) -> Self {
        Self { caps, hasher: RandomState::new(), services: Mutex::default() }
    }

    /// Finds the place of a window that was checked.
    pub(super) fn place(&self, window: &Window, now_ms: u64) -> Result<Placed, Rejection> {
        let header = &window.header;
        let name = header.service.as_str();
        let full = |what, limit| Rejection::Cardinality { service: name.to_owned(), what, limit };
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.caps.services_max;
        let service = services.seen(name, limit, now_ms, IDLE_MS).ok_or_else(|| full("services", limit))?;
        let limit = self.caps.agents_max;
        let agent = self.hasher.hash_one((header.id.agent_id, header.id.boot_id));
        service.agents.seen(&agent, limit, now_ms, IDLE_MS).ok_or_else(|| full("agents", limit))?;
        for series in &window.series {
            let name = &series.profile_type.name;
            if !service.types.contains(name) {
                if service.types.len() >= self.caps.types_max {
                    return Err(full("profile types", self.caps.types_max));
                }
                service.types.insert(name.clone());
            }
        }
        let series = self.hasher.hash_one((header.instance.as_str(), &header.labels));
        let place = match service.series.seen(&series, self.caps.series_max, now_ms, SERIES_IDLE_MS) {
            Some(()) => Place::Own,
            None => Place::Overflow,
        };
        service.overflowed += u64::from(place == Place::Overflow);
        let mut labels: LabelPairs = window.series.iter().flat_map(|series| &series.labels).cloned().collect();
        labels.retain(|label| {
            let limit = self.caps.sample_labels_max;
            service.sample_labels.seen(&self.hasher.hash_one(label), limit, now_ms, SERIES_IDLE_MS).is_none()
        });
        Ok(Placed { place, beyond: labels })
    }

    /// Services with an overflow series, the largest first; at most 100.
    pub(super) fn overflows(&self) -> Vec<Overflow> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let over = services.entries.iter().filter(|(_, (_, service))| service.overflowed > 0);
        let mut over: Vec<_> =
            over.map(|(name, (_, s))| Overflow { service: name.clone(), windows: s.overflowed }).collect();
        over.sort_by(|a, b| b.windows.cmp(&a.windows).then_with(|| a.service.cmp(&b.service)));
        over.truncate(NAMED_MAX);
        over
    }

    pub(super) fn caps(&self) -> &Caps {
        &self.caps
    }
}

/// A table of what was seen lately, which takes new entries as long as there is room.
#[derive(Debug)]
struct Recent<K, V> {
    /// With when each was seen last.
    entries: HashMap<K, (u64, V)>,
    swept_ms: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), swept_ms: 0 }
    }
}

impl<K: Hash + Eq, V: Default> Recent<K, V> {
    /// The entry of `key`, seen now; `None` when it is new and there is no room. Entries idle for `idle_ms` make room, but a full
    /// table is not searched for them at every call.
    fn seen<Q>(&mut self, key: &Q, limit: usize, now_ms: u64, idle_ms: u64) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if !self.entries.contains_key(key) {
            if self.entries.len() >= limit && now_ms.saturating_sub(self.swept_ms) >= SWEEP_MS {
                self.swept_ms = now_ms;
                self.entries.retain(|_, (seen_ms, _)| now_ms.saturating_sub(*seen_ms) < idle_ms);
            }
            if self.entries.len() >= limit {
                return None;
            }
            self.entries.insert(key.to_owned(), (now_ms, V::default()));
        }
        let (seen_ms, value) = self.entries.get_mut(key)?;
        *seen_ms = now_ms.max(*seen_ms);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::{TestWindow, row};
    use crate::profile::decode::{self, Lateness};

    const NOW: u64 = 1_700_000_000_000;

    fn caps() -> Caps {
        Caps { series_max: 3, sample_labels_max: 2, services_max: 2, agents_max: 10, types_max: 2 }
    }

    fn window(service: &str, agent: u8, zone: &str) -> Window {
        let request = TestWindow::new(service, agent, 1, NOW).label("zone", zone).cpu(&[row("main", 1)]).request();
        decode::decode(&request.header.unwrap(), &request.payload, request.payload_bytes, Lateness::Stored).unwrap()
    }

    #[test]
    fn series_beyond_the_cap_overflow_and_those_that_were_there_stay() {
        let cardinality = Cardinality::new(caps());
        let place = |agent, zone: &str, at| cardinality.place(&window("shop", agent, zone), at).unwrap().place;
        assert_eq!([place(1, "a", NOW), place(1, "b", NOW), place(2, "a", NOW)], [Place::Own; 3]);
        assert_eq!([place(2, "b", NOW), place(3, "a", NOW)], [Place::Overflow; 2]);
        assert_eq!(place(1, "b", NOW + 1), Place::Own);
        // Within the hour nobody makes room; afterwards idle series do, but not one that is still there.
        assert_eq!(place(3, "a", NOW + SERIES_IDLE_MS - 1), Place::Overflow);
        assert_eq!(place(1, "b", NOW + SERIES_IDLE_MS), Place::Own);
        assert_eq!(place(3, "a", NOW + SERIES_IDLE_MS + SWEEP_MS), Place::Own);
        assert_eq!(place(1, "b", NOW + SERIES_IDLE_MS + SWEEP_MS), Place::Own);
        assert_eq!(cardinality.overflows(), [Overflow { service: "shop".to_owned(), windows: 3 }]);
    }

    #[test]
    fn invented_services_agents_and_types_are_refused_by_name() {
        let cardinality = Cardinality::new(caps());
        let refused = |window: &Window| {
            let rejection = cardinality.place(window, NOW).unwrap_err();
            assert_eq!(rejection.reason(), "cardinality");
            rejection.to_string()
        };
        for service in ["a", "b"] {
            cardinality.place(&window(service, 1, ""), NOW).unwrap();
        }
        assert!(refused(&window("c", 1, "")).contains("services, limit 2"));
        for agent in 2..=10 {
            cardinality.place(&window("a", agent, ""), NOW).unwrap();
        }
        let message = refused(&window("a", 11, ""));
        assert!(message.contains("\"a\"") && message.contains("agents, limit 10"), "{message}");
        let mut typed = window("b", 1, "");
        for name in ["x", "y"] {
            typed.series.push(typed.series[0].clone());
            typed.series.last_mut().unwrap().profile_type.name = name.to_owned();
        }
        assert!(refused(&typed).contains("profile types, limit 2"));
        assert!(cardinality.place(&window("c", 1, ""), NOW + IDLE_MS).is_ok(), "a day later there is room");
    }

    #[test]
    fn a_million_invented_series_cost_no_memory() {
        let cardinality = Cardinality::new(caps());
        let mut window = window("shop", 1, "");
        for i in 0..1_000_000u32 {
            window.header.labels = vec![("zone".to_owned(), i.to_string())];
            cardinality.place(&window, NOW + u64::from(i)).unwrap();
        }
        let services = cardinality.services.lock().unwrap();
        assert!(services.entries["shop"].1.series.entries.len() <= 3);
        assert_eq!(services.entries["shop"].1.overflowed, 999_997);
    }

    #[test]
    fn labels_of_samples_beyond_the_cap_are_named_and_those_that_were_there_stay() {
        let cardinality = Cardinality::new(caps());
        let beyond = |tenant: &str, at| {
            let mut window = window("shop", 1, "");
            window.series[0].labels = vec![("tenant".into(), tenant.into())];
            let beyond = cardinality.place(&window, at).unwrap().beyond;
            beyond.into_iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>()
        };
        assert_eq!([beyond("a", NOW), beyond("b", NOW)], [[""; 0]; 2]);
        assert_eq!(beyond("c", NOW), ["c"]);
        assert_eq!(beyond("a", NOW), [""; 0]);
        assert_eq!(beyond("c", NOW + SERIES_IDLE_MS + SWEEP_MS), [""; 0], "the others were idle for an hour");
    }
}
