//! Requests that ended: per route and window, all of the slowest and an unbiased selection of the rest.
//!
//! Host threads report here, so nothing waits: a report that finds every shard busy is dropped. The slowest of each
//! route stand for themselves; every other span enters a reservoir and stands for (spans offered / spans kept), whatever
//! shard it went to, so sums over the selection estimate sums over all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::trace_context::TraceContext;
use crate::{clock, random};

const SHARDS: usize = 4;
/// Routes per shard and window; further ones share the name `…`.
const ROUTES_MAX: usize = 64;
const OVERFLOW_ROUTE: &str = "…";
/// Per route and shard: the slowest 1 % of up to 9 600 requests per window.
const SLOWEST_MAX: usize = 24;
/// Per route and shard: the standard error of a median over 160 spans is 4 percentile points.
const RESERVOIR_MAX: usize = 40;
const _: () = assert!(
    SHARDS * ROUTES_MAX * (SLOWEST_MAX + RESERVOIR_MAX) <= tephra_proto::limits::WINDOW_SPANS_MAX,
    "whatever is kept fits the window"
);

static RECORDING: AtomicBool = AtomicBool::new(false);
static SHARD: [Mutex<Option<Routes>>; SHARDS] = [const { Mutex::new(None) }; SHARDS];

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It was abandoned before it had an outcome.
    Unset,
    Ok,
    Error,
}

/// One request that ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) context: TraceContext,
    pub(crate) start_ms: u64,
    pub(crate) duration_us: u64,
    pub(crate) status: Status,
}

/// A span that was selected, and how many of its route it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    pub(crate) route: Arc<str>,
    pub(crate) span: Span,
    pub(crate) weight: f32,
}

/// A request that is being served. Reports itself once: when finished, or when dropped.
#[derive(Debug)]
pub(crate) struct OpenSpan(Option<Begun>);

#[derive(Debug)]
struct Begun {
    context: TraceContext,
    route: String,
    start_ms: u64,
    started: Instant,
}

impl OpenSpan {
    /// Starts the clock. Without a route the request is not reported.
    pub(crate) fn start(context: TraceContext, route: Option<String>) -> Self {
        Self(route.map(|route| Begun { context, route, start_ms: clock::unix_ms(), started: Instant::now() }))
    }

    /// It turned out what the request's route is called.
    pub(crate) fn rename(&mut self, route: String) {
        if let Some(begun) = &mut self.0 {
            begun.route = route;
        }
    }

    /// Reports the request; what follows is not part of it.
    pub(crate) fn finish(&mut self, status: Status) {
        if let Some(Begun { context, route, start_ms, started }) = self.0.take() {
            let duration_us = started.elapsed().as_micros() as u64;
            report(&route, Span { context, start_ms, duration_us, status });
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        self.finish(Status::Unset);
    }
}

/// True while an agent wants to hear of requests.
pub(crate) fn are_recorded() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// Turns reporting on or off; off forgets what was reported.
pub(crate) fn record(on: bool) {
    RECORDING.store(on, Ordering::Relaxed);
    if !on {
        take();
    }
}

/// Ends the window: everything selected since the last call.
pub(crate) fn take() -> Vec<Selected> {
    let mut selected = Vec::new();
    for shard in &SHARD {
        let routes = shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let routes = routes.unwrap_or_default();
        selected.reserve_exact(routes.values().map(|spans| spans.slowest.len() + spans.rest.len()).sum());
        for (route, spans) in routes {
            spans.select(&route.into(), &mut selected);
        }
    }
    selected
}

fn report(route: &str, span: Span) {
    if !RECORDING.load(Ordering::Relaxed) {
        return;
    }
    let first = random::below(SHARDS as u64) as usize;
    for shard in SHARD.iter().cycle().skip(first).take(SHARDS) {
        let mut routes = match shard.try_lock() {
            Ok(routes) => routes,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => continue,
        };
        add(routes.get_or_insert_default(), route, span);
        return;
    }
}

/// Few, so it does not matter that clients choose their names.
type Routes = FxHashMap<Box<str>, RouteSpans>;

fn add(routes: &mut Routes, route: &str, span: Span) {
    let room = routes.len() < ROUTES_MAX - 1;
    let route = if room || routes.contains_key(route) { route } else { OVERFLOW_ROUTE };
    match routes.get_mut(route) {
        Some(spans) => spans.add(span),
        None => routes.entry(route.into()).or_default().add(span),
    }
}

/// The spans of one route.
#[derive(Default)]
struct RouteSpans {
    /// Every one of them took at least as long as any span of the rest.
    slowest: Vec<Span>,
    /// The least of their durations, once there are all of them.
    slow_us: u64,
    rest: Vec<Span>,
    /// Spans offered to `rest`, each exactly once.
    offered: u64,
}

impl RouteSpans {
    fn add(&mut self, span: Span) {
        if self.slowest.len() < SLOWEST_MAX {
            self.slowest.push(span);
        } else if span.duration_us <= self.slow_us {
            return self.offer(span);
        } else if let Some(fastest) = self.slowest.iter_mut().min_by_key(|slow| slow.duration_us) {
            let displaced = std::mem::replace(fastest, span);
            self.offer(displaced);
        }
        if self.slowest.len() == SLOWEST_MAX {
            self.slow_us = self.slowest.iter().map(|slow| slow.duration_us).min().unwrap_or_default();
        }
    }

    /// Vitter's algorithm R: after n offers each was kept with the same probability.
    fn offer(&mut self, span: Span) {
        self.offered += 1;
        if self.rest.len() < RESERVOIR_MAX {
            self.rest.push(span);
        } else if let Some(kept) = self.rest.get_mut(random::below(self.offered) as usize) {
            *kept = span;
        }
    }

    fn select(self, route: &Arc<str>, selected: &mut Vec<Selected>) {
        let weight = self.offered as f32 / self.rest.len().max(1) as f32;
        let weighted = |span, weight| Selected { route: Arc::clone(route), span, weight };
        selected.extend(self.slowest.into_iter().map(|span| weighted(span, 1.0)));
        selected.extend(self.rest.into_iter().map(|span| weighted(span, weight)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(duration_us: u64) -> Span {
        let context = TraceContext { trace_id: [1; 16], span_id: [1; 8], flags: 0 };
        Span { context, start_ms: 0, duration_us, status: Status::Ok }
    }

    fn select(durations: impl IntoIterator<Item = u64>) -> Vec<Selected> {
        let mut spans = RouteSpans::default();
        for duration in durations {
            spans.add(span(duration));
        }
        let mut selected = Vec::new();
        spans.select(&"r".into(), &mut selected);
        selected
    }

    #[test]
    fn the_slowest_are_always_kept_and_stand_for_themselves() {
        // A permutation of 0..10 000, for 7 919 is coprime to it.
        let selected = select((0..10_000).map(|i| i * 7_919 % 10_000));
        for slow in 10_000 - SLOWEST_MAX as u64..10_000 {
            let found = selected.iter().find(|s| s.span.duration_us == slow).unwrap();
            assert_eq!(found.weight, 1.0);
        }
        assert_eq!(selected.len(), SLOWEST_MAX + RESERVOIR_MAX);
    }

    #[test]
    fn weights_add_up_to_the_number_of_requests() {
        for n in [1, 10, 64, 65, 1_000, 100_000] {
            let total: f64 = select((0..n).map(|i| i * 7_919 % n)).iter().map(|s| f64::from(s.weight)).sum();
            assert!((total - n as f64).abs() < 1e-3 * n as f64, "{total} for {n}");
        }
    }

    #[test]
    fn the_selection_is_unbiased_even_when_requests_keep_getting_slower() {
        // Rising durations displace the slowest each time: the worst case for a biased reservoir.
        let (n, rounds) = (2_000u64, 400);
        let estimate: f64 = (0..rounds)
            .flat_map(|_| select(0..n))
            .map(|s| f64::from(s.weight) * s.span.duration_us as f64)
            .sum::<f64>()
            / f64::from(rounds);
        let truth = (0..n).sum::<u64>() as f64;
        // One round's standard error is 9 %, of 400 rounds 0.45 %; five of those never happen.
        assert!((estimate / truth - 1.0).abs() < 0.023, "{estimate} for {truth}");
    }

    #[test]
    fn too_many_routes_share_one_name() {
        let mut routes = Routes::default();
        for i in 0..10_000 {
            add(&mut routes, &format!("/{i}"), span(i));
        }
        assert_eq!(routes.len(), ROUTES_MAX);
        let overflow = &routes[OVERFLOW_ROUTE];
        assert_eq!(overflow.offered as usize + overflow.slowest.len(), 10_000 - (ROUTES_MAX - 1));
    }
}
