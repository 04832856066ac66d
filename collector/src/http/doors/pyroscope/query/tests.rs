//! Every call in each of the three ways in which it is made, against what the API says of the same windows.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use prost::Message;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::messages::{
    self, DIFF, DIFFERENCE, Diff, FlameGraph, LABEL_NAMES, LABEL_SETS, LABEL_VALUES, LabelNames, LabelSets,
    LabelValues, Location, NAMES, NOTHING, Names, Nothing, PROFILE, PROFILE_STATS, PROFILE_TYPES, ProfileStats,
    ProfileTypes, RANGE, Range, SELECT_PROFILE, SELECT_SERIES, SELECT_SPANS, SELECT_STACKTRACES, SERIES,
    SERIES_OVER_TIME, STACKTRACES, SelectProfile, SelectSeries, SelectSpans, SelectStacktraces, Series, SeriesOverTime,
    StackTraceSelector, Stacktraces,
};
use crate::http::doors::json::{self, Shape};
use crate::http::tests::{Got, Lab, regression, turn_ms};
use crate::ingest::testing::{TestWindow, row, traced};
use crate::store::compact;

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const INUSE: &str = "memory:inuse_space:bytes:space:bytes";

async fn post(lab: &Lab, path: &str, content_type: &str, body: Vec<u8>) -> Got {
    let request = Request::post(path).header("host", "localhost").header("content-type", content_type);
    lab.send(request.body(Body::from(body)).unwrap()).await
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// The answer, which is the same by Connect with protobuf, Connect with JSON, and gRPC.
async fn ask(lab: &Lab, method: &str, asked: &impl Message, [of_asked, answered]: [&Shape; 2]) -> Vec<u8> {
    let path = format!("/querier.v1.QuerierService/{method}");
    let message = asked.encode_to_vec();
    let proto = post(lab, &path, "application/proto", message.clone()).await;
    assert_eq!(proto.status, StatusCode::OK, "{method}: {}", proto.text());
    assert_eq!(proto.headers["content-type"], "application/proto");
    let in_json = json::write(&message, of_asked).unwrap();
    let by_json = post(lab, &path, "application/json", in_json.into_bytes()).await;
    assert_eq!(
        (by_json.status, &by_json.headers["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    let grpc = post(lab, &path, "application/grpc", framed(&message)).await;
    assert_eq!((grpc.status, &grpc.headers["content-type"]), (StatusCode::OK, &"application/grpc".parse().unwrap()));
    assert_eq!(grpc.body[..], framed(&proto.body), "{method}");
    assert_eq!(json::write(&proto.body, answered).unwrap(), by_json.text(), "{method}");
    proto.body.to_vec()
}

/// What a refusal says, which is the same in the three ways.
async fn refused(lab: &Lab, method: &str, asked: &impl Message, of_asked: &Shape) -> (String, String) {
    let path = format!("/querier.v1.QuerierService/{method}");
    let message = asked.encode_to_vec();
    let proto = post(lab, &path, "application/proto", message.clone()).await;
    let by_json = post(lab, &path, "application/json", json::write(&message, of_asked).unwrap().into_bytes()).await;
    let grpc = post(lab, &path, "application/grpc", framed(&message)).await;
    let status =
        Status::from_header_map(&grpc.headers).unwrap_or_else(|| panic!("{method}: {grpc:?}", grpc = grpc.text()));
    let said = proto.json();
    assert!(proto.status.is_client_error() || proto.status.is_server_error(), "{method}: {}", proto.status);
    assert_eq!((proto.status, &said), (by_json.status, &by_json.json()), "{method}");
    assert_eq!(said["message"], status.message(), "{method}");
    let named = |code: &str| said["code"] == code;
    assert!(
        match status.code() {
            Code::InvalidArgument => named("invalid_argument") && proto.status == StatusCode::BAD_REQUEST,
            Code::Unimplemented => named("unimplemented") && proto.status == StatusCode::NOT_IMPLEMENTED,
            Code::OutOfRange => named("out_of_range"),
            _ => false,
        },
        "{method}: {said} {status:?}"
    );
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

fn stacktraces(selector: &str, (start, end): (i64, i64)) -> SelectStacktraces {
    SelectStacktraces {
        profile_type: CPU.to_owned(),
        label_selector: selector.to_owned(),
        start,
        end,
        ..SelectStacktraces::default()
    }
}

async fn graph(lab: &Lab, call: &SelectStacktraces) -> FlameGraph {
    let answer = ask(lab, "SelectMergeStacktraces", call, [&SELECT_STACKTRACES, &STACKTRACES]).await;
    Stacktraces::decode(&answer[..]).unwrap().flamegraph.unwrap()
}

/// Total and own value by function, of paths with their values.
fn by_function(paths: impl IntoIterator<Item = (Vec<String>, u64, u64)>) -> BTreeMap<String, (u64, u64)> {
    let mut functions: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (path, total, own) in paths {
        let Some((last, before)) = path.split_last() else { continue };
        let sum = functions.entry(last.clone()).or_default();
        sum.1 += own;
        // A function that calls itself costs once.
        sum.0 += if before.contains(last) { 0 } else { total };
    }
    functions
}

/// Of levels, with one side: every node's path below the root, its total and its own value.
fn paths(graph: &FlameGraph) -> Vec<(Vec<String>, u64, u64)> {
    let mut above: Vec<(i64, i64, Vec<String>)> = vec![(0, graph.total, Vec::new())];
    let mut all = Vec::new();
    for (depth, level) in graph.levels.iter().enumerate() {
        let (mut here, mut end) = (Vec::new(), 0);
        for node in level.values.chunks(4) {
            let [offset, total, own, name] = *node else { panic!("{node:?}") };
            let from = end + offset;
            end = from + total;
            let parent = above.iter().find(|(a, b, _)| *a <= from && end <= *b).expect("it lies below one");
            let mut path = parent.2.clone();
            if depth > 0 {
                path.push(graph.names[name as usize].clone());
            }
            here.push((from, end, path.clone()));
            all.push((path, total as u64, own as u64));
        }
        above = here;
    }
    all
}

/// The same of our own flame graph.
fn own_paths(flame: &Value) -> Vec<(Vec<String>, u64, u64)> {
    let column = |name: &str| -> Vec<u64> {
        flame["nodes"][name].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
    };
    let (up, frame, own) = (column("up"), column("frame"), column("a"));
    let mut path: Vec<String> = Vec::new();
    let mut all: Vec<(Vec<String>, u64, u64)> = Vec::new();
    for (at, (up, frame)) in up.iter().zip(&frame).enumerate() {
        if at > 0 {
            path.truncate(path.len() - *up as usize);
            let name = flame["frames"][*frame as usize][0].as_u64().unwrap();
            path.push(flame["names"][name as usize].as_str().unwrap().to_owned());
        }
        all.push((path.clone(), own[at], own[at]));
    }
    for at in 0..all.len() {
        let below = all.iter().filter(|(path, ..)| path.starts_with(&all[at].0)).map(|(.., own)| own).sum();
        all[at].1 = below;
    }
    all
}

fn range() -> (i64, i64) {
    let turn = turn_ms() as i64;
    (turn - 300_000, turn + 300_000)
}

/// Windows that clients cut as they like begin and end within those that they are added up to: those are no less part of a range.
#[tokio::test]
async fn what_begins_and_ends_at_odd_times_is_answered_whole_also_once_it_is_added_up() {
    let lab = Lab::new().await;
    let first = turn_ms() - 300_000 + 8_487;
    let window = |i: u64| TestWindow::new("odd", 7, i + 1, first + i * 5_002).duration(5_002).label("zone", "eu-1");
    lab.push((0..7).map(|i| window(i).cpu(&[row("main;spin", 1_000_000 << i)]))).await;
    for round in ["as they came", "added up"] {
        let (first, last) = (first as i64, first as i64 + 6 * 5_002);
        let aligned = |at: i64| at - at % 10_000;
        for (start, end) in [
            (0, 0),
            (1, last + 60_000),
            (first - 60_000, last + 60_000),
            (aligned(first), aligned(first) + 10_000),
            (aligned(last) + 10_000, aligned(last) + 20_000),
        ] {
            let call = stacktraces(r#"{service_name="odd",zone=~"eu.*"}"#, (start, end));
            let (from, until) = if start <= 1 { (first - 3_600_000, last + 3_600_000) } else { (start, end) };
            let ours = lab.json(&format!("/api/v1/flamegraph?service=odd&from={from}&until={until}")).await;
            assert_eq!(ours["a"]["total"], graph(&lab, &call).await.total, "{round}: {start} until {end}");
        }
        while compact::step(&lab.store, turn_ms() + 3_600_000, 0, None).await.unwrap() {}
    }
}

/// Three services: `shop` and `cart` in one zone, `mail` in another; one with live heap.
async fn three(lab: &Lab) {
    let turn = turn_ms();
    lab.push(regression("shop").into_iter().map(|window| window.label("zone", "eu-1"))).await;
    for (service, agent, zone) in [("cart", 2, "eu-1"), ("mail", 3, "us-1")] {
        lab.push((0..30u64).map(|i| {
            let window = TestWindow::new(service, agent, i + 1, turn - 300_000 + i * 10_000).label("zone", zone);
            window
                .cpu(&[row("main;serve;tax::rate_for", 20_000_000 + i), row("main;idle;idle;poll", 5_000_000)])
                .inuse(&[row("main;cache", 1 << 20)])
        }))
        .await;
    }
}

#[tokio::test]
async fn an_empty_store_answers_what_health_checks_ask() {
    let lab = Lab::new().await;
    let types = ask(&lab, "ProfileTypes", &Range::default(), [&RANGE, &PROFILE_TYPES]).await;
    assert_eq!(ProfileTypes::decode(&types[..]).unwrap(), ProfileTypes::default());
    for body in ["{}", r#"{"start":"1","end":"2"}"#, r#"{"start":1,"end":2}"#] {
        let got = post(&lab, "/querier.v1.QuerierService/ProfileTypes", "application/json", body.into()).await;
        assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "{}"));
    }
    let stats = ask(&lab, "GetProfileStats", &Nothing {}, [&NOTHING, &PROFILE_STATS]).await;
    assert_eq!(ProfileStats::decode(&stats[..]).unwrap(), ProfileStats::default());
    let sets = ask(&lab, "Series", &Series::default(), [&SERIES, &LABEL_SETS]).await;
    assert_eq!(LabelSets::decode(&sets[..]).unwrap(), LabelSets::default());
    let empty = graph(&lab, &stacktraces("", (0, 0))).await;
    assert_eq!((empty.total, empty.names.as_slice(), empty.levels.len()), (0, &["total".to_owned()][..], 1));
    let profile = SelectProfile { profile_type: CPU.to_owned(), ..SelectProfile::default() };
    assert!(ask(&lab, "SelectMergeProfile", &profile, [&SELECT_PROFILE, &PROFILE]).await.is_empty());
}

#[tokio::test]
async fn names_are_listed_with_and_without_a_range() {
    let lab = Lab::new().await;
    three(&lab).await;
    let (start, end) = range();
    let types = ask(&lab, "ProfileTypes", &Range { start, end }, [&RANGE, &PROFILE_TYPES]).await;
    let types: Vec<String> =
        ProfileTypes::decode(&types[..]).unwrap().profile_types.into_iter().map(|t| t.id).collect();
    assert_eq!(types, [INUSE, CPU]);
    let before = Range { start: start - 1_000_000, end: start - 500_000 };
    assert!(ask(&lab, "ProfileTypes", &before, [&RANGE, &PROFILE_TYPES]).await.is_empty());

    let drilldown =
        format!(r#"{{"labelNames":["service_name","__profile_type__"],"matchers":[],"start":{start},"end":"{end}"}}"#);
    let without = r#"{"labelNames":["service_name","__profile_type__"],"matchers":["{}"]}"#.to_owned();
    for body in [drilldown, without] {
        let got = post(&lab, "/querier.v1.QuerierService/Series", "application/json", body.into()).await;
        let sets = got.json()["labelsSet"].as_array().unwrap().clone();
        assert_eq!(sets.len(), 5, "{}", got.text());
        let first = json!({ "labels": [
            { "name": "__profile_type__", "value": INUSE }, { "name": "service_name", "value": "cart" },
        ] });
        assert_eq!(sets[0], first);
    }
    let series = async |labels: &[&str], matchers: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let asked = Series { matchers: owned(matchers), label_names: owned(labels), start, end };
        let sets = ask(&lab, "Series", &asked, [&SERIES, &LABEL_SETS]).await;
        let sets = LabelSets::decode(&sets[..]).unwrap().labels_set;
        assert!(sets.iter().all(|set| !set.labels.is_empty()), "no series is without labels");
        let text = |set: messages::Labels| -> Vec<String> {
            set.labels.into_iter().map(|pair| format!("{}={}", pair.name, pair.value)).collect()
        };
        sets.into_iter().map(|set| text(set).join(",")).collect::<Vec<_>>()
    };
    assert_eq!(series(&["zone"], &[]).await, ["zone=eu-1", "zone=us-1"]);
    assert_eq!(
        series(&["version", "service_name"], &[r#"{zone="eu-1"}"#]).await,
        ["service_name=cart", "service_name=shop,version=v1", "service_name=shop,version=v2"]
    );
    assert_eq!(series(&["nothing"], &[]).await, Vec::<String>::new());
    let all = series(&[], &[r#"{service_name="mail"}"#]).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all[0].contains("__name__=memory") && all[0].contains("instance=host-3"), "{all:?}");

    let names = async |matchers: &[&str]| {
        let matchers = matchers.iter().map(|text| (*text).to_owned()).collect();
        let answer = ask(&lab, "LabelNames", &LabelNames { matchers, start, end }, [&LABEL_NAMES, &NAMES]).await;
        Names::decode(&answer[..]).unwrap().names
    };
    let of_mail = ["__name__", "__period_type__", "__period_unit__", "__profile_type__", "__type__", "__unit__"];
    assert_eq!(
        names(&[r#"{service_name="mail"}"#]).await,
        [&of_mail[..], &["instance", "service_name", "zone"]].concat()
    );
    assert!(names(&[]).await.contains(&"version".to_owned()));
    assert!(names(&[r#"{service_name="nobody"}"#]).await.is_empty());

    let values = async |name: &str, matchers: &[&str]| {
        let matchers = matchers.iter().map(|text| (*text).to_owned()).collect();
        let asked = LabelValues { name: name.to_owned(), matchers, start, end };
        let answer = ask(&lab, "LabelValues", &asked, [&LABEL_VALUES, &NAMES]).await;
        Names::decode(&answer[..]).unwrap().names
    };
    assert_eq!(values("service_name", &[]).await, ["cart", "mail", "shop"]);
    assert_eq!(values("service_name", &[r#"{zone=~"eu.*", }"#]).await, ["cart", "shop"]);
    assert_eq!(values("service_name", &[&format!(r#"{{__profile_type__="{INUSE}"}}"#)]).await, ["cart", "mail"]);
    assert_eq!(values("zone", &[r#"{service_name!="mail"}"#]).await, ["eu-1"]);
    assert_eq!(values("__type__", &[]).await, ["cpu", "inuse_space"]);
    assert_eq!(values("instance", &[r#"{version="v2"}"#]).await, ["host-1"]);
    assert_eq!(values("version", &[r#"{version!="v1"}"#]).await, ["v2"]);
    assert_eq!(values("strange name", &[]).await, Vec::<String>::new());

    let stats = ask(&lab, "GetProfileStats", &Nothing {}, [&NOTHING, &PROFILE_STATS]).await;
    let stats = ProfileStats::decode(&stats[..]).unwrap();
    assert_eq!(
        (stats.data_ingested, stats.oldest_profile_time, stats.newest_profile_time),
        (true, start, end - 10_000)
    );
}

#[tokio::test]
async fn totals_and_own_values_are_those_of_our_own_flame_graph() {
    let lab = Lab::new().await;
    three(&lab).await;
    let (start, end) = range();
    for (service, profile_type, ours, selector, label) in [
        ("shop", CPU, "cpu", r#"{service_name="shop"}"#, ""),
        ("shop", CPU, "cpu", r#"{service_name="shop",version="v2"}"#, "&label.version=v2"),
        ("shop", CPU, "cpu", r#"{service_name="shop",version!="v2"}"#, "&label.version=v1"),
        ("cart", CPU, "cpu", r#"{service_name=~"car."}"#, ""),
        ("mail", INUSE, "inuse_space", r#"{zone=~"us.*",service_name!="shop"}"#, ""),
    ] {
        let path =
            format!("/api/v1/flamegraph?service={service}&type={ours}&from={start}&until={end}&min_share=0{label}");
        let flame = lab.json(&path).await;
        let call = SelectStacktraces {
            profile_type: profile_type.to_owned(),
            max_nodes: Some(1 << 20),
            ..stacktraces(selector, (start, end))
        };
        let graph = graph(&lab, &call).await;
        assert!(graph.total > 0, "{selector}");
        assert_eq!(flame["a"]["total"], graph.total, "{selector}");
        assert_eq!(by_function(paths(&graph)), by_function(own_paths(&flame)), "{selector}");
    }
    // Of several services: the sum of each.
    let total = async |selector: &str| graph(&lab, &stacktraces(selector, (start, end))).await.total;
    let each = [total(r#"{service_name="shop"}"#).await, total(r#"{service_name="cart"}"#).await];
    assert_eq!(total(r#"{zone="eu-1"}"#).await, each[0] + each[1]);
    assert_eq!(total("{}").await, each[0] + each[1] + total(r#"{zone!~"eu.*"}"#).await);
    assert_eq!(total(r#"{version=""}"#).await, total(r#"{service_name!="shop"}"#).await, "what has no such label");
    for nothing in [r#"{zone="nowhere"}"#, r#"{zone=~"x.*"}"#, r#"{zone="eu-1",zone="us-1"}"#, r#"{a.b-c="d"}"#] {
        let call = stacktraces(nothing, (start, end));
        if nothing.contains('-') && nothing.contains("a.b") {
            assert_eq!(refused(&lab, "SelectMergeStacktraces", &call, &SELECT_STACKTRACES).await.0, "invalid_argument");
        } else {
            assert_eq!(graph(&lab, &call).await.total, 0, "{nothing}");
        }
    }
    assert_eq!(
        graph(&lab, &stacktraces("", (0, 0))).await.total,
        total("{}").await,
        "without a range: all that is kept"
    );
}

#[tokio::test]
async fn what_is_left_out_opens_by_its_call_site() {
    let lab = Lab::new().await;
    lab.push(regression("shop")).await;
    let whole = stacktraces(r#"{service_name="shop"}"#, range());
    let all = by_function(paths(&graph(&lab, &whole).await));
    let small = graph(&lab, &SelectStacktraces { max_nodes: Some(4), ..whole.clone() }).await;
    assert_eq!(small.total as u64, all["main"].0);
    let found = paths(&small);
    let (other, ..) = found.iter().find(|(path, ..)| path.last().is_some_and(|name| name == "other")).unwrap();
    let at = |path: &[String]| {
        let call_site = path.iter().map(|name| Location { name: name.clone() }).collect();
        StackTraceSelector { call_site, go_pgo: None }
    };
    let below = SelectStacktraces {
        stack_trace_selector: Some(at(&other[..other.len() - 1])),
        max_nodes: Some(1_000),
        ..whole.clone()
    };
    let opened = by_function(paths(&graph(&lab, &below).await));
    assert!(!opened.contains_key("other") && opened.len() > 2, "{opened:?}");
    for (name, (_, own)) in &opened {
        assert_eq!(all[name].1, *own, "{name}");
    }
    let nowhere = SelectStacktraces { stack_trace_selector: Some(at(&["serve".to_owned()])), ..whole };
    assert_eq!(graph(&lab, &nowhere).await.total, 0, "a call site begins at the root");
}

#[tokio::test]
async fn values_over_time_add_up_to_the_total() {
    let lab = Lab::new().await;
    three(&lab).await;
    let (start, end) = range();
    let call = SelectSeries {
        profile_type: CPU.to_owned(),
        label_selector: "{}".to_owned(),
        start,
        end,
        step: 60.0,
        ..SelectSeries::default()
    };
    let lines = async |call: &SelectSeries| {
        let answer = ask(&lab, "SelectSeries", call, [&SELECT_SERIES, &SERIES_OVER_TIME]).await;
        SeriesOverTime::decode(&answer[..]).unwrap().series
    };
    let sum = |line: &messages::OneOverTime| line.points.iter().map(|point| point.value).sum::<f64>() as i64;
    let total = async |selector: &str| graph(&lab, &stacktraces(selector, (start, end))).await.total;
    let one = lines(&call).await;
    assert_eq!((one.len(), one[0].labels.len()), (1, 0));
    assert_eq!(sum(&one[0]), total("{}").await);
    assert!(one[0].points.iter().all(|point| point.timestamp % 60_000 == 0 && point.timestamp > start - 60_000));
    let by = |labels: &[&str]| SelectSeries {
        group_by: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..call.clone()
    };
    let by_service = lines(&by(&["service_name"])).await;
    let names: Vec<&str> = by_service.iter().map(|line| line.labels[0].value.as_str()).collect();
    assert_eq!(names, ["cart", "mail", "shop"]);
    assert_eq!(sum(&by_service[2]), total(r#"{service_name="shop"}"#).await);
    let by_both = lines(&by(&["zone", "version"])).await;
    let labels: Vec<usize> = by_both.iter().map(|line| line.labels.len()).collect();
    assert_eq!(labels, [2, 2, 1, 1], "a label that is not there is not said: {by_both:?}");
    assert_eq!(by_both.iter().map(sum).sum::<i64>(), total("{}").await);
    let largest = lines(&SelectSeries { limit: Some(1), ..by(&["service_name"]) }).await;
    assert_eq!((largest.len(), largest[0].labels[0].value.as_str()), (1, "shop"));
    // The average of counters is that of windows; gauges are means whatever is asked for.
    let average =
        SelectSeries { aggregation: Some(1), label_selector: r#"{service_name="mail"}"#.to_owned(), ..call.clone() };
    let line = &lines(&average).await[0];
    assert!(line.points.iter().all(|point| (25_000_000.0..25_000_030.0).contains(&point.value)), "{line:?}");
    for aggregation in [None, Some(0), Some(1)] {
        let call = SelectSeries { profile_type: INUSE.to_owned(), aggregation, ..call.clone() };
        let line = &lines(&call).await[0];
        assert!(line.points.iter().all(|point| point.value == 2.0 * f64::from(1 << 20)), "{line:?}");
    }
}

#[tokio::test]
async fn spans_and_traces_select_what_was_sampled_in_them() {
    let lab = Lab::new().await;
    let turn = turn_ms();
    lab.push((0..4u8).map(|i| {
        TestWindow::new("shop", 1, u64::from(i) + 1, turn + u64::from(i) * 10_000)
            .cpu(&[traced("main;checkout", 1_000 + u64::from(i), 7 + i), row("main;idle", 50)])
            .span(7 + i, "/checkout", 0, 50_000)
    }))
    .await;
    let (start, end) = (turn as i64, turn as i64 + 60_000);
    let call = SelectSpans {
        profile_type: CPU.to_owned(),
        label_selector: r#"{service_name="shop"}"#.to_owned(),
        span_selector: vec!["07".repeat(8), "09".repeat(8)],
        start,
        end,
        ..SelectSpans::default()
    };
    let answer = ask(&lab, "SelectMergeSpanProfile", &call, [&SELECT_SPANS, &STACKTRACES]).await;
    let spans = Stacktraces::decode(&answer[..]).unwrap().flamegraph.unwrap();
    assert_eq!((spans.total, by_function(paths(&spans))["checkout"]), (2_002, (2_002, 2_002)));
    let selector = r#"{service_name="shop"}"#;
    let same = SelectStacktraces { span_selector: call.span_selector.clone(), ..stacktraces(selector, (start, end)) };
    assert_eq!(graph(&lab, &same).await, spans);
    let traces = SelectStacktraces {
        trace_id_selector: vec!["07".repeat(16), "08".repeat(16)],
        ..stacktraces("", (start, end))
    };
    assert_eq!(graph(&lab, &traces).await.total, 2_001);
    let unknown = SelectSpans { span_selector: vec!["ff".repeat(8)], ..call.clone() };
    let answer = ask(&lab, "SelectMergeSpanProfile", &unknown, [&SELECT_SPANS, &STACKTRACES]).await;
    assert_eq!(Stacktraces::decode(&answer[..]).unwrap().flamegraph.unwrap().total, 0);
    for (spans, says) in
        [(vec![], "span_selector is empty"), (vec!["zz".to_owned()], "zz"), (vec!["07".repeat(8); 65], "limit 64")]
    {
        let call = SelectSpans { span_selector: spans, ..call.clone() };
        let (code, message) = refused(&lab, "SelectMergeSpanProfile", &call, &SELECT_SPANS).await;
        assert!(code == "invalid_argument" && message.contains(says), "{message}");
    }
    let both = SelectStacktraces { span_selector: vec!["07".repeat(8)], ..traces };
    let (_, message) = refused(&lab, "SelectMergeStacktraces", &both, &SELECT_STACKTRACES).await;
    assert!(message.contains("together"), "{message}");
}

/// What a profile holds, of JSON: the sum of its values, and its functions.
fn read_profile(message: &[u8]) -> (i64, Vec<String>) {
    let profile: Value = serde_json::from_str(&json::write(message, &PROFILE).unwrap()).unwrap();
    let number = |value: &Value| value.as_str().unwrap().parse::<i64>().unwrap();
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    assert_eq!(list(&profile["sampleType"]).len(), 1, "values alone");
    let strings = list(&profile["stringTable"]);
    let text = |value: &Value| strings[number(value) as usize].as_str().unwrap().to_owned();
    assert_eq!(text(&profile["sampleType"][0]["unit"]), "nanoseconds");
    let total = list(&profile["sample"]).iter().map(|sample| number(&sample["value"][0])).sum();
    (total, list(&profile["function"]).iter().map(|function| text(&function["name"])).collect())
}

#[tokio::test]
async fn profiles_are_pprof_with_the_same_totals() {
    let lab = Lab::new().await;
    three(&lab).await;
    let (start, end) = range();
    let call = |selector: &str| SelectProfile {
        profile_type: CPU.to_owned(),
        label_selector: selector.to_owned(),
        start,
        end,
        ..SelectProfile::default()
    };
    let profile = async |call: &SelectProfile| {
        read_profile(&ask(&lab, "SelectMergeProfile", call, [&SELECT_PROFILE, &PROFILE]).await)
    };
    for selector in [r#"{service_name="shop"}"#, "{}"] {
        let whole = graph(&lab, &stacktraces(selector, (start, end))).await;
        let (total, functions) = profile(&call(selector)).await;
        assert_eq!(total, whole.total, "{selector}");
        assert!(functions.iter().any(|name| name == "tax::rate_for"), "{functions:?}");
        let small = SelectProfile { max_nodes: Some(4), ..call(selector) };
        let (total, functions) = profile(&small).await;
        assert_eq!(total, whole.total, "{selector}");
        assert!(functions.iter().any(|name| name == "other"), "{functions:?}");
        let site = ["main", "serve"].map(|name| Location { name: name.to_owned() }).to_vec();
        let below = StackTraceSelector { call_site: site, go_pgo: None };
        let (total, functions) = profile(&SelectProfile { stack_trace_selector: Some(below), ..call(selector) }).await;
        assert!(!functions.iter().any(|name| name == "idle"), "{functions:?}");
        assert_eq!(total as u64, by_function(paths(&whole))["serve"].0, "{selector}");
    }
    // The same within the other call.
    let format = SelectStacktraces { format: 4, ..stacktraces("{}", (start, end)) };
    let answer = ask(&lab, "SelectMergeStacktraces", &format, [&SELECT_STACKTRACES, &STACKTRACES]).await;
    let within = Stacktraces::decode(&answer[..]).unwrap().pprof.unwrap();
    assert_eq!(read_profile(&within.profile), profile(&call("{}")).await);
    let headers = Request::post("/querier.v1.QuerierService/SelectMergeProfile").header("host", "localhost");
    let request = headers.header("content-type", "application/proto").header("accept-encoding", "gzip");
    let got = lab.send(request.body(Body::from(call("{}").encode_to_vec())).unwrap()).await;
    assert!(got.body.len() < 2_048 || got.headers["content-encoding"] == "gzip", "large answers are compressed");
}

#[tokio::test]
async fn comparisons_have_both_sides_and_the_pages_of_old_have_them_too() {
    let lab = Lab::new().await;
    three(&lab).await;
    let (start, end) = range();
    let turn = turn_ms() as i64;
    let selector = r#"{service_name="shop"}"#;
    let (left, right) = (stacktraces(selector, (start, turn)), stacktraces(selector, (turn, end)));
    let totals = [graph(&lab, &left).await.total, graph(&lab, &right).await.total];
    let call = Diff { left: Some(left), right: Some(right) };
    let answer = ask(&lab, "Diff", &call, [&DIFF, &DIFFERENCE]).await;
    let difference = messages::Difference::decode(&answer[..]).unwrap().flamegraph.unwrap();
    assert_eq!([difference.left_ticks, difference.right_ticks], totals);
    assert_eq!(difference.total, totals[0] + totals[1]);
    assert!(difference.levels.iter().all(|level| level.values.len() % 7 == 0));
    let other = SelectStacktraces { profile_type: INUSE.to_owned(), ..SelectStacktraces::default() };
    let (_, message) = refused(&lab, "Diff", &Diff { right: Some(other), ..call }, &DIFF).await;
    assert!(message.contains("right side"), "{message}");

    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let query = encoded(&format!("{CPU}{selector}"));
    let page = lab.json(&format!("/pyroscope/render?query={query}&from={start}&until={end}&format=json&name=x")).await;
    let own = graph(&lab, &stacktraces(selector, (start, end))).await;
    assert_eq!(page["flamebearer"]["names"], json!(own.names));
    assert_eq!(page["flamebearer"]["numTicks"], own.total);
    assert_eq!(page["flamebearer"]["levels"][1], json!(own.levels[1].values));
    assert_eq!(page["metadata"]["units"], "samples");
    assert_eq!(page["version"], 1);
    let samples = page["timeline"]["samples"].as_array().unwrap();
    assert_eq!(samples.iter().map(|value| value.as_i64().unwrap()).sum::<i64>(), own.total);
    let seconds = |ms: i64| ms / 1_000;
    let grouped = format!(
        "/pyroscope/render?query={query}&from={}&until={}&groupBy=version&maxNodes=3",
        seconds(start),
        seconds(end)
    );
    let page = lab.json(&grouped).await;
    assert_eq!(page["groups"].as_object().unwrap().keys().collect::<Vec<_>>(), ["v1", "v2"]);
    assert_eq!(page["flamebearer"]["numTicks"], own.total);
    let sides = format!(
        "leftQuery={query}&leftFrom={start}&leftUntil={turn}&rightQuery={query}&rightFrom={turn}&rightUntil={end}"
    );
    let page = lab.json(&format!("/pyroscope/render-diff?{sides}")).await;
    assert_eq!((&page["leftTicks"], &page["rightTicks"]), (&json!(totals[0]), &json!(totals[1])));
    assert_eq!(page["flamebearer"]["levels"], json!(difference.levels.iter().map(|l| &l.values).collect::<Vec<_>>()));
    assert_eq!(page["metadata"]["format"], "double");
    let by_label = encoded(&format!(r#"{{__profile_type__="{CPU}",service_name="shop"}}"#));
    let page = lab.json(&format!("/pyroscope/render?query={by_label}&from=now-3h&until=now%2B1h")).await;
    assert_eq!(page["flamebearer"]["numTicks"], own.total);
    for bad in [
        String::new(),
        format!("query={query}&format=dot"),
        format!("query={query}&from=never"),
        format!("query={query}&from={end}&until={start}"),
        format!("query={query}&maxNodes=x"),
        format!("query={query}&maxNodes=2000000"),
        format!("query={}", encoded("{}")),
        format!("query={}", encoded("cpu{}")),
        format!("query={}", encoded(&format!("{CPU}{{a=}}"))),
    ] {
        let got = lab.get(&format!("/pyroscope/render?{bad}")).await;
        assert_eq!((got.status, &got.json()["code"]), (StatusCode::BAD_REQUEST, &json!("invalid")), "{bad}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_by_its_name() {
    let lab = Lab::new().await;
    lab.push(regression("shop")).await;
    let times = range();
    let good = stacktraces(r#"{service_name="shop"}"#, times);
    let with = |change: fn(&mut SelectStacktraces)| {
        let mut call = good.clone();
        change(&mut call);
        call
    };
    for (call, code, says) in [
        (with(|call| call.label_selector = "{service_name=".to_owned()), "invalid_argument", "byte 14"),
        (with(|call| call.label_selector = "{a=~\"(\"}".to_owned()), "invalid_argument", "unclosed group"),
        (
            with(|call| call.label_selector = format!("{{a=~\"{}\"}}", "a".repeat(5_000))),
            "invalid_argument",
            "limit 4096",
        ),
        (with(|call| call.label_selector = r#"{a=~"((a{99}){99}){99}"}"#.to_owned()), "invalid_argument", "size"),
        (with(|call| call.max_nodes = Some(-1)), "invalid_argument", "max_nodes is -1"),
        (with(|call| call.max_nodes = Some((1 << 20) + 1)), "invalid_argument", "limits 0 to 1048576"),
        (with(|call| call.profile_type = "cpu".to_owned()), "invalid_argument", "profile type \"cpu\""),
        (with(|call| call.profile_type.clear()), "invalid_argument", "profile type \"\""),
        (with(|call| std::mem::swap(&mut call.start, &mut call.end)), "invalid_argument", "ends before it starts"),
        (with(|call| call.start = -5), "invalid_argument", "before 1970"),
        (with(|call| call.end = i64::MAX), "invalid_argument", "400 days"),
        (with(|call| call.format = 2), "unimplemented", "PROFILE_FORMAT_TREE"),
        (with(|call| call.format = 3), "unimplemented", "PROFILE_FORMAT_DOT"),
        (with(|call| call.profile_id_selector.push("x".to_owned())), "unimplemented", "profile_id_selector"),
        (with(|call| call.trace_id_selector.push("x".to_owned())), "invalid_argument", "x"),
    ] {
        let (found, message) = refused(&lab, "SelectMergeStacktraces", &call, &SELECT_STACKTRACES).await;
        assert!(found == code && message.contains(says), "{found}: {message}, expected {says}");
    }
    // What clients that say nothing send.
    for nodes in [None, Some(0)] {
        assert!(graph(&lab, &SelectStacktraces { max_nodes: nodes, ..good.clone() }).await.total > 0);
    }
    let unknown = SelectStacktraces { profile_type: "a:b:c:d:e".to_owned(), ..good.clone() };
    assert_eq!(graph(&lab, &unknown).await.total, 0, "a type that nobody sent has nothing");
    let series = SelectSeries {
        profile_type: CPU.to_owned(),
        start: times.0,
        end: times.1,
        step: 15.0,
        ..SelectSeries::default()
    };
    for (step, says) in [
        (0.0, "step is 0"),
        (0.000_5, "limits"),
        (-1.0, "limits"),
        (f64::NAN, "limits"),
        (1e12, "limits"),
        (0.01, "points"),
    ] {
        let (code, message) =
            refused(&lab, "SelectSeries", &SelectSeries { step, ..series.clone() }, &SELECT_SERIES).await;
        assert!(code == "invalid_argument" && message.contains(says), "{code}: {message}");
    }
    let many = SelectSeries { group_by: vec!["a".to_owned(); 17], ..series.clone() };
    assert!(refused(&lab, "SelectSeries", &many, &SELECT_SERIES).await.1.contains("limit 16"));
    let selector = Some(StackTraceSelector { call_site: vec![Location { name: "main".to_owned() }], go_pgo: None });
    let stacks = SelectSeries { stack_trace_selector: selector, ..series };
    assert_eq!(refused(&lab, "SelectSeries", &stacks, &SELECT_SERIES).await.0, "unimplemented");
    assert!(refused(&lab, "LabelValues", &LabelValues::default(), &LABEL_VALUES).await.1.contains("name"));
    for (content_type, body, status) in [
        ("application/json", &b"[]"[..], 400),
        ("application/json", b"{\"start\":\"x\"}", 400),
        ("application/proto", b"\xff\xff", 400),
        ("application/grpc", b"abc", 200),
        ("text/plain", b"{}", 400),
    ] {
        let got = post(&lab, "/querier.v1.QuerierService/Series", content_type, body.to_vec()).await;
        assert_eq!(got.status.as_u16(), status, "{content_type} {body:?}: {}", got.text());
        if status == 400 {
            assert_eq!(got.json()["code"], "invalid_argument");
        }
    }
}

#[tokio::test]
async fn a_profile_is_summed_over_a_bounded_number_of_services() {
    let lab = Lab::new().await;
    let start = turn_ms();
    lab.push((0..70u8).map(|i| TestWindow::new(&format!("svc-{i}"), i, 1, start).cpu(&[row("main", 5)]))).await;
    let call = stacktraces("", (start as i64, start as i64 + 10_000));
    let (code, message) = refused(&lab, "SelectMergeStacktraces", &call, &SELECT_STACKTRACES).await;
    assert!(
        code == "invalid_argument" && message.contains("limit 64") && message.contains("service_name"),
        "{message}"
    );
    let fewer = SelectStacktraces { label_selector: r#"{service_name=~"svc-[1-3].?"}"#.to_owned(), ..call };
    assert_eq!(graph(&lab, &fewer).await.total, 33 * 5);
}

#[tokio::test]
async fn what_is_not_served_is_said_to_be_missing_in_the_caller_s_words() {
    let lab = Lab::new().await;
    for path in [
        "/querier.v1.QuerierService/SelectHeatmap",
        "/querier.v1.QuerierService/AnalyzeQuery",
        "/settings.v1.SettingsService/Get",
        "/settings.v1.RecordingRulesService/ListRecordingRules",
        "/vcs.v1.VCSService/GithubApp",
        "/adhocprofiles.v1.AdHocProfileService/List",
        "/capabilities.v1.FeatureFlagsService/GetFeatureFlags",
    ] {
        for content_type in ["application/json", "application/proto"] {
            let got = post(&lab, path, content_type, b"{}".to_vec()).await;
            assert_eq!(got.status, StatusCode::NOT_IMPLEMENTED, "{path}");
            assert_eq!(got.json()["code"], "unimplemented", "{path}");
        }
        let got = post(&lab, path, "application/grpc", framed(b"")).await;
        assert_eq!(Status::from_header_map(&got.headers).unwrap().code(), Code::Unimplemented, "{path}");
    }
    let request = Request::post("/querier.v1.QuerierService/Series").header("host", "localhost");
    let request = request.header("content-type", "application/json").header("sec-fetch-site", "cross-site");
    let got = lab.send(request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(got.status, StatusCode::FORBIDDEN, "pages of others stay out");
}
