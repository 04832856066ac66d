//! A link in an alert answers on its own: what changed, since when, against what, and how sure that is.

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use super::{Lab, regression, turn_ms};
use crate::ingest::testing::{TestWindow, row};

async fn alert(lab: &Lab, more: &str) -> Value {
    let at = turn_ms() + 300_000;
    lab.json(&format!("/alert.json?service=checkout&at={at}&w=5m{more}")).await
}

async fn deploy(lab: &Lab, at: u64) {
    let event = json!({"kind": "deploy", "service": "checkout", "title": "v2", "at": at});
    assert_eq!(lab.post("/api/v1/events", event.to_string()).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_answer_names_the_function_the_deploy_and_the_requests() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    deploy(&lab, turn_ms()).await;
    let answer = alert(&lab, "").await;
    let headline = answer["headline"].as_str().unwrap();
    assert!(headline.contains("more CPU") && headline.contains("tax::rate_for"), "{headline}");
    assert_eq!(answer["baseline"]["vs"], "deploy");
    assert_eq!(answer["baseline"]["until"], turn_ms());
    assert!(answer["baseline"]["why"].as_str().unwrap().contains("before the deploy \"v2\""), "{answer}");
    assert_eq!(answer["deploy"]["title"], "v2");
    assert_eq!(answer["movers"][0]["name"], "tax::rate_for");
    assert_eq!(answer["confidence"], "high", "{}", answer["confidence_why"]);
    let texts: Vec<&str> =
        answer["sentences"].as_array().unwrap().iter().map(|s| s["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|t| t.contains("with the deploy \"v2\"")), "{texts:?}");
    assert!(texts.iter().any(|t| t.contains("requests to /checkout took 396 ms or longer, 90 ms before")), "{texts:?}");
    assert_eq!(answer["traces"][0]["route"], "/checkout");
    assert_eq!(answer["traces"][0]["duration_us"], 400_059);
    let diff = answer["links"]["diff"].as_str().unwrap();
    let same = lab.json(&diff.replacen("/diff?", "/api/v1/diff?", 1)).await;
    assert_eq!(same["movers"], answer["movers"], "the linked comparison says the same");
    let flame = answer["links"]["flame"].as_str().unwrap();
    assert!(flame.starts_with("/s/checkout?type=cpu&from="), "{flame}");
    let again = answer["links"]["page"].as_str().unwrap().replacen("/alert?", "/alert.json?", 1);
    assert_eq!(lab.json(&again).await, answer);
}

#[tokio::test]
async fn a_deploy_that_was_asked_for_is_named_however_long_ago_it_was() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    deploy(&lab, turn_ms()).await;
    let at = turn_ms() + 300_000;
    let asked = lab.json(&format!("/alert.json?service=checkout&at={at}&w=1m&vs=deploy")).await;
    assert_eq!(asked["baseline"]["vs"], "deploy", "{asked}");
    assert_eq!(asked["deploy"]["title"], "v2", "{asked}");
    let chosen = lab.json(&format!("/alert.json?service=checkout&at={at}&w=1m")).await;
    assert_eq!(chosen["deploy"], json!(null), "it is too long ago to have to do with it");
}

#[tokio::test]
async fn few_samples_are_enough_for_what_chance_does_not_explain() {
    let lab = Lab::new().await;
    let turn = turn_ms();
    let window = |i: u64| {
        let stacks: Vec<_> = (0..if i < 30 { 4 } else { 24 }).map(|_| row("main;tax::rate_for", 10_101_010)).collect();
        TestWindow::new("checkout", 1, i + 1, turn - 300_000 + i * 10_000).cpu(&stacks)
    };
    lab.push((0..60).map(window)).await;
    let answer = alert(&lab, "").await;
    assert_eq!(answer["confidence"], "high", "{}", answer["confidence_why"]);
}

#[tokio::test]
async fn baselines_without_data_are_passed_over_and_told() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let answer = alert(&lab, "").await;
    assert_eq!(answer["baseline"]["vs"], "prev");
    let tried: Vec<&str> = answer["tried"].as_array().unwrap().iter().map(|t| t["vs"].as_str().unwrap()).collect();
    assert_eq!(tried, ["deploy", "1d", "1w"], "{}", answer["tried"]);
    assert!(answer["tried"].as_array().unwrap().iter().all(|t| t["why_not"].as_str().unwrap().len() > 10));
    let asked = alert(&lab, "&vs=1d").await;
    assert_eq!(asked["baseline"]["vs"], "prev");
    assert!(asked["baseline"]["why"].as_str().unwrap().contains("the link asks for 1d, but"), "{}", asked["baseline"]);
}

#[tokio::test]
async fn silence_is_an_answer() {
    let lab = Lab::new().await;
    lab.push([TestWindow::new("checkout", 1, 1, turn_ms() - 3_000_000).cpu(&[row("main", 5)])]).await;
    let answer = alert(&lab, "").await;
    assert!(
        answer["headline"].as_str().unwrap().starts_with("checkout sent no CPU samples between"),
        "{}",
        answer["headline"]
    );
    assert_eq!((&answer["confidence"], &answer["movers"]), (&json!("none"), &json!([])));
    let first = lab.json(&format!("/alert.json?service=checkout&at={}&w=10m", turn_ms() - 2_900_000)).await;
    assert!(
        first["headline"].as_str().unwrap().contains("nothing earlier to compare it with"),
        "{}",
        first["headline"]
    );
    assert_eq!(first["confidence"], "none");
    let unknown = lab.get("/alert.json?service=nobody").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn few_samples_are_said_to_be_few() {
    let lab = Lab::new().await;
    let turn = turn_ms();
    let window =
        |i: u64| TestWindow::new("checkout", 1, i + 1, turn - 300_000 + i * 10_000).cpu(&[row("main", 10_101_010)]);
    lab.push((0..60).map(window)).await;
    let answer = alert(&lab, "").await;
    assert_eq!(answer["confidence"], "low");
    assert!(answer["confidence_why"].as_str().unwrap().starts_with("only 30 samples now and 30 before"), "{answer}");
    assert!(answer["headline"].as_str().unwrap().contains("did not change beyond noise"), "{}", answer["headline"]);
}

#[tokio::test]
async fn a_decorated_link_still_opens() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    assert_eq!(alert(&lab, "&utm_source=chat&v=1").await["ignored"], json!(["utm_source", "v"]));
}

#[tokio::test]
async fn a_webhook_stores_the_alert_once_and_answers_with_its_link() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let at = crate::base::times::parse_time(&(turn_ms() + 300_000).to_string(), 0).unwrap();
    let payload = json!({
        "version": "4", "status": "firing",
        "alerts": [
            {"status": "firing", "startsAt": (at / 1000).to_string(),
             "labels": {"alertname": "HighCPU", "service": "checkout", "version": "v2", "severity": "page"},
             "annotations": {"summary": "CPU is high"}},
            {"status": "resolved", "labels": {"alertname": "Old", "service": "checkout"}},
            {"status": "firing", "labels": {"alertname": "Watchdog"}},
        ],
    });
    let first = lab.post("/api/v1/alerts", payload.to_string()).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text());
    let first = first.json();
    assert_eq!(first["alerts"].as_array().unwrap().len(), 1, "{first}");
    assert_eq!(first["alerts"][0]["event"]["title"], "HighCPU: CPU is high");
    let link = first["alerts"][0]["link"].as_str().unwrap();
    assert_eq!(link, format!("/alert?service=checkout&at={}&w=10m&label.version=v2", at / 1000 * 1000));
    assert!(first["skipped"][0].as_str().unwrap().contains("Watchdog"));
    let again = lab.post("/api/v1/alerts", payload.to_string()).await.json();
    assert_eq!(again["alerts"][0]["event"]["id"], first["alerts"][0]["event"]["id"], "a repeat is not a second event");
    let answer = lab.json(&link.replacen("/alert?", "/alert.json?", 1)).await;
    assert_eq!(answer["alert"]["title"], "HighCPU: CPU is high");
}

#[tokio::test]
async fn a_webhook_without_a_service_says_what_to_add() {
    let lab = Lab::new().await;
    let got = lab.post("/api/v1/alerts", r#"{"alerts":[{"status":"firing","labels":{"alertname":"X"}}]}"#).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.json()["hint"].as_str().unwrap().contains("service=<name>"));
    for bad in ["", "[]", "{}", r#"{"alerts":{}}"#] {
        assert_eq!(lab.post("/api/v1/alerts", bad).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let long = format!(r#"{{"alerts":[],"x":"{}"}}"#, "y".repeat(3 << 20));
    assert_eq!(lab.post("/api/v1/alerts", long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_page_tells_the_headline_without_script_and_escapes_it() {
    let lab = Lab::new().await;
    let hostile = "</title><script>alert(1)</script>\"'";
    let turn = turn_ms();
    let windows = (0..60u64).map(|i| {
        let mut rows = vec![row("main;calm", 10_101_010); 100];
        rows.extend(vec![row(&format!("main;{hostile}"), 10_101_010); if i < 30 { 5 } else { 90 }]);
        TestWindow::new("checkout", 1, i + 1, turn - 300_000 + i * 10_000).cpu(&rows)
    });
    lab.push(windows).await;
    let page = lab.get(&format!("/alert?service=checkout&at={}&w=5m", turn + 300_000)).await;
    let html = page.text();
    assert!(html.contains("<title>checkout: alert</title>"), "{html}");
    assert!(html.contains("property=\"og:description\"") && html.contains("more CPU"), "{html}");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>alert"), "{html}");
    assert!(page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("script-src 'self'"));
    for broken in ["/alert", "/alert?service=%3Cimg%3E", "/alert?service=nobody", "/alert?service=checkout&at=soon"] {
        let html = lab.get(broken).await.text();
        assert!(html.contains("<title>") && !html.contains("<img>"), "{broken}: {html}");
    }
}
