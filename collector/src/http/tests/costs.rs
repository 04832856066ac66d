//! What functions cost, as Prometheus reads it.

use axum::http::StatusCode;
use tephra_proto::v1::Kind;

use super::{Lab, turn_ms};
use crate::analysis::costs::Costs;
use crate::ingest::testing::{TestWindow, row};

const RULES: &str = r#"
[[rule]]
name = "tax"
service = "checkout"
functions = ["tax::rate_for", "/^receipt::/"]

[[rule]]
name = "itself"
service = "checkout"
functions = ["serve"]
itself = true

[[rule]]
name = "memory"
service = "checkout"
type = "alloc_space"
functions = ["main"]

[[rule]]
name = "kinds"
service = "checkout"
families = ["allocation"]

[[rule]]
name = "live"
service = "checkout"
type = "inuse_space"
functions = ["main"]
"#;

fn window(service: &str, agent: u8, sequence: u64) -> TestWindow {
    TestWindow::new(service, agent, sequence, turn_ms() + sequence * 10_000)
        .cpu(&[
            row("main;serve;tax::rate_for", 2_000_000_000),
            row("main;serve;tax::rate_for;malloc", 500_000_000),
            row("main;serve;tax::rate_for;tax::rate_for", 250_000_000),
            row("main;serve;receipt::render", 1_000_000_000),
            row("main;serve", 125_000_000),
        ])
        .series("alloc_space", "bytes", Kind::Counter, &[row("main;serve", 4_096)])
        .inuse(&[row("main;serve", 77)])
}

async fn counted(lab: &Lab) -> Vec<String> {
    let got = lab.get("/metrics/profiles").await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert!(got.headers["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let mut lines: Vec<String> = got.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn functions_and_families_are_counted_by_rules_from_what_is_stored() {
    let lab = Lab::new().await;
    assert_eq!(counted(&lab).await, Vec::<String>::new(), "nothing without rules");
    lab.state.count_costs(Costs::parse(RULES).unwrap());
    lab.push([window("checkout", 1, 1), window("cart", 2, 1)]).await;
    let cpu = |rule: &str, function: &str, seconds: &str| {
        format!(
            "tephra_profile_seconds_total{{rule=\"{rule}\",service=\"checkout\",type=\"cpu\",function=\"{function}\"}} {seconds}"
        )
    };
    let expected = [
        "tephra_profile_bytes_total{rule=\"memory\",service=\"checkout\",type=\"alloc_space\",function=\"[all]\"} 4096.0".to_owned(),
        "tephra_profile_bytes_total{rule=\"memory\",service=\"checkout\",type=\"alloc_space\",function=\"[unknown]\"} 0.0".to_owned(),
        "tephra_profile_bytes_total{rule=\"memory\",service=\"checkout\",type=\"alloc_space\",function=\"main\"} 4096.0".to_owned(),
        cpu("itself", "[all]", "3.875"),
        cpu("itself", "[unknown]", "0.0"),
        cpu("itself", "serve", "0.125"),
        cpu("kinds", "[all]", "3.875"),
        cpu("kinds", "allocation", "0.5"),
        cpu("tax", "[all]", "3.875"),
        cpu("tax", "[unknown]", "0.0"),
        cpu("tax", "receipt::render", "1.0"),
        cpu("tax", "tax::rate_for", "2.75"),
    ];
    assert_eq!(counted(&lab).await, expected, "live memory does not add up, and nobody asked for the cart");

    // An answer was lost: what is stored counts once.
    let again = window("checkout", 1, 1);
    assert!(lab.ingest.push(again.request()).await.unwrap().duplicate);
    assert_eq!(counted(&lab).await, expected);
    lab.push([window("checkout", 1, 2)]).await;
    assert!(counted(&lab).await.contains(&cpu("tax", "tax::rate_for", "5.5")));
}

#[tokio::test]
async fn code_without_names_is_counted_as_such() {
    let lab = Lab::new().await;
    lab.state
        .count_costs(Costs::parse("[[rule]]\nname = \"x\"\nservice = \"native\"\nfunctions = [\"work\"]").unwrap());
    let body = crate::profile::pprof::testing::unsymbolized(
        "/usr/bin/native",
        "0909090909090909090909090909090909090909",
        (0x1000, 0x9000, 0),
        &[0x1100, 0x1200],
    );
    let got = lab.post(&format!("/api/v1/profiles?service=native&at={}&duration=10s", turn_ms()), body).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    let lines = counted(&lab).await;
    let unknown =
        "tephra_profile_seconds_total{rule=\"x\",service=\"native\",type=\"cpu\",function=\"[unknown]\"} 3e-9";
    assert!(lines.iter().any(|line| line.replace("0.000000003", "3e-9") == unknown), "{lines:?}");
}
