//! What one window knows of requests: its routes and what was counted of each, and its examples.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use super::examples::{Example, Examples};
use super::histogram::Counts;
use super::route::{ROUTES_MAX, Route};
use super::span::{Span, Status};

/// Shared by routes for which there is no room.
const OVERFLOW_ROUTE: &str = "…";

/// Routes by name. Few, so it does not matter that clients may choose their names.
type Routes = FxHashMap<Arc<str>, Arc<Route>>;

/// One window. Any number of threads add to it at once.
#[derive(Debug)]
pub(super) struct Tally {
    routes: Mutex<Routes>,
    examples: Mutex<Examples>,
}

/// What one thread after the other knows of a window's routes, so that each is looked up in the window once.
#[derive(Debug, Default)]
pub(super) struct Known {
    routes: Routes,
    /// All routes that the window will ever have are known, and the rest shares this one.
    rest: Option<Arc<Route>>,
}

/// What a window is found to hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Names of routes by number.
    pub(super) names: Vec<Arc<str>>,
    pub(super) counts: Vec<RouteCounts>,
    pub(super) examples: Vec<Example>,
    /// See [`Examples::cut`].
    pub(super) cut: (u64, u64),
}

/// The requests of one route that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteCounts {
    pub(crate) route: Arc<str>,
    pub(crate) status: Status,
    pub(crate) counts: Counts,
}

impl Tally {
    /// An empty window, in which a trace is told of everywhere if it holds after so many halvings.
    pub(super) fn new(halvings: u32) -> Self {
        Self { routes: Mutex::default(), examples: Mutex::new(Examples::new(halvings)) }
    }

    /// Takes a request that ended, and returns the number of its route.
    pub(super) fn add(&self, known: &mut Known, route: &str, span: &Span) -> u8 {
        let learned;
        let route = match known.routes.get(route) {
            Some(route) => route,
            None => {
                learned = self.learn(known, route);
                &learned
            }
        };
        route.count(span);
        if route.may_tell_of(span) {
            lock(&self.examples).offer(route, *span);
        }
        route.number
    }

    fn learn(&self, known: &mut Known, name: &str) -> Arc<Route> {
        if let Some(rest) = &known.rest {
            return Arc::clone(rest);
        }
        let mut routes = lock(&self.routes);
        if routes.len() < ROUTES_MAX - 1 || routes.contains_key(name) {
            let route = find(&mut routes, name);
            known.routes.insert(Arc::clone(&route.name), Arc::clone(&route));
            return route;
        }
        let rest = find(&mut routes, OVERFLOW_ROUTE);
        known.routes.clone_from(&routes);
        known.rest = Some(Arc::clone(&rest));
        rest
    }

    /// Everything that was added, once nobody adds any more. It turned out that a trace is told of everywhere only if it holds after
    /// so many halvings.
    pub(super) fn finish(self, halvings: u32) -> Contents {
        let mut examples = self.examples.into_inner().unwrap_or_else(PoisonError::into_inner);
        examples.halve_to(halvings);
        let cut = examples.cut();
        let routes = self.routes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut routes: Vec<Arc<Route>> = routes.into_values().collect();
        routes.sort_unstable_by_key(|route| route.number);
        let counts = routes.iter().flat_map(|of| {
            of.counts().map(move |(status, counts)| RouteCounts { route: Arc::clone(&of.name), status, counts })
        });
        Contents {
            counts: counts.collect(),
            names: routes.iter().map(|route| Arc::clone(&route.name)).collect(),
            examples: examples.finish(),
            cut,
        }
    }
}

/// The route of that name, which is new or known; there is room for it.
fn find(routes: &mut Routes, name: &str) -> Arc<Route> {
    if let Some(route) = routes.get(name) {
        return Arc::clone(route);
    }
    let name: Arc<str> = name.into();
    let route = Arc::new(Route::new(Arc::clone(&name), routes.len() as u8));
    routes.insert(name, Arc::clone(&route));
    route
}

/// For some tens of nanoseconds, whoever holds it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::requests::testing::{mix, span};

    fn counts_by_route(tally: Tally) -> HashMap<String, u64> {
        let mut counts = HashMap::new();
        for RouteCounts { route, counts: of, .. } in tally.finish(0).counts {
            *counts.entry(route.to_string()).or_default() += of.bins.iter().map(|(_, count)| count).sum::<u64>();
        }
        counts
    }

    #[test]
    fn too_many_routes_share_one_name_and_all_requests_are_counted() {
        let tally = Tally::new(0);
        let mut known = [Known::default(), Known::default(), Known::default()];
        for i in 0..10_000 {
            let known = &mut known[i % 3];
            tally.add(known, "/often", &span(mix(i as u64), 1_000));
            tally.add(known, &format!("/{i}"), &span(mix(i as u64), 1_000));
        }
        assert!(known.iter().all(|known| known.routes.len() == ROUTES_MAX && known.rest.is_some()));
        let counts = counts_by_route(tally);
        assert_eq!((counts.len(), counts["/often"]), (ROUTES_MAX, 10_000));
        assert_eq!(counts[OVERFLOW_ROUTE], 10_000 - (ROUTES_MAX as u64 - 2));
    }

    #[test]
    fn a_route_that_one_thread_reported_first_keeps_its_name_with_all_others() {
        let tally = Tally::new(0);
        let (mut first, mut second) = (Known::default(), Known::default());
        for i in 0..ROUTES_MAX - 1 {
            tally.add(&mut first, &format!("/{i}"), &span(1, 1_000));
        }
        for name in ["/62", "/new", "/0", "/new"] {
            tally.add(&mut second, name, &span(1, 1_000));
        }
        let counts = counts_by_route(tally);
        assert_eq!((counts["/62"], counts["/0"], counts[OVERFLOW_ROUTE]), (2, 2, 2));
    }

    #[test]
    fn a_program_may_call_a_route_like_the_rest() {
        let tally = Tally::new(0);
        let mut known = Known::default();
        tally.add(&mut known, OVERFLOW_ROUTE, &span(1, 1_000));
        for i in 0..100 {
            tally.add(&mut known, &format!("/{i}"), &span(1, 1_000));
        }
        let counts = counts_by_route(tally);
        assert_eq!((counts.len(), counts[OVERFLOW_ROUTE]), (ROUTES_MAX - 1, 1 + 100 - (ROUTES_MAX as u64 - 2)));
    }

    #[test]
    fn examples_have_their_routes_by_number() {
        let tally = Tally::new(0);
        let mut known = Known::default();
        for (route, duration) in [("/b", 1_000), ("/a", 2_000), ("/b", 3_000)] {
            tally.add(&mut known, route, &span(1, duration));
        }
        let contents = tally.finish(0);
        let named: Vec<(&str, u64)> = contents
            .examples
            .iter()
            .map(|example| (&*contents.names[usize::from(example.route)], example.span.duration_ns))
            .collect();
        assert_eq!(named, [("/b", 1_000), ("/b", 3_000), ("/a", 2_000)]);
    }
}
