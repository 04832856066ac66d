//! Lets go of examples of requests where a service has told of more than are kept: each instance tells of its own slowest and of a few of each
//! route, so a hundred instances tell of a hundred times as many.
//!
//! Examples are a sample in strata. The slowest of each route and window stand for themselves. Of the others those are kept whose trace has a
//! hash within a share of all hashes, and each stands for as many as that share leaves out (Horvitz and Thompson, "A generalization of
//! sampling without replacement from a finite universe", 1952). Shares shrink step by step until few enough are left, and whether there is
//! another step depends on how many are left and never on which: so weights add up to the number of requests on average, in whichever parts
//! and in whichever order windows come together (adaptive sampling, as agents do it: Flajolet, 1990). A smaller share is within a larger one:
//! services that keep the same share keep the same traces.
//!
//! What completes slow traces stays. An example of such a trace that is to go stays too, and stands for nothing any more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use tephra_proto::ids::TraceId;
use tephra_proto::limits::WINDOW_MS;
use tephra_proto::trace_share::{HALVINGS_MAX, hash};

use crate::store::columnar::PartSpan;

/// Of a service in a window, those that complete traces aside; where it has more than [`SLOWEST`] routes, one more for each. A step takes
/// 8 % away: of many 64 to 70 are left.
const EXAMPLES_MAX: usize = 70;

/// The slowest of a service in a window, of all its routes together; each route has one of its own.
const SLOWEST: usize = 20;

/// The slowest of a route: as many as are named at a time.
const SLOWEST_OF_ROUTE: usize = 4;

/// A route with as few is left alone while others have more: its share is larger than theirs.
const FEW: usize = 8;

/// Steps that halve a share.
const STEPS: u32 = 8;

/// After so many steps hardly anything is left.
const STEPS_MAX: u32 = HALVINGS_MAX * STEPS;

/// Lets go of what a service told of too much, in each window that starts at `from_ms` or later; `completed` are traces that somebody completed.
pub(super) fn thin(spans: &mut Vec<PartSpan>, from_ms: u64, completed: &HashSet<TraceId>) {
    let mut windows: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (span, at) in spans.iter().zip(0..).filter(|(span, _)| span.span.weight > 0.0 && span.window_ms >= from_ms) {
        windows.entry(span.window_ms / u64::from(WINDOW_MS)).or_default().push(at);
    }
    windows.retain(|_, examples| examples.len() > EXAMPLES_MAX);
    for examples in windows.into_values() {
        for (at, weight) in weights(spans, &examples) {
            if let Some(span) = spans.get_mut(at as usize) {
                span.span.weight = weight;
            }
        }
    }
    // Nothing that was told of stands for a negative number of requests.
    spans.retain_mut(|span| {
        let goes = span.span.weight < 0.0;
        if goes {
            span.span.weight = 0.0;
        }
        !goes || completed.contains(&span.span.link.trace_id)
    });
}

/// A route's examples that do not stand for themselves alone.
struct Sampled {
    /// Hashes of traces, and which example it is; by hash.
    by_hash: Vec<(u64, u32)>,
    steps: u32,
}

impl Sampled {
    /// How many its share leaves.
    fn kept(&self) -> usize {
        self.by_hash.partition_point(|(hash, _)| holds(*hash, self.steps))
    }
}

/// What examples of a window are to weigh, by position; −1: they go.
fn weights(spans: &[PartSpan], examples: &[u32]) -> Vec<(u32, f32)> {
    let mut routes: BTreeMap<&str, Vec<(u32, &PartSpan)>> = BTreeMap::new();
    for at in examples {
        if let Some(span) = spans.get(*at as usize) {
            routes.entry(&span.span.route).or_default().push((*at, span));
        }
    }
    let slowest = (SLOWEST / routes.len().max(1)).clamp(1, SLOWEST_OF_ROUTE);
    let mut alone = 0;
    let mut sampled: Vec<Sampled> = Vec::with_capacity(routes.len());
    for of_route in routes.values_mut() {
        // First those that stand for themselves, the slowest of them first.
        of_route.sort_by_cached_key(|(_, PartSpan { span, instance, .. })| {
            (span.weight > 1.0, Reverse(span.duration_us), span.start_ms, span.link, instance.clone())
        });
        let may_stand_alone = of_route.partition_point(|(_, span)| span.span.weight <= 1.0);
        let rest = of_route.split_off(slowest.min(may_stand_alone));
        alone += of_route.len();
        let mut by_hash: Vec<(u64, u32)> =
            rest.iter().map(|(at, span)| (hash(&span.span.link.trace_id.to_bytes()), *at)).collect();
        by_hash.sort_unstable();
        sampled.push(Sampled { by_hash, steps: 0 });
    }
    shrink(&mut sampled, EXAMPLES_MAX.saturating_sub(alone));
    let weight = |hash: u64, at: u32, steps: u32| {
        let known = spans.get(at as usize).map_or(0.0, |span| span.span.weight);
        if holds(hash, steps) { known.max(stands_for(steps)) } else { -1.0 }
    };
    sampled
        .iter()
        .flat_map(|Sampled { by_hash, steps }| by_hash.iter().map(|(hash, at)| (*at, weight(*hash, *at, *steps))))
        .collect()
}

/// Makes shares smaller until no more than so many are left: first of routes with many.
fn shrink(sampled: &mut [Sampled], left_max: usize) {
    let mut few = FEW;
    while sampled.iter().map(Sampled::kept).sum::<usize>() > left_max {
        let mut shrunk = false;
        for of_route in sampled.iter_mut().filter(|of_route| of_route.steps < STEPS_MAX && of_route.kept() > few) {
            of_route.steps += 1;
            shrunk = true;
        }
        match (shrunk, few) {
            (true, _) => {}
            // Clients choose the ids of traces, and so may choose such as every share holds.
            (false, 0) => break,
            (false, _) => few /= 2,
        }
    }
}

/// Whether a trace with such a hash is within the share that so many steps leave: 2^(−steps / 8) of all.
fn holds(hash: u64, steps: u32) -> bool {
    // 2^64 times 2^(−n/8).
    const SHARES: [u128; STEPS as usize] = [
        1 << 64,
        0xeac0_c6e7_dd24_392e,
        0xd744_fcca_d69d_6af4,
        0xc567_2a11_5506_dadd,
        0xb504_f333_f9de_6484,
        0xa5fe_d6a9_b151_38ea,
        0x9837_f051_8db8_a96f,
        0x8b95_c1e3_ea8b_d6e6,
    ];
    let share = SHARES.get((steps % STEPS) as usize).copied().unwrap_or_default();
    u128::from(hash) < share >> (steps / STEPS)
}

/// How many requests one of those stands for.
fn stands_for(steps: u32) -> f32 {
    (f64::from(steps) / f64::from(STEPS)).exp2() as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tephra_proto::trace_share;

    use super::*;
    use crate::base::labels::Labels;
    use crate::profile::model::{Link, SpanStatus, SpanSummary};

    /// Numbers that look like chance, and are the same each time.
    fn mix(n: u64) -> u64 {
        trace_share::hash(&(u128::from(n) << 64 | 0x5eed).to_be_bytes())
    }

    fn span(trace: u128, route: &str, instance: u64, duration_us: u64, weight: f32) -> PartSpan {
        let trace_id = TraceId::from_bytes(trace.to_be_bytes()).unwrap();
        PartSpan {
            span: SpanSummary {
                link: Link { trace_id, span_id: None },
                route: route.into(),
                start_ms: 1,
                duration_us,
                status: SpanStatus::Ok,
                weight,
            },
            window_ms: 0,
            window_len_ms: 10_000,
            instance: format!("host-{instance}").into(),
            labels: Labels::default(),
        }
    }

    fn id(seed: u64, n: u64) -> u128 {
        u128::from(mix(seed << 32 | n)) << 64 | u128::from(mix(!(seed << 32 | n)))
    }

    /// What an instance tells of the requests to a route: its two slowest, and of the others those of a share that leaves at most eight.
    fn told(seed: u64, route: &str, instance: u64, requests: u64) -> Vec<PartSpan> {
        // Each request has a trace of its own.
        let of_route = instance * 997 + route.bytes().map(u64::from).sum::<u64>();
        let number = |n: u64| of_route << 16 | n;
        let ids = (0..requests).map(|n| (id(seed, number(n)), 1_000 + mix(!seed ^ number(n)) % 1_000_000));
        let mut all: Vec<(u128, u64)> = ids.collect();
        all.sort_by_key(|(_, duration_us)| Reverse(*duration_us));
        let mut rest = all.split_off(2.min(all.len()));
        let mut halvings = 0;
        while rest.len() > 8 {
            halvings += 1;
            rest.retain(|(id, _)| trace_share::holds(trace_share::hash(&id.to_be_bytes()), halvings));
        }
        let weight = (1u64 << halvings) as f32;
        let alone = all.iter().map(|(id, duration_us)| span(*id, route, instance, *duration_us, 1.0));
        alone.chain(rest.iter().map(|(id, duration_us)| span(*id, route, instance, *duration_us, weight))).collect()
    }

    const INSTANCES: u64 = 40;
    const ROUTES: [&str; 4] = ["/busy", "/calm", "/one", "/rare"];

    /// In a window: one route is busy everywhere, one on one instance, and one is rare.
    fn requests_of(route: &str, instance: u64) -> u64 {
        match route {
            "/busy" => 60,
            "/calm" => 15,
            "/one" if instance == 3 => 400,
            "/one" => 1,
            _ => u64::from(instance == 7) * 5,
        }
    }

    fn window_of(seed: u64, instances: std::ops::Range<u64>) -> Vec<PartSpan> {
        let of_route = |route: &'static str, instance| told(seed, route, instance, requests_of(route, instance));
        instances.flat_map(|instance| ROUTES.into_iter().flat_map(move |route| of_route(route, instance))).collect()
    }

    fn thinned(mut spans: Vec<PartSpan>) -> Vec<PartSpan> {
        thin(&mut spans, 0, &HashSet::new());
        spans
    }

    fn sum(spans: &[PartSpan], of: impl Fn(&PartSpan) -> f64) -> f64 {
        spans.iter().map(|span| f64::from(span.span.weight) * of(span)).sum()
    }

    /// How far the mean of estimates is off what they estimate, in standard errors.
    fn sigmas_off(estimates: &[f64], truth: f64) -> f64 {
        let n = estimates.len() as f64;
        let mean = estimates.iter().sum::<f64>() / n;
        let variance = estimates.iter().map(|estimate| (estimate - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean - truth).abs() / (variance / n).sqrt().max(1e-9)
    }

    #[test]
    fn weights_add_up_to_the_number_of_requests_in_whichever_order_windows_come_together() {
        type Order = fn(u64) -> Vec<PartSpan>;
        let orders: [(&str, u64, Order); 3] = [
            ("at once", 1_000, |seed| thinned(window_of(seed, 0..INSTANCES))),
            ("one after the other", 300, |seed| {
                (0..8).fold(Vec::new(), |mut kept, part| {
                    kept.extend(window_of(seed, 5 * part..5 * part + 5));
                    thinned(kept)
                })
            }),
            ("in halves of unequal halves", 300, |seed| {
                let [a, b, c, d] = [0..3, 3..4, 4..24, 24..INSTANCES].map(|part| thinned(window_of(seed, part)));
                thinned([thinned([d, a].concat()), thinned([b, c].concat())].concat())
            }),
        ];
        let requests_to = |route| (0..INSTANCES).map(|instance| requests_of(route, instance)).sum::<u64>() as f64;
        for (order, windows, thin_by) in orders {
            let windows: Vec<Vec<PartSpan>> = (0..windows).map(thin_by).collect();
            for route in ROUTES {
                let of_route = |span: &PartSpan| f64::from(u8::from(*span.span.route == *route));
                let counted: Vec<f64> = windows.iter().map(|spans| sum(spans, of_route)).collect();
                assert!(sigmas_off(&counted, requests_to(route)) <= 3.0, "{order}: {route}");
            }
            // And so do durations, of which the longest are chosen for what they are: 501 ms on average.
            let took: Vec<f64> =
                windows.iter().map(|spans| sum(spans, |span| span.span.duration_us as f64 / 500_999.5)).collect();
            assert!(sigmas_off(&took, ROUTES.map(requests_to).iter().sum()) <= 3.0, "{order}: durations");
            for spans in &windows {
                assert!((48..=EXAMPLES_MAX).contains(&spans.len()), "{order}: {}", spans.len());
            }
            let mean = windows.iter().map(Vec::len).sum::<usize>() as f64 / windows.len() as f64;
            assert!((64.0..=70.0).contains(&mean), "{order}: {mean} are left");
        }
    }

    #[test]
    fn the_slowest_stand_for_themselves_and_a_rare_route_loses_nothing() {
        let all = window_of(1, 0..INSTANCES);
        let left = thinned(all.clone());
        for route in ROUTES {
            let of_route = |spans: &[PartSpan]| {
                let mut found: Vec<PartSpan> =
                    spans.iter().filter(|span| *span.span.route == *route).cloned().collect();
                found.sort_by_key(|span| Reverse(span.span.duration_us));
                found
            };
            let (before, after) = (of_route(&all), of_route(&left));
            let mut alone = before.clone();
            alone.retain(|span| span.span.weight == 1.0);
            alone.truncate(SLOWEST_OF_ROUTE);
            assert!(alone.iter().all(|span| after.contains(span)), "{route}");
            assert!(route != "/rare" || before == after, "{route}");
        }
        assert_eq!(thinned(left.clone()), left, "what was thinned is thin");
        let mut few = left;
        few.truncate(EXAMPLES_MAX);
        assert_eq!(thinned(few.clone()), few);
    }

    #[test]
    fn of_many_routes_each_keeps_its_slowest() {
        let told_of = |route: u64| told(3, &format!("/{}", "r".repeat(route as usize + 1)), 1, 40);
        let all: Vec<PartSpan> = (0..100).flat_map(told_of).collect();
        let left = thinned(all);
        let routes: HashSet<Arc<str>> = left.iter().map(|span| span.span.route.clone()).collect();
        assert_eq!((routes.len(), left.len()), (100, 100));
        assert!(left.iter().all(|span| span.span.weight == 1.0));
    }

    #[test]
    fn completed_traces_stay_whole_and_stand_for_nothing_more_than_they_did() {
        let mut all = window_of(2, 0..INSTANCES);
        let completes = span(id(9, 9), "/busy", 5, 10, 0.0);
        all.push(completes.clone());
        let plain = thinned(all.clone());
        let completed: HashSet<TraceId> = all.iter().step_by(9).map(|span| span.span.link.trace_id).collect();
        let mut left = all.clone();
        thin(&mut left, 0, &completed);
        let counted = |spans: &[PartSpan]| -> Vec<PartSpan> {
            spans.iter().filter(|span| span.span.weight > 0.0).cloned().collect()
        };
        assert_eq!(counted(&left), counted(&plain));
        assert!(plain.contains(&completes), "nobody counts it, and it stays");
        let of = |spans: &[PartSpan]| spans.iter().filter(|s| completed.contains(&s.span.link.trace_id)).count();
        assert_eq!(of(&left), of(&all));
        assert!(of(&plain) < of(&all) / 2);
    }

    #[test]
    fn windows_of_before_there_were_counts_keep_all_as_theirs_stand_for_counts() {
        let mut spans = window_of(4, 0..INSTANCES);
        let all = spans.len();
        thin(&mut spans, 1, &HashSet::new());
        assert_eq!(spans.len(), all);
    }

    #[test]
    fn ids_that_every_share_holds_end_it_all_the_same() {
        // One trace asked for all of it, and its hash is small.
        let small =
            (0..).find(|n| trace_share::hash(&(u128::from(mix(*n)) | 1 << 100).to_be_bytes()).leading_zeros() >= 12);
        let trace = u128::from(mix(small.unwrap())) | 1 << 100;
        let left = thinned((0..5_000).map(|n| span(trace, "/", n % 9, n, 1.0)).collect());
        assert_eq!(left.len(), SLOWEST_OF_ROUTE);
    }

    #[test]
    fn a_share_of_whole_halvings_is_that_of_agents_and_each_step_is_within_the_one_before() {
        for n in 0..20_000 {
            let hash = mix(n) >> (n % 40);
            for steps in 0..STEPS_MAX {
                assert!(
                    steps % STEPS != 0 || holds(hash, steps) == trace_share::holds(hash, steps / STEPS),
                    "{hash:x}"
                );
                assert!(!holds(hash, steps + 1) || holds(hash, steps));
            }
        }
        for steps in 0..STEPS_MAX {
            let share = (0..64)
                .rev()
                .fold(0u64, |known, bit| if holds(known | 1 << bit, steps) { known | 1 << bit } else { known });
            let product = (share as f64 + 1.0) / 64f64.exp2() * f64::from(stands_for(steps));
            assert!((product - 1.0).abs() < 1e-6, "{steps}: {product}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// Whatever is thinned in which parts first: what is left is of what there was, is few, and weighs no less than before.
        #[test]
        fn thinning_in_parts_leaves_no_more_than_thinning_at_once(
            seed in 0u64..1_000_000,
            cuts in prop::collection::vec(0u64..INSTANCES, 0..6),
            backwards: bool,
        ) {
            let mut bounds: Vec<u64> = [0, INSTANCES].into_iter().chain(cuts).collect();
            bounds.sort_unstable();
            let mut parts: Vec<Vec<PartSpan>> =
                bounds.windows(2).map(|part| thinned(window_of(seed, part[0]..part[1]))).collect();
            if backwards {
                parts.reverse();
            }
            let left = parts.into_iter().reduce(|kept, part| thinned([kept, part].concat())).unwrap();
            prop_assert!(left.len() <= EXAMPLES_MAX);
            let all = window_of(seed, 0..INSTANCES);
            for span in &left {
                let before = all.iter().find(|other| other.span.link == span.span.link && other.instance == span.instance);
                prop_assert!(before.is_some_and(|before| before.span.weight <= span.span.weight));
            }
            prop_assert_eq!(thinned(left.clone()), left);
        }
    }
}
