//! Closed ranges are answered once for everybody who has the answer; a part of an answer is never kept, and always said.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Lab, regression, turn_ms};
use crate::base::clock::now_ms;
use crate::ingest::testing::{TestWindow, row};
use crate::query::QueryLimits;
use crate::work::RUNNING_MAX;

fn closed() -> String {
    let turn = turn_ms();
    format!("service=checkout&from={}&until={}", turn - 300_000, turn + 300_000)
}

#[tokio::test]
async fn a_closed_range_is_answered_with_a_tag_until_something_changes() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let turn = turn_ms();
    let sides = format!("a.from={}&a.until={turn}&b.from={turn}&b.until={}", turn - 300_000, turn + 300_000);
    let paths = [
        format!("/api/v1/flamegraph?{}", closed()),
        format!("/api/v1/flamegraph?{}&format=flame", closed()),
        format!("/api/v1/timeline?{}", closed()),
        format!("/api/v1/diff?service=checkout&{sides}"),
    ];
    let mut tags = Vec::new();
    for path in &paths {
        let first = lab.get(path).await;
        let tag = first.headers.get(header::ETAG).unwrap_or_else(|| panic!("{path}: {}", first.text())).clone();
        assert_eq!(first.headers[header::CACHE_CONTROL], "private, no-cache", "{path}");
        let again = lab.get_unless(path, &tag).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(again.headers[header::ETAG], tag);
        let other = lab.get_unless(path, &"\"something-else\"".parse().unwrap()).await;
        assert_eq!((other.status, &other.body), (StatusCode::OK, &first.body), "{path}: the same bytes");
        tags.push(tag);
    }
    assert!(tags.iter().collect::<std::collections::HashSet<_>>().len() == paths.len(), "{tags:?}");
    // A window of another service changes nothing here.
    lab.push([TestWindow::new("search", 9, 1, turn).cpu(&[row("main", 1)])]).await;
    for (path, tag) in paths.iter().zip(&tags) {
        assert_eq!(lab.get_unless(path, tag).await.status, StatusCode::NOT_MODIFIED, "{path}");
    }
    // A late one of this service does.
    let late = TestWindow::new("checkout", 7, 1, turn + 10_000).label("version", "v2").cpu(&[row("main;late", 5)]);
    lab.push([late]).await;
    for (path, tag) in paths.iter().zip(&tags) {
        let got = lab.get_unless(path, tag).await;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        assert_ne!(got.headers[header::ETAG], *tag, "{path}");
    }
    // And so does an event, for the picture that shows it.
    let timeline = lab.get(&paths[2]).await.headers[header::ETAG].clone();
    let deploy = json!({"kind": "deploy", "service": "checkout", "title": "v3", "at": turn});
    lab.post("/api/v1/events", deploy.to_string()).await;
    assert_eq!(lab.get_unless(&paths[2], &timeline).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_answer_and_its_tag_are_of_the_same_moment() {
    let lab = Arc::new(Lab::new().await);
    lab.push(regression("checkout")).await;
    let path = format!("/api/v1/flamegraph?{}", closed());
    let before = lab.get(&path).await;
    // Every turn is taken: what is asked now knows its revision, and waits to be answered.
    let mut turns = Vec::new();
    for _ in 0..RUNNING_MAX {
        let (taken, is_taken) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let bench = lab.state.bench.clone();
        let turn = async move {
            let _ = taken.send(());
            let _ = ended.await;
        };
        turns.push((end, tokio::spawn(async move { bench.run(turn).await })));
        is_taken.await.unwrap();
    }
    let asked = tokio::spawn({
        let (lab, path) = (lab.clone(), path.clone());
        async move { lab.get(&path).await }
    });
    while lab.state.bench.waiting() == 0 {
        tokio::task::yield_now().await;
    }
    let late = TestWindow::new("checkout", 7, 1, turn_ms() + 10_000).label("version", "v2").cpu(&[row("main;late", 5)]);
    lab.push([late]).await;
    for (end, turn) in turns {
        end.send(()).unwrap();
        turn.await.unwrap().unwrap();
    }
    let (waited, after) = (asked.await.unwrap(), lab.get(&path).await);
    assert_eq!(waited.headers[header::ETAG], before.headers[header::ETAG]);
    assert_eq!(waited.text(), before.text(), "what came after its revision is not in it");
    assert_ne!(after.headers[header::ETAG], before.headers[header::ETAG]);
    assert_ne!(after.text(), before.text());
}

#[tokio::test]
async fn retention_changes_the_tag_too() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let path = format!("/api/v1/flamegraph?{}", closed());
    let tag = lab.get(&path).await.headers[header::ETAG].clone();
    lab.store.catalog().expire(now_ms(), now_ms()).await.unwrap();
    let got = lab.get_unless(&path, &tag).await;
    assert_eq!((got.status, &got.json()["a"]["total"]), (StatusCode::OK, &json!(0)));
}

#[tokio::test]
async fn an_open_range_is_never_kept() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    let until = now_ms() + 60_000;
    for path in ["flamegraph", "timeline"] {
        let got = lab.get(&format!("/api/v1/{path}?service=checkout&from=now-2h&until={until}")).await;
        assert_eq!(got.status, StatusCode::OK);
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
        assert!(!got.headers.contains_key(header::ETAG));
    }
}

#[tokio::test]
async fn a_part_says_so_is_not_kept_and_is_not_written_into_files() {
    let lab = Lab::with_limits(QueryLimits { windows_max: 20, ..QueryLimits::default() }).await;
    lab.push(regression("checkout")).await;
    let path = format!("/api/v1/flamegraph?{}", closed());
    let got = lab.get(&path).await;
    let flame = got.json();
    let partial = &flame["a"]["partial"];
    assert_eq!(
        (&partial["reason"], &partial["covered_until"]),
        (&json!("windows"), &json!(turn_ms() + 300_000)),
        "{partial}"
    );
    let covered = (turn_ms() + 300_000 - partial["covered_from"].as_u64().unwrap()) / 10_000;
    assert_eq!(flame["a"]["windows"], json!(covered), "every window of that part, and no other");
    assert_eq!(flame["a"]["from"], json!(turn_ms() - 300_000), "what was asked is still there");
    assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
    assert!(!got.headers.contains_key(header::ETAG));
    let timeline = lab.json(&format!("/api/v1/timeline?{}", closed())).await;
    assert_eq!(timeline["partial"], *partial);
    let services =
        lab.json(&format!("/api/v1/services?from={}&until={}", turn_ms() - 300_000, turn_ms() + 300_000)).await;
    assert_eq!(services["partial"]["reason"], "windows");
    for format in ["pprof", "folded", "svg", "speedscope"] {
        let got = lab.get(&format!("{path}&format={format}")).await;
        assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE, "{format}");
        let error = got.json();
        assert!(error["hint"].as_str().unwrap().contains("ask for from="), "{error}");
    }
    let diff = lab
        .json(&format!(
            "/api/v1/diff?service=checkout&a.from={}&a.until={}&b.from={}&b.until={}",
            turn_ms() - 300_000,
            turn_ms(),
            turn_ms(),
            turn_ms() + 300_000
        ))
        .await;
    let said = diff["summary"].to_string();
    assert!(
        said.contains("of the baseline's time is in this answer: the query would have read too many windows"),
        "{said}"
    );
}

#[tokio::test]
async fn a_question_may_bring_less_time_but_not_more() {
    let lab = Lab::new().await;
    lab.push(regression("checkout")).await;
    for path in ["flamegraph", "timeline", "requests"] {
        assert_eq!(lab.get(&format!("/api/v1/{path}?{}&timeout=5s", closed())).await.status, StatusCode::OK, "{path}");
        let refused = lab.get(&format!("/api/v1/{path}?{}&timeout=5m", closed())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.text().contains("limit 30 s"), "{}", refused.text());
    }
}
