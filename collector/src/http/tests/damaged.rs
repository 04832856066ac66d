//! Whatever way an answer leaves by, it says that something in it is damaged and left out.

use axum::http::StatusCode;

use super::*;

async fn with_a_lost_segment() -> Lab {
    let lab = Lab::new().await;
    let turn = turn_ms();
    for (sequence, at_ms) in [(1, turn - 60_000), (2, turn)] {
        let live = [row("main;cache", 1 << 20)];
        lab.push([TestWindow::new("shop", 1, sequence, at_ms).cpu(&[row("main", 5)]).inuse(&live)]).await;
    }
    std::fs::remove_file(&lab.place.segments()[0]).unwrap();
    lab
}

#[tokio::test]
async fn json_files_and_words_say_that_something_is_damaged() {
    let lab = with_a_lost_segment().await;
    let range = format!("from={}&until={}", turn_ms() - 300_000, turn_ms() + 60_000);
    let selection = format!("service=shop&type=cpu&{range}");
    // The first is the one that finds it.
    let flame = lab.json(&format!("/api/v1/flamegraph?{selection}&format=json")).await;
    let partial = &flame["a"]["partial"];
    assert_eq!((&partial["reason"], &partial["damaged"]), (&"damaged".into(), &true.into()), "{partial}");
    assert_eq!(partial["covered_from"], turn_ms() - 300_000, "nothing is cut off");
    assert_eq!(flame["a"]["windows"], 1);
    for path in ["/api/v1/timeline?", "/api/v1/requests?"].map(|path| format!("{path}{selection}")) {
        let path = path.replace("/requests?service=shop&type=cpu", "/requests?service=shop");
        assert_eq!(lab.json(&path).await["partial"]["reason"], "damaged", "{path}");
    }
    assert_eq!(lab.json(&format!("/api/v1/services?{range}")).await["partial"]["reason"], "damaged");
    let growth = lab.json(&format!("/api/v1/growth?service=shop&type=inuse_space&{range}")).await;
    assert_eq!(growth["partial"]["reason"], "damaged");
    // A file cannot say so, but its answer can.
    for format in ["pprof", "folded", "svg", "speedscope"] {
        let got = lab.get(&format!("/api/v1/flamegraph?{selection}&format={format}")).await;
        assert_eq!((got.status, &got.headers["tephra-partial"]), (StatusCode::OK, &"damaged".parse().unwrap()));
        assert!(!got.headers.contains_key("etag"), "it may be restored");
    }
    let diff =
        format!("/api/v1/diff?service=shop&type=cpu&a.{}&b.{}", range.replace('&', "&a."), range.replace('&', "&b."));
    let words = lab.get(&format!("{diff}&format=markdown")).await.text();
    assert!(words.contains("Some of what was stored in the baseline's time is damaged"), "{words}");
    let sides = lab.json(&format!("{diff}&format=json")).await;
    assert_eq!(
        (&sides["a"]["partial"]["reason"], &sides["b"]["partial"]["reason"]),
        (&"damaged".into(), &"damaged".into())
    );
}
