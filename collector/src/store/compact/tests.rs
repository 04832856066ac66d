//! Answers are the same before compaction and after it, at any level, in any order, whenever it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tephra_proto::ids::{ServiceName, TraceId};
use tephra_proto::v1;

use super::*;
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestRow, TestWindow, row, traced};
use crate::profile::model::{Frame, Merged, Node, SpanSummary};
use crate::query::{QueryEngine, QueryLimits, RequestsAsked, Selection};
use crate::store::Options;
use crate::store::testing::{TestPlace, options};

const HOUR: u64 = 3_600_000;

/// What is pushed: agent, ten-second slot, which rows, and whether it carries a trace.
type Pushed = (u8, u64, Vec<(u8, u64)>, bool);

fn pushed() -> impl Strategy<Value = Pushed> {
    let rows = prop::collection::vec((0u8..6, 1u64..1_000), 0..4);
    (1u8..4, 0u64..3_000, rows, any::<bool>())
}

/// A window of one of three agents, in one of two services and versions.
fn window((agent, slot, rows, with_trace): &Pushed, sequence: u64, base_ms: u64) -> TestWindow {
    const STACKS: [&str; 6] = ["main", "main;a", "main;a;b", "main;c", "…;d", "run;a"];
    let service = if *agent == 3 { "other" } else { "shop" };
    let trace = with_trace.then_some((slot % 5) as u8 + 1);
    let rows: Vec<TestRow> = rows
        .iter()
        .map(|(stack, value)| match trace {
            Some(trace) if stack % 2 == 0 => traced(STACKS[*stack as usize], *value, trace),
            _ => row(STACKS[*stack as usize], *value),
        })
        .zip(*slot..)
        .map(|(row, i)| match i % 3 {
            0 => row,
            1 => row.label("route", "/a"),
            _ => row.label("route", "/b").label("tenant", "acme"),
        })
        .collect();
    let live = rows.iter().map(|row| TestRow { trace: None, labels: Vec::new(), ..row.clone() });
    let live: Vec<TestRow> = live.collect();
    let window = TestWindow::new(service, *agent, sequence, base_ms + slot * 10_000)
        .label("version", if slot % 2 == 0 { "v1" } else { "v2" })
        .cpu(&rows)
        .inuse(&live);
    match trace {
        Some(trace) => window.span(trace, "GET /x", 5, 1_000 + *slot),
        None => {
            let (fast, slow) = (1_000 + 17 * *slot, 90_000 + 400 * *slot);
            let failed = v1::SpanStatus::Error;
            window.requests("GET /x", v1::SpanStatus::Ok, &[fast, fast, slow]).requests("GET /y", failed, &[slow])
        }
    }
}

/// Everything one can ask, in a form that compares.
#[derive(Debug, PartialEq)]
struct Answers {
    merged: Vec<Profile>,
    timelines: Vec<String>,
    overview: String,
    traces: Vec<String>,
    spans: Vec<SpanSummary>,
    requests: Vec<String>,
}

/// A merged profile, whatever its replicates.
#[derive(Debug, PartialEq)]
struct Profile {
    by_stack: BTreeMap<Vec<String>, (u64, u64)>,
    covered_ms: u64,
    windows: u64,
    instances: BTreeSet<String>,
    labels: BTreeSet<(String, String)>,
}

fn profile(merged: &Merged) -> Profile {
    let mut by_stack: BTreeMap<Vec<String>, (u64, u64)> = BTreeMap::new();
    for row in &merged.rows {
        let (mut path, mut at) = (Vec::new(), row.node);
        while at != Node::ROOT {
            let node = merged.nodes[at as usize];
            path.push(match &merged.frames[node.frame as usize] {
                Frame::Symbolic { function, .. } => function.to_string(),
                other => format!("{other:?}"),
            });
            at = node.parent;
        }
        let sum = by_stack.entry(path).or_default();
        sum.0 += row.value;
        sum.1 += row.samples;
    }
    Profile {
        by_stack,
        covered_ms: (merged.covered_seconds * 1e3).round() as u64,
        windows: merged.windows,
        instances: merged.instances.clone(),
        labels: merged.labels.clone(),
    }
}

async fn answers(store: &Arc<Store>, base_ms: u64, exact_types: &[&str]) -> Answers {
    let engine = QueryEngine::new(store.clone(), QueryLimits { threads: 2, ..QueryLimits::default() });
    let shop = ServiceName::parse("shop").unwrap();
    let hour = base_ms.next_multiple_of(HOUR);
    let ranges = [
        (base_ms, base_ms + 9 * HOUR),
        (hour, hour + HOUR),
        (hour - 600_000, hour + 2 * HOUR),
        (base_ms + 12_340, base_ms + 5 * HOUR + 7_770),
        (hour + 60_000, hour + 120_000),
        (0, u64::MAX >> 2),
    ];
    let filters: [&[(&str, &str)]; 5] = [
        &[],
        &[("version", "v1")],
        &[("instance", "host-2")],
        &[("route", "/a")],
        &[("route", "/b"), ("tenant", "acme"), ("version", "v2")],
    ];
    let (mut merged, mut timelines) = (Vec::new(), Vec::new());
    for (from_ms, until_ms) in ranges {
        for labels in filters {
            for profile_type in exact_types {
                let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                let selection = Selection {
                    service: shop.clone(),
                    profile_type: (*profile_type).to_owned(),
                    from_ms,
                    until_ms,
                    labels,
                    trace: None,
                };
                merged.push(profile(&engine.merge(&selection).await.unwrap()));
                let of_trace = Selection { trace: Some(trace(2)), ..selection.clone() };
                merged.push(profile(&engine.merge(&of_trace).await.unwrap()));
                if until_ms < base_ms + 24 * HOUR {
                    for by in [None, Some("version"), Some("instance"), Some("route")] {
                        // Not the default step: that follows the length of the windows.
                        let timeline = engine.timeline(&selection, Some(600_000), by).await.unwrap();
                        timelines.push(format!("{:?}", timeline.series));
                        let timeline = engine.timeline(&of_trace, Some(600_000), by).await.unwrap();
                        timelines.push(format!("{:?}", timeline.series));
                    }
                }
            }
        }
    }
    let range = TimeRange { from_ms: hour, until_ms: hour + 6 * HOUR };
    let overview = format!("{:?}", engine.services(range).await.unwrap());
    let mut traces = Vec::new();
    for n in 1..7 {
        let view = engine.trace(trace(n)).await.unwrap();
        traces.push(view.map_or(String::new(), |view| {
            let services = view.services.iter().map(|service| {
                let types: Vec<_> = service.types.iter().map(profile).collect();
                format!("{} {:?} {:?} {types:?}", service.service, service.spans, service.samples)
            });
            format!("{} {} {:?}", view.from_ms, view.until_ms, services.collect::<Vec<_>>())
        }));
    }
    let (spans, _) = engine.spans(&shop, range, &[("version".to_owned(), "v1".to_owned())]).await.unwrap();
    let mut requests = Vec::new();
    for (from_ms, until_ms) in ranges {
        for labels in [vec![], vec![("version".to_owned(), "v1".to_owned())]] {
            let range = TimeRange { from_ms, until_ms };
            let asked = RequestsAsked { service: shop.clone(), range, labels, step_ms: None };
            let over = engine.requests(&asked).await.unwrap();
            requests.push(format!("{:?} {:?}", over.routes, over.covered_ms));
        }
    }
    // An hour is a whole number of the windows of every level that answers for it.
    let asked = RequestsAsked { service: shop.clone(), range, labels: vec![], step_ms: Some(HOUR) };
    requests.push(format!("{:?}", engine.requests(&asked).await.unwrap().routes));
    Answers { merged, timelines, overview, traces, spans, requests }
}

fn trace(n: u8) -> TraceId {
    TraceId::from_bytes([n; 16]).unwrap()
}

async fn compact_all(store: &Arc<Store>, now_ms: u64) {
    while step(store, now_ms, 0, None).await.unwrap() {}
}

fn run_to_end<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 8, ..ProptestConfig::default() })]

    #[test]
    fn compaction_changes_no_answer(all in prop::collection::vec(pushed(), 1..40), split in 0usize..40) {
        run_to_end(async {
            let (left, right) = (TestPlace::new().await, TestPlace::new().await);
            let (plain, compacted) = (left.open().await, right.open().await);
            let base_ms = now_ms() / 10_000 * 10_000 - 10 * HOUR;
            let mut windows: Vec<TestWindow> =
                all.iter().enumerate().map(|(i, pushed)| window(pushed, i as u64 + 1, base_ms)).collect();
            // Whatever is asked for, it was heard of.
            windows.push(window(&(1, 7, vec![(0, 5)], true), 100, base_ms));
            let (early, late) = windows.split_at(split.min(windows.len()));
            for (store, compacts) in [(&plain, false), (&compacted, true)] {
                let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
                for windows in [early, late] {
                    let pushes: Vec<_> = windows.iter().map(|window| ingest.push(window.request())).collect();
                    for push in futures(pushes).await {
                        push.unwrap();
                    }
                    if compacts {
                        // Before the late ones come, the early ones are in levels up to the coarsest, or only just flushed.
                        let later = if split % 2 == 0 { 30 * 24 * HOUR } else { 0 };
                        compact_all(store, now_ms() + later).await;
                    }
                }
            }
            let expected = answers(&plain, base_ms, &["cpu"]).await;
            for later in [0, 2 * HOUR, 40 * HOUR, 30 * 24 * HOUR] {
                compact_all(&compacted, now_ms() + later).await;
                let found = answers(&compacted, base_ms, &["cpu"]).await;
                prop_assert_eq!(&found, &expected, "{} hours later", later / HOUR);
                gauges_agree(&plain, &compacted, base_ms).await?;
            }
            let live = compacted.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
            prop_assert!(live.iter().all(|row| row.segment.level > 0), "nothing is left as it arrived");
            prop_assert!(live.iter().any(|row| row.segment.level == 5), "and all levels are there");
            let (a, b) = (plain.catalog().totals().await.unwrap(), compacted.catalog().totals().await.unwrap());
            prop_assert_eq!((a.windows, a.samples), (b.windows, b.samples));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn with_next_to_no_memory_parts_are_taken_in_pieces_and_say_the_same() {
    let place = TestPlace::new().await;
    let store = place.open_with(Options { compaction_bytes: 24 << 10, ..options() }).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let base_ms = now_ms() / HOUR * HOUR - 12 * HOUR;
    for slot in 0..30u64 {
        let all: Vec<(u8, u64)> = (0..6).map(|stack| (stack, 100 * slot + 1)).collect();
        ingest
            .push(window(&((slot % 3) as u8 + 1, slot, all, slot % 4 == 0), slot + 1, base_ms).request())
            .await
            .unwrap();
    }
    let expected = answers(&store, base_ms, &["cpu"]).await;
    // What is so small is merged again and again: as often as it takes to reach every level.
    for _ in 0..40 {
        step(&store, now_ms() + 30 * 24 * HOUR, 0, None).await.unwrap();
    }
    let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
    let of_shop = live.iter().filter(|row| row.services.iter().any(|name| name == "shop"));
    let parts: Vec<(u32, usize)> = of_shop
        .map(|row| {
            let segment = store.columnar(row, &[crate::store::columnar::Table::Windows]).unwrap().unwrap();
            (row.segment.level, segment.parts_of("shop").count())
        })
        .collect();
    for level in 1..=5 {
        let of_level: usize = parts.iter().filter(|(of, _)| *of == level).map(|(_, parts)| parts).sum();
        assert!(of_level > 1, "level {level} is in pieces: {parts:?}");
    }
    assert_eq!(answers(&store, base_ms, &["cpu"]).await, expected);
}

#[tokio::test]
async fn of_several_segments_each_says_how_many_samples_are_its_own() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let base_ms = now_ms() / HOUR * HOUR - 12 * HOUR;
    let mut expected = BTreeMap::new();
    for hour in 0..3u64 {
        // One after the other, so that each arrives in a segment of its own.
        let all: Vec<(u8, u64)> = (0..hour as u8 + 1).map(|stack| (stack, 10_000_000)).collect();
        let window = window(&(1, hour * 360, all, hour == 1), hour + 1, base_ms);
        ingest.push(window.request()).await.unwrap();
        expected.insert(base_ms + hour * HOUR, hour + 1);
    }
    let samples = async |level: u32| {
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
        let of_level = live.into_iter().filter(|row| row.segment.level == level);
        of_level.map(|row| (row.segment.min_ms, row.segment.samples)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(samples(0).await, expected, "as they arrived");
    step(&store, now_ms(), 0, None).await.unwrap();
    assert_eq!(samples(1).await, expected);
}

/// Gauges are rounded by replicate, so other replicates round otherwise: the sums are equal to within one unit each.
async fn gauges_agree(plain: &Arc<Store>, compacted: &Arc<Store>, base_ms: u64) -> Result<(), TestCaseError> {
    let mut merged = Vec::new();
    for store in [plain, compacted] {
        let engine = QueryEngine::new(store.clone(), QueryLimits::default());
        let selection = Selection {
            service: ServiceName::parse("shop").unwrap(),
            profile_type: "inuse_space".to_owned(),
            from_ms: base_ms,
            until_ms: base_ms + 10 * HOUR,
            labels: Vec::new(),
            trace: None,
        };
        merged.push(engine.merge(&selection).await.unwrap());
    }
    let [a, b] = [profile(&merged[0]), profile(&merged[1])];
    prop_assert_eq!((a.covered_ms, a.windows, &a.instances), (b.covered_ms, b.windows, &b.instances));
    for stack in a.by_stack.keys().chain(b.by_stack.keys()) {
        let value = |p: &Profile| p.by_stack.get(stack).map_or(0, |(value, _)| *value);
        prop_assert!(value(&a).abs_diff(value(&b)) <= 64, "{:?}: {} and {}", stack, value(&a), value(&b));
    }
    Ok(())
}

/// All of them at once: then they share segments.
async fn futures<T: Send + 'static>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn two_compactions_of_the_same_segments_cannot_both_count() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let base_ms = now_ms() / 10_000 * 10_000 - 2 * HOUR;
    ingest.push(window(&(1, 0, vec![(0, 7)], true), 1, base_ms).request()).await.unwrap();
    let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
    let job = Job::Flush(live);
    exchange(&store, job.clone(), Circumstances::default(), None).await.unwrap();
    exchange(&store, job, Circumstances::default(), None).await.unwrap();
    let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
    assert_eq!(live.iter().map(|row| row.segment.level).collect::<BTreeSet<_>>(), BTreeSet::from([1, levels::TRACES]));
    let known: BTreeSet<String> =
        store.catalog().objects().await.unwrap().into_iter().map(|stored| stored.object).collect();
    let there: BTreeSet<String> = store.bulk().list().unwrap().into_iter().map(|object| object.name).collect();
    assert_eq!(known, there, "the loser's objects are gone");
    // The same for adding up to a coarser level.
    let job = plan::next(&live, base_ms + 30 * HOUR, 0).unwrap();
    assert!(matches!(job, Job::Roll(..)));
    exchange(&store, job.clone(), Circumstances::default(), None).await.unwrap();
    exchange(&store, job, Circumstances::default(), None).await.unwrap();
    assert_eq!(store.catalog().totals().await.unwrap().windows, 1);
}

async fn total(store: &Arc<Store>, service: &str, from_ms: u64, until_ms: u64) -> u64 {
    let selection = Selection {
        service: ServiceName::parse(service).unwrap(),
        profile_type: "cpu".to_owned(),
        from_ms,
        until_ms,
        labels: Vec::new(),
        trace: None,
    };
    QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total()
}

/// Bytes of all objects, the dropped ones excepted.
async fn holds(store: &Arc<Store>, text: &str) -> bool {
    !holders(store, text).await.is_empty()
}

/// Names of the tables that hold some text.
async fn holders(store: &Arc<Store>, text: &str) -> Vec<String> {
    let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
    let tables = live.iter().flat_map(|row| &row.tables).map(|table| (table.name.clone(), table.object.clone()));
    let arrived = live.iter().filter(|row| row.segment.level == 0);
    let mut objects: Vec<(String, String)> = tables.collect();
    objects.extend(arrived.map(|row| ("windows as they arrived".to_owned(), row.segment.id.clone())));
    let read = |object: &String| store.bulk().get_range(object, 0, usize::MAX >> 1).unwrap();
    objects.retain(|(_, object)| read(object).windows(text.len()).any(|bytes| bytes == text.as_bytes()));
    objects.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn fine_windows_go_first_and_coarse_ones_answer_for_them() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let hour_ms = now_ms() / HOUR * HOUR - 3 * HOUR;
    for (sequence, slot) in [(1, 0), (2, 100), (3, 359)] {
        let window = window(&(1, slot, vec![(0, 1_000 + slot)], false), sequence, hour_ms);
        ingest.push(window.request()).await.unwrap();
    }
    let range = vec![crate::store::catalog::PinRange {
        service: "shop".to_owned(),
        from_ms: hour_ms + 990_000,
        until_ms: hour_ms + 1_010_000,
    }];
    let pin = crate::store::catalog::NewPin {
        url: "/".to_owned(),
        note: String::new(),
        answer: String::new(),
        expires_ms: now_ms() + 20 * 24 * HOUR,
        ranges: range,
    };
    store.catalog().insert_pin(pin, now_ms()).await.unwrap();
    compact_all(&store, now_ms() + 10 * 24 * HOUR).await;
    let whole = 3 * 1_000 + 100 + 359;
    let levels = async || -> BTreeSet<u32> {
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.unwrap();
        live.iter().map(|row| row.segment.level).collect()
    };
    let minute = (hour_ms + 960_000, hour_ms + 1_020_000);
    crate::store::retain::round(&store, now_ms() + 16 * 24 * HOUR).await.unwrap();
    assert_eq!(levels().await, BTreeSet::from([1, 2, 3, 4, 5]), "a pin keeps all of it");
    assert_eq!(total(&store, "shop", minute.0, minute.1).await, 1_100);
    crate::store::retain::round(&store, now_ms() + 25 * 24 * HOUR).await.unwrap();
    assert_eq!(levels().await, BTreeSet::from([3, 4, 5]));
    assert_eq!(total(&store, "shop", hour_ms, hour_ms + HOUR).await, whole);
    assert_eq!(total(&store, "shop", minute.0, minute.1).await, 0, "a window belongs where it starts");
    assert_eq!(total(&store, "shop", hour_ms + 600_000, hour_ms + 1_200_000).await, 1_100);
    crate::store::retain::round(&store, now_ms() + 60 * 24 * HOUR).await.unwrap();
    assert_eq!(levels().await, BTreeSet::from([4, 5]));
    assert_eq!(total(&store, "shop", hour_ms, hour_ms + HOUR).await, whole);
    crate::store::retain::round(&store, now_ms() + 120 * 24 * HOUR).await.unwrap();
    assert_eq!(levels().await, BTreeSet::new());
}

#[tokio::test]
async fn what_is_deleted_is_gone_at_once_and_its_bytes_soon() {
    for compacted_first in [false, true] {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        let base_ms = now_ms() / HOUR * HOUR - 3 * HOUR;
        let pushes: Vec<_> = [(1, 7), (3, 7)]
            .iter()
            .map(|(agent, slot)| window(&(*agent, *slot, vec![(0, 5)], true), 1, base_ms).request())
            .map(|request| ingest.push(request))
            .collect();
        futures(pushes).await.into_iter().for_each(|ack| drop(ack.unwrap()));
        if compacted_first {
            compact_all(&store, now_ms() + 40 * HOUR).await;
        }
        let engine = QueryEngine::new(store.clone(), QueryLimits::default());
        // Slot 7 is of trace 3, in both services.
        assert_eq!(engine.trace(trace(3)).await.unwrap().unwrap().services.len(), 2);
        assert!(store.delete_service("other", now_ms()).await.unwrap());
        assert!(!store.delete_service("other", now_ms()).await.unwrap());
        assert_eq!(engine.trace(trace(3)).await.unwrap().unwrap().services.len(), 1);
        let range = TimeRange { from_ms: base_ms, until_ms: base_ms + HOUR };
        let (services, _) = engine.services(range).await.unwrap();
        assert_eq!(services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["shop"]);
        engine.delete_trace(trace(3)).await.unwrap();
        assert!(engine.trace(trace(3)).await.unwrap().is_none());
        let shop = ServiceName::parse("shop").unwrap();
        assert!(engine.spans(&shop, range, &[]).await.unwrap().0.is_empty());

        compact_all(&store, now_ms() + 40 * HOUR).await;
        assert_eq!(total(&store, "shop", base_ms, base_ms + HOUR).await, 5, "the sums stay");
        assert!(holds(&store, "shop").await && holds(&store, "host-1").await);
        // The route is in the sums too; the id of the trace was in its spans and samples.
        let trace_bytes = "\u{3}".repeat(16);
        for gone in ["other", "host-3", &trace_bytes] {
            let mut holders = holders(&store, gone).await;
            // The id of the other service's agent is the same bytes as the trace's.
            holders.retain(|table| table != "footer" || gone != trace_bytes);
            assert!(holders.is_empty(), "{gone:?} in {holders:?}, compacted first: {compacted_first}");
        }
        let asked = RequestsAsked { service: shop, range, labels: vec![], step_ms: None };
        let over = engine.requests(&asked).await.unwrap();
        assert_eq!(over.in_all().map(|(route, _)| route.to_owned()).collect::<Vec<_>>(), ["GET /x"]);
        assert!(engine.trace(trace(3)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_service_of_many_instances_keeps_a_few_examples_and_all_of_what_was_completed() {
    const INSTANCES: u8 = 60;
    /// Traces that another service completed; among all of each instance there are such.
    const COMPLETED: std::ops::Range<u8> = 1..21;
    let place = TestPlace::new().await;
    let store = place.open().await;
    store.catalog().count_requests_since(0).await.unwrap();
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let base_ms = now_ms() / 10_000 * 10_000 - 2 * HOUR;
    let engine = QueryEngine::new(store.clone(), QueryLimits::default());
    let of = |service: &str| ServiceName::parse(service).unwrap();
    let range = TimeRange { from_ms: base_ms - HOUR, until_ms: base_ms + HOUR };
    let spans = async |service: &str| engine.spans(&of(service), range, &[]).await.unwrap().0;
    // Half of them are flushed before the others come; what completes their traces comes last.
    for half in [1..=INSTANCES / 2, INSTANCES / 2 + 1..=INSTANCES] {
        let window = |agent: u8| {
            let window = TestWindow::new("shop", agent, 1, base_ms).requests("/a", v1::SpanStatus::Ok, &[1_000; 4]);
            (0..4).fold(window, |window, n| window.span(4 * (agent - 1) + n + 1, "/a", 5, 1_000 + u64::from(n)))
        };
        let pushes: Vec<_> = half.map(|agent| ingest.push(window(agent).request())).collect();
        futures(pushes).await.into_iter().for_each(|ack| drop(ack.unwrap()));
        // Now: so young segments are flushed, and nothing else is done.
        compact_all(&store, base_ms + 15_000).await;
    }
    let window = TestWindow::new("tax", INSTANCES + 1, 1, base_ms + 20_000);
    let mut completing = COMPLETED.fold(window, |window, trace| window.span(trace, "/t", 5, 10));
    completing.payload.spans.as_mut().unwrap().weight.fill(0.0);
    ingest.push(completing.request()).await.unwrap();
    compact_all(&store, base_ms + 35_000).await;
    let all = spans("shop").await;
    assert_eq!((all.len(), spans("tax").await.len()), (240, 20), "what is flushed is all there");

    compact_all(&store, now_ms() + 40 * HOUR).await;
    let left = spans("shop").await;
    let counted: Vec<&SpanSummary> = left.iter().filter(|span| span.weight > 0.0).collect();
    assert!((45..=70).contains(&counted.len()), "{} examples", counted.len());
    let weighs: f64 = counted.iter().map(|span| f64::from(span.weight)).sum();
    // About 66 of 236 were drawn, so a standard error is 236 × √(0.72 / 66).
    assert!((weighs - 240.0).abs() < 4.0 * 25.0, "they stand for {weighs}");
    let completed: BTreeSet<TraceId> = COMPLETED.map(trace).collect();
    assert_eq!(left.iter().filter(|span| completed.contains(&span.link.trace_id)).count(), 20);
    assert_eq!(left.len() - counted.len(), left.iter().filter(|span| span.weight == 0.0).count());
    assert!(left.len() > counted.len(), "some of them stand for nothing any more");
    for n in COMPLETED {
        let services = engine.trace(trace(n)).await.unwrap().unwrap().services;
        assert!(services.iter().all(|service| !service.spans.is_empty()) && services.len() == 2, "trace {n}");
    }
    let asked = RequestsAsked { service: of("shop"), range, labels: vec![], step_ms: None };
    let over = engine.requests(&asked).await.unwrap();
    let count: u64 = over.in_all().flat_map(|(_, outcomes)| outcomes.into_values()).map(|of| of.count()).sum();
    assert_eq!(count, 240, "counts are exact whatever examples are kept");
    compact_all(&store, now_ms() + 80 * HOUR).await;
    assert_eq!(spans("shop").await, left);
}
