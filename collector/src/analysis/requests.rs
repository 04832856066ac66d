//! What is said of a service's routes: how many requests, how slow, how often wrong, and which were the slowest.
//!
//! Counts and percentiles come from histograms of all requests; spans are examples, and only name some.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::profile::durations::Durations;
use crate::profile::model::{SpanStatus, SpanSummary};

/// How many of a route's slowest requests are shown.
const SLOWEST_MAX: usize = 10;

/// One route of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// Such as `GET /checkout`.
    pub route: String,
    /// Number of requests that ended.
    pub count: u64,
    /// How many in a second in which something was received.
    pub per_second: f64,
    /// Share of them that ended with an error, 0…1.
    pub error_share: f64,
    /// Mean duration in microseconds.
    pub mean_us: u64,
    /// Median duration in microseconds, as the other percentiles at most 2.2 % off.
    pub p50_us: u64,
    /// 90 % took at most this long.
    pub p90_us: u64,
    /// 99 % took at most this long.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Its slowest requests, slowest first.
    pub slowest: Vec<SlowRequest>,
}

/// A request worth a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlowRequest {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Microseconds.
    pub duration_us: u64,
    /// Unix milliseconds.
    pub start_ms: u64,
    /// `ok`, `error` or `unset`.
    pub status: &'static str,
}

/// A status as the API writes it.
pub fn status_name(status: SpanStatus) -> &'static str {
    match status {
        SpanStatus::Unset => "unset",
        SpanStatus::Ok => "ok",
        SpanStatus::Error => "error",
    }
}

/// The requests of a route by how they ended.
pub type Outcomes = BTreeMap<SpanStatus, Durations>;

/// Routes with what was counted of them in so many seconds, busiest first; `spans` are examples of their requests.
pub fn routes<'a>(
    counted: impl Iterator<Item = (&'a str, Outcomes)>,
    spans: &[SpanSummary],
    seconds: f64,
) -> Vec<Route> {
    let mut by_route: BTreeMap<&str, Vec<&SpanSummary>> = BTreeMap::new();
    for span in spans {
        by_route.entry(&span.route).or_default().push(span);
    }
    let mut routes: Vec<Route> = counted
        .map(|(name, outcomes)| route(name, &outcomes, by_route.remove(name).unwrap_or_default(), seconds))
        .filter(|route| route.count > 0)
        .collect();
    routes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.route.cmp(&b.route)));
    routes
}

/// All of a route together, however they ended.
pub fn together(outcomes: &Outcomes) -> Durations {
    let mut all = Durations::default();
    outcomes.values().for_each(|durations| all.add(durations));
    all
}

/// How many ended with an error.
pub fn errors(outcomes: &Outcomes) -> u64 {
    outcomes.get(&SpanStatus::Error).map_or(0, Durations::count)
}

fn route(name: &str, outcomes: &Outcomes, mut spans: Vec<&SpanSummary>, seconds: f64) -> Route {
    spans.sort_by_key(|span| std::cmp::Reverse((span.duration_us, span.start_ms, span.link)));
    // A span that was kept and then asked for too is one request.
    spans.dedup_by_key(|span| span.link);
    let slowest = spans.iter().take(SLOWEST_MAX).map(|span| SlowRequest {
        trace_id: span.link.trace_id.to_string(),
        duration_us: span.duration_us,
        start_ms: span.start_ms,
        status: status_name(span.status),
    });
    let all = together(outcomes);
    let count = all.count();
    Route {
        route: name.to_owned(),
        count,
        per_second: if seconds > 0.0 { count as f64 / seconds } else { 0.0 },
        error_share: errors(outcomes) as f64 / count.max(1) as f64,
        mean_us: all.sum_us() / count.max(1),
        p50_us: all.quantile_us(0.50),
        p90_us: all.quantile_us(0.90),
        p99_us: all.quantile_us(0.99),
        max_us: all.max_us(),
        slowest: slowest.collect(),
    }
}

#[cfg(test)]
mod tests {
    use tephra_proto::ids::TraceId;

    use super::*;
    use crate::profile::model::Link;

    fn span(route: &str, duration_us: u64) -> SpanSummary {
        let mut id = [1; 16];
        id[..8].copy_from_slice(&duration_us.to_be_bytes());
        let link = Link { trace_id: TraceId::from_bytes(id).unwrap(), span_id: None };
        SpanSummary { link, route: route.into(), start_ms: 1_000, duration_us, status: SpanStatus::Ok, weight: 1.0 }
    }

    fn counted(of: &[(SpanStatus, u64, u64)]) -> Outcomes {
        let mut outcomes = Outcomes::new();
        for (status, duration_us, requests) in of {
            outcomes.entry(*status).or_default().record(*duration_us, *requests);
        }
        outcomes
    }

    #[test]
    fn counts_come_from_all_requests_and_examples_from_spans() {
        let outcomes = counted(&[(SpanStatus::Ok, 1_000, 980), (SpanStatus::Error, 64_000, 20)]);
        let spans: Vec<_> = (0..20).map(|i| span("GET /", 63_981 + i)).collect();
        let [route] = routes([("GET /", outcomes)].into_iter(), &spans, 100.0).try_into().unwrap();
        assert_eq!((route.count, route.max_us, route.mean_us), (1_000, 64_000, 2_260));
        assert!((route.per_second - 10.0).abs() < 1e-9 && (route.error_share - 0.02).abs() < 1e-9);
        let near = |us: u64, exact: f64| (us as f64 / exact - 1.0).abs() <= 0.022;
        assert!(near(route.p50_us, 1e3) && near(route.p90_us, 1e3) && near(route.p99_us, 64e3), "{route:?}");
        assert_eq!(route.slowest.len(), SLOWEST_MAX);
        assert_eq!((route.slowest[0].duration_us, route.slowest[9].duration_us), (64_000, 63_991));
    }

    #[test]
    fn a_request_is_named_once_however_often_it_was_told() {
        let outcomes = || counted(&[(SpanStatus::Ok, 100, 2)]);
        let told = [span("a", 100), SpanSummary { weight: 0.0, ..span("a", 100) }, span("a", 90)];
        let [route] = routes([("a", outcomes())].into_iter(), &told, 1.0).try_into().unwrap();
        assert_eq!(route.slowest.iter().map(|slow| slow.duration_us).collect::<Vec<_>>(), [100, 90]);
    }

    #[test]
    fn the_busiest_route_comes_first_and_none_without_requests() {
        let of = |requests| counted(&[(SpanStatus::Ok, 1, requests)]);
        let all = [("b", of(1)), ("a", of(1)), ("c", of(2)), ("d", Outcomes::new())];
        let names: Vec<_> = routes(all.into_iter(), &[], 0.0).into_iter().map(|r| (r.route, r.per_second)).collect();
        assert_eq!(names, [("c".to_owned(), 0.0), ("a".to_owned(), 0.0), ("b".to_owned(), 0.0)]);
    }
}
