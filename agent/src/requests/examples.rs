//! Requests that a window tells of one by one: the slowest of each route, and of the rest those of the traces that every service
//! tells of.
//!
//! The slowest stand for themselves. Every other request is told of if the hash of its trace is within its route's share of all
//! traces, 1 / 2^halvings, and stands for 2^halvings of them. A route begins with all traces and halves its share while it has more
//! than a few, as far as the share that the collector announced: rare routes tell of more traces than others, and all of them of
//! every trace within the announced share. Whatever is halved depends on how many were kept and not on which, so weights add up to
//! the number of requests on average (this is adaptive sampling: Flajolet, "On adaptive sampling", 1990).

use tephra_proto::trace_share::{self, HALVINGS_MAX};

use super::route::{ROUTES_MAX, Route};
use super::span::Span;

/// The slowest of each route and window.
const SLOWEST_MAX: usize = 2;
/// So many requests of a route are told of whatever share of traces was announced.
const FEW: usize = 8;
/// Beside the slowest, all routes together. A window of that many is some 40 KiB on the wire.
const KEPT_MAX: usize = 1_024;
/// Of one window.
pub(super) const EXAMPLES_MAX: usize = KEPT_MAX + ROUTES_MAX * SLOWEST_MAX;

/// A request that is told of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Example {
    /// The route's number.
    pub(super) route: u8,
    pub(super) span: Span,
    /// How many requests of its route it stands for.
    pub(super) weight: f32,
}

/// The examples of one window.
#[derive(Debug, Default)]
pub(super) struct Examples {
    /// By number.
    routes: Vec<OfRoute>,
    /// No route halves its share more often than that.
    limit: u32,
    /// All routes together, without the slowest.
    kept: usize,
    /// How often the limit was raised because there were too many.
    halved: u64,
    /// What was left out because halving did not help.
    left_out: u64,
}

/// The examples of one route.
#[derive(Debug, Default)]
struct OfRoute {
    slowest: Vec<Span>,
    kept: Vec<Span>,
    halvings: u32,
}

/// Whether a request is told of once its route's share was halved so often.
fn holds(span: &Span, halvings: u32) -> bool {
    trace_share::holds(trace_share::hash(&span.context.trace_id), halvings)
}

impl Examples {
    /// Of a window in which a trace is told of everywhere if it holds after so many halvings.
    pub(super) fn new(halvings: u32) -> Self {
        Self { limit: halvings, ..Self::default() }
    }

    /// Takes a request, once, as it is reported.
    pub(super) fn offer(&mut self, route: &Route, span: Span) {
        let number = usize::from(route.number);
        if self.routes.len() <= number {
            self.routes.resize_with(number + 1, OfRoute::default);
        }
        let Some(of_route) = self.routes.get_mut(number) else { return };
        if let Some(rest) = of_route.displace(span)
            && holds(&rest, of_route.halvings)
        {
            of_route.kept.push(rest);
            self.kept += 1;
            self.kept -= of_route.halve(self.limit);
            self.make_room(number);
        }
        if let Some(of_route) = self.routes.get(number) {
            route.raise_bar(of_route.slow_ns(), of_route.halvings);
        }
    }

    /// Halves the share that all tell of while there are too many.
    fn make_room(&mut self, newest: usize) {
        while self.kept > KEPT_MAX && self.limit < HALVINGS_MAX {
            self.halved += 1;
            self.halve_to(self.limit + 1);
        }
        // Clients choose the ids of traces, and so may choose such as every share holds.
        if self.kept > KEPT_MAX
            && let Some(of_route) = self.routes.get_mut(newest)
            && of_route.kept.pop().is_some()
        {
            self.kept -= 1;
            self.left_out += 1;
        }
    }

    /// It turned out that a trace is told of everywhere only if it holds after so many halvings.
    pub(super) fn halve_to(&mut self, halvings: u32) {
        self.limit = self.limit.max(halvings);
        for of_route in &mut self.routes {
            self.kept -= of_route.halve(self.limit);
        }
    }

    /// How often the share was halved because there were too many, and how many requests were left out because that did not help.
    pub(super) fn cut(&self) -> (u64, u64) {
        (self.halved, self.left_out)
    }

    /// All of them, by route.
    pub(super) fn finish(self) -> Vec<Example> {
        let mut examples = Vec::with_capacity(self.kept + self.routes.len() * SLOWEST_MAX);
        for (route, of_route) in (0u8..).zip(self.routes) {
            let weight = (1u64 << of_route.halvings) as f32;
            examples.extend(of_route.slowest.into_iter().map(|span| Example { route, span, weight: 1.0 }));
            examples.extend(of_route.kept.into_iter().map(|span| Example { route, span, weight }));
        }
        examples
    }
}

impl OfRoute {
    /// Takes a request among the slowest. What is none of them then, this one or another, is to be selected by its trace.
    fn displace(&mut self, span: Span) -> Option<Span> {
        if self.slowest.len() < SLOWEST_MAX {
            self.slowest.push(span);
            return None;
        }
        match self.slowest.iter_mut().min_by_key(|slow| slow.duration_ns) {
            Some(fastest) if fastest.duration_ns < span.duration_ns => Some(std::mem::replace(fastest, span)),
            _ => Some(span),
        }
    }

    /// What a request must take to be one of the slowest.
    fn slow_ns(&self) -> u64 {
        let is_full = self.slowest.len() == SLOWEST_MAX;
        let fastest = self.slowest.iter().map(|slow| slow.duration_ns).min();
        fastest.filter(|_| is_full).unwrap_or_default()
    }

    /// Halves the share while there are more than a few, and at most to the limit. Returns how many went.
    fn halve(&mut self, limit: u32) -> usize {
        let before = self.kept.len();
        while self.kept.len() > FEW && self.halvings < limit {
            self.halvings += 1;
            self.kept.retain(|span| holds(span, self.halvings));
        }
        before - self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::requests::testing::{mix, span, span_of, trace_in_every_share};

    /// A window of requests of routes, with so many halvings announced.
    fn window(halvings: u32, spans: impl IntoIterator<Item = (u8, Span)>) -> Examples {
        let mut examples = Examples::new(halvings);
        let routes: Vec<Route> = (0..64).map(|number| Route::new(format!("/{number}").into(), number)).collect();
        for (number, span) in spans {
            // As they are reported: what the bar keeps out is never offered.
            let route = &routes[usize::from(number)];
            if route.may_tell_of(&span) {
                examples.offer(route, span);
            }
        }
        examples
    }

    fn traces(examples: &Examples) -> HashSet<u128> {
        let spans = examples.routes.iter().flat_map(|route| route.slowest.iter().chain(&route.kept));
        spans.map(|span| u128::from_be_bytes(span.context.trace_id)).collect()
    }

    type Kind = (&'static str, fn(u64) -> u128);
    /// The n-th trace of a window, as tracers of different kinds name them.
    const KINDS: [Kind; 3] = [
        ("random", |n| u128::from(mix(n)) << 64 | u128::from(mix(!n))),
        ("64 bits", |n| u128::from(mix(n))),
        ("by time", |n| u128::from(1_800_000_000 + n / 1_000) << 96 | u128::from(mix(n) >> 32)),
    ];

    fn of_trace(trace: u128, duration_ns: u64) -> Span {
        let mut span = span(1, duration_ns);
        span.context.trace_id = trace.to_be_bytes();
        span
    }

    #[test]
    fn the_slowest_of_each_route_are_always_told_of_and_stand_for_themselves() {
        for rising in [true, false] {
            let at = |n: u64| if rising { n } else { 9_999 - n };
            let examples = window(20, (0..10_000).map(|n| ((n % 2) as u8, span_of(mix(n), n, 1_000 + at(n)))));
            for (route, slowest) in [(0, [10_996, 10_998]), (1, [10_997, 10_999])] {
                let mut found: Vec<u64> = examples.routes[route].slowest.iter().map(|span| span.duration_ns).collect();
                found.sort_unstable();
                let expected = if rising { slowest } else { [10_997 - route as u64, 10_999 - route as u64] };
                assert_eq!(found, expected);
            }
            let told = examples.finish();
            assert_eq!(told.iter().filter(|example| example.weight == 1.0).count(), 4);
        }
    }

    #[test]
    fn weights_add_up_to_the_number_of_requests_whatever_ids_look_like_and_whatever_is_announced() {
        const WINDOWS: u64 = 1_000;
        for (kind, id) in KINDS {
            for (requests, announced) in [(5, 3), (40, 2), (40, 32), (700, 5), (3_000, 0)] {
                let windows = if requests > 1_000 { WINDOWS / 10 } else { WINDOWS };
                let sums: Vec<f64> = (0..windows)
                    .map(|window_number| {
                        let spans = (0..requests).map(|n| {
                            let n = window_number * 1_000_003 + n;
                            (0, of_trace(id(n), 1_000 + mix(n ^ 0xabcd) % 1_000_000))
                        });
                        window(announced, spans).finish().iter().map(|example| f64::from(example.weight)).sum()
                    })
                    .collect();
                let mean = sums.iter().sum::<f64>() / windows as f64;
                let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (windows - 1) as f64;
                let sigma = (variance / windows as f64).sqrt();
                let off = (mean - requests as f64).abs();
                assert!(off <= 3.0 * sigma + 1e-9, "{kind}, {requests} requests, {announced}: {mean} ± {sigma}");
            }
        }
    }

    #[test]
    fn what_is_slow_has_no_influence_on_what_the_rest_stands_for() {
        // Rising durations displace the slowest each time: the worst case for whoever forgets what was displaced.
        let (n, windows) = (2_000u64, 400);
        let estimate = (0..windows)
            .flat_map(|window_number: u64| {
                window(4, (0..n).map(|at| (0, span_of(mix(window_number << 32 | at), 1, at * 1_000)))).finish()
            })
            .map(|example| f64::from(example.weight) * example.span.duration_ns as f64)
            .sum::<f64>()
            / windows as f64;
        let truth = (0..n).map(|at| at * 1_000).sum::<u64>() as f64;
        // A window's standard error is √(2^4 / n × 4/3) = 10 %, of 400 windows 0.52 %.
        assert!((estimate / truth - 1.0).abs() < 3.0 * 0.0052, "{estimate} for {truth}");
    }

    #[test]
    fn every_trace_within_the_announced_share_is_told_of() {
        let announced = 4;
        let spans: Vec<Span> = (1..=4_000).map(|n| span_of(mix(n), n, 1_000 + n % 77)).collect();
        let examples = window(announced, spans.iter().map(|span| (0, *span)));
        assert_eq!(examples.routes[0].halvings, announced, "and no further");
        let told = traces(&examples);
        let held = spans.iter().filter(|span| holds(span, announced));
        let mut count = 0;
        for span in held {
            assert!(told.contains(&u128::from_be_bytes(span.context.trace_id)));
            count += 1;
        }
        assert!((150..350).contains(&count) && told.len() <= count + SLOWEST_MAX, "{count}, {}", told.len());
    }

    #[test]
    fn a_rare_route_tells_of_more_than_the_announced_share() {
        let spans = (0..FEW + SLOWEST_MAX).map(|n| (0, span_of(mix(n as u64), 1, 1_000)));
        let rare = window(32, spans.chain((0..5_000).map(|n| (1, span_of(mix(!n), 1, 1_000)))));
        assert_eq!((rare.routes[0].kept.len(), rare.routes[0].halvings), (FEW, 0));
        let busy = &rare.routes[1];
        assert!(busy.kept.len() <= FEW && busy.halvings > 6, "{} after {}", busy.kept.len(), busy.halvings);
        assert!(rare.finish().iter().all(|example| example.route == 1 || example.weight == 1.0));
    }

    #[test]
    fn too_many_halve_the_share_of_all_busy_routes_alike_and_of_no_rare_one() {
        let busy = (0..20_000u64).map(|n| (1 + (n % 3) as u8, span_of(mix(n), 1, 1_000)));
        let rare = (0..5).map(|n| (0, span_of(mix(!n), 1, 1_000)));
        let examples = window(1, rare.chain(busy));
        let halvings: Vec<u32> = examples.routes.iter().map(|route| route.halvings).collect();
        let [0, one, two, three] = halvings[..] else { panic!("{halvings:?}") };
        assert!(one == two && two == three, "{halvings:?}");
        assert_eq!(examples.cut(), (u64::from(one) - 1, 0));
        assert!(examples.kept > KEPT_MAX / 3 && examples.kept <= KEPT_MAX, "{}", examples.kept);
        assert_eq!(examples.kept, examples.routes.iter().map(|route| route.kept.len()).sum::<usize>());
    }

    #[test]
    fn ids_that_every_share_holds_do_not_fill_the_memory() {
        // A client that knows the hash takes one id that has it and sends it for ever.
        let id = (0..).find(|n| trace_share::hash(&u128::from(mix(*n)).to_be_bytes()).leading_zeros() >= 10).unwrap();
        let mut chosen = window(0, (0..100_000).map(|n| ((n % 2) as u8, span_of(mix(id), n, 1_000))));
        assert!(chosen.kept <= KEPT_MAX);
        chosen.halve_to(2);
        assert!(chosen.kept <= KEPT_MAX && chosen.limit <= HALVINGS_MAX);
        // And this id every share holds.
        let in_every_share = trace_in_every_share();
        let mut examples = Examples::new(0);
        let route = Route::new("r".into(), 0);
        for n in 0..5_000 {
            examples.offer(&route, of_trace(in_every_share, n));
        }
        assert_eq!((examples.kept, examples.limit), (KEPT_MAX, HALVINGS_MAX));
        assert_eq!(examples.cut(), (u64::from(HALVINGS_MAX), 5_000 - (KEPT_MAX + SLOWEST_MAX) as u64));
        assert_eq!(examples.finish().last().unwrap().weight, 4_294_967_296.0);
    }

    #[test]
    fn a_share_that_was_announced_late_holds_for_the_whole_window() {
        let spans = |n: u64| (0..n).map(|n| (0, span_of(mix(n), 1, 1_000)));
        let (mut late, early) = (window(0, spans(900)), window(5, spans(900)));
        late.halve_to(5);
        assert_eq!(traces(&late), traces(&early));
        assert_eq!((late.kept, late.cut()), (early.kept, (0, 0)));
        late.halve_to(1);
        assert_eq!(late.routes[0].halvings, 5, "what went does not come back");
    }
}
