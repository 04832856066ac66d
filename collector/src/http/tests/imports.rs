//! Profiles of other tools: the same events mean the same, however they are written.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tephra_proto::v1;

use super::{Got, Lab, turn_ms};
use crate::cli::verdict;
use crate::ingest::testing::{TestRow, TestWindow, row};
use crate::profile::pprof::testing::TestProfile;

const NS: &str = "nanoseconds";

async fn import(lab: &Lab, query: &str, profile: &TestProfile) -> Got {
    lab.post(&format!("/api/v1/profiles?{query}"), profile.body()).await
}

async fn imported(lab: &Lab, query: &str, profile: &TestProfile) -> Value {
    let got = import(lab, query, profile).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    got.json()
}

/// The only side of a flame graph, and its type.
async fn flame(lab: &Lab, query: &str) -> (Value, Value) {
    let (from, until) = (turn_ms() - 3_600_000, turn_ms() + 3_600_000);
    let flame = lab.json(&format!("/api/v1/flamegraph?{query}&from={from}&until={until}")).await;
    (flame["a"].clone(), flame["type"].clone())
}

/// As people read it.
fn rounded(value: &Value) -> f64 {
    (value.as_f64().unwrap() * 1e6).round() / 1e6
}

/// One window of what happened: stacks, and how often each was seen working for 10 ms.
type Seen = Vec<(&'static str, u64)>;

const SIDES: usize = 12;

/// Twelve windows before and twelve after; `grow` is by how much the second function works more in the latter, in percent.
fn truth(seed: u64, grow: u64) -> Vec<Seen> {
    let mut state = seed;
    let mut luck = move |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % most
    };
    let window = |i: usize| {
        let after = if i < SIDES { 100 } else { 100 + grow };
        vec![
            ("main;serve;parse", 150 + luck(30)),
            ("main;serve;render", (60 + luck(14)) * after / 100),
            ("main;serve;log", 1 + luck(3)),
        ]
    };
    (0..2 * SIDES).map(window).collect()
}

/// How the same events are written: a name, the type to ask for, what a unit of it is worth in cores, and a window of it.
type Encoding = (&'static str, &'static str, f64, fn(&Seen) -> TestProfile);

fn each(seen: &Seen, profile: TestProfile, values: impl Fn(i64) -> Vec<i64>) -> TestProfile {
    seen.iter().fold(profile, |profile, (stack, count)| profile.sample(stack, &values(*count as i64)))
}

const ENCODINGS: [Encoding; 6] = [
    ("samples", "samples", 1e7, |seen| each(seen, TestProfile::of(&[("samples", "count")]), |n| vec![n])),
    ("distance", "cpu", 1.0, |seen| {
        let profile = TestProfile::of(&[("cpu", NS)]).period("cpu", NS, 10_000_000);
        each(seen, profile, |n| vec![n * 10_000_000])
    }),
    ("both", "cpu", 1.0, |seen| {
        each(seen, TestProfile::of(&[("samples", "count"), ("cpu", NS)]), |n| vec![n, n * 10_000_000])
    }),
    ("microseconds", "cpu", 1.0, |seen| {
        let profile = TestProfile::of(&[("cpu", "microseconds")]).period("cpu", "microseconds", 10_000);
        each(seen, profile, |n| vec![n * 10_000])
    }),
    ("milliseconds", "cpu", 1.0, |seen| {
        let profile = TestProfile::of(&[("cpu", "ms")]).period("cpu", NS, 10_000_000);
        each(seen, profile, |n| vec![n * 10])
    }),
    ("datadog", "cpu_time", 1.0, |seen| {
        let types = [("cpu_samples", "count"), ("cpu_time", NS), ("wall_samples", "count"), ("wall_time", NS)];
        each(seen, TestProfile::of(&types), |n| vec![n, n * 10_000_000, 3 * n, n * 30_000_000])
    }),
];

/// As an agent writes it: a row for each sample.
fn agents_window(service: &str, agent: u8, i: usize, seen: &Seen) -> TestWindow {
    let rows: Vec<TestRow> = seen.iter().flat_map(|(stack, n)| (0..*n).map(|_| row(stack, 10_000_000))).collect();
    TestWindow::new(service, agent, i as u64 + 1, start_of(i)).cpu(&rows)
}

fn start_of(window: usize) -> u64 {
    turn_ms() - SIDES as u64 * 10_000 + window as u64 * 10_000
}

/// What is said of a service: value of both sides in cores, samples, evidence of each node, sentences' kinds, and the gate's verdict.
async fn judged(lab: &Lab, service: &str, name: &str, worth: f64) -> Value {
    let (from, turn, until) = (start_of(0), start_of(SIDES), start_of(2 * SIDES));
    let sides = format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
    let diff = lab.json(&format!("/api/v1/diff?service={service}&type={name}&{sides}")).await;
    let unit = if name == "samples" { 1e-9 } else { 1.0 };
    let cores = |side: &str| (diff[side]["value"].as_f64().unwrap() * worth * unit * 1e6).round() / 1e6;
    let kinds: Vec<_> = diff["summary"].as_array().unwrap().iter().map(|said| said["kind"].clone()).collect();
    let movers: Vec<_> =
        diff["movers"].as_array().unwrap().iter().map(|m| json!([m["name"], m["state"], rounded(&m["q"])])).collect();
    json!({
        "cores": [cores("a"), cores("b")],
        "samples": [diff["a"]["samples"], diff["b"]["samples"]],
        "evidence": diff["nodes"]["q"],
        "movers": movers,
        "kinds": kinds,
        "gate": verdict::verdict_on(diff),
    })
}

#[tokio::test]
async fn the_same_events_are_judged_the_same_however_they_are_written() {
    let lab = Lab::new().await;
    let mut verdicts = std::collections::BTreeSet::new();
    for (case, grow) in [0, 5, 66, 200].into_iter().enumerate() {
        let truth = truth(case as u64 + 7, grow);
        let agent = format!("agent-{case}");
        lab.push(truth.iter().enumerate().map(|(i, seen)| agents_window(&agent, case as u8 + 1, i, seen))).await;
        let expected = judged(&lab, &agent, "cpu", 1.0).await;
        let seen: u64 = truth[..SIDES].iter().flatten().map(|(_, n)| n).sum();
        assert_eq!(expected["samples"][0], seen, "{expected}");
        assert_eq!(expected["cores"][0].as_f64(), Some((seen as f64 * 0.01 / 120.0 * 1e6).round() / 1e6));
        verdicts.insert(expected["gate"].to_string());
        for (encoding, name, worth, write) in ENCODINGS {
            let service = format!("{encoding}-{case}");
            let queries = (0..).map(|i| format!("service={service}&at={}", start_of(i)));
            let profiles: Vec<_> = queries.zip(truth.iter().map(|seen| write(seen).lasting(10_000))).collect();
            futures_util::future::join_all(profiles.iter().map(|(query, profile)| imported(&lab, query, profile)))
                .await;
            assert_eq!(judged(&lab, &service, name, worth).await, expected, "{encoding}, {grow} % more");
        }
    }
    assert!(verdicts.len() >= 2, "some pass and some do not: {verdicts:?}");
}

#[tokio::test]
async fn a_timer_that_looked_more_often_saw_no_more_work() {
    let lab = Lab::new().await;
    // One look a side, so that the number of samples is all there is to go by: 4 000 of 10 ms, and as much in 800 of 50 ms.
    for (at, hz, busy) in [(0u64, 100i64, 1i64), (1, 20, 1), (2, 20, 2)] {
        let samples = 40 * hz * busy;
        let profile = TestProfile::of(&[("samples", "count"), ("cpu", NS)])
            .lasting(10_000)
            .sample("main;work", &[samples, samples * (1_000_000_000 / hz)])
            .sample("main;idle", &[10 * hz, 10 * hz * (1_000_000_000 / hz)]);
        imported(&lab, &format!("service=a&at={}", turn_ms() + at * 10_000), &profile).await;
    }
    let side = |name: &str, at: u64| {
        format!("{name}.from={}&{name}.until={}", turn_ms() + at * 10_000, turn_ms() + (at + 1) * 10_000)
    };
    let same = lab.json(&format!("/api/v1/diff?service=a&{}&{}", side("a", 0), side("b", 1))).await;
    assert_eq!((rounded(&same["a"]["value"]), &same["a"]["samples"]), (5.0, &json!(5_000)), "{}", same["a"]);
    assert_eq!(same["movers"], json!([]), "{}", same["summary"]);
    let twice = lab.json(&format!("/api/v1/diff?service=a&{}&{}", side("a", 0), side("b", 2))).await;
    assert_eq!(twice["movers"][0]["name"], "work", "{}", twice["summary"]);
}

#[tokio::test]
async fn values_that_count_are_samples_and_so_are_values_that_lie_a_known_distance_apart() {
    let lab = Lab::new().await;
    let counts = TestProfile::of(&[("samples", "count")]).sample("main;a", &[4_000]).sample("main;b", &[1_000]);
    imported(&lab, "service=counts&at=now-5m", &counts.lasting(10_000)).await;
    assert_eq!(flame(&lab, "service=counts&type=samples").await.0["samples"], 5_000);
    let apart = TestProfile::of(&[("cpu", NS)])
        .period("cpu", NS, 10_000_000)
        .sample("main;a", &[40_000_000_000])
        .sample("main;b", &[10_000_000_000]);
    imported(&lab, "service=apart&at=now-5m", &apart.lasting(10_000)).await;
    let (side, kind) = flame(&lab, "service=apart").await;
    assert_eq!((&side["samples"], &kind["period"]), (&json!(5_000), &json!(10_000_000)));
    // Many more than fit 32 bits, as long as they are what is counted.
    let many = TestProfile::of(&[("events", "count")]).sample("main;a", &[1 << 40]).lasting(10_000);
    imported(&lab, "service=many&at=now-5m", &many).await;
    assert_eq!(flame(&lab, "service=many&type=events").await.0["samples"], 1u64 << 40);
}

#[tokio::test]
async fn a_count_of_samples_that_says_more_than_the_other_columns_is_kept() {
    let lab = Lab::new().await;
    let types = [("samples", "count"), ("cpu", NS)];
    let told = TestProfile::of(&types).sample("main;a", &[3, 30]);
    imported(&lab, "service=told&at=now-5m", &told).await;
    let types_of = async |service: &str| {
        let types = lab.json(&format!("/api/v1/profile-types?service={service}")).await;
        types["types"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types_of("told").await, ["cpu"], "each value of cpu says how many samples are behind it");
    imported(&lab, "service=waits&at=now-5m", &told.sample("main;wait", &[7, 0])).await;
    assert_eq!(types_of("waits").await, ["cpu", "samples"]);
    assert_eq!(flame(&lab, "service=waits&type=samples").await.0["total"], 10);
}

#[tokio::test]
async fn what_there_is_does_not_become_more_by_being_looked_at_more_often() {
    let lab = Lab::new().await;
    let goroutines =
        TestProfile::of(&[("goroutine", "count")]).period("goroutine", "count", 1).sample("main;work", &[10]);
    for i in 0..3 {
        let query = format!("service=go&label.instance=x&at={}", turn_ms() + i * 10_000);
        imported(&lab, &query, &goroutines).await;
    }
    let (side, kind) = flame(&lab, "service=go&type=goroutine").await;
    assert_eq!((&side["total"], &side["value"], &side["unit"]), (&json!(10), &json!(10.0), &json!("count")), "{side}");
    assert_eq!((&kind["kind"], &side["samples"]), (&json!("gauge"), &json!(10)));
    let range = format!("from={}&until={}", turn_ms(), turn_ms() + 30_000);
    let growth = lab.json(&format!("/api/v1/growth?service=go&type=goroutine&{range}")).await;
    assert_eq!((&growth["delta"], &growth["significant"]), (&json!(0.0), &json!(false)), "{growth}");
    let heap = TestProfile::of(&[("objects", "count"), ("space", "bytes")]).period("space", "bytes", 524_288);
    imported(&lab, "service=node&at=now-5m", &heap.sample("main;keep", &[10, 1_000])).await;
    let (side, kind) = flame(&lab, "service=node&type=space").await;
    assert_eq!((&side["total"], &side["unit"], &kind["kind"]), (&json!(1_000), &json!("bytes"), &json!("gauge")));
}

#[tokio::test]
async fn whoever_imports_knows_best_how_a_type_adds_up() {
    let lab = Lab::new().await;
    let queued = TestProfile::of(&[("queued", "count"), ("space", "bytes")]).sample("main;work", &[10, 5]);
    imported(&lab, "service=q&at=now-5m&kind.queued=gauge&kind.space=counter", &queued).await;
    assert_eq!(flame(&lab, "service=q&type=queued").await.1["kind"], "gauge");
    assert_eq!(flame(&lab, "service=q&type=space").await.1["kind"], "counter");
    let got = import(&lab, "service=q&at=now-5m&kind.other=gauge", &queued).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.text().contains("no type \\\"other\\\": it has queued, space"), "{}", got.text());
    let got = import(&lab, "service=q&at=now-5m&kind.queued=sum", &queued).await;
    assert!(got.status == StatusCode::BAD_REQUEST && got.text().contains("one of: gauge, counter"), "{}", got.text());
}

#[tokio::test]
async fn waiting_is_not_shown_in_cores_and_units_of_one_kind_are_one_type() {
    let lab = Lab::new().await;
    let mutex = TestProfile::of(&[("contentions", "count"), ("delay", NS)]).sample("main;lock", &[500, 5_000_000_000]);
    imported(&lab, &format!("service=m&at={}", turn_ms()), &mutex.lasting(10_000)).await;
    let (side, _) = flame(&lab, "service=m&type=delay").await;
    assert_eq!((rounded(&side["value"]), &side["unit"], &side["samples"]), (0.5, &json!("s/s"), &json!(500)));
    let range = format!("from={}&until={}", turn_ms(), turn_ms() + 10_000);
    let timeline = lab.json(&format!("/api/v1/timeline?service=m&type=delay&{range}")).await;
    assert_eq!(timeline["unit"], "s/s");
    for (minute, unit, value) in [(0, NS, 100_000), (1, "microseconds", 100)] {
        let wall = TestProfile::of(&[("wall", unit)]).sample("main;wait", &[value]).lasting(1_000);
        imported(&lab, &format!("service=w&at={}", turn_ms() + minute * 60_000), &wall).await;
    }
    let (side, kind) = flame(&lab, "service=w&type=wall").await;
    assert_eq!((&side["total"], &side["seconds"], &kind["unit"]), (&json!(200_000), &json!(2.0), &json!(NS)), "{side}");
}

#[tokio::test]
async fn windows_of_another_measure_are_no_time_in_which_nothing_happened() {
    let lab = Lab::new().await;
    let window = |sequence: u64, unit: &str| {
        let start = turn_ms() + sequence * 10_000;
        TestWindow::new("a", 1, sequence, start).series("wall", unit, v1::Kind::Counter, &[row("main", 100)])
    };
    lab.push([window(1, "ticks"), window(2, "cycles")]).await;
    let (side, kind) = flame(&lab, "service=a&type=wall").await;
    assert_eq!(
        (&side["total"], &side["seconds"], &kind["unit"]),
        (&json!(100), &json!(10.0), &json!("cycles")),
        "{side}"
    );
}

fn cpu(samples: i64, ms: u64) -> TestProfile {
    let profile = TestProfile::of(&[("samples", "count"), ("cpu", NS)]).lasting(ms);
    profile.sample("main;work", &[samples, samples * 10_000_000]).sample("main;rare", &[1, 10_000_000])
}

/// One side of a flame graph of so many minutes from a minute on.
async fn minutes(lab: &Lab, service: &str, from: u64, n: u64) -> Value {
    let from = hour_ago() + from * 60_000;
    lab.json(&format!("/api/v1/flamegraph?service={service}&from={from}&until={}", from + n * 60_000)).await["a"]
        .clone()
}

/// An hour before the moment that the other tests are about: nothing lies in the future.
fn hour_ago() -> u64 {
    turn_ms() - turn_ms() % 60_000 - 3_600_000
}

#[tokio::test]
async fn a_long_profile_counts_in_every_part_of_its_time_with_its_own_rate() {
    let lab = Lab::new().await;
    let stored = imported(&lab, &format!("service=a&at={}", hour_ago()), &cpu(180_000, 3_600_000)).await;
    assert_eq!((&stored["from"], &stored["until"]), (&json!(hour_ago()), &json!(hour_ago() + 3_600_000)));
    let whole = minutes(&lab, "a", 0, 60).await;
    assert_eq!((&whole["total"], &whole["samples"]), (&json!(1_800_010_000_000u64), &json!(180_001)));
    assert_eq!((rounded(&whole["seconds"]), (rounded(&whole["value"]) * 1e3).round()), (3_600.0, 500.0));
    let mut sum = 0;
    for part in 0..6 {
        let side = minutes(&lab, "a", part * 10, 10).await;
        assert_eq!(side["seconds"], 600.0, "{side}");
        assert!((rounded(&side["value"]) - 0.5).abs() < 0.02, "{side}");
        sum += side["total"].as_u64().unwrap();
    }
    assert_eq!(sum, 1_800_010_000_000);
    imported(&lab, &format!("service=short&at={}", hour_ago()), &cpu(49, 500)).await;
    assert_eq!(rounded(&minutes(&lab, "short", 0, 1).await["value"]), 1.0, "half a second of work in half a second");
}

#[tokio::test]
async fn long_profiles_differ_by_more_than_chance_or_not_at_all() {
    let lab = Lab::new().await;
    for (service, after) in [("same", 3_100), ("more", 4_200)] {
        for (hour, samples) in [(0, 3_000), (1, after)] {
            let at = hour_ago() + hour * 3_600_000;
            imported(&lab, &format!("service={service}&at={at}"), &cpu(samples, 3_600_000)).await;
        }
        let (from, turn, until) = (hour_ago(), hour_ago() + 3_600_000, hour_ago() + 7_200_000);
        let sides = format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
        let diff = lab.json(&format!("/api/v1/diff?service={service}&{sides}")).await;
        assert_eq!(diff["a"]["windows"], 60, "{}", diff["a"]);
        let q = diff["nodes"]["q"][0].as_u64().unwrap();
        assert_eq!(q <= 500, service == "more", "{service}: {q}, {}", diff["summary"]);
    }
}

#[tokio::test]
async fn a_profile_without_a_place_in_time_is_told_what_to_type() {
    let lab = Lab::new().await;
    let day = 86_400_000;
    let old = cpu(9, 1_000).at(1_600_000_000_000);
    let refused = async |query: &str, profile: &TestProfile, words: &[&str]| {
        let got = import(&lab, query, profile).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{query}: {}", got.text());
        assert!(words.iter().all(|word| got.text().contains(word)), "{query}: {}", got.text());
        assert!(!got.text().contains("clock"), "{}", got.text());
    };
    refused("service=a", &old, &["2020-09-13 12:26 UTC", "90 days", "--at now-5m"]).await;
    refused("service=a&at=1600000000", &old, &["at is 2020-09-13", "90 days"]).await;
    refused("service=a", &cpu(9, 1_000).at(turn_ms() + 2 * day), &["yet to come", "--at"]).await;
    refused("service=a&at=now-1m", &cpu(9, 3_600_000), &["yet to come", "at is when it started"]).await;
    refused("service=a&at=now-1h", &cpu(9, 69 * day), &["took 69 days", "limit a day", "--duration 5m"]).await;
    refused("service=a&at=now-1h&duration=2d", &cpu(9, 1_000), &["took 2 days"]).await;
    imported(&lab, "service=a&at=now-5m", &old).await;
    let told = imported(&lab, "service=a&at=now-1h&duration=5m", &cpu(9, 69 * day)).await;
    assert_eq!((&told["stored_samples"], &told["duration_known"]), (&json!(10), &json!(true)));
    let live = TestProfile::of(&[("live", "count")]).sample("main", &[4]).lasting(20_000 * day);
    imported(&lab, "service=live&at=now-5m", &live).await;
    let unknown = imported(&lab, "service=a&at=now-5m", &cpu(9, 0)).await;
    assert_eq!(unknown["duration_known"], false);
}

#[tokio::test]
async fn a_range_that_only_a_long_window_reaches_into_is_told_so() {
    let lab = Lab::new().await;
    let window = TestWindow::new("a", 1, 1, hour_ago()).duration(3_600_000).cpu(&[row("main;work", 100)]);
    lab.push([window]).await;
    let (from, until) = (hour_ago() + 1_200_000, hour_ago() + 1_800_000);
    let flame = lab.json(&format!("/api/v1/flamegraph?service=a&from={from}&until={until}")).await;
    assert_eq!(flame["a"]["total"], 0);
    let said = flame["empty"].as_str().unwrap();
    assert!(said.contains("began 20 min before it and took 60 min"), "{said}");
    let later = lab
        .json(&format!(
            "/api/v1/flamegraph?service=a&from={0}&until={1}",
            hour_ago() + 3_600_000,
            hour_ago() + 4_200_000
        ))
        .await;
    assert!(later["empty"].as_str().unwrap().contains("sent nothing in this range"), "{}", later["empty"]);
}

/// Every number of an answer.
fn numbers(value: &Value, into: &mut Vec<f64>) {
    match value {
        Value::Number(number) => into.extend(number.as_f64()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| numbers(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn nothing_is_zero_and_never_less_than_that() {
    let lab = Lab::new().await;
    let window = TestWindow::new("a", 1, 1, turn_ms()).inuse(&[row("main;keep", 100)]).span(1, "/fine", 10, 1_000);
    lab.push([window]).await;
    let other = TestWindow::new("a", 1, 2, turn_ms() + 600_000).cpu(&[row("main;work", 100)]);
    lab.push([other]).await;
    let range = format!("from={}&until={}", turn_ms(), turn_ms() + 20_000);
    let two = format!(
        "a.from={0}&a.until={1}&b.from={2}&b.until={3}",
        turn_ms(),
        turn_ms() + 20_000,
        turn_ms() + 600_000,
        turn_ms() + 620_000
    );
    for path in [
        format!("/api/v1/services?{range}"),
        format!("/api/v1/flamegraph?service=a&{range}"),
        format!("/api/v1/timeline?service=a&{range}"),
        format!("/api/v1/growth?service=a&{range}"),
        format!("/api/v1/requests?service=a&{range}"),
        format!("/api/v1/diff?service=a&{two}"),
        format!("/api/v1/diff?service=a&type=inuse_space&{two}"),
        format!("/alert.json?service=a&at={}&w=1m", turn_ms() + 30_000),
    ] {
        let mut found = Vec::new();
        numbers(&lab.json(&path).await, &mut found);
        assert!(!found.is_empty() && found.iter().all(|n| *n != 0.0 || n.is_sign_positive()), "{path}: {found:?}");
    }
}

/// `debug = "line-tables-only"` leaves what was inlined neither crate nor module.
#[tokio::test]
async fn functions_without_a_path_are_named_and_judged_by_their_files() {
    let lab = Lab::new().await;
    let library = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
    for i in 0..2 * SIDES {
        let grown = if i < SIDES { 1 } else { 4 };
        let profile = TestProfile::of(&[("samples", "count"), ("cpu", NS)])
            .lasting(10_000)
            .sample("main;shop::report::write;with_capacity_in", &[50 * grown, 500_000_000 * grown])
            .sample("main;shop::serve;compute", &[200, 2_000_000_000])
            .in_file("with_capacity_in", &format!("{library}/alloc/src/raw_vec/mod.rs"))
            .in_file("compute", "/home/me/work/shop/src/tax.rs");
        imported(&lab, &format!("service=lines&at={}", start_of(i)), &profile).await;
    }
    let (from, turn, until) = (start_of(0), start_of(SIDES), start_of(2 * SIDES));
    let sides = format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
    let diff = lab.json(&format!("/api/v1/diff?service=lines&{sides}")).await;
    let text = |table: &str, number: &Value| diff[table][number.as_u64().unwrap() as usize].clone();
    let frames = diff["frames"].as_array().unwrap().iter();
    let families: Vec<_> = frames.map(|frame| (text("names", &frame[0]), text("families", &frame[5]))).collect();
    let has = |name: &str, family: &str| families.contains(&(json!(name), json!(family)));
    assert!(has("alloc::raw_vec::with_capacity_in", "allocation") && has("compute", "unknown"), "{families:?}");
    assert_eq!(diff["movers"][0]["name"], "shop::report::write", "{}", diff["movers"]);
}
