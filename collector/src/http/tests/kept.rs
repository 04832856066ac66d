//! What people keep, and how they make room again.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;

use super::{Got, Lab};
use crate::query::QueryLimits;
use crate::store::testing::options;
use crate::store::{Options, Quota, Quotas};

async fn lab(count: u64) -> Lab {
    let quota = Quota { count, bytes: 1 << 20 };
    let quotas = Quotas { events: quota, pins: quota };
    Lab::with_options(QueryLimits::default(), Options { quotas, ..options() }).await
}

async fn delete(lab: &Lab, path: &str) -> Got {
    lab.send(Request::delete(path).header("host", "localhost").body(Body::empty()).unwrap()).await
}

async fn event(lab: &Lab, at: u64) -> Got {
    lab.post("/api/v1/events", format!(r#"{{"kind":"note","service":"checkout","title":"x","at":{at}}}"#)).await
}

fn refused_as_full(got: &Got, todo: &str) {
    assert_eq!(got.status, StatusCode::TOO_MANY_REQUESTS, "{}", got.text());
    assert_eq!(got.json()["code"], "full");
    assert!(got.json()["hint"].as_str().unwrap().contains(todo), "{}", got.text());
    assert!(!got.headers.contains_key("retry-after"), "time alone makes no room");
}

#[tokio::test]
async fn events_beyond_their_number_are_refused_until_old_ones_are_deleted() {
    let lab = lab(3).await;
    let day = 86_400;
    let start = crate::base::clock::now_ms() / 1_000 - 100 * day;
    for number in 0..3 {
        assert_eq!(event(&lab, start + number * day).await.status, StatusCode::CREATED);
    }
    refused_as_full(&event(&lab, start).await, "DELETE /api/v1/events?until=");
    let firing = r#"{"version":"4","alerts":[{"status":"firing","labels":{"service":"checkout","alertname":"slow"},"startsAt":"2026-01-01T00:00:00Z"}]}"#;
    refused_as_full(&lab.post("/api/v1/alerts", firing).await, "DELETE /api/v1/events?until=");
    let status = lab.json("/api/v1/status").await;
    assert_eq!(status["conditions"][0]["kind"], "events_full", "{status}");

    assert_eq!(delete(&lab, "/api/v1/events").await.status, StatusCode::BAD_REQUEST, "not all by mistake");
    let until = start + day + 1;
    assert_eq!(delete(&lab, &format!("/api/v1/events?service=other&until={until}")).await.json()["deleted"], 0);
    assert_eq!(delete(&lab, &format!("/api/v1/events?service=checkout&until={until}")).await.json()["deleted"], 2);
    assert_eq!(event(&lab, start).await.status, StatusCode::CREATED);
    assert_eq!(lab.json("/api/v1/status").await["conditions"], Value::Array(vec![]));
}

#[tokio::test]
async fn pins_beyond_their_number_are_refused_until_one_is_deleted() {
    let lab = lab(2).await;
    let pin = async || lab.post("/api/v1/pins", r#"{"url":"/s/checkout?from=now-1h"}"#).await;
    let first = pin().await.json();
    assert_eq!(pin().await.status, StatusCode::CREATED);
    refused_as_full(&pin().await, "DELETE /api/v1/pins/{id}");
    let listed = lab.json("/api/v1/pins").await;
    assert_eq!(listed["pins"].as_array().unwrap().len(), 2, "{listed}");
    assert!(listed.to_string().contains(first["id"].as_str().unwrap()));

    let path = format!("/api/v1/pins/{}", first["id"].as_str().unwrap());
    assert_eq!(delete(&lab, &path).await.json()["deleted"], first["id"]);
    assert_eq!(
        (delete(&lab, &path).await.status, lab.get(&path).await.status),
        (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND)
    );
    assert_eq!(pin().await.status, StatusCode::CREATED);
}
