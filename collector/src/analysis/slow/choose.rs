//! Which requests are compared: how many there are is counted in histograms, and examples of them are drawn from the spans.

use std::collections::HashSet;
use std::sync::Arc;

use tephra_proto::durations::{BINS, bin, longest_us, typical_us};
use tephra_proto::ids::TraceId;
use tephra_proto::trace_share;

use super::{REQUESTS_MAX, Side};
use crate::base::range::TimeRange;
use crate::profile::durations::Durations;
use crate::query::{Drawing, EntrySpan, RequestSides, SpanLook};

/// What somebody wants to know about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selector {
    /// The slowest of the route in so many per cent, against those around its median.
    Slowest {
        /// Per cent.
        percent: f64,
    },
    /// Those that took from so long until less than so long and ended in a stretch of time, against all others.
    Inside {
        /// Microseconds.
        min_us: u64,
        /// Microseconds; `None`: however long.
        max_us: Option<u64>,
        /// Unix milliseconds.
        range: TimeRange,
    },
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The others and the chosen.
    pub sides: [Side; 2],
    /// Examples of them.
    pub requests: Arc<RequestSides>,
}

/// From a quarter to three quarters of all requests, by duration: those around the median.
const AROUND_MEDIAN: [f64; 2] = [0.25, 0.75];

/// Durations from so long until less than so long, in microseconds, and the stretch of time.
type Bounds = (u64, Option<u64>, TimeRange);

/// Chooses among the requests to a route, of which `spans` are examples: `all` counts those of the range, `within` those of the selector's own
/// stretch of time.
pub fn choose(
    selector: Selector,
    range: TimeRange,
    (all, within): (&Durations, &Durations),
    spans: Vec<EntrySpan>,
) -> Chosen {
    let drawing = Draw::new(selector, range, all);
    let [others, chosen] = drawing.bounds;
    let is_rest = matches!(selector, Selector::Inside { .. });
    let counted = count(within, chosen);
    let counted_others = match is_rest {
        true => {
            let (count_all, sum_all) = count(all, others);
            (count_all.saturating_sub(counted.0), (sum_all - counted.1).max(0.0))
        }
        false => count(all, others),
    };
    let sides = drawing.draw(&spans);
    let side = |(min_us, max_us, time): Bounds, (requests, sum_us): (u64, f64), examples: usize| Side {
        min_us,
        max_us,
        from_ms: time.from_ms,
        until_ms: time.until_ms,
        requests,
        examples,
        mean_us: (sum_us / requests.max(1) as f64).round() as u64,
    };
    Chosen {
        sides: [side(others, counted_others, sides[0].len()), side(chosen, counted, sides[1].len())],
        requests: only_of_chosen(spans, sides).into(),
    }
}

/// The chosen requests and what else their traces asked of the route; all others are let go.
fn only_of_chosen(spans: Vec<EntrySpan>, sides: [Vec<usize>; 2]) -> RequestSides {
    let traces: HashSet<TraceId> =
        sides.iter().flatten().filter_map(|at| spans.get(*at)).map(|entry| entry.span.link.trace_id).collect();
    let mut places = vec![0; spans.len()];
    let mut all = Vec::new();
    for (entry, place) in spans.into_iter().zip(&mut places) {
        if traces.contains(&entry.span.link.trace_id) {
            *place = all.len();
            all.push(entry);
        }
    }
    let sides = sides.map(|side| side.into_iter().filter_map(|at| places.get(at).copied()).collect());
    RequestSides { all, sides }
}

/// The duration from which on requests are the slowest share of all: a bound of a bin, of the two around the share the nearer one.
fn slowest_from(all: &Durations, share: f64) -> u64 {
    let wanted = all.count() as f64 * share;
    let mut above = 0.0;
    let mut from = bin_of_quantile(all, 1.0);
    for (bin, requests) in all.bins().iter().rev() {
        let with = above + *requests as f64;
        // By how many times too many or too few.
        let is_nearer = above == 0.0 || with / wanted <= wanted / above;
        if !is_nearer {
            break;
        }
        (above, from) = (with, *bin);
        if above >= wanted {
            break;
        }
    }
    above_bin(from)
}

/// The bin in which a share of the requests is reached.
fn bin_of_quantile(durations: &Durations, share: f64) -> u16 {
    let wanted = (durations.count() as f64 * share).ceil().max(1.0) as u64;
    let mut seen = 0u64;
    let reached = durations.bins().iter().find(|(_, requests)| {
        seen = seen.saturating_add(*requests);
        seen >= wanted
    });
    reached.or(durations.bins().last()).map_or(0, |(bin, _)| *bin)
}

/// Whatever is in a bin or above it took longer than this, in microseconds.
fn above_bin(bin: u16) -> u64 {
    bin.checked_sub(1).map_or(0, |below| longest_us(below).floor() as u64)
}

/// Requests and the sum of their durations: a bin belongs to where what stands for it lies.
fn count(durations: &Durations, (min_us, max_us, _): Bounds) -> (u64, f64) {
    let inside = durations.bins().iter().filter(|(bin, _)| lies_within(typical_us(*bin), min_us, max_us));
    inside.fold((0, 0.0), |(count, sum), (bin, n)| (count + n, sum + typical_us(*bin) * *n as f64))
}

fn lies_within(us: f64, min_us: u64, max_us: Option<u64>) -> bool {
    us >= min_us as f64 && max_us.is_none_or(|max| us < max as f64)
}

/// How requests are drawn: at most [`REQUESTS_MAX`] of a side, the likelier the more requests they stand for (Efraimidis and Spirakis, "Weighted
/// random sampling with a reservoir", 2006), with the hash of their trace as the random number: the same question has the same answer.
#[derive(Debug)]
pub(super) struct Draw {
    /// Of the others and of the chosen.
    bounds: [Bounds; 2],
    /// The same by bin.
    bins: [Vec<bool>; 2],
}

impl Draw {
    /// Among the requests to a route, of which `all` counts those of the range.
    pub(super) fn new(selector: Selector, range: TimeRange, all: &Durations) -> Self {
        let bounds: [Bounds; 2] = match selector {
            Selector::Slowest { percent } => {
                let slow_us = slowest_from(all, percent / 100.0);
                let [low, high] = AROUND_MEDIAN.map(|share| bin_of_quantile(all, share));
                let (low_us, high_us) = (above_bin(low), above_bin(high + 1).min(slow_us));
                [(low_us.min(high_us), Some(high_us), range), (slow_us, None, range)]
            }
            Selector::Inside { min_us, max_us, range: inside } => [(0, None, range), (min_us, max_us, inside)],
        };
        let bins = bounds
            .map(|(min_us, max_us, _)| (0..BINS).map(|bin| lies_within(typical_us(bin), min_us, max_us)).collect());
        Self { bounds, bins }
    }

    /// On which side a request is, by the same rule as requests are counted.
    fn side(&self, start_ms: u64, duration_us: u64) -> Option<usize> {
        let bin = usize::from(bin(duration_us.saturating_mul(1_000)));
        let ended_ms = start_ms.saturating_add(duration_us / 1_000);
        let is_on = |side: usize| self.bins[side].get(bin) == Some(&true) && self.bounds[side].2.contains(ended_ms);
        [1, 0].into_iter().find(|side| is_on(*side))
    }

    /// By side, which of the spans are drawn.
    fn draw(&self, spans: &[EntrySpan]) -> [Vec<usize>; 2] {
        let mut seen = HashSet::new();
        let mut keys: [Vec<(f64, usize)>; 2] = Default::default();
        for (at, EntrySpan { span, .. }) in spans.iter().enumerate() {
            let (start_ms, duration_us) = (span.start_ms, span.duration_us);
            let look = SpanLook { trace_id: span.link.trace_id, start_ms, duration_us, weight: span.weight };
            let Some((side, key)) = self.rank(&look) else { continue };
            if seen.insert((span.link, side)) {
                keys[side].push((key, at));
            }
        }
        keys.map(|mut keys| {
            keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            keys.truncate(REQUESTS_MAX);
            keys.into_iter().map(|(_, at)| at).collect()
        })
    }
}

impl Drawing for Draw {
    fn rank(&self, look: &SpanLook) -> Option<(usize, f64)> {
        // Those that stand for none were asked for because something else about them was slow.
        if look.weight <= 0.0 {
            return None;
        }
        let side = self.side(look.start_ms, look.duration_us)?;
        Some((side, exponential(look) / f64::from(look.weight)))
    }

    fn drawn_max(&self) -> usize {
        REQUESTS_MAX
    }
}

/// An exponentially distributed number, by trace, and by when it asked and how long that took. Not by the trace's hash alone: only small ones are
/// kept.
fn exponential(look: &SpanLook) -> f64 {
    let mut mixed = [0; 16];
    mixed[..8].copy_from_slice(&trace_share::hash(&look.trace_id.to_bytes()).to_be_bytes());
    mixed[8..].copy_from_slice(&(look.start_ms.rotate_left(32) ^ look.duration_us).to_be_bytes());
    let uniform = ((trace_share::hash(&mixed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -uniform.ln()
}
