//! Where requests wait: a type like all others, whose label says for what.

use serde_json::{Value, json};
use tephra_proto::v1::Kind;

use super::{Lab, turn_ms};
use crate::ingest::testing::{TestRow, TestWindow, traced};

const MS: u64 = 1_000_000;

fn waited(stack: &str, ms: u64, trace: u8, state: &str) -> TestRow {
    traced(stack, ms * MS, trace).label("state", state)
}

async fn lab() -> Lab {
    let lab = Lab::new().await;
    let windows = (1..=3).map(|sequence| {
        let rows = [
            waited("main;handler;query_db;poll_read", 4_000, 0x2a, "await"),
            waited("main;handler;query_db;poll_read", 1_000, 0x2a, "queue"),
            waited("main;handler;lock_cart;acquire", 500, 0x3b, "await"),
        ];
        let window = TestWindow::new("shop", 1, sequence, turn_ms() + sequence * 10_000);
        window.series("wait", "nanoseconds", Kind::Counter, &rows)
    });
    lab.push(windows).await;
    lab
}

fn selection() -> String {
    format!("service=shop&type=wait&from={}&until={}", turn_ms() + 10_000, turn_ms() + 40_000)
}

#[tokio::test]
async fn waits_are_told_by_state_per_second_of_the_range_and_never_as_cpu() {
    let lab = lab().await;
    let split = lab.json(&format!("/api/v1/timeline?{}&step=10&by=state", selection())).await;
    assert_eq!(split["unit"], "s/s");
    let of = |state: &str| {
        let series = split["series"].as_array().unwrap().iter().find(|series| series["label"] == state).unwrap();
        (series["points"][0][1].as_f64().unwrap() * 1_000.0).round()
    };
    assert_eq!((of("await"), of("queue")), (450.0, 100.0), "{split}");
    let whole = lab.json(&format!("/api/v1/flamegraph?{}&format=json", selection())).await;
    assert_eq!(whole["a"]["total"], json!(3 * 5_500 * MS), "{whole}");
    let queue = lab.json(&format!("/api/v1/flamegraph?{}&format=json&label.state=queue", selection())).await;
    assert_eq!(queue["a"]["total"], json!(3 * 1_000 * MS));
    let names = queue.to_string();
    assert!(names.contains("query_db") && !names.contains("lock_cart"), "{names}");
    let services = lab.json("/api/v1/services").await;
    assert_eq!(services["services"][0]["cpu_cores"].as_f64().unwrap_or(0.0), 0.0, "{services}");
}

#[tokio::test]
async fn a_trace_shows_where_its_request_waited() {
    let lab = lab().await;
    let trace = lab.json(&format!("/api/v1/traces/{}", "2a".repeat(16))).await;
    let kinds = trace["services"][0]["types"].as_array().unwrap();
    let wait: &Value = kinds.iter().find(|kind| kind["type"]["name"] == "wait").unwrap();
    assert_eq!(wait["total"], json!(3 * 5_000 * MS), "{trace}");
    let names = wait["flame"]["names"].to_string();
    assert!(names.contains("query_db") && !names.contains("lock_cart"), "{names}");
}
