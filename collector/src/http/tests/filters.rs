//! Filters cut the same stacks in every format, and what is no filter is refused.

use axum::http::StatusCode;
use serde_json::json;

use super::{Lab, regression, turn_ms};
use crate::profile::pprof;

fn range() -> String {
    format!("service=checkout&from={}&until={}", turn_ms() - 300_000, turn_ms() + 300_000)
}

#[tokio::test]
async fn every_format_holds_the_stacks_that_are_left() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let path = |format: &str| {
        format!("/api/v1/flamegraph?{}&filter=keep:checkout&filter=hide:/^(main|serve)$/&format={format}", range())
    };
    let whole = lab.json(&format!("/api/v1/flamegraph?{}", range())).await;
    let json = lab.json(&path("json")).await;
    let total = json["a"]["total"].as_u64().unwrap();
    assert!(total > 0 && total < whole["a"]["total"].as_u64().unwrap(), "{total}");
    assert_eq!(json["a"]["samples"], total / 10_101_010);
    let folded = lab.get(&path("folded")).await.text();
    let lines: Vec<(&str, u64)> = folded
        .lines()
        .map(|line| line.rsplit_once(' ').map(|(stack, value)| (stack, value.parse().unwrap())).unwrap())
        .collect();
    let stacks: Vec<&str> = lines.iter().map(|line| line.0).collect();
    assert_eq!(stacks, ["checkout;receipt::render", "checkout;tax::rate_for"]);
    assert_eq!(lines.iter().map(|line| line.1).sum::<u64>(), total);
    let pprof = pprof::decode(&lab.get(&path("pprof")).await.body).unwrap();
    let names: Vec<&String> =
        pprof.payload.strings.iter().filter(|text| ["main", "serve", "search"].contains(&text.as_str())).collect();
    assert!(names.is_empty(), "{names:?}");
    let svg = lab.get(&path("svg")).await.text();
    assert!(svg.contains("tax::rate_for") && !svg.contains("catalog"), "{svg}");
    let speedscope = lab.get(&path("speedscope")).await.json();
    assert_eq!(speedscope["profiles"][0]["endValue"], total);
}

#[tokio::test]
async fn comparisons_are_of_the_stacks_that_are_left() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let sides = format!(
        "service=checkout&a.from={}&a.until={}&b.from={}&b.until={}",
        turn_ms() - 300_000,
        turn_ms(),
        turn_ms(),
        turn_ms() + 300_000
    );
    let diff = lab.json(&format!("/api/v1/diff?{sides}&filter=drop:fn:tax::rate_for")).await;
    assert_eq!(diff["movers"], json!([]), "without it nothing changed: {}", diff["summary"]);
    let diff = lab.json(&format!("/api/v1/diff?{sides}&filter=focus:tax::rate_for")).await;
    assert_eq!(diff["movers"][0]["name"], "tax::rate_for");
    let nothing = lab.json(&format!("/api/v1/flamegraph?{}&filter=keep:nobody", range())).await;
    assert_eq!(nothing["a"]["total"], 0);
    assert!(nothing["empty"].as_str().unwrap().contains("filters leave nothing"), "{}", nothing["empty"]);
}

#[tokio::test]
async fn what_is_no_filter_is_refused() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    for (filter, message) in
        [("lose:x", "\"lose:x\" is not known"), ("keep:/(/", "unclosed group"), ("hide:", "does not say")]
    {
        let got = lab.get(&format!("/api/v1/flamegraph?{}&filter={filter}", range())).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{filter}");
        assert!(got.json()["message"].as_str().unwrap().contains(message), "{}", got.text());
    }
}
