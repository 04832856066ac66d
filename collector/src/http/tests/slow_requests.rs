//! Why slow requests are slow: what they cost and whose they are, before and after compaction.

use axum::http::StatusCode;
use serde_json::{Value, json};
use tephra_proto::v1::SpanStatus;

use super::{Lab, turn_ms};
use crate::base::clock::now_ms;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::store::compact;

const TICK: u64 = 10_101_010;

/// 240 requests in five minutes; one in twenty is umbrella's and burns 200 ms in `audit::recheck`.
fn windows() -> impl Iterator<Item = TestWindow> {
    (0..30u64).map(|i| {
        let mut window = TestWindow::new("checkout", 1 + (i % 2) as u8, i + 1, turn_ms() + i * 10_000);
        let (mut rows, mut beside) = (Vec::new(), Vec::new());
        for trace in (i * 8..(i + 1) * 8).map(|at| at as u8 + 1) {
            let is_slow = trace % 20 == 0;
            let tenant = if is_slow { "umbrella" } else { ["acme", "hooli", "globex"][usize::from(trace % 3)] };
            let mut burn = |stack: &str, samples: u64| {
                rows.extend((0..samples).map(|_| traced(stack, TICK, trace).label("tenant", tenant)));
            };
            burn("main;serve;orders::place", 1 + u64::from(trace % 3));
            // What its trace asked of another route meanwhile is no cost of an order.
            beside.push(traced("main;serve;stock::count", 50 * TICK, trace).label("route", "GET /stock"));
            if is_slow {
                burn("main;serve;orders::place;audit::recheck", 20);
            }
            let duration_us = if is_slow { 240_000 } else { 20_000 + u64::from(trace) * 10 };
            window = window.span(trace, "POST /orders", 3, duration_us);
        }
        rows.append(&mut beside);
        window.cpu(&rows)
    })
}

fn path(more: &str) -> String {
    let (from, until) = (turn_ms(), turn_ms() + 300_000);
    format!("/api/v1/requests/compare?service=checkout&route=POST%20/orders&from={from}&until={until}{more}")
}

#[tokio::test]
async fn the_slowest_are_explained_by_their_function_and_their_tenant_also_once_compacted() {
    let lab = Lab::new().await;
    lab.push(windows()).await;
    let found = lab.json(&path("&slowest=5")).await;
    assert_eq!((&found["chosen"]["requests"], &found["chosen"]["examples"]), (&json!(12), &json!(12)), "{found}");
    let cpu = &found["costs"][0];
    assert_eq!((&cpu["type"], &cpu["significant"]), (&json!("cpu"), &json!(true)), "{found}");
    // 20 samples, and one to three of what all of them do.
    let cost = cpu["chosen_per_request"].as_f64().unwrap() / TICK as f64;
    assert!((21.0..=23.0).contains(&cost), "{cost}");
    assert_eq!(cpu["functions"][0]["full_name"], "audit::recheck", "{found}");
    assert!((cpu["functions"][0]["chosen_per_request"].as_f64().unwrap() / (20 * TICK) as f64 - 1.0).abs() < 1e-9);
    let label = &found["labels"][0];
    assert_eq!((&label["name"], &label["value"]), (&json!("tenant"), &json!("umbrella")), "{found}");
    assert_eq!((&label["chosen_share"], &label["others_share"]), (&json!(1.0), &json!(0.0)), "{found}");
    let said: Vec<&str> = found["sentences"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(said.iter().any(|sentence| sentence.contains("of it in audit::recheck")), "{said:?}");
    assert!(
        said.iter().any(|sentence| sentence.contains("Of them 100 % have tenant=umbrella, of the others 0 %")),
        "{said:?}"
    );
    while compact::step(&lab.store, now_ms() + 3_600_000, 0, None).await.unwrap() {}
    let compacted = lab.json(&path("&slowest=5")).await;
    for part in ["sentences", "costs", "labels"] {
        assert_eq!(compacted[part], found[part], "{part}, once it is compacted");
    }
}

#[tokio::test]
async fn a_part_of_the_map_is_compared_with_all_the_rest() {
    let lab = Lab::new().await;
    lab.push(windows()).await;
    let (from, until) = (turn_ms(), turn_ms() + 150_000);
    let found = lab.json(&path(&format!("&min_us=100000&inside_from={from}&inside_until={until}"))).await;
    // Six of the slow ones ended in the first half.
    assert_eq!((&found["chosen"]["requests"], &found["others"]["requests"]), (&json!(6), &json!(234)), "{found}");
    assert!(found["costs"].as_array().unwrap().is_empty(), "too few: {found}");
    assert!(found["sentences"][0].as_str().unwrap().starts_with("There are too few examples"), "{found}");
    let fast = lab.json(&path("&max_us=100000")).await;
    assert_eq!((&fast["chosen"]["requests"], &fast["others"]["requests"]), (&json!(228), &json!(12)), "{fast}");
    assert!(fast["sentences"][0].as_str().unwrap().contains(" less than the others"), "{fast}");
}

#[tokio::test]
async fn what_cannot_be_compared_is_refused_by_name() {
    let lab = Lab::new().await;
    lab.push(windows()).await;
    for (question, said) in [
        (path("&slowest=0"), "slowest"),
        (path("&slowest=NaN"), "slowest"),
        (path("&slowest=1&min_us=5"), "both given"),
        (path("&min_us=50&max_us=50"), "no duration is from 50"),
        (path("&inside_from=1&inside_until=2"), "leave nothing of the range"),
        ("/api/v1/requests/compare?service=checkout".to_owned(), "route is missing"),
    ] {
        let got = lab.get(&question).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{question}");
        assert!(got.text().contains(said), "{question}: {}", got.text());
    }
    let nobody = lab.json(&path("").replace("orders", "nothing")).await;
    assert_eq!(nobody["chosen"]["requests"], 0, "{nobody}");
}

#[tokio::test]
async fn an_alert_on_a_percentile_says_why_the_slowest_are_slow() {
    let lab = Lab::new().await;
    let before = (0..30u64).map(|i| {
        let start = turn_ms() - 300_000 + i * 10_000;
        let window = TestWindow::new("checkout", 9, i + 1, start).cpu(&[row("main;serve;orders::place", 16 * TICK)]);
        window.requests("POST /orders", SpanStatus::Ok, &[20_000; 8])
    });
    lab.push(before.chain(windows())).await;
    let at = turn_ms() + 300_000;
    let answer = lab.json(&format!("/alert.json?service=checkout&at={at}&w=5m&vs=prev")).await;
    let sentences = answer["sentences"].as_array().unwrap();
    let slower = sentences.iter().position(|sentence| sentence["kind"] == "requests").expect("which got slower");
    let why: Vec<&str> =
        sentences[slower + 1..].iter().map_while(|s| s["text"].as_str().filter(|_| s["kind"] == "slow")).collect();
    assert!(why.iter().any(|said| said.contains("of it in audit::recheck")), "{answer}");
    assert!(why.iter().any(|said| said.contains("have tenant=umbrella")), "{answer}");
}
