//! Names slow traces in answers, so that whoever else served a part of them tells of it: each service chooses its slowest by itself, and the
//! other half of a slow trace would be missing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tephra_proto::limits::SLOW_TRACES_MAX;

use crate::profile::decode::Window;

/// Of a route, at a time.
const PER_ROUTE: usize = 4;

/// Routes of all services.
const ROUTES_MAX: usize = 4_096;

/// How long a trace may be named. Agents remember for 30 s what ended, and send once in ten.
const NAMED_MS: u64 = 40_000;

/// For how long it is named at least, whatever slower ones come: until each agent has heard of it, even if one answer was lost.
const HEARD_MS: u64 = 20_000;

/// For how long the same traces are named: answers are many, and agents send once in ten seconds.
const CHOSEN_MS: u64 = 1_000;

/// The slowest traces that windows told of lately.
#[derive(Debug, Default)]
pub(super) struct SlowTraces(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By service and route.
    routes: HashMap<(Arc<str>, Arc<str>), Vec<Slow>>,
    /// What is named, and since when, unix milliseconds.
    named: Vec<([u8; 16], u64)>,
    /// The same as answers say it, 16 bytes each, and until when.
    answer: Vec<u8>,
    answer_until_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slow {
    trace_id: [u8; 16],
    duration_us: u64,
    /// When it was heard of, unix milliseconds.
    at_ms: u64,
}

impl SlowTraces {
    /// Takes note of a window's slowest requests.
    pub(super) fn note(&self, window: &Window, now_ms: u64) {
        if window.spans.is_empty() {
            return;
        }
        let service: Arc<str> = window.header.service.as_str().into();
        let Inner { routes, .. } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What stands for no request was asked for: it would be named for ever.
        for span in window.spans.iter().filter(|span| span.weight > 0.0) {
            let key = (service.clone(), span.route.clone());
            if routes.len() >= ROUTES_MAX && !routes.contains_key(&key) {
                continue;
            }
            let of_route = routes.entry(key).or_default();
            of_route.retain(|slow| now_ms.saturating_sub(slow.at_ms) < NAMED_MS);
            let trace_id = span.link.trace_id.to_bytes();
            if of_route.iter().any(|slow| slow.trace_id == trace_id) {
                continue;
            }
            of_route.push(Slow { trace_id, duration_us: span.duration_us, at_ms: now_ms });
            of_route.sort_by_key(|slow| std::cmp::Reverse(slow.duration_us));
            of_route.truncate(PER_ROUTE);
        }
    }

    /// Ids of up to 64 of them, 16 bytes each: those that not all have heard of yet; then the slowest of every route, the second, and so
    /// on. Chosen anew once a second.
    pub(super) fn names(&self, now_ms: u64) -> Vec<u8> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back starts anew.
        if !(inner.answer_until_ms.saturating_sub(CHOSEN_MS)..inner.answer_until_ms).contains(&now_ms) {
            inner.choose(now_ms);
            inner.answer = inner.named.iter().flat_map(|(trace_id, _)| *trace_id).collect();
            inner.answer_until_ms = now_ms.saturating_add(CHOSEN_MS);
        }
        inner.answer.clone()
    }
}

impl Inner {
    fn choose(&mut self, now_ms: u64) {
        self.named.retain(|(_, since_ms)| (*since_ms..since_ms.saturating_add(HEARD_MS)).contains(&now_ms));
        self.routes.retain(|_, of_route| {
            of_route.retain(|slow| now_ms.saturating_sub(slow.at_ms) < NAMED_MS);
            !of_route.is_empty()
        });
        let mut all: Vec<(usize, Slow)> =
            self.routes.values().flat_map(|of_route| of_route.iter().copied().enumerate()).collect();
        all.sort_by_key(|(rank, slow)| (*rank, std::cmp::Reverse(slow.duration_us), slow.trace_id));
        for (_, slow) in all {
            if self.named.len() >= SLOW_TRACES_MAX {
                break;
            }
            if !self.named.iter().any(|(trace_id, _)| *trace_id == slow.trace_id) {
                self.named.push((slow.trace_id, now_ms));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::TestWindow;
    use crate::profile::decode::{Lateness, decode};

    const NOW: u64 = 1_800_000_000_000;

    fn window(service: &str, spans: &[(u8, &str, u64)]) -> Window {
        let mut window = TestWindow::new(service, 1, 1, NOW);
        for (trace, route, duration_us) in spans {
            window = window.span(*trace, route, 0, *duration_us);
        }
        let request = window.request();
        decode(&request.header.unwrap(), &request.payload, request.payload_bytes, Lateness::Stored).unwrap()
    }

    fn named(slow: &SlowTraces, now_ms: u64) -> Vec<u8> {
        slow.names(now_ms).chunks(16).map(|id| id[0]).collect()
    }

    #[test]
    fn the_slowest_of_every_route_are_named_first_and_not_for_ever() {
        let slow = SlowTraces::default();
        let spans = [(1, "/a", 100), (2, "/a", 900), (3, "/a", 500), (4, "/a", 300), (5, "/a", 200), (6, "/b", 50)];
        slow.note(&window("shop", &spans), NOW);
        slow.note(&window("other", &[(2, "/c", 70), (7, "/c", 60)]), NOW + 20_000);
        assert_eq!(named(&slow, NOW + 20_000), [2, 6, 3, 7, 4, 5], "1 is not among the four slowest of its route");
        assert_eq!(named(&slow, NOW + NAMED_MS), [2, 7]);
        assert!(named(&slow, NOW + 2 * NAMED_MS).is_empty());
    }

    #[test]
    fn what_was_asked_for_is_not_asked_for_again() {
        let slow = SlowTraces::default();
        let mut told = window("shop", &[(1, "/a", 100)]);
        told.spans[0].weight = 0.0;
        slow.note(&told, NOW);
        assert!(named(&slow, NOW).is_empty());
    }

    #[test]
    fn answers_of_one_second_name_the_same() {
        let slow = SlowTraces::default();
        slow.note(&window("shop", &[(1, "/a", 100)]), NOW);
        assert_eq!(named(&slow, NOW), [1]);
        slow.note(&window("shop", &[(2, "/b", 900)]), NOW + 1);
        assert_eq!(named(&slow, NOW + CHOSEN_MS - 1), [1]);
        assert_eq!(named(&slow, NOW + CHOSEN_MS), [1, 2]);
        slow.note(&window("shop", &[(3, "/c", 2_000)]), NOW + CHOSEN_MS);
        assert_eq!(named(&slow, NOW + 5), [1, 3, 2], "the clock was set back");
    }

    #[test]
    fn what_is_named_is_named_until_all_agents_have_heard_of_it() {
        let slow = SlowTraces::default();
        slow.note(&window("shop", &[(1, "/a", 100)]), NOW);
        assert_eq!(named(&slow, NOW), [1]);
        let slower = [(2, "/a", 200), (3, "/a", 300), (4, "/a", 400), (5, "/a", 500)];
        slow.note(&window("shop", &slower), NOW + 10_000);
        assert_eq!(named(&slow, NOW + 10_000), [1, 5, 4, 3, 2]);
        assert_eq!(named(&slow, NOW + HEARD_MS - 1), [1, 5, 4, 3, 2]);
        assert_eq!(named(&slow, NOW + HEARD_MS + CHOSEN_MS), [5, 4, 3, 2]);
    }

    #[test]
    fn there_is_room_for_slower_ones_once_all_agents_have_heard_of_the_others() {
        let slow = SlowTraces::default();
        let note = |traces: std::ops::Range<u8>, at_ms| {
            for trace in traces {
                slow.note(&window("shop", &[(trace, &format!("/{trace}"), u64::from(trace))]), NOW + at_ms);
            }
        };
        let named = |at_ms| {
            let mut named = named(&slow, NOW + at_ms);
            named.sort_unstable();
            named
        };
        note(10..74, 0);
        assert_eq!(named(0), (10..74).collect::<Vec<u8>>());
        note(110..174, 10_000);
        assert_eq!(named(10_000), (10..74).collect::<Vec<u8>>());
        assert_eq!(named(HEARD_MS), (110..174).collect::<Vec<u8>>());
    }

    #[test]
    fn an_answer_names_at_most_so_many() {
        let slow = SlowTraces::default();
        for n in 0..100u8 {
            slow.note(&window("shop", &[(n + 1, &format!("/{n}"), u64::from(n))]), NOW);
        }
        let names = named(&slow, NOW);
        assert_eq!((names.len(), names[0], names[63]), (SLOW_TRACES_MAX, 100, 37));
    }
}
