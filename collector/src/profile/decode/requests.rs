//! The requests of a window: histograms as an agent sends them, or what the spans of an older agent say.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tephra_proto::durations::{BINS, DURATION_US_MAX};
use tephra_proto::limits::WINDOW_REQUEST_ROWS_MAX;
use tephra_proto::v1;

use super::columns::{Strings, read_status, same_length};
use super::header::Header;
use super::rejection::Rejection;
use crate::profile::durations::{BadDurations, Durations};
use crate::profile::model::{RouteDurations, SpanStatus, SpanSummary};

/// Requests that a process can end in a second, and then some: a window that says more does not tell the truth.
const PER_SECOND_MAX: u64 = 100_000_000;

/// Checks and reads the histograms of a window.
pub(super) fn read(
    wire: &v1::RequestTable,
    strings: &Strings,
    header: &Header,
) -> Result<Vec<RouteDurations>, Rejection> {
    let rows = wire.route.len();
    if rows > WINDOW_REQUEST_ROWS_MAX {
        return Err(Rejection::TooMany { what: "histograms of requests", count: rows, limit: WINDOW_REQUEST_ROWS_MAX });
    }
    for (what, found) in [
        ("statuses of requests", wire.status.len()),
        ("sums of requests", wire.sum_us.len()),
        ("maxima of requests", wire.max_us.len()),
        ("bin counts of requests", wire.bins.len()),
    ] {
        same_length(what, found, rows)?;
    }
    let bins: u64 = wire.bins.iter().map(|bins| u64::from(*bins)).sum();
    same_length("bins of requests", wire.bin_step.len(), usize::try_from(bins).unwrap_or(usize::MAX))?;
    same_length("counts of requests", wire.count.len(), wire.bin_step.len())?;
    let mut left = (wire.bin_step.as_slice(), wire.count.as_slice());
    let mut requests: Vec<RouteDurations> = Vec::with_capacity(rows);
    let mut seen = HashSet::with_capacity(rows);
    let mut total = 0u64;
    let columns = wire.route.iter().zip(&wire.status).zip(wire.sum_us.iter().zip(&wire.max_us)).zip(&wire.bins);
    for (at, (((route, status), (sum_us, max_us)), bins)) in columns.enumerate() {
        let bad = |what, value| Rejection::BadRequests { at, what, value };
        let route = strings.get("route of requests", at, *route)?;
        let status = read_status("status of requests", at, *status)?;
        if !seen.insert((route.clone(), status)) {
            return Err(Rejection::RepeatedRoute { at, route: route.to_string() });
        }
        let ((steps, steps_left), (counts, counts_left)) =
            (left.0.split_at(*bins as usize), left.1.split_at(*bins as usize));
        left = (steps_left, counts_left);
        if steps.is_empty() {
            return Err(bad("a number of bins of", 0));
        }
        let mut bin = 0u64;
        let mut own = Vec::with_capacity(steps.len());
        for (step, count) in steps.iter().zip(counts) {
            bin += u64::from(*step);
            let known = u16::try_from(bin).ok().filter(|bin| *bin < BINS);
            own.push((known.ok_or_else(|| bad("bin", bin))?, *count));
        }
        if *max_us > DURATION_US_MAX {
            return Err(bad("a longest duration in µs of", *max_us));
        }
        let durations = Durations::from_bins(own, *sum_us, *max_us).map_err(|problem| match problem {
            BadDurations::Bin(bin) => bad("bin", bin),
            BadDurations::Empty(bin) => bad("nothing in bin", bin.into()),
            BadDurations::Count(count) => bad("a count of", count),
            BadDurations::Max(max) => bad("a longest duration in µs of", max),
            BadDurations::Sum(sum) => bad("durations in µs that add up to", sum),
        })?;
        total = total.saturating_add(durations.count());
        let most = PER_SECOND_MAX.saturating_mul(u64::from(header.duration_ms).div_ceil(1_000));
        if total > most {
            return Err(bad("a count, with those before, of", total));
        }
        requests.push(RouteDurations { route: route.clone(), status, durations });
    }
    Ok(requests)
}

/// What weighted spans say of the requests they stand for: as agents told it before there were histograms.
pub(crate) fn of_spans(spans: &[SpanSummary]) -> Vec<RouteDurations> {
    let mut by_route: BTreeMap<(&Arc<str>, SpanStatus), BTreeMap<u64, f64>> = BTreeMap::new();
    for span in spans {
        *by_route.entry((&span.route, span.status)).or_default().entry(span.duration_us).or_default() +=
            f64::from(span.weight);
    }
    let requests = by_route.into_iter().map(|((route, status), weights)| {
        let mut durations = Durations::default();
        // Whole requests; what rounding leaves over goes to the next duration.
        let mut over = 0.0;
        for (duration_us, weight) in weights {
            let whole = (weight + over).round();
            over += weight - whole;
            durations.record(duration_us, whole as u64);
        }
        RouteDurations { route: route.clone(), status, durations }
    });
    requests.filter(|requests| requests.durations.count() > 0).collect()
}
