//! Which requests got slower, and what is said of why.

use crate::analysis::requests::Route;

/// A change of a percentile below this is not worth a sentence.
const SLOWER_MIN: f64 = 1.25;

/// Requests of a route on each side before its percentiles are told.
const REQUESTS_MIN: u64 = 20;

/// A route whose 99th percentile rose.
#[derive(Debug)]
pub(super) struct Slower {
    /// Its name.
    pub(super) route: String,
    /// The percentile in the baseline and in the window, microseconds.
    pub(super) before_us: u64,
    pub(super) now_us: u64,
    /// Why its slowest requests are slow, in sentences.
    pub(super) why: Vec<String>,
}

/// The route whose 99th percentile rose most, if one did.
pub(super) fn slower(before: &[Route], now: &[Route]) -> Option<Slower> {
    let mut worst: Option<(&Route, &Route, f64)> = None;
    for route in now.iter().filter(|route| route.count >= REQUESTS_MIN) {
        let Some(earlier) = before.iter().find(|b| b.route == route.route && b.count >= REQUESTS_MIN) else { continue };
        let ratio = route.p99_us as f64 / earlier.p99_us.max(1) as f64;
        if ratio >= SLOWER_MIN && worst.is_none_or(|(_, _, most)| ratio > most) {
            worst = Some((earlier, route, ratio));
        }
    }
    let (earlier, route, _) = worst?;
    Some(Slower { route: route.route.clone(), before_us: earlier.p99_us, now_us: route.p99_us, why: Vec::new() })
}
