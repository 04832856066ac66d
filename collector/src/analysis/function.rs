//! Whose requests a function works for: its cost by the route its samples were taken on, and by single traces.

use std::collections::BTreeMap;

use serde::Serialize;

use super::requests::{Route, SlowRequest};
use crate::base::labels::ROUTE;
use crate::profile::model::{Labelled, Merged};
use crate::profile::tree::Tree;
use crate::symbols::Symbols;

/// Routes in an answer.
const ROUTES_MAX: usize = 20;

/// Slow requests that are looked into: of the routes with the largest shares, so many each.
const CANDIDATE_ROUTES: usize = 5;
const CANDIDATES_OF_EACH: usize = 4;

/// Traces in an answer.
const TRACES_MAX: usize = 10;

/// A route and what a function and whatever it called cost for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouteShare {
    /// Such as `GET /checkout`; empty: samples outside of requests, or of requests without a route.
    pub route: String,
    /// In units of the type.
    pub value: u64,
    /// Part of all that the function cost, 0…1.
    pub share: f64,
    /// Its requests, if any are known.
    pub requests: Option<Requests>,
}

/// The requests of a route as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Number of requests that ended.
    pub count: u64,
    /// Median duration in microseconds.
    pub p50_us: u64,
    /// 99 % took at most this long.
    pub p99_us: u64,
}

/// A request to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its route.
    pub route: String,
    /// Where and when.
    pub request: SlowRequest,
}

/// A request the function worked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceCost {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Its route.
    pub route: String,
    /// Microseconds.
    pub duration_us: u64,
    /// Unix milliseconds.
    pub start_ms: u64,
    /// What the function and whatever it called cost in it, in units of the type.
    pub value: u64,
    /// How many samples are behind it.
    pub samples: u64,
}

/// A value and the samples behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// In units of the type.
    pub value: u64,
    /// How many samples are behind it.
    pub samples: u64,
}

/// What `function` cost for each route, the largest first, and in all. Looks up symbols, so it blocks.
pub fn routes_of(
    Labelled { merged, label_sets }: &Labelled,
    function: &str,
    symbols: &Symbols,
    routes: &[Route],
) -> (Cost, Vec<RouteShare>) {
    let mut all = Cost::default();
    let mut by_route: BTreeMap<&str, u64> = BTreeMap::new();
    for (set, cost) in costs(merged, function, symbols) {
        let labels = label_sets.get(usize::from(set)).map_or(&[][..], Vec::as_slice);
        let route = labels.iter().find(|(name, _)| name == ROUTE).map_or("", |(_, value)| value.as_str());
        let sum = by_route.entry(route).or_default();
        *sum = sum.saturating_add(cost.value);
        all.value = all.value.saturating_add(cost.value);
        all.samples = all.samples.saturating_add(cost.samples);
    }
    let requests = |name: &str| {
        let Route { count, p50_us, p99_us, .. } = routes.iter().find(|route| route.route == name)?;
        Some(Requests { count: *count, p50_us: *p50_us, p99_us: *p99_us })
    };
    let mut shares: Vec<RouteShare> = by_route
        .into_iter()
        .map(|(route, value)| RouteShare {
            route: route.to_owned(),
            value,
            share: value as f64 / all.value.max(1) as f64,
            requests: requests(route),
        })
        .collect();
    shares.sort_by(|x, y| y.value.cmp(&x.value).then_with(|| x.route.cmp(&y.route)));
    shares.truncate(ROUTES_MAX);
    (all, shares)
}

/// Requests in which the function may have cost most: the slowest ones of the routes it costs most for.
pub fn candidates(shares: &[RouteShare], routes: &[Route]) -> Vec<Candidate> {
    let known = shares.iter().filter_map(|share| routes.iter().find(|route| route.route == share.route));
    let mut found: Vec<Candidate> = Vec::new();
    for route in known.take(CANDIDATE_ROUTES) {
        let mut taken = 0;
        for request in &route.slowest {
            // A trace that has a route more than once is looked into once.
            if taken < CANDIDATES_OF_EACH && found.iter().all(|known| known.request.trace_id != request.trace_id) {
                found.push(Candidate { route: route.route.clone(), request: request.clone() });
                taken += 1;
            }
        }
    }
    found
}

/// What `function` cost in one trace. Looks up symbols, so it blocks.
pub fn in_trace(merged: &Merged, function: &str, symbols: &Symbols) -> Cost {
    costs(merged, function, symbols).into_values().fold(Cost::default(), |sum, cost| Cost {
        value: sum.value.saturating_add(cost.value),
        samples: sum.samples.saturating_add(cost.samples),
    })
}

/// The costliest traces; those without a cost are left out.
pub fn costliest(costs: Vec<(Candidate, Cost)>) -> Vec<TraceCost> {
    let mut traces: Vec<TraceCost> = costs
        .into_iter()
        .filter(|(_, cost)| cost.value > 0)
        .map(|(Candidate { route, request }, Cost { value, samples })| TraceCost {
            trace_id: request.trace_id,
            route,
            duration_us: request.duration_us,
            start_ms: request.start_ms,
            value,
            samples,
        })
        .collect();
    traces.sort_by(|x, y| (y.value, y.duration_us, &x.trace_id).cmp(&(x.value, x.duration_us, &y.trace_id)));
    traces.truncate(TRACES_MAX);
    traces
}

/// What the function and whatever it called cost, by replicate; recursion counts once.
fn costs(merged: &Merged, function: &str, symbols: &Symbols) -> BTreeMap<u16, Cost> {
    let resolutions = symbols.resolve(&merged.modules, &merged.frames);
    sums(&Tree::of((merged, &resolutions)), function)
}

fn sums(tree: &Tree, function: &str) -> BTreeMap<u16, Cost> {
    let mut sums: BTreeMap<u16, Cost> = BTreeMap::new();
    let Some(side) = tree.sides.first() else { return sums };
    let mut node = 1;
    while let Some(at) = tree.nodes.get(node) {
        if &*tree.frames[at.frame as usize].function != function {
            node += 1;
            continue;
        }
        let from = side.cells.partition_point(|cell| (cell.node as usize) < node);
        for cell in side.cells[from..].iter().take_while(|cell| cell.node < at.end) {
            let sum = sums.entry(cell.replicate).or_default();
            sum.value = sum.value.saturating_add(cell.value);
            sum.samples = sum.samples.saturating_add(cell.samples);
        }
        node = at.end as usize;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::testing::Sketch;

    #[test]
    fn a_function_costs_what_it_and_its_callees_cost_and_recursion_counts_once() {
        let mut sketch = Sketch::cpu(2);
        sketch.add("shop::main;shop::tax;shop::tax;libc.so.6!malloc", 0, 50, 5);
        sketch.add("shop::main;shop::tax", 1, 20, 2);
        sketch.add("shop::main;shop::other", 1, 900, 90);
        let (merged, resolutions) = sketch.finish();
        let found = sums(&Tree::of((&merged, &resolutions)), "shop::tax");
        assert_eq!(found, BTreeMap::from([(0, Cost { value: 50, samples: 5 }), (1, Cost { value: 20, samples: 2 })]));
        assert!(sums(&Tree::of((&merged, &resolutions)), "all").is_empty());
    }

    #[test]
    fn the_costliest_traces_come_first_and_those_without_a_cost_not_at_all() {
        let of = |id: &str, value: u64| {
            let request = SlowRequest { trace_id: id.to_owned(), duration_us: 7, start_ms: 1, status: "ok" };
            (Candidate { route: "/a".to_owned(), request }, Cost { value, samples: value })
        };
        let found = costliest(vec![of("c", 5), of("a", 0), of("b", 5), of("d", 9)]);
        assert_eq!(found.iter().map(|t| t.trace_id.as_str()).collect::<Vec<_>>(), ["d", "b", "c"]);
        assert_eq!(costliest((1..30).map(|i| of("x", i)).collect()).len(), TRACES_MAX);
    }
}
