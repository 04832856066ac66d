//! What entry spans say about a service's routes: how many, how slow, how often wrong.
//!
//! Agents send all of the slowest spans and a weighted selection of the rest, so every count and percentile here is
//! weighted: a span stands for `weight` spans of its route.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::profile::model::{SpanStatus, SpanSummary};
use crate::profile::stats::sum;

/// How many of a route's slowest requests are shown.
const SLOWEST_MAX: usize = 10;

/// One route of a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    /// Such as `GET /checkout`.
    pub route: String,
    /// Estimated number of requests.
    pub count: u64,
    /// Share of them that ended with an error, 0…1.
    pub error_share: f64,
    /// Median duration in microseconds.
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

/// Sums spans up by route, busiest first.
pub fn routes(spans: &[SpanSummary]) -> Vec<Route> {
    let mut by_route: BTreeMap<&str, Vec<&SpanSummary>> = BTreeMap::new();
    for span in spans {
        by_route.entry(&span.route).or_default().push(span);
    }
    let mut routes: Vec<Route> = by_route.into_values().filter_map(route).collect();
    routes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.route.cmp(&b.route)));
    routes
}

fn route(mut spans: Vec<&SpanSummary>) -> Option<Route> {
    spans.sort_by_key(|span| (span.duration_us, span.start_ms, span.link));
    let total = sum(spans.iter().map(|span| weight(span)));
    let failed = spans.iter().filter(|span| span.status == SpanStatus::Error);
    let errors = sum(failed.map(|span| weight(span)));
    let slowest = spans.iter().rev().take(SLOWEST_MAX).map(|span| SlowRequest {
        trace_id: span.link.trace_id.to_string(),
        duration_us: span.duration_us,
        start_ms: span.start_ms,
        status: status_name(span.status),
    });
    let last = spans.last()?;
    Some(Route {
        route: last.route.to_string(),
        count: total.round() as u64,
        error_share: errors / total,
        p50_us: quantile(&spans, total, 0.50),
        p90_us: quantile(&spans, total, 0.90),
        p99_us: quantile(&spans, total, 0.99),
        max_us: last.duration_us,
        slowest: slowest.collect(),
    })
}

/// The shortest duration that at least `share` of the requests stay within.
fn quantile(sorted: &[&SpanSummary], total: f64, share: f64) -> u64 {
    let mut seen = 0.0;
    for span in sorted {
        seen += weight(span);
        if seen >= total * share {
            return span.duration_us;
        }
    }
    sorted.last().map_or(0, |span| span.duration_us)
}

/// A weight from the wire may be anything; a span stands at least for itself.
fn weight(span: &SpanSummary) -> f64 {
    if span.weight.is_finite() { f64::from(span.weight).clamp(1.0, 1e9) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use tephra_proto::ids::TraceId;

    use super::*;
    use crate::profile::model::Link;

    fn span(route: &str, duration_us: u64, weight: f32, status: SpanStatus) -> SpanSummary {
        let mut id = [1; 16];
        id[..8].copy_from_slice(&duration_us.to_be_bytes());
        let link = Link { trace_id: TraceId::from_bytes(id).unwrap(), span_id: None };
        SpanSummary { link, route: route.into(), start_ms: 1_000, duration_us, status, weight }
    }

    #[test]
    fn percentiles_are_exact_when_every_span_was_sent() {
        let spans: Vec<_> = (1..=1_000).map(|us| span("GET /", us, 1.0, SpanStatus::Ok)).collect();
        let [route] = routes(&spans).try_into().unwrap();
        assert_eq!(
            (route.count, route.p50_us, route.p90_us, route.p99_us, route.max_us),
            (1_000, 500, 900, 990, 1_000)
        );
        assert_eq!(route.slowest.len(), SLOWEST_MAX);
        assert_eq!((route.slowest[0].duration_us, route.slowest[9].duration_us), (1_000, 991));
    }

    #[test]
    fn weights_stand_for_what_was_not_sent() {
        // One in ten of the ordinary requests, all of the slow ones.
        let mut spans: Vec<_> = (0..99).map(|i| span("GET /", 100 + i, 10.0, SpanStatus::Ok)).collect();
        spans.extend((0..10).map(|i| span("GET /", 5_000 + i, 1.0, SpanStatus::Error)));
        let [route] = routes(&spans).try_into().unwrap();
        assert_eq!(route.count, 1_000);
        assert!((route.error_share - 0.01).abs() < 1e-9);
        assert!(route.p50_us < 200 && route.p90_us < 200);
        assert_eq!(route.p99_us, 198);
        assert_eq!(route.max_us, 5_009);
    }

    #[test]
    fn hostile_weights_stay_finite() {
        let spans: Vec<_> = [f32::NAN, f32::INFINITY, -5.0, 0.0].map(|w| span("x", 7, w, SpanStatus::Unset)).into();
        let [route] = routes(&spans).try_into().unwrap();
        assert_eq!((route.count, route.p99_us), (4, 7));
        assert!(route.error_share.abs() < 1e-9);
        assert!(routes(&[]).is_empty());
    }

    #[test]
    fn the_busiest_route_comes_first() {
        let spans =
            [span("b", 1, 1.0, SpanStatus::Ok), span("a", 1, 1.0, SpanStatus::Ok), span("a", 2, 1.0, SpanStatus::Ok)];
        let names: Vec<_> = routes(&spans).iter().map(|r| r.route.clone()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
