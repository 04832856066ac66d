//! Simulated requests, with and without a reason to be slow: what is found is there, and what is not there is not found.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::{SpanId, TraceId};
use tephra_proto::trace_share;

use super::*;
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::durations::Durations;
use crate::profile::model::{Link, Merged, REPLICATES_MAX, SpanStatus, SpanSummary};
use crate::profile::testing::{Random, Sketch};
use crate::query::{Drawing, EntrySpan, RequestSides, SpanLook};
use crate::symbols::Worker;

const ROUTE: &str = "POST /orders";
const START_MS: u64 = 1_700_000_000_000;
const TEN_MINUTES: TimeRange = TimeRange { from_ms: START_MS, until_ms: START_MS + 600_000 };
const TICK_NS: u64 = 10_101_010;
const TENANTS: [&str; 5] = ["acme", "globex", "initech", "umbrella", "hooli"];

/// One simulated request.
#[derive(Debug, Clone)]
struct Request {
    span: EntrySpan,
    tenant: &'static str,
    /// Samples by function.
    samples: Vec<(&'static str, u64)>,
}

/// Why some of them are slow.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tail {
    Nothing,
    /// One in a hundred, of one tenant, burns 90 ms more in a function of its own.
    Burns,
    /// One in a hundred waits 200 ms.
    Waits,
    /// Half as many burn as long, and as many wait: a busy machine.
    BurnsAmongOthers,
}

/// Ten minutes of eight requests a second, each with a weight as an agent gives it: of one in eight traces it tells by their hash, and of
/// the two slowest of each window. The rest have none.
fn simulated(seed: u64, tail: Tail) -> Vec<Request> {
    let mut random = Random::new(seed);
    let mut requests: Vec<Request> = (0..4_800u64)
        .map(|at| {
            let tenant = TENANTS[(random.next() % 5) as usize];
            let is_slow = at % 100 == seed % 100;
            let (burns_ms, waits_ms) = match tail {
                Tail::Burns if is_slow => (90.0, 0.0),
                Tail::Waits if is_slow => (0.0, 400.0),
                Tail::BurnsAmongOthers if is_slow && at / 100 % 2 == 0 => (100.0, 0.0),
                Tail::BurnsAmongOthers if is_slow => (0.0, 100.0),
                _ => (0.0, 0.0),
            };
            let tenant = if burns_ms > 0.0 { "umbrella" } else { tenant };
            // Some requests do five times as much as most.
            let size = -random.unit().ln();
            let mut samples: Vec<(&str, u64)> = ["shop::cart::total", "shop::tax::rate_for", "shop::receipt::render"]
                .into_iter()
                .map(|function| (function, random.poisson(0.5 * size)))
                .collect();
            let mut cpu_ms = 15.0 * size;
            if burns_ms > 0.0 {
                samples.push(("shop::audit::recheck", random.poisson(burns_ms / 10.0)));
                cpu_ms += burns_ms;
            }
            let waited_ms = -4.0 * random.unit().ln() + waits_ms;
            let id = u128::from(random.next()) << 64 | u128::from(random.next());
            let span_id = SpanId::from_bytes((at + 1).to_be_bytes()).unwrap();
            let span = SpanSummary {
                link: Link { trace_id: TraceId::from_bytes(id.to_be_bytes()).unwrap(), span_id: Some(span_id) },
                route: ROUTE.into(),
                start_ms: START_MS + at * 125,
                duration_us: ((cpu_ms + waited_ms) * 1e3) as u64,
                status: SpanStatus::Ok,
                weight: if trace_share::holds(trace_share::hash(&id.to_be_bytes()), 3) { 8.0 } else { 0.0 },
            };
            let labels: Labels =
                [("version", if random.next().is_multiple_of(2) { "v1" } else { "v2" })].into_iter().collect();
            let instance: Arc<str> = format!("host-{}", random.next() % 4).into();
            Request { span: EntrySpan { span, instance, labels }, tenant, samples }
        })
        .collect();
    for window in requests.chunks_mut(80) {
        window.sort_by_key(|request| std::cmp::Reverse(request.span.span.duration_us));
        window.iter_mut().take(2).for_each(|request| request.span.span.weight = request.span.span.weight.max(1.0));
    }
    requests
}

/// What the store would say they cost.
fn costs_of(requests: &[Request], sides: &RequestSides) -> RequestCosts {
    // By what tells them apart: those that were chosen have other places.
    let known: HashMap<Link, &Request> = requests.iter().map(|request| (request.span.span.link, request)).collect();
    let request = |at: usize| known[&sides.all[at].span.link];
    let of_side = |side: usize| -> Merged {
        let chosen = &sides.sides[side];
        let groups = chosen.len().min(REPLICATES_MAX);
        let mut sketch = Sketch::cpu(groups as u16);
        let mut seconds = vec![0.0; groups];
        for (at, chosen) in chosen.iter().enumerate() {
            seconds[at % groups] += 1.0;
            for (function, samples) in request(*chosen).samples.iter().filter(|(_, samples)| *samples > 0) {
                let stack = format!("shop::main;shop::orders::place;{function}");
                sketch.add(&stack, (at % groups) as u16, samples * TICK_NS, *samples);
            }
        }
        let (merged, _) = sketch.finish();
        Merged { covered_seconds: chosen.len() as f64, replicate_seconds: seconds, ..merged }
    };
    let labels = [0, 1].map(|side: usize| {
        let labels = |chosen: &usize| {
            let request = request(*chosen);
            let is_sampled = request.samples.iter().any(|(_, samples)| *samples > 0);
            is_sampled.then(|| BTreeSet::from([("tenant".into(), request.tenant.into())]))
        };
        sides.sides[side].iter().map(labels).collect()
    });
    RequestCosts { types: vec![[of_side(0), of_side(1)]], labels }
}

fn durations_of(requests: &[Request]) -> Durations {
    let mut durations = Durations::default();
    requests.iter().for_each(|request| durations.record(request.span.span.duration_us, 1));
    durations
}

fn no_symbols() -> Symbols {
    // Nothing is uploaded, so it is never started.
    let worker = Worker { program: "/nowhere".into(), args: Vec::new(), deadline: Duration::from_secs(1) };
    Symbols::open(tempfile::tempdir().unwrap().path(), worker).unwrap()
}

fn slowest(requests: &[Request], symbols: &Symbols) -> Explained {
    let selector = Selector::Slowest { percent: 1.0 };
    let all = durations_of(requests);
    let spans = requests.iter().map(|request| request.span.clone()).collect();
    let chosen = choose(selector, TEN_MINUTES, (&all, &all), spans);
    Explained::of(ROUTE, selector, &chosen, &costs_of(requests, &chosen.requests), symbols)
}

#[test]
fn two_halves_of_the_same_requests_differ_in_nothing() {
    let symbols = no_symbols();
    let found = (0..100).filter(|seed| {
        let requests = simulated(*seed, Tail::Burns);
        let mut random = Random::new(seed + 1_000);
        let mut sides: [Vec<usize>; 2] = Default::default();
        for at in (0..requests.len()).filter(|at| requests[*at].span.span.weight > 0.0) {
            sides[(random.next() % 2) as usize].push(at);
        }
        let all: Vec<EntrySpan> = requests.iter().map(|request| request.span.clone()).collect();
        let side = |at: usize| Side {
            min_us: 0,
            max_us: None,
            from_ms: START_MS,
            until_ms: START_MS + 600_000,
            requests: 1,
            examples: sides[at].len(),
            mean_us: 1,
        };
        let chosen = Chosen { sides: [side(0), side(1)], requests: RequestSides { all, sides: sides.clone() }.into() };
        let costs = costs_of(&requests, &chosen.requests);
        Explained::of(ROUTE, Selector::Slowest { percent: 1.0 }, &chosen, &costs, &symbols).finds_something()
    });
    assert!(found.count() <= 1);
}

#[test]
fn a_tail_that_burns_is_found_with_its_function_and_its_tenant() {
    let symbols = no_symbols();
    let found = (0..100).filter(|seed| {
        let explained = slowest(&simulated(*seed, Tail::Burns), &symbols);
        let function = explained.costs[0].functions.first();
        let is_named = function.is_some_and(|found| found.name == "audit::recheck" && found.difference.significant);
        let tenant = explained.labels.first().filter(|label| label.significant);
        is_named && tenant.is_some_and(|label| (&*label.name, &*label.value) == ("tenant", "umbrella"))
    });
    assert!(found.count() >= 95);
}

/// Five minutes, whose slowest 1 % are 24 requests: at most half of them are slow for this reason, and a large service has many functions to test.
#[test]
fn what_only_half_of_a_few_slow_requests_do_is_found() {
    let symbols = no_symbols();
    let functions: Vec<&'static str> = (0..150).map(|at| &*format!("shop::helper_{at}::run").leak()).collect();
    let found = (0..100).filter(|seed| {
        let mut requests = simulated(*seed, Tail::BurnsAmongOthers);
        requests.truncate(2_400);
        for (at, request) in requests.iter_mut().enumerate().filter(|(at, _)| at % 7 == 0) {
            request.samples.push((functions[at % functions.len()], 1));
        }
        let explained = slowest(&requests, &symbols);
        let mut functions = explained.costs[0].functions.iter();
        functions.any(|found| found.name == "audit::recheck" && found.difference.significant)
    });
    assert_eq!(found.count(), 100);
}

#[test]
fn the_answer_says_what_it_costs_and_whom() {
    let explained = slowest(&simulated(7, Tail::Burns), &no_symbols());
    let said = explained.sentences.join("\n");
    assert!(said.starts_with("The slowest 1 % of requests to POST /orders took "), "{said}");
    assert!(said.contains("of it in audit::recheck"), "{said}");
    assert!(said.contains(" have tenant=umbrella, of the others "), "{said}");
    assert!((40..=60).contains(&explained.chosen.requests), "{:?}", explained.chosen);
    assert!(explained.chosen.min_us > explained.others.max_us.unwrap());
    assert!((2_200..=2_800).contains(&explained.others.requests), "around the median: {:?}", explained.others);
}

#[test]
fn slow_requests_that_only_waited_are_said_to_have_waited() {
    let symbols = no_symbols();
    for seed in 0..20 {
        let said = slowest(&simulated(seed, Tail::Waits), &symbols).sentences.join("\n");
        assert!(said.contains(", and used no more CPU (") && said.contains("): they waited."), "{seed}: {said}");
    }
}

#[test]
fn without_enough_examples_nothing_is_claimed() {
    let mut requests = simulated(3, Tail::Burns);
    requests.truncate(40);
    let explained = slowest(&requests, &no_symbols());
    assert!(explained.costs.is_empty() && explained.labels.is_empty() && !explained.finds_something());
    assert!(explained.sentences[0].starts_with("There are too few examples to compare"), "{:?}", explained.sentences);
}

#[test]
fn a_selection_is_compared_with_all_the_others_and_counts_add_up() {
    let requests = simulated(5, Tail::Nothing);
    let all = durations_of(&requests);
    let spans: Vec<EntrySpan> = requests.iter().map(|request| request.span.clone()).collect();
    let inside = Selector::Inside { min_us: 20_000, max_us: Some(50_000), range: TEN_MINUTES };
    let chosen = choose(inside, TEN_MINUTES, (&all, &all), spans);
    assert_eq!(chosen.sides.iter().map(|side| side.requests).sum::<u64>(), 4_800);
    let mean = |side: usize| {
        let of_side = chosen.requests.sides[side].iter().map(|at| chosen.requests.all[*at].span.duration_us);
        of_side.sum::<u64>() / chosen.requests.sides[side].len() as u64
    };
    assert!((20_000..50_000).contains(&mean(1)) && (20_000..50_000).contains(&chosen.sides[1].mean_us));
}

#[test]
fn of_many_requests_as_many_are_drawn_as_are_looked_at_and_by_their_weight() {
    let requests: Vec<Request> = (0..4).flat_map(|seed| simulated(seed, Tail::Nothing)).collect();
    let mut spans: Vec<EntrySpan> = requests.into_iter().map(|request| request.span).collect();
    // Half of them stand for nine times as many as the others.
    for (at, entry) in spans.iter_mut().enumerate() {
        entry.span.weight = if at % 2 == 0 { 9.0 } else { 1.0 };
    }
    let mut all = Durations::default();
    spans.iter().for_each(|entry| all.record(entry.span.duration_us, 1));
    let inside = Selector::Inside { min_us: 0, max_us: None, range: TEN_MINUTES };
    let chosen = choose(inside, TEN_MINUTES, (&all, &all), spans);
    let drawn = &chosen.requests.sides[1];
    assert_eq!(drawn.len(), REQUESTS_MAX);
    let heavy = drawn.iter().filter(|at| chosen.requests.all[**at].span.weight > 1.0).count();
    // Of 9 600 each, 1 − e^(−9t) of the heavy and 1 − e^(−t) of the others, which are 2 000 at t = 0.0228: 1 783 ± 14 heavy ones.
    assert!((1_700..=1_880).contains(&heavy), "{heavy}");
}

#[test]
fn the_same_are_drawn_from_the_traces_that_come_first_as_from_all() {
    let mut spans: Vec<EntrySpan> =
        (0..6).flat_map(|seed| simulated(seed, Tail::Burns)).map(|request| request.span).collect();
    for (at, entry) in spans.iter_mut().enumerate() {
        entry.span.weight = [8.0, 1.0, 0.0][at % 3];
        entry.span.start_ms += at as u64 % 7;
    }
    // Some traces asked twice, and some were told of twice.
    for at in (0..spans.len()).step_by(11) {
        let mut again = spans[at].clone();
        again.span.start_ms += 40;
        spans.push(again.clone());
        again.span.link.span_id = SpanId::from_bytes((1 << 40 | at as u64).to_be_bytes());
        spans.push(again);
    }
    spans.sort_by_key(|entry| (entry.span.start_ms, entry.span.link));
    let mut all = Durations::default();
    spans.iter().for_each(|entry| all.record(entry.span.duration_us, 1));
    let within = TimeRange { from_ms: START_MS + 100_000, until_ms: START_MS + 400_000 };
    let inside = Selector::Inside { min_us: 9_000, max_us: None, range: within };
    for selector in [Selector::Slowest { percent: 1.0 }, inside] {
        let drawing = choose::Draw::new(selector, TEN_MINUTES, &all);
        let mut first: [Vec<(f64, TraceId)>; 2] = Default::default();
        for EntrySpan { span, .. } in &spans {
            let (start_ms, duration_us) = (span.start_ms, span.duration_us);
            let look = SpanLook { trace_id: span.link.trace_id, start_ms, duration_us, weight: span.weight };
            if let Some((side, number)) = drawing.rank(&look) {
                first[side].push((number, span.link.trace_id));
            }
        }
        let mut traces = HashSet::new();
        for side in &mut first {
            side.sort_by(|a, b| a.0.total_cmp(&b.0));
            traces.extend(side.iter().take(drawing.drawn_max() * 5 / 4).map(|(_, trace)| *trace));
        }
        let few: Vec<EntrySpan> =
            spans.iter().filter(|entry| traces.contains(&entry.span.link.trace_id)).cloned().collect();
        assert!(few.len() < spans.len() / 2, "{} of {}", few.len(), spans.len());
        let [from_all, from_few] = [spans.clone(), few].map(|spans| choose(selector, TEN_MINUTES, (&all, &all), spans));
        assert_eq!(from_all.sides, from_few.sides);
        let drawn = |chosen: &Chosen| -> Vec<Vec<EntrySpan>> {
            let of_side = |side: &Vec<usize>| side.iter().map(|at| chosen.requests.all[*at].clone()).collect();
            chosen.requests.sides.iter().map(of_side).collect()
        };
        assert_eq!(drawn(&from_all), drawn(&from_few));
        assert_eq!(from_all.requests.all, from_few.requests.all);
    }
}
