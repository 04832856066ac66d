//! The merge is exact whatever the order; answers say what was received, what was not, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tephra_proto::ids::{ServiceName, TraceId};

use super::cancel::Cancel;
use super::merge::{Merger, Parts, Sources};
use super::slices::{Span, replicates};
use super::*;
use crate::base::clock::now_ms;
use crate::base::labels::Matcher;
use crate::base::range::TimeRange;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestRow, TestWindow, recent_ms, row, traced};
use crate::profile::decode::{self, Lateness, Window};
use crate::profile::model::{Frame, Kind, Labelled, Merged, Node, PartialReason};
use crate::store::compact::levels::TRACES;
use crate::store::testing::TestPlace;
use crate::store::{Store, compact};

const CPU_TYPE: &str = "cpu";

fn decoded(window: &TestWindow) -> Window {
    let request = window.request();
    decode::decode(&request.header.unwrap(), &request.payload, request.payload_bytes, Lateness::Stored).unwrap()
}

/// What a merged profile says, by stack of names and replicate.
fn content(merged: &Merged) -> BTreeMap<(String, u16), (u64, u64)> {
    let path = |mut at: u32| {
        let mut names = Vec::new();
        while at != Node::ROOT {
            let node = merged.nodes[at as usize];
            names.push(match &merged.frames[node.frame as usize] {
                Frame::Symbolic { function, .. } => function.to_string(),
                Frame::Native { address, .. } => format!("{address:#x}"),
                Frame::Truncated => "…".to_owned(),
            });
            at = node.parent;
        }
        names.reverse();
        names.join(";")
    };
    merged.rows.iter().map(|row| ((path(row.node), row.replicate), (row.value, row.samples))).collect()
}

fn by_stack(merged: &Merged) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for ((stack, _), (value, _)) in content(merged) {
        *sums.entry(stack).or_default() += value;
    }
    sums
}

/// A merged profile as one value that can be compared, order included.
fn exact(merged: &Merged) -> impl PartialEq + std::fmt::Debug + use<> {
    (merged.frames.clone(), merged.nodes.clone(), merged.rows.clone(), merged.replicate_seconds.clone())
}

fn merge_in_parts(windows: &[&Window], parts: usize, kind: Kind) -> Merged {
    let spans: Vec<Span> = windows.iter().map(|w| Span::window(w.header.start_ms, w.header.duration_ms)).collect();
    let range = TimeRange { from_ms: 0, until_ms: 200_000 };
    let slices = replicates(range, &spans, 0);
    let profile_type = windows[0].series[0].profile_type.clone();
    assert_eq!(profile_type.kind, kind);
    let mut whole = Merger::new(profile_type.clone(), &QueryLimits::default());
    for part in windows.chunks(windows.len().div_ceil(parts)) {
        let mut merger = Merger::new(profile_type.clone(), &QueryLimits::default());
        for window in part {
            merger.add(window, slices.replicate(window.header.start_ms).unwrap(), &Matcher::new(&[]), None).unwrap();
        }
        whole.absorb(merger).unwrap();
    }
    whole.finish(range, Parts::of_time(&slices), Sources::default()).unwrap()
}

fn any_rows() -> impl Strategy<Value = Vec<TestRow>> {
    let stack = prop::collection::vec(prop::sample::select(vec!["main", "a", "b", "c", "…"]), 1..6);
    let one = (stack, 1u64..1_000).prop_map(|(mut stack, value)| {
        // The mark of a cut stack stands first or not at all, and never alone.
        let cut = stack[0] == "…";
        stack.retain(|name| *name != "…");
        stack.push("leaf");
        if cut {
            stack.insert(0, "…");
        }
        row(&stack.join(";"), value)
    });
    prop::collection::vec(one, 0..12)
}

fn any_windows() -> impl Strategy<Value = Vec<(u8, u64, Vec<TestRow>)>> {
    prop::collection::vec((0u8..4, 0u64..20, any_rows()), 1..20)
}

proptest! {
    #[test]
    fn any_partition_and_order_of_windows_gives_the_same_profile(
        specs in any_windows(), parts in 1usize..6, seed in any::<u64>(), gauge in any::<bool>()
    ) {
        let windows: Vec<Window> = specs
            .iter()
            .enumerate()
            .map(|(i, (agent, slot, rows))| {
                let window = TestWindow::new("s", *agent, i as u64 + 1, slot * 10_000);
                decoded(&if gauge { window.inuse(rows) } else { window.cpu(rows) })
            })
            .collect();
        let kind = if gauge { Kind::Gauge } else { Kind::Counter };
        let mut order: Vec<&Window> = windows.iter().collect();
        let once = merge_in_parts(&order, 1, kind);
        order.sort_by_key(|w| (w.header.id.sequence ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(exact(&once), exact(&merge_in_parts(&order, parts, kind)));
    }

    #[test]
    fn the_merge_equals_a_plain_sum_over_names(specs in any_windows()) {
        let mut model: BTreeMap<String, u64> = BTreeMap::new();
        let mut windows = Vec::new();
        for (i, (agent, slot, rows)) in specs.iter().enumerate() {
            windows.push(decoded(&TestWindow::new("s", *agent, i as u64 + 1, slot * 10_000).cpu(rows)));
            for row in rows {
                *model.entry(row.stack.join(";")).or_default() += row.value;
            }
        }
        let merged = merge_in_parts(&windows.iter().collect::<Vec<_>>(), 2, Kind::Counter);
        let covered: BTreeSet<u64> = specs.iter().map(|(_, slot, _)| *slot).collect();
        prop_assert_eq!(by_stack(&merged), model);
        prop_assert_eq!(merged.covered_seconds, covered.len() as f64 * 10.0);
        prop_assert!(merged.replicate_seconds.len() <= crate::profile::model::REPLICATES_MAX);
        let parents_first = merged.nodes.iter().enumerate().all(|(i, n)| n.parent == Node::ROOT || (n.parent as usize) < i);
        prop_assert!(parents_first);
        let keys: Vec<_> = merged.rows.iter().map(|row| (row.node, row.replicate)).collect();
        prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "sorted, each once");
    }
}

#[test]
fn a_gauge_is_the_mean_over_time_of_the_sum_over_instances() {
    // Two instances for 20 s, then one of them for 20 s more.
    let at = |agent, slot: u64, value| {
        decoded(&TestWindow::new("s", agent, slot + 1, slot * 10_000).inuse(&[row("main;keep", value)]))
    };
    let windows = [at(1, 0, 100), at(2, 0, 300), at(1, 1, 100), at(2, 1, 300), at(1, 2, 200), at(1, 3, 200)];
    let merged = merge_in_parts(&windows.iter().collect::<Vec<_>>(), 1, Kind::Gauge);
    // (400 + 400 + 200 + 200) / 4
    assert_eq!(merged.total(), 300);
    assert_eq!(merged.covered_seconds, 40.0);
}

#[test]
fn a_gauges_samples_are_those_there_are_at_a_time() {
    // Three live blocks of two stacks, seen in ten windows of two instances.
    let windows: Vec<Window> = (0..10u64)
        .flat_map(|slot| {
            let at = |agent| TestWindow::new("s", agent, slot + 1, slot * 10_000);
            [at(1).inuse(&[row("main;keep", 100), row("main;keep;more", 7)]), at(2).inuse(&[row("main;keep", 50)])]
        })
        .map(|window| decoded(&window))
        .collect();
    let merged = merge_in_parts(&windows.iter().collect::<Vec<_>>(), 3, Kind::Gauge);
    assert_eq!(merged.samples(), 3);
}

#[test]
fn windows_of_different_lengths_weigh_by_their_time() {
    let short = decoded(&TestWindow::new("s", 1, 1, 0).inuse(&[row("main", 100)]));
    let long = decoded(&TestWindow::new("s", 1, 2, 10_000).duration(30_000).inuse(&[row("main", 500)]));
    let merged = merge_in_parts(&[&short, &long], 1, Kind::Gauge);
    assert_eq!(merged.total(), 400);
}

struct Bench {
    _place: TestPlace,
    ingest: Ingest,
    query: QueryEngine,
    start: u64,
}

impl Bench {
    async fn new(windows: &[TestWindow]) -> Self {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        let query = QueryEngine::new(store, QueryLimits { threads: 2, ..QueryLimits::default() });
        let bench = Self { _place: place, ingest, query, start: 0 };
        let pushes = windows.iter().map(|window| {
            let (ingest, request) = (bench.ingest.clone(), window.request());
            tokio::spawn(async move { ingest.push(request).await })
        });
        for push in pushes.collect::<Vec<_>>() {
            push.await.unwrap().unwrap();
        }
        let start = windows.iter().map(|window| window.header.window_start_unix_ms).min().unwrap_or(0);
        Self { start, ..bench }
    }

    fn select(&self, service: &str, seconds: u64) -> Selection {
        Selection {
            service: ServiceName::parse(service).unwrap(),
            profile_type: CPU_TYPE.to_owned(),
            from_ms: self.start,
            until_ms: self.start + seconds * 1_000,
            labels: Vec::new(),
            trace: None,
        }
    }
}

fn trace(byte: u8) -> TraceId {
    TraceId::from_bytes([byte; 16]).unwrap()
}

#[tokio::test]
async fn labels_and_instances_select() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).label("version", "v1").cpu(&[row("main;old", 10)]),
        TestWindow::new("shop", 2, 1, t).label("version", "v2").cpu(&[row("main;new", 30)]),
        TestWindow::new("other", 3, 1, t).cpu(&[row("main", 1_000)]),
    ])
    .await;
    let with = |name: &str, values: &[&str]| Selection {
        labels: values.iter().map(|v| (name.to_owned(), (*v).to_owned())).collect(),
        ..bench.select("shop", 10)
    };
    let total = async |selection: &Selection| bench.query.merge(selection).await.unwrap().total();
    assert_eq!(total(&bench.select("shop", 10)).await, 40);
    assert_eq!(total(&with("version", &["v1"])).await, 10);
    assert_eq!(total(&with("version", &["v1", "v2"])).await, 40);
    assert_eq!(total(&with("instance", &["host-2"])).await, 30);
    let none = bench.query.merge(&with("version", &["v3"])).await.unwrap();
    assert_eq!(none.empty_because.as_deref(), Some("shop sent nothing with these labels in this range"));
    let shop = ServiceName::parse("shop").unwrap();
    let range = bench.select("shop", 10).range();
    assert_eq!(bench.query.labels(&shop, range).await.unwrap(), ["instance", "version"]);
    assert_eq!(bench.query.label_values(&shop, "version", range).await.unwrap(), ["v1", "v2"]);
}

/// What each combination of labels has, by query and by selecting it, before compaction and after.
#[tokio::test]
async fn sums_by_labels_are_what_selecting_the_labels_gives() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let query = QueryEngine::new(store.clone(), QueryLimits { threads: 2, ..QueryLimits::default() });
    let t = recent_ms() - 600_000;
    for n in 0..6u64 {
        let labelled = |value| {
            [
                row("main;a", value).label("route", "/a"),
                row("main;a", 2 * value).label("route", "/b").label("tenant", "acme"),
                row("main", 3 * value),
            ]
        };
        let window = TestWindow::new("shop", 1 + (n % 2) as u8, n + 1, t + n * 10_000).label("zone", "x");
        let window = if n == 5 { window.label("tenant", "fixed") } else { window };
        ingest.push(window.cpu(&labelled(100 + n)).inuse(&labelled(6_000)).request()).await.unwrap();
    }
    let mut before = Vec::new();
    for is_compacted in [false, true] {
        if is_compacted {
            while compact::step(&store, now_ms() + 3_600_000, 0, None).await.unwrap() {}
        }
        for profile_type in ["cpu", "inuse_space"] {
            let selection = Selection {
                service: ServiceName::parse("shop").unwrap(),
                profile_type: profile_type.to_owned(),
                from_ms: t,
                until_ms: t + 60_000,
                labels: Vec::new(),
                trace: None,
            };
            let Labelled { merged, label_sets } =
                query.merge_by_labels(&query.prepare(&selection).await.unwrap()).await.unwrap();
            assert_eq!(label_sets.len(), 6, "with the last window's tenant, and without: {label_sets:?}");
            for (number, set) in label_sets.iter().enumerate() {
                let given = ["route", "tenant"].map(|name| {
                    let value = set.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str());
                    (name.to_owned(), value.to_owned())
                });
                let selected = query.merge(&Selection { labels: given.to_vec(), ..selection.clone() }).await.unwrap();
                let rows = merged.rows.iter().filter(|row| usize::from(row.replicate) == number);
                let sum: u64 = rows.map(|row| row.value).sum();
                assert_eq!(sum, selected.total(), "{profile_type} with {set:?}, compacted: {is_compacted}");
            }
            assert_eq!(merged.total(), query.merge(&selection).await.unwrap().total());
            before.push((label_sets, merged.rows));
        }
    }
    assert_eq!((&before[0], &before[1]), (&before[2], &before[3]));
}

#[tokio::test]
async fn more_combinations_of_labels_than_an_import_has_are_summed_without() {
    let t = recent_ms();
    let windows: Vec<_> = (0..20u8)
        .map(|n| {
            let of_user = |user| row("main", user).label("user", &user.to_string()).label("shard", &n.to_string());
            TestWindow::new("shop", n + 1, 1, t).cpu(&(1..=60).map(of_user).collect::<Vec<_>>())
        })
        .collect();
    let bench = Bench::new(&windows).await;
    let selection = bench.select("shop", 60);
    let Labelled { merged, label_sets } =
        bench.query.merge_by_labels(&bench.query.prepare(&selection).await.unwrap()).await.unwrap();
    assert_eq!((label_sets.len(), merged.total()), (0, 20 * 1_830));
}

#[tokio::test]
async fn labels_of_samples_select_and_split() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).label("version", "v1").cpu(&[
            row("main;a", 10_000_000).label("route", "/a"),
            row("main;b", 20_000_000).label("route", "/b").label("tenant", "acme"),
            row("main", 5_000_000),
        ]),
        TestWindow::new("shop", 2, 1, t).cpu(&[row("main;a", 40_000_000).label("route", "/a").label("version", "x")]),
        TestWindow::new("shop", 2, 2, t + 10_000).label("route", "fixed").cpu(&[row("main", 7).label("route", "/a")]),
    ])
    .await;
    let with = |labels: &[(&str, &str)]| Selection {
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..bench.select("shop", 10)
    };
    let total = async |labels: &[(&str, &str)]| bench.query.merge(&with(labels)).await.unwrap().total() / 1_000_000;
    assert_eq!(total(&[]).await, 75);
    assert_eq!(total(&[("route", "/a")]).await, 50);
    assert_eq!(total(&[("route", "/a"), ("route", "/b")]).await, 70);
    assert_eq!(total(&[("route", "/b"), ("tenant", "acme")]).await, 20);
    assert_eq!(total(&[("route", "/a"), ("version", "v1")]).await, 10);
    assert_eq!(total(&[("route", "")]).await, 5, "without a route");
    let narrow = bench.query.merge(&with(&[("route", "/a")])).await.unwrap();
    assert_eq!((narrow.covered_seconds, narrow.windows), (10.0, 2), "a window counts, whatever the routes in it");
    let none = bench.query.merge(&with(&[("route", "/c")])).await.unwrap();
    assert_eq!(none.empty_because.as_deref(), Some("no cpu sample of shop in this range has these labels"));

    let shop = ServiceName::parse("shop").unwrap();
    let range = TimeRange { from_ms: t, until_ms: t + 20_000 };
    assert_eq!(bench.query.labels(&shop, range).await.unwrap(), ["instance", "route", "tenant", "version"]);
    assert_eq!(bench.query.label_values(&shop, "route", range).await.unwrap(), ["/a", "/b", "fixed"]);
    let all = bench.select("shop", 20);
    let lines = bench.query.timeline(&all, Some(10_000), Some("route")).await.unwrap();
    let line = |name: &str| lines.series.iter().find(|line| line.label == name).unwrap().points[0].1.unwrap();
    assert_eq!([line("/a"), line("/b"), line("")], [5e6, 2e6, 5e5]);
    let fixed = Selection { labels: vec![("route".to_owned(), "fixed".to_owned())], ..all };
    assert_eq!(bench.query.merge(&fixed).await.unwrap().total(), 7, "a label of the window says more than a sample's");
}

#[tokio::test]
async fn unknown_names_are_errors_and_silence_has_a_reason() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 10)]),
        TestWindow::new("shop", 2, 1, t + 20_000).inuse(&[row("main", 10)]),
        TestWindow::new("idle", 3, 1, t).cpu(&[]),
    ])
    .await;
    let error = bench.query.merge(&bench.select("nobody", 10)).await.unwrap_err();
    assert!(matches!(error, QueryError::UnknownService { .. }), "{error}");
    let heap = Selection { profile_type: "alloc_space".to_owned(), ..bench.select("shop", 10) };
    let error = bench.query.merge(&heap).await.unwrap_err().to_string();
    assert_eq!(error, "service \"shop\" has no profile type \"alloc_space\"; it has: cpu, inuse_space");
    let empty = Selection { until_ms: bench.start, ..bench.select("shop", 10) };
    assert!(matches!(bench.query.merge(&empty).await, Err(QueryError::EmptyRange { .. })));
    let late = Selection { from_ms: t + 20_000, until_ms: t + 30_000, ..bench.select("shop", 10) };
    let why = bench.query.merge(&late).await.unwrap().empty_because.clone().unwrap();
    assert_eq!(why, "shop sent 1 windows in this range, none of them with cpu");
    let silent = Selection { from_ms: t + 50_000, until_ms: t + 60_000, ..bench.select("shop", 10) };
    assert_eq!(
        bench.query.merge(&silent).await.unwrap().empty_because.clone().unwrap(),
        "shop sent nothing in this range"
    );
    let idle = bench.query.merge(&bench.select("idle", 10)).await.unwrap();
    assert_eq!(idle.empty_because.clone().unwrap(), "idle was up, but nothing was sampled for cpu in this range");
    assert_eq!((idle.covered_seconds, idle.windows), (10.0, 1));
}

#[tokio::test]
async fn a_window_without_the_type_is_covered_time_of_an_instance_that_sends_it() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 10)]),
        TestWindow::new("shop", 1, 2, t + 10_000),
        // Never sends the type, so it says nothing about it.
        TestWindow::new("shop", 2, 1, t + 20_000).inuse(&[row("main", 10)]),
    ])
    .await;
    let merged = bench.query.merge(&bench.select("shop", 60)).await.unwrap();
    assert_eq!((merged.covered_seconds, merged.windows), (20.0, 2));
    assert_eq!(merged.instances, BTreeSet::from(["host-1".to_owned()]));
}

#[tokio::test]
async fn of_a_trace_that_went_on_for_hours_the_newest_part_is_told_and_that_it_is_a_part() {
    let t = recent_ms() - 21_000_000;
    let window = |i: u64| {
        TestWindow::new("batch", 1 + (i % 2) as u8, i / 2 + 1, t + i / 2 * 10_000).cpu(&[traced("main;work", 1, 7)])
    };
    let windows: Vec<TestWindow> = (0..2_011).map(window).collect();
    let bench = Bench::new(&windows).await;
    let view = bench.query.trace(trace(7)).await.unwrap().unwrap();
    let partial = view.partial.expect("these are not all");
    // Of the two windows of one time, one would be too many.
    assert_eq!((partial.reason, partial.from_ms), (PartialReason::Windows, t + 6 * 10_000));
    assert_eq!((partial.until_ms, view.until_ms), (t + 1_006 * 10_000, t + 1_006 * 10_000));
    let service = &view.services[0];
    assert_eq!((service.types[0].total(), service.samples.len(), service.samples_left_out), (1_999, 1_999, 0));
}

#[tokio::test]
async fn of_a_trace_that_takes_longer_than_there_is_time_the_newest_part_is_told_exactly() {
    let t = recent_ms() - 10_800_000;
    let bench = Bench::new(&[]).await;
    let store = bench.query.store.clone();
    // Each in a segment of its own, in no order; of some times there are two. The first ones are compacted.
    let slots = [3u64, 0, 2, 1, 2, 7, 4, 6, 5, 6, 1];
    for (slot, n) in slots.into_iter().zip(1u8..) {
        let window = TestWindow::new("shop", n, 1, t + slot * 10_000).cpu(&[traced("main", 1 << n, 7), row("main", 1)]);
        bench.ingest.push(window.request()).await.unwrap();
        while n == 5 && compact::step(&store, now_ms(), 0, None).await.unwrap() {}
    }
    let segments = store.catalog().levels_in(TimeRange::ALL, true).await.unwrap();
    assert!(segments.iter().any(|row| row.segment.level == TRACES) && segments.len() >= 5, "{segments:?}");
    let mut parts = BTreeSet::new();
    for checks in 0.. {
        let segments = segments.clone();
        let work = move |store: &Store, limits: &QueryLimits, _: &Cancel| {
            trace::view(store, &segments, trace(7), limits, &Cancel::after(checks))
        };
        let view = match bench.query.run(bench.query.deadline(), work).await {
            Ok(view) => view.expect("a part with nothing in it is no answer"),
            Err(QueryError::OutOfTime) => {
                assert!(parts.is_empty(), "more time tells no less");
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        let known_from_ms = view.partial.map_or(0, |partial| partial.from_ms);
        let newer = slots.into_iter().zip(1u8..).filter(|(slot, _)| t + slot * 10_000 >= known_from_ms);
        assert_eq!(view.services[0].types[0].total(), newer.map(|(_, n)| 1 << n).sum::<u64>(), "after {checks} checks");
        let Some(partial) = view.partial else { break };
        assert_eq!((partial.reason, partial.until_ms), (PartialReason::Time, t + 80_000));
        parts.insert(partial.from_ms);
    }
    assert!(parts.len() >= 4, "{parts:?}");
}

#[tokio::test]
async fn a_trace_is_found_across_services() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("gateway", 1, 1, t)
            .cpu(&[traced("main;route", 10, 7), row("main;idle", 99)])
            .span(7, "GET /", 100, 5_000),
        TestWindow::new("checkout", 2, 1, t).cpu(&[traced("main;tax", 20, 7), traced("main;tax", 30, 8)]).series(
            "alloc_space",
            "bytes",
            v1_kind(),
            &[traced("main;receipt", 4_096, 7)],
        ),
        TestWindow::new("checkout", 2, 2, t + 10_000).cpu(&[traced("main;tax;vat", 5, 7)]),
        TestWindow::new("other", 3, 1, t).cpu(&[traced("main", 1, 9)]),
    ])
    .await;
    let view = bench.query.trace(trace(7)).await.unwrap().unwrap();
    let names: Vec<&str> = view.services.iter().map(|service| service.service.as_str()).collect();
    assert_eq!(names, ["checkout", "gateway"]);
    assert_eq!((view.from_ms, view.until_ms), (t, t + 20_000));
    let checkout = &view.services[0];
    let totals: Vec<_> = checkout.types.iter().map(|m| (m.profile_type.name.as_str(), m.total())).collect();
    assert_eq!(totals, [("alloc_space", 4_096), ("cpu", 25)]);
    assert_eq!(
        by_stack(&checkout.types[1]),
        BTreeMap::from([("main;tax".to_owned(), 20), ("main;tax;vat".to_owned(), 5)])
    );
    assert_eq!(checkout.samples.len(), 3);
    assert_eq!(view.services[1].spans[0].duration_us, 5_000);
    assert!(bench.query.trace(trace(42)).await.unwrap().is_none());

    let selection = Selection { trace: Some(trace(7)), ..bench.select("checkout", 60) };
    assert_eq!(bench.query.merge(&selection).await.unwrap().total(), 25);
    let line = bench.query.timeline(&selection, Some(10_000), None).await.unwrap();
    assert_eq!(line.series[0].points[..2], [(t, Some(2.0)), (t + 10_000, Some(0.5))]);
    let absent = Selection { trace: Some(trace(42)), ..bench.select("checkout", 60) };
    let why = bench.query.merge(&absent).await.unwrap().empty_because.clone().unwrap();
    assert!(why.starts_with("no cpu sample of checkout in this range carries trace 2a2a"), "{why}");
}

fn v1_kind() -> tephra_proto::v1::Kind {
    tephra_proto::v1::Kind::Counter
}

#[tokio::test]
async fn spans_come_by_start_and_only_of_their_service() {
    let t = recent_ms();
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 1)]).span(1, "GET /b", 500, 10).span(2, "GET /a", 100, 20),
        TestWindow::new("other", 2, 1, t).cpu(&[row("main", 1)]).span(3, "GET /c", 0, 30),
    ])
    .await;
    let shop = ServiceName::parse("shop").unwrap();
    let (spans, _) = bench.query.spans(&shop, bench.select("shop", 10).range(), &[]).await.unwrap();
    let routes: Vec<&str> = spans.iter().map(|span| &*span.route).collect();
    assert_eq!(routes, ["GET /a", "GET /b"]);
}

#[tokio::test]
async fn a_timeline_shows_rates_gaps_and_its_parts() {
    let t = recent_ms();
    let second = 1_000_000_000;
    let bench = Bench::new(&[
        TestWindow::new("shop", 1, 1, t).label("version", "v1").cpu(&[row("main", 10 * second)]),
        TestWindow::new("shop", 2, 1, t).label("version", "v2").cpu(&[row("main", 5 * second)]),
        TestWindow::new("shop", 1, 2, t + 20_000).label("version", "v1").cpu(&[]),
    ])
    .await;
    let selection = bench.select("shop", 30);
    let line = bench.query.timeline(&selection, None, None).await.unwrap();
    let points: Vec<_> = line.series[0].points.iter().map(|(_, value)| *value).collect();
    assert_eq!((line.step_ms, points), (10_000, vec![Some(1.5e9), None, Some(0.0)]));
    let split = bench.query.timeline(&selection, Some(10_000), Some("version")).await.unwrap();
    let first: Vec<_> = split.series.iter().map(|s| (s.label.as_str(), s.points[0].1)).collect();
    assert_eq!(first, [("v1", Some(1e9)), ("v2", Some(0.5e9))]);
    assert!(matches!(
        bench.query.timeline(&selection, Some(1), None).await,
        Err(QueryError::BadStep { points: 30_000, .. })
    ));
}

#[tokio::test]
async fn many_lines_are_folded_into_a_rest_that_keeps_the_sum() {
    let t = recent_ms();
    let windows: Vec<_> =
        (1..=30u8).map(|i| TestWindow::new("shop", i, 1, t).cpu(&[row("main", u64::from(i) * 10)])).collect();
    let bench = Bench::new(&windows).await;
    let line = bench.query.timeline(&bench.select("shop", 10), Some(10_000), Some("instance")).await.unwrap();
    assert_eq!(line.series.len(), 20);
    let rest = line.series.last().unwrap();
    assert_eq!((rest.label.as_str(), rest.rest), (REST_LABEL, true));
    let sum: f64 = line.series.iter().filter_map(|s| s.points[0].1).sum();
    assert_eq!(sum, (1..=30).sum::<u64>() as f64);
    assert_eq!(line.series[0].label, "host-30");
}

#[tokio::test]
async fn services_are_listed_by_what_they_burn() {
    let t = recent_ms();
    let second = 1_000_000_000;
    let bench = Bench::new(&[
        TestWindow::new("small", 1, 1, t).cpu(&[row("main", second)]),
        TestWindow::new("large", 2, 1, t).label("version", "v1").cpu(&[row("main", 20 * second)]),
        TestWindow::new("large", 3, 1, t).label("version", "v2").cpu(&[row("main", 10 * second)]),
    ])
    .await;
    let range = TimeRange { from_ms: t, until_ms: t + 600_000 };
    let (services, _) = bench.query.services(range).await.unwrap();
    let seen: Vec<_> = services.iter().map(|s| (s.name.as_str(), s.instances, s.cpu_cores)).collect();
    assert_eq!(seen, [("large", 2, 3.0), ("small", 1, 0.1)]);
    assert_eq!(services[0].labels["version"], BTreeSet::from(["v1".to_owned(), "v2".to_owned()]));
    assert_eq!((services[0].spark.len(), services[0].spark[0], services[0].spark[1]), (SPARK_POINTS, Some(3.0), None));
    let (before, _) = bench.query.services(TimeRange { from_ms: 0, until_ms: 10_000 }).await.unwrap();
    assert!(before.iter().all(|s| s.instances == 0 && s.cpu_cores == 0.0));
}

#[tokio::test]
async fn too_much_work_is_answered_in_part_or_refused_by_its_limit() {
    let t = recent_ms();
    let windows: Vec<_> =
        (0..5).map(|i| TestWindow::new("shop", 1, i + 1, t + i * 10_000).cpu(&[row("main;a;b", 1)])).collect();
    let bench = Bench::new(&windows).await;
    let with = |limits| QueryEngine { limits, ..bench.query.clone() };
    let few = with(QueryLimits { windows_max: 4, ..QueryLimits::default() });
    let selection = bench.select("shop", 50);
    let merged = few.merge(&selection).await.unwrap();
    let partial = merged.partial.expect("one window too many");
    assert_eq!((partial.reason, partial.until_ms), (PartialReason::Windows, selection.until_ms));
    // The whole answer to the shorter question, not a part of the longer one.
    let part = TimeRange { from_ms: partial.from_ms, until_ms: partial.until_ms };
    let whole = bench.query.merge(&selection.within(part)).await.unwrap();
    assert_eq!(exact(&merged), exact(&whole));
    assert_eq!((merged.windows, merged.total(), whole.partial), (3, 3, None));
    assert_eq!((merged.from_ms, merged.until_ms), (selection.from_ms, selection.until_ms), "what was asked");
    let line = few.timeline(&selection, None, None).await.unwrap();
    assert_eq!(line.partial, Some(partial));
    let narrow = with(QueryLimits { nodes_max: 2, ..QueryLimits::default() });
    let error = narrow.merge(&selection).await.unwrap_err();
    assert!(matches!(error, QueryError::TooLarge { what: "nodes", limit: 2 }), "{error}");
    let hurried = with(QueryLimits { timeout: Duration::ZERO, ..QueryLimits::default() });
    let error = hurried.merge(&selection).await.unwrap_err();
    assert!(matches!(error, QueryError::OutOfTime), "{error}");
}

#[tokio::test]
async fn the_same_question_at_the_same_time_is_computed_once() {
    let t = recent_ms();
    let bench = Bench::new(&[TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 1)])]).await;
    let selection = bench.select("shop", 10);
    let longer = bench.query.prepare(&bench.select("shop", 20)).await.unwrap();
    let prepared = bench.query.prepare(&selection).await.unwrap();
    let ask = |prepared: Prepared| {
        let query = bench.query.clone();
        async move { query.merge_prepared(&prepared).await.unwrap() }
    };
    // Listed before: how long that takes differs, and only questions that are asked while one is being answered share its answer.
    let (a, b, other) = tokio::join!(ask(prepared.clone()), ask(prepared.clone()), ask(longer));
    assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &other));
    assert!(!Arc::ptr_eq(&a, &ask(prepared).await), "an answer is not kept");
}

#[test]
fn a_dropped_future_stops_its_work() {
    let cancel = Cancel::default();
    let guard = cancel.on_drop();
    assert!(cancel.check().is_ok());
    drop(guard);
    assert!(matches!(cancel.check(), Err(QueryError::Cancelled)));
}
