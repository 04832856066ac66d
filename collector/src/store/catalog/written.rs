//! Names that this process wrote to the catalog a moment ago: a commit need not write them again.
//!
//! A thousand windows a second name the same services, types and labels all the time. When one of them was seen last need be right to
//! some seconds only, so it is written once in that time; a name that is new, or was seen earlier than known, is written at once. Where
//! other collectors write to the same catalog, they may delete what was written: there nothing is left out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::names::ServiceSpan;
use crate::profile::model::ProfileType;

/// A name may have been seen this much later than the catalog says. Milliseconds: about the length of a window.
const LAG_MS: u64 = 10_000;

/// More names than a busy collector hears of; then it starts anew.
const NAMES_MAX: usize = 200_000;

/// See the module. Cheap to clone; clones know the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Written(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    services: HashMap<String, Service>,
    names: usize,
}

#[derive(Debug, Default)]
struct Service {
    seen: Option<Seen>,
    types: HashMap<String, (ProfileType, Seen)>,
    /// Of windows, and of samples.
    labels: [HashMap<String, HashMap<String, Seen>>; 2],
}

/// First and last sight as the catalog has them at least, unix milliseconds.
#[derive(Debug, Clone, Copy)]
struct Seen {
    first_ms: u64,
    last_ms: u64,
}

impl Seen {
    fn of(span: &ServiceSpan) -> Self {
        Self { first_ms: span.min_ms, last_ms: span.max_ms }
    }

    fn covers(self, span: &ServiceSpan) -> bool {
        self.first_ms <= span.min_ms && span.max_ms <= self.last_ms.saturating_add(LAG_MS)
    }

    fn add(&mut self, span: &ServiceSpan) {
        self.first_ms = self.first_ms.min(span.min_ms);
        self.last_ms = self.last_ms.max(span.max_ms);
    }
}

impl Written {
    /// What of these spans is to be written. A span of which nothing is has no types and labels, and says so.
    pub(super) fn left_of(&self, spans: &[ServiceSpan]) -> Vec<(ServiceSpan, bool)> {
        let names = self.lock();
        let left = |span: &ServiceSpan| {
            let Some(known) = names.services.get(&span.service) else { return (span.clone(), true) };
            let is_new = |pair: &&(String, String), labels: &HashMap<String, HashMap<String, Seen>>| {
                let seen = labels.get(&pair.0).and_then(|values| values.get(&pair.1));
                !seen.is_some_and(|seen| seen.covers(span))
            };
            let left = ServiceSpan {
                service: span.service.clone(),
                types: span.types.iter().filter(|kind| !known.has_type(kind, span)).cloned().collect(),
                labels: span.labels.iter().filter(|pair| is_new(pair, &known.labels[0])).cloned().collect(),
                sample_labels: span
                    .sample_labels
                    .iter()
                    .filter(|pair| is_new(pair, &known.labels[1]))
                    .cloned()
                    .collect(),
                ..*span
            };
            let is_left = !known.seen.is_some_and(|seen| seen.covers(span));
            (left, is_left)
        };
        spans.iter().map(left).collect()
    }

    /// These were committed.
    pub(super) fn note(&self, spans: &[(ServiceSpan, bool)]) {
        let mut names = self.lock();
        let more: usize =
            spans.iter().map(|(span, _)| 1 + span.types.len() + span.labels.len() + span.sample_labels.len()).sum();
        // What is written again is counted again: then it starts anew earlier, which costs a few statements.
        names.names += more;
        if names.names > NAMES_MAX {
            *names = Names { services: HashMap::new(), names: more };
        }
        for (span, is_service) in spans {
            let service = names.services.entry(span.service.clone()).or_default();
            if *is_service {
                service.seen.get_or_insert(Seen::of(span)).add(span);
            }
            for kind in &span.types {
                let (known, seen) =
                    service.types.entry(kind.name.clone()).or_insert_with(|| (kind.clone(), Seen::of(span)));
                known.clone_from(kind);
                seen.add(span);
            }
            for (labels, of) in service.labels.iter_mut().zip([&span.labels, &span.sample_labels]) {
                for (name, value) in of {
                    let values = labels.entry(name.clone()).or_default();
                    values.entry(value.clone()).or_insert_with(|| Seen::of(span)).add(span);
                }
            }
        }
    }

    /// Something was deleted: nothing is known any more.
    pub(super) fn forget(&self) {
        *self.lock() = Names::default();
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    fn has_type(&self, kind: &ProfileType, span: &ServiceSpan) -> bool {
        self.types.get(&kind.name).is_some_and(|(known, seen)| known == kind && seen.covers(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::model::Kind;

    fn span(at_ms: u64, period: u64, instance: &str) -> ServiceSpan {
        let cpu = ProfileType { name: "cpu".to_owned(), unit: "nanoseconds".to_owned(), kind: Kind::Counter, period };
        ServiceSpan {
            service: "shop".to_owned(),
            min_ms: at_ms,
            max_ms: at_ms + 1_000,
            windows: 3,
            types: vec![cpu],
            labels: vec![("instance".to_owned(), instance.to_owned())],
            sample_labels: vec![("route".to_owned(), "/a".to_owned())],
        }
    }

    /// Service, types, labels and sample labels that are to be written; then they are.
    fn write(written: &Written, span: ServiceSpan) -> (bool, usize, usize, usize) {
        let left = written.left_of(&[span]);
        let (span, service) = &left[0];
        let counts = (*service, span.types.len(), span.labels.len(), span.sample_labels.len());
        written.note(&left);
        counts
    }

    #[test]
    fn what_was_written_a_moment_ago_is_left_out_and_what_is_new_never() {
        let written = Written::default();
        assert_eq!(write(&written, span(50_000, 10, "a")), (true, 1, 1, 1));
        assert_eq!(write(&written, span(50_500, 10, "a")), (false, 0, 0, 0));
        assert_eq!(write(&written, span(51_000, 10, "b")), (false, 0, 1, 0));
        assert_eq!(write(&written, span(51_000, 20, "b")), (false, 1, 0, 0), "a type that changed");
        assert_eq!(write(&written, span(51_000, 20, "b")), (false, 0, 0, 0));
        assert_eq!(write(&written, span(50_000 + LAG_MS, 20, "a")), (false, 0, 0, 0));
        assert_eq!(write(&written, span(50_001 + LAG_MS, 20, "a")), (true, 0, 1, 1), "too long ago");
        assert_eq!(write(&written, span(40_000, 20, "b")), (true, 1, 1, 1), "earlier than ever");
        written.forget();
        assert_eq!(write(&written, span(50_000, 10, "a")), (true, 1, 1, 1));
    }

    #[test]
    fn a_flood_of_names_is_not_remembered() {
        let written = Written::default();
        for i in 0..(NAMES_MAX as u64) {
            write(&written, span(50_000, 10, &i.to_string()));
        }
        assert!(written.lock().names <= NAMES_MAX);
    }
}
