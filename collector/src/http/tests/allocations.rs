//! Allocations by the request that made them: on the trace's page and in comparisons.

use serde_json::{Value, json};
use tephra_proto::v1::Kind;

use super::{Lab, turn_ms};
use crate::ingest::testing::{TestRow, TestWindow, row, traced};

fn window(agent: u8, sequence: u64, rows: &[TestRow]) -> TestWindow {
    let start = turn_ms() + sequence * 10_000;
    TestWindow::new("shop", agent, sequence, start).series("alloc_space", "bytes", Kind::Counter, rows)
}

fn repeated(stack: &str, bytes: u64, trace: u8, times: usize) -> Vec<TestRow> {
    vec![traced(stack, bytes, trace); times]
}

#[tokio::test]
async fn a_trace_shows_what_its_request_allocated_and_where() {
    let lab = Lab::new().await;
    let lean = repeated("main;order;receipt::render", 600_000, 0x2a, 3);
    let other = repeated("main;order;catalog::search", 900_000, 0x3b, 5);
    lab.push([window(1, 1, &[lean, other, vec![row("main;idle", 700_000)]].concat())]).await;
    let trace = lab.json(&format!("/api/v1/traces/{}", "2a".repeat(16))).await;
    let service = &trace["services"][0];
    let kind = &service["types"][0];
    assert_eq!((&kind["type"]["name"], &kind["total"]), (&json!("alloc_space"), &json!(1_800_000)), "{trace}");
    let names = kind["flame"]["names"].to_string();
    assert!(names.contains("receipt::render") && !names.contains("catalog::search"), "{names}");
    let sample = &service["samples"][0];
    let at = turn_ms() + 10_005;
    assert_eq!(sample, &json!([at, "2a".repeat(8), "alloc_space", 600_000]), "when, by which span, what, how much");
}

#[tokio::test]
async fn two_requests_are_compared_by_what_they_allocated() {
    let lab = Lab::new().await;
    let windows = (1..=20).map(|i| {
        let both = |trace| repeated("main;order;cart::parse", 500_000, trace, 6);
        let wasteful = repeated("main;order;receipt::render", 500_000, 0x3b, 9);
        window(1, i, &[both(0x2a), both(0x3b), wasteful].concat())
    });
    lab.push(windows).await;
    let (from, until) = (turn_ms(), turn_ms() + 300_000);
    let [a, b] = ["2a", "3b"].map(|byte| byte.repeat(16));
    let sides = format!("service=shop&type=alloc_space&from={from}&until={until}&a.trace={a}&b.trace={b}");
    let diff = lab.json(&format!("/api/v1/diff?{sides}")).await;
    let names: Vec<&Value> = diff["movers"].as_array().unwrap().iter().map(|mover| &mover["name"]).collect();
    assert_eq!(names, [&json!("receipt::render")], "{}", diff["movers"]);
    assert_eq!((&diff["movers"][0]["state"], &diff["b"]["unit"]), (&json!("new"), &json!("bytes/s")));
}
