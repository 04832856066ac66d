//! What is asked is answered, and what cannot be answered is said in words.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tephra_proto::v1::SpanStatus;

use super::{Lab, regression, turn_ms};
use crate::ingest::testing::{TestWindow, recent_ms, row, traced};
use crate::store::compact;

fn before_and_after() -> (String, String, String) {
    let turn = turn_ms();
    let (from, until) = (turn - 300_000, turn + 300_000);
    (
        format!("from={from}&until={turn}"),
        format!("from={turn}&until={until}"),
        format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}"),
    )
}

#[tokio::test]
async fn what_is_there_is_listed() {
    let lab = Lab::new().await;
    lab.push(regression("shop/checkout")).await;
    let turn = turn_ms();
    let range = format!("from={}&until={}", turn - 300_000, turn + 300_000);
    let services = lab.json(&format!("/api/v1/services?{range}")).await;
    let service = &services["services"][0];
    assert_eq!((&service["name"], &service["instances"]), (&json!("shop/checkout"), &json!(1)), "{services}");
    assert_eq!(service["labels"]["version"], json!(["v1", "v2"]));
    assert_eq!(service["spark"].as_array().unwrap().len(), 60);
    assert!(service["cpu_cores"].as_f64().unwrap() > 0.1);
    let types = lab.json("/api/v1/profile-types?service=shop/checkout").await;
    assert_eq!(types, json!({"types": [{"name": "cpu", "unit": "nanoseconds", "kind": "counter", "period": 1}]}));
    let labels = lab.json(&format!("/api/v1/labels?service=shop%2Fcheckout&{range}")).await;
    assert_eq!(labels, json!({"labels": ["instance", "version"]}));
    let values = lab.json(&format!("/api/v1/labels/version/values?service=shop/checkout&{range}")).await;
    assert_eq!(values, json!({"values": ["v1", "v2"]}));
}

#[tokio::test]
async fn a_timeline_is_in_cores_and_split_by_label() {
    let lab = Lab::new().await;
    let start = recent_ms();
    let second = |version: &str, agent: u8, samples: usize| {
        TestWindow::new("a", agent, 1, start).label("version", version).cpu(&vec![row("main", 100_000_000); samples])
    };
    lab.push([second("v1", 1, 50), second("v2", 2, 100)]).await;
    lab.post(
        "/api/v1/events",
        json!({"kind": "deploy", "service": "a", "title": "v2", "at": start + 5_000}).to_string(),
    )
    .await;
    let range = format!("service=a&from={start}&until={}", start + 30_000);
    let timeline = lab.json(&format!("/api/v1/timeline?{range}&step=10")).await;
    assert_eq!((&timeline["unit"], &timeline["step_ms"]), (&json!("cores"), &json!(10_000)));
    assert_eq!(timeline["series"][0]["points"][0], json!([start, 1.5]), "{timeline}");
    assert_eq!(timeline["series"][0]["points"][1], json!([start + 10_000, null]), "a gap is a gap and not zero");
    assert_eq!(timeline["events"][0]["title"], "v2");
    let split = lab.json(&format!("/api/v1/timeline?{range}&step=10&by=version")).await;
    assert_eq!(split["series"][0]["label"], "v2", "the largest comes first: {split}");
    assert_eq!(split["series"][1]["points"][0], json!([start, 0.5]));
}

#[tokio::test]
async fn a_comparison_names_the_planted_function_in_every_format() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let (_, _, sides) = before_and_after();
    let diff = lab.json(&format!("/api/v1/diff?service=checkout&{sides}")).await;
    assert_eq!(diff["movers"][0]["name"], "tax::rate_for", "{}", diff["movers"]);
    assert_eq!(diff["movers"][0]["state"], "grew");
    let by_label = lab
        .json(&format!(
            "/api/v1/diff?service=checkout&from={}&until={}&a.label.version=v1&b.label.version=v2",
            turn_ms() - 300_000,
            turn_ms() + 300_000
        ))
        .await;
    assert_eq!(by_label["movers"][0]["name"], "tax::rate_for");
    let back = lab.json(&format!("/api/v1/diff?service=checkout&{sides}&basis=share")).await;
    assert_eq!(back["basis"], "share");
    let markdown = lab.get(&format!("/api/v1/diff?service=checkout&{sides}&format=markdown")).await.text();
    assert!(markdown.contains("tax::rate_for"), "{markdown}");
    let folded = lab.get(&format!("/api/v1/diff?service=checkout&{sides}&format=folded")).await.text();
    let line = folded.lines().find(|line| line.contains("tax::rate_for")).unwrap();
    let numbers: Vec<u64> = line.rsplit(' ').take(2).map(|n| n.parse().unwrap()).collect();
    assert!(numbers[0] > 3 * numbers[1], "{line}");
}

#[tokio::test]
async fn a_release_compared_with_itself_shows_no_change() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let turn = turn_ms();
    let (a, b, c) = (turn - 300_000, turn - 150_000, turn);
    let diff = lab.json(&format!("/api/v1/diff?service=checkout&a.from={a}&a.until={b}&b.from={b}&b.until={c}")).await;
    assert_eq!(diff["movers"], json!([]));
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let lab = Lab::new().await;
    let start = recent_ms();
    let rows: Vec<_> = (0..300).map(|i| row(&format!("main;function_{i}"), 1_000)).collect();
    lab.push([TestWindow::new("a", 1, 1, start).cpu(&rows)]).await;
    let path = format!("/api/v1/flamegraph?service=a&from={start}&until={}&format=flame", start + 10_000);
    let plain = lab.get(&path).await;
    assert_eq!(plain.body.get(..4), Some(&b"TFLM"[..]));
    assert_eq!(plain.headers[header::CONTENT_TYPE], "application/vnd.tephra.flame");
    assert!(!plain.headers.contains_key(header::CONTENT_ENCODING));
    let ask = Request::get(&path).header("host", "localhost").header("accept-encoding", "gzip");
    let packed = lab.send(ask.body(Body::empty()).unwrap()).await;
    assert_eq!(packed.headers[header::CONTENT_ENCODING], "gzip");
    assert!(packed.body.len() < plain.body.len() / 2, "{} of {}", packed.body.len(), plain.body.len());
}

#[tokio::test]
async fn nothing_is_said_in_words() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let unknown = lab.get("/api/v1/flamegraph?service=chekout").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.json()["message"].as_str().unwrap().contains("chekout"));
    assert!(unknown.json()["hint"].as_str().unwrap().contains("/api/v1/services"));
    let unknown = lab.get("/api/v1/flamegraph?service=checkout&type=wall").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.json()["hint"].as_str().unwrap().contains("cpu"), "{}", unknown.text());
    for more in ["from=2001-01-01T00:00:00Z&until=2001-01-02T00:00:00Z", "label.version=v3&from=now-2h"] {
        let empty = lab.json(&format!("/api/v1/flamegraph?service=checkout&{more}")).await;
        assert_eq!(empty["a"]["total"], 0);
        assert!(empty["empty"].as_str().unwrap().len() > 20, "{more}: {}", empty["empty"]);
    }
}

#[tokio::test]
async fn a_mistake_is_refused_with_the_value_and_a_hint() {
    let lab = Lab::new().await;
    let cases = [
        ("/api/v1/flamegraph", "\"service\" is missing"),
        ("/api/v1/flamegraph?service=a&format=gif", "gif"),
        ("/api/v1/flamegraph?service=a&format=markdown", "markdown"),
        ("/api/v1/flamegraph?service=a&max_nodes=0", "limits 1 to 2000000"),
        ("/api/v1/flamegraph?service=a&min_share=2", "limits 0 to 1"),
        ("/api/v1/flamegraph?service=a&lable.zone=x", "lable.zone"),
        ("/api/v1/diff?service=a&basis=joules", "joules"),
        ("/api/v1/diff?a.service=a", "side b."),
        ("/api/v1/timeline?service=a&step=0", "limits 1 to 86400"),
        ("/api/v1/timeline?service=a&by=No", "'N'"),
        ("/api/v1/labels/No/values?service=a", "'N'"),
        ("/api/v1/traces/123", "32 hexadecimal digits"),
        ("/api/v1/services?service=a", "\"service\" is not known"),
        ("/api/v1/status?x=1", "\"x\" is not known"),
        ("/api/v1/events?kind=party", "party"),
        ("/alert.json", "names no service"),
        ("/alert.json?service=a&w=1s", "limits 10s to 1w"),
    ];
    for (path, message) in cases {
        let got = lab.get(path).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{path}: {}", got.text());
        let error = got.json();
        assert_eq!(error["code"], "invalid");
        assert!(error["message"].as_str().unwrap().contains(message), "{path}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{path}: {error}");
    }
}

#[tokio::test]
async fn a_trace_is_found_across_services() {
    let lab = Lab::new().await;
    let start = recent_ms();
    let window = |service: &str, agent| {
        TestWindow::new(service, agent, 1, start)
            .cpu(&[traced("main;work", 10, 7), row("main;other", 90)])
            .span(7, "/pay", 20, 5_000)
    };
    lab.push([window("gateway", 1), window("checkout", 2)]).await;
    let id = "07".repeat(16);
    let trace = lab.json(&format!("/api/v1/traces/{id}")).await;
    let names: Vec<&Value> = trace["services"].as_array().unwrap().iter().map(|s| &s["service"]).collect();
    assert_eq!(names, ["checkout", "gateway"]);
    let service = &trace["services"][0];
    assert_eq!((&service["types"][0]["total"], &service["types"][0]["samples"]), (&json!(10), &json!(1)), "{trace}");
    assert_eq!(service["types"][0]["flame"]["a"]["total"], 10);
    assert_eq!(service["samples"][0], json!([start + 5, "07".repeat(8), "cpu", 10]));
    assert_eq!(service["spans"][0]["route"], "/pay");
    let nothing = lab.get(&format!("/api/v1/traces/{}", "08".repeat(16))).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    assert!(nothing.json()["hint"].as_str().unwrap().contains("kept for 3d"), "{}", nothing.text());
    let requests =
        lab.json(&format!("/api/v1/requests?service=gateway&from={start}&until={}&route=/pay", start + 10_000)).await;
    assert_eq!(requests["routes"][0]["slowest"][0]["trace_id"], id);
    let none =
        lab.json(&format!("/api/v1/requests?service=gateway&from={start}&until={}&route=/x", start + 10_000)).await;
    assert_eq!(none["routes"], json!([]));
}

#[tokio::test]
async fn a_service_completes_a_slow_trace_long_after_its_part_has_ended() {
    let lab = Lab::new().await;
    let start = recent_ms();
    let slow = TestWindow::new("gateway", 1, 1, start)
        .requests("/pay", SpanStatus::Ok, &[9_000_000])
        .span(7, "/pay", -1, 9_000_000);
    let answer = lab.ingest.push(slow.request()).await.unwrap();
    assert_eq!(answer.slow_traces, [7; 16], "it is asked for");
    let counted = TestWindow::new("checkout", 2, 1, start).requests("/tax", SpanStatus::Ok, &[4_000; 3]);
    let mut asked = TestWindow::new("checkout", 2, 2, start + 50_000).requests("/tax", SpanStatus::Ok, &[2_000]);
    asked = asked.span(7, "/tax", -40_004, 4_000);
    asked.payload.spans.as_mut().unwrap().weight = vec![0.0];
    lab.push([counted, asked]).await;
    let (trace, range) =
        (format!("/api/v1/traces/{}", "07".repeat(16)), format!("from={start}&until={}", start + 60_000));
    let requests = lab.json(&format!("/api/v1/requests?service=checkout&{range}")).await;
    let route = &requests["routes"][0];
    assert_eq!((&route["count"], &route["max_us"]), (&json!(4), &json!(4_000)), "it was counted when it ended");
    assert_eq!(route["slowest"][0]["trace_id"], "07".repeat(16));
    let whole = || async {
        let trace = lab.json(&trace).await;
        let services = trace["services"].as_array().unwrap().iter();
        services
            .map(|of| json!([of["service"], of["spans"][0]["route"], of["spans"][0]["start_ms"]]))
            .collect::<Vec<_>>()
    };
    let expected = [json!(["checkout", "/tax", start + 9_996]), json!(["gateway", "/pay", start - 1])];
    assert_eq!(whole().await, expected);
    while compact::step(&lab.store, start + 48 * 3_600_000, 0, None).await.unwrap() {}
    assert_eq!(whole().await, expected, "and after windows became coarser");
}

#[tokio::test]
async fn events_and_pins_are_kept() {
    let lab = Lab::new().await;
    let made =
        lab.post("/api/v1/events", r#"{"kind":"deploy","service":"a","title":"v2","labels":{"commit":"4f2c1"}}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let events = lab.json("/api/v1/events?service=a&from=now-1m&until=now%2B1m").await;
    assert_eq!(events["events"][0], made.json());
    assert_eq!(lab.json("/api/v1/events?service=a&kind=alert").await["events"], json!([]));
    let pin = lab.post("/api/v1/pins", r#"{"url":"/s/a?from=now-2h&q=x","note":"why"}"#).await;
    assert_eq!(pin.status, StatusCode::CREATED, "{}", pin.text());
    let id = pin.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(pin.json()["url"], format!("/p/{id}"));
    let shown = lab.json(&format!("/api/v1/pins/{id}")).await;
    let url = shown["url"].as_str().unwrap();
    assert!(url.starts_with("/s/a?q=x&from=17") && !url.contains("now"), "{url}");
    assert_eq!(shown["note"], "why");
    assert_eq!(lab.store.catalog().pin(&id).await.unwrap().unwrap().pin.ranges[0].service, "a");
    for bad in [r#"{"url":"https://evil.com"}"#, r#"{"url":"/s/a?from=soon"}"#, r#"{"urn":"/s/a"}"#, "nonsense"] {
        assert_eq!(lab.post("/api/v1/pins", bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(lab.get("/api/v1/pins/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pprof_goes_out_and_comes_back_in() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let (range, _, _) = before_and_after();
    let query = format!("/api/v1/flamegraph?service=checkout&{range}");
    let pprof = lab.get(&format!("{query}&format=pprof")).await.body;
    let start = turn_ms() - 300_000;
    let stored =
        lab.post(&format!("/api/v1/profiles?service=copy&type=cpu&at={start}&label.version=v9"), pprof.clone()).await;
    assert_eq!(stored.status, StatusCode::OK, "{}", stored.text());
    let copy = lab.json(&format!("/api/v1/flamegraph?service=copy&label.version=v9&{range}")).await;
    let original = lab.json(&query).await;
    assert_eq!(copy["a"]["total"], original["a"]["total"]);
    assert_eq!(stored.json()["stored_samples"], original["a"]["samples"]);
    let none = lab.post(&format!("/api/v1/profiles?service=copy&type=wall&at={start}"), pprof).await;
    assert!(none.json()["hint"].as_str().unwrap().contains("cpu"), "{}", none.text());
    for bad in [&b""[..], b"not a profile", &[0x1f, 0x8b, 8, 0, 0]] {
        let got = lab.post("/api/v1/profiles?service=copy", bad.to_vec()).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{bad:?}: {}", got.text());
    }
}

#[tokio::test]
async fn status_and_metrics_account_for_every_sample() {
    let lab = Lab::new().await;
    let mut window = TestWindow::new("checkout", 1, 1, recent_ms()).cpu(&[row("main", 5), row("main;x", 6)]);
    window.header.sampled = 5;
    window.header.drops =
        vec![tephra_proto::v1::DropCount { reason: tephra_proto::v1::DropReason::RingFull.into(), samples: 3 }];
    lab.push([window]).await;
    let status = lab.json("/api/v1/status").await;
    let agent = &status["agents"][0];
    let dropped: u64 = agent["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((&agent["sampled"], &agent["stored"], dropped), (&json!(5), &json!(2), 3), "{status}");
    assert_eq!((&status["store"]["windows"], &status["store"]["samples"]), (&json!(1), &json!(2)));
    let metrics = lab.get("/metrics").await.text();
    for line in [
        "tephra_ingest_windows_total 1",
        "tephra_agent_sampled{service=\"checkout\"} 5",
        "tephra_agent_stored{service=\"checkout\"} 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "no {line} in {metrics}");
    }
    assert!(metrics.contains("tephra_agent_dropped{service=\"checkout\",reason="), "{metrics}");
    assert!(metrics.contains("tephra_process_resident_memory_bytes"));
    assert_eq!(lab.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(lab.get("/readyz").await.status, StatusCode::OK);
}
