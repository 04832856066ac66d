//! Answers stay what they are, to the byte: a store that was written once, and what every path says about it.
//!
//! `same_answers.txt` has one line for each: status, length, the start of the body's BLAKE3 hash, and the path. Where an answer is meant to
//! change, `TEPHRA_WRITE_ANSWERS=1` writes the file anew, and the difference is reviewed with the code.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use serde_json::json;

use super::{Lab, regression_at};
use crate::base::clock::now_ms;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::store::compact;

const HOUR: u64 = 3_600_000;
/// When the regression in the store begins.
const TURN_MS: u64 = 1_795_809_600_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store/answers")
}

/// All that can be asked about the store without its answer depending on the time at which it is asked.
fn paths() -> Vec<String> {
    let turn = TURN_MS;
    let (from, until) = (turn - 300_000, turn + 300_000);
    let range = format!("from={from}&until={until}");
    let sides = format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
    let shop = format!("service=shop/checkout&{range}");
    let versions = format!("{shop}&a.label.version=v1&b.label.version=v2");
    let mut paths = vec![
        format!("/api/v1/services?{range}"),
        format!("/api/v1/services?from={}&until={}", turn - 24 * HOUR, turn + HOUR),
        "/api/v1/profile-types?service=shop/checkout".to_owned(),
        format!("/api/v1/labels?{shop}"),
        format!("/api/v1/labels/version/values?{shop}"),
        format!("/api/v1/labels/tenant/values?{shop}"),
        format!("/api/v1/timeline?{shop}&step=10"),
        format!("/api/v1/timeline?{shop}&step=60&by=version"),
        format!("/api/v1/timeline?{shop}&step=60&by=tenant"),
        format!("/api/v1/timeline?{shop}&type=inuse_space&step=30"),
        format!("/api/v1/growth?{shop}"),
        format!("/api/v1/requests?{shop}"),
        format!("/api/v1/requests?{shop}&route=/checkout"),
        format!("/api/v1/traces/{}", "07".repeat(16)),
        format!("/api/v1/traces/{}", "99".repeat(16)),
        format!("/api/v1/events?{range}"),
        format!("/api/v1/events?{shop}"),
        format!("/alert.json?service=shop/checkout&at={until}&w=5m"),
        format!("/alert.json?service=shop/checkout&at={until}&w=5m&vs=prev"),
        format!("/alert.json?service=shop/checkout&at={until}&w=5m&vs=deploy&route=/checkout"),
        format!("/alert.json?service=shop/checkout&at={until}&w=5m&type=inuse_space"),
        format!("/alert.json?service=nobody&at={until}&w=5m"),
        format!("/api/v1/flamegraph?{shop}&max_nodes=0"),
        format!("/api/v1/diff?{versions}&basis=joules"),
        "/api/v1/nothing".to_owned(),
    ];
    for format in ["json", "flame", "folded", "svg", "pprof", "speedscope"] {
        paths.push(format!("/api/v1/flamegraph?{shop}&format={format}"));
    }
    for more in [
        "type=inuse_space",
        "label.version=v1",
        "label.tenant=acme",
        "max_nodes=3",
        "min_share=0.3",
        "label.version=v3",
        "trace=07070707070707070707070707070707",
    ] {
        paths.push(format!("/api/v1/flamegraph?{shop}&{more}"));
    }
    for format in ["json", "flame", "folded", "svg", "markdown"] {
        paths.push(format!("/api/v1/diff?service=shop/checkout&{sides}&format={format}"));
    }
    for more in ["", "&basis=share", "&type=inuse_space", "&min_share=0.3", "&format=markdown"] {
        paths.push(format!("/api/v1/diff?{versions}{more}"));
    }
    // Far enough back for coarse windows to answer.
    let old = turn - 12 * HOUR;
    paths.push(format!("/api/v1/flamegraph?service=billing&from={old}&until={}", old + HOUR));
    paths.push(format!("/api/v1/timeline?service=billing&from={old}&until={}&step=300", old + 2 * HOUR));
    paths.push(format!("/api/v1/flamegraph?service=billing&from={}&until={}", old + 130_000, old + 170_000));
    paths
}

#[tokio::test]
async fn every_answer_is_what_it_was_to_the_byte() {
    let lab = Lab::on_folder(|data| {
        fs::create_dir_all(data.join("segments")).unwrap();
        let mut catalog = Vec::new();
        let packed = fs::File::open(folder().join("catalog.sqlite.gz")).unwrap();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut catalog).unwrap();
        fs::write(data.join("catalog.sqlite"), catalog).unwrap();
        for entry in fs::read_dir(folder().join("segments")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, data.join("segments").join(path.file_name().unwrap())).unwrap();
        }
    })
    .await;
    let mut found = String::new();
    for path in paths() {
        let got = lab.get(&path).await;
        let hash = blake3::hash(&got.body).to_hex();
        writeln!(found, "{} {:>6} {} {path}", got.status.as_u16(), got.body.len(), &hash[..16]).unwrap();
    }
    let file = folder().join("answers.txt");
    if std::env::var_os("TEPHRA_WRITE_ANSWERS").is_some() {
        fs::write(&file, &found).unwrap();
    }
    let known = fs::read_to_string(&file).unwrap();
    let differ: Vec<&str> = found.lines().filter(|line| !known.lines().any(|known| known == *line)).collect();
    assert!(differ.is_empty(), "these answers changed:\n{}", differ.join("\n"));
    assert_eq!(known.lines().count(), found.lines().count(), "{file:?} knows of paths that are not asked");
}

/// The store that the answers are of can be written still. With `TEPHRA_FIXTURE` naming a folder it is left there: so it was made, with the
/// clock on the hour that `TURN_MS` names.
#[tokio::test]
async fn the_store_can_be_written_still() {
    let lab = Lab::on_folder(|_| ()).await;
    let turn = now_ms() / HOUR * HOUR - HOUR;
    let old = turn - 12 * HOUR;
    lab.push((0..60u64).map(|i| {
        TestWindow::new("billing", 3, i + 1, old + i * 60_000)
            .cpu(&[row("main;invoice;total", (5 + i % 3) * 10_101_010), row("main;invoice;render", 30_303_030)])
    }))
    .await;
    while compact::step(&lab.store, old + 48 * HOUR, 0, None).await.unwrap() {}
    let heap =
        |i: u64| [row("main;serve;sessions::new_session", (5 + i) << 19), row("main;serve;catalog::load", 60 << 19)];
    lab.push(regression_at("shop/checkout", turn).into_iter().zip(0u64..).map(|(window, i)| {
        let tenant = if i % 3 == 0 { "acme" } else { "umbrella" };
        window.inuse(&heap(i)).series(
            "alloc_space",
            "bytes",
            tephra_proto::v1::Kind::Counter,
            &[traced("main;serve;render", 4_096 * (1 + i % 5), (1 + i % 50) as u8).label("tenant", tenant)],
        )
    }))
    .await;
    let deploy = json!({"kind": "deploy", "service": "shop/checkout", "title": "v2", "at": turn});
    assert_eq!(lab.post("/api/v1/events", deploy.to_string()).await.status, StatusCode::CREATED);
    let (from, until) = (turn - 300_000, turn + 300_000);
    let sides = format!("a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
    let diff = lab.json(&format!("/api/v1/diff?service=shop/checkout&{sides}")).await;
    assert_eq!(diff["movers"][0]["name"], "tax::rate_for");
    println!("the regression begins at {turn}");
    if let Some(left) = std::env::var_os("TEPHRA_FIXTURE").map(PathBuf::from) {
        lab.store.catalog().close().await;
        for id in fs::read_dir(lab.place.data().join("segments")).unwrap() {
            let path = id.unwrap().path();
            if path.is_file() {
                fs::create_dir_all(left.join("segments")).unwrap();
                fs::copy(&path, left.join("segments").join(path.file_name().unwrap())).unwrap();
            }
        }
        fs::copy(lab.place.data().join("catalog.sqlite"), left.join("catalog.sqlite")).unwrap();
    }
}
