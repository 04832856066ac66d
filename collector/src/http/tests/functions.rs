//! A function's requests: by route, with the traces in which it cost most.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Lab, turn_ms};
use crate::base::clock::now_ms;
use crate::ingest::testing::{TestWindow, traced};
use crate::store::compact;

/// `/checkout` burns three times of what `/cart` burns in `tax::rate_for`; trace 2 most of all, although it is not the slowest.
fn windows() -> impl Iterator<Item = TestWindow> {
    (0..6u64).map(|i| {
        let start = turn_ms() + i * 10_000;
        let on = |stack: &str, value: u64, trace: u8, route: &str| traced(stack, value, trace).label("route", route);
        TestWindow::new("checkout", 1, i + 1, start)
            .cpu(&[
                on("main;serve;tax::rate_for", 10_000_000, 1, "/checkout"),
                on("main;serve;tax::rate_for;malloc", 20_000_000 + i, 2, "/checkout"),
                on("main;serve;tax::rate_for", 10_000_000, 3, "/cart"),
                on("main;serve;other", 90_000_000, 4, "/cart"),
            ])
            .span(1, "/checkout", 5, 900_000)
            .span(2, "/checkout", 5, 395_526)
            .span(3, "/cart", 5, 50_000)
            .span(4, "/cart", 5, 70_000)
    })
}

async fn asked(lab: &Lab, function: &str) -> Value {
    let (from, until) = (turn_ms(), turn_ms() + 60_000);
    lab.json(&format!("/api/v1/functions/requests?service=checkout&from={from}&until={until}&function={function}"))
        .await
}

#[tokio::test]
async fn routes_come_by_their_share_and_traces_by_what_the_function_cost_in_them() {
    let lab = Lab::new().await;
    lab.push(windows()).await;
    let found = asked(&lab, "tax::rate_for").await;
    assert_eq!((&found["total"], &found["samples"]), (&json!(240_000_015), &json!(18)), "{found}");
    let routes = found["routes"].as_array().unwrap();
    assert_eq!(routes[0]["route"], "/checkout");
    assert!((routes[0]["share"].as_f64().unwrap() - 0.75).abs() < 1e-3, "{found}");
    assert_eq!(routes[0]["requests"], json!({ "count": 12, "p50_us": 395_526, "p99_us": 900_000 }));
    assert_eq!(routes[1]["route"], "/cart");
    let traces: Vec<&str> =
        found["traces"].as_array().unwrap().iter().map(|t| t["trace_id"].as_str().unwrap()).collect();
    assert!(traces.first().is_some_and(|id| id.starts_with("02")), "{found}");
    assert!(traces.iter().all(|id| !id.starts_with("04")), "it cost nothing there: {found}");
    let costs: Vec<u64> = found["traces"].as_array().unwrap().iter().map(|t| t["value"].as_u64().unwrap()).collect();
    assert!(costs.is_sorted_by(|x, y| x >= y), "{costs:?}");
    while compact::step(&lab.store, now_ms() + 3_600_000, 0, None).await.unwrap() {}
    assert_eq!(asked(&lab, "tax::rate_for").await["routes"], found["routes"], "once it is compacted");
}

#[tokio::test]
async fn a_function_nobody_knows_costs_nothing_and_a_question_without_one_is_refused() {
    let lab = Lab::new().await;
    lab.push(windows()).await;
    let nobody = asked(&lab, "nobody").await;
    assert_eq!((&nobody["total"], &nobody["routes"], &nobody["traces"]), (&json!(0), &json!([]), &json!([])));
    let got = lab.get("/api/v1/functions/requests?service=checkout").await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.text().contains("function"), "{}", got.text());
    let long = "x".repeat(5_000);
    let got = lab.get(&format!("/api/v1/functions/requests?service=checkout&function={long}")).await;
    assert!(got.text().contains("5000 bytes, limit"), "{}", got.text());
}
