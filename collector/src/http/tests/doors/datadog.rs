//! What Datadog's libraries send to the agent on their machine.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use tephra_proto::codec;

use super::{Lab, folded, gzip, send, turn_ms};
use crate::profile::pprof::testing::TestProfile;

const INPUT: &str = "/profiling/v1/input";
const BOUNDARY: &str = "xYzZY";
const NS: &str = "nanoseconds";

fn form(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let part = |(name, file, content): &(&str, &str, &[u8])| {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let end = format!("--{BOUNDARY}--\r\n").into_bytes();
    parts.iter().map(part).chain([end]).collect::<Vec<_>>().concat()
}

fn event(service: &str) -> Vec<u8> {
    let time = |ms: u64| (ms / 1_000).to_string();
    json!({
        "attachments": ["cpu.pprof"], "family": "go", "version": "4", "start": time(turn_ms()), "end": time(turn_ms() + 10_000),
        "tags_profiler": format!("service:{service},version:v2,runtime-id:r-1,env:prod"),
    })
    .to_string()
    .into_bytes()
}

async fn upload(lab: &Lab, parts: &[(&str, &str, &[u8])]) -> super::Got {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    send(lab, INPUT, &[("content-type", &kind), ("dd-evp-origin", "x")], form(parts)).await
}

fn cpu() -> Vec<u8> {
    let profile = TestProfile::of(&[("samples", "count"), ("cpu", NS)]).period("cpu", NS, 10_000_000);
    profile.sample("main;work", &[3, 30_000_000]).body()
}

fn locks() -> Vec<u8> {
    TestProfile::of(&[("contentions", "count"), ("delay", NS)]).sample("main;lock", &[2, 2_000]).body()
}

fn heap() -> Vec<u8> {
    let types =
        [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];
    TestProfile::of(&types).period("space", "bytes", 1).sample("main;make", &[2, 200, 1, 100]).body()
}

#[tokio::test]
async fn profiles_of_an_upload_are_stored_however_they_are_compressed() {
    let lab = Lab::new().await;
    let (cpu, locks, heap) = (gzip(&cpu()), codec::compress(&locks()).unwrap(), gzip(&heap()));
    let got = upload(
        &lab,
        &[
            ("event", "event.json", &event("shop")),
            ("cpu.pprof", "cpu.pprof", &cpu),
            ("delta-mutex.pprof", "delta-mutex.pprof", &locks),
            ("delta-heap.pprof", "delta-heap.pprof", &heap),
            ("metrics.json", "metrics.json", b"[[\"go_alloc_bytes_per_sec\", 1]]"),
            ("code-provenance.json", "code-provenance.json", b"{}"),
        ],
    )
    .await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    for (profile_type, stack) in [
        ("cpu", "main;work 30000000"),
        ("mutex_delay", "main;lock 2000"),
        ("alloc_space", "main;make 200"),
        ("inuse_space", "main;make 100"),
    ] {
        let query = format!("service=shop&type={profile_type}&label.version=v2&label.instance=r-1&label.env=prod");
        assert_eq!(folded(&lab, &query).await, [stack], "{profile_type}");
    }
}

#[tokio::test]
async fn what_counts_since_the_start_or_is_not_understood_is_named() {
    let lab = Lab::new().await;
    let (locks, heap, event) = (gzip(&locks()), gzip(&heap()), event("old"));
    let got = upload(
        &lab,
        &[("event", "event.json", &event), ("heap.pprof", "heap.pprof", &heap), ("x", "mutex.pprof", &locks)],
    )
    .await;
    assert_eq!(got.status, StatusCode::OK, "live heap is stored: {}", got.text());
    assert_eq!(folded(&lab, "service=old&type=inuse_space").await, ["main;make 100"]);
    assert!(folded(&lab, "service=old&type=alloc_space").await.iter().all(|line| !line.starts_with("main")));
    let lz4 = [0x04, 0x22, 0x4d, 0x18, 0, 0];
    let bomb = codec::compress(&vec![0; 33 << 20]).unwrap();
    let refused: [(&str, &[u8], StatusCode, &str); 5] = [
        ("mutex.pprof", &locks, StatusCode::BAD_REQUEST, "since the start of the process"),
        ("auto.pprof", &lz4, StatusCode::UNSUPPORTED_MEDIA_TYPE, "LZ4"),
        ("main.jfr", b"FLR\0", StatusCode::UNSUPPORTED_MEDIA_TYPE, "JFR"),
        ("auto.pprof", &bomb, StatusCode::PAYLOAD_TOO_LARGE, "inflates to more than"),
        ("cpu.pprof", b"no profile", StatusCode::BAD_REQUEST, "not a p"),
    ];
    for (name, content, status, says) in refused {
        let got = upload(&lab, &[("event", "event.json", &event), (name, name, content)]).await;
        assert_eq!(got.status, status, "{name}: {}", got.text());
        assert!(got.text().contains(says), "{name}: {}", got.text());
    }
    for (parts, says) in [
        (vec![("cpu.pprof", "cpu.pprof", &b"x"[..])], "no part \\\"event\\\""),
        (vec![("event", "event.json", &b"{"[..])], "event.json is not understood"),
        (vec![("event", "event.json", &b"{}"[..]); 65], "more than 64 parts"),
    ] {
        let got = upload(&lab, &parts).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.text());
        assert!(got.text().contains(says), "{says}: {}", got.text());
    }
    let got = send(&lab, INPUT, &[("content-type", "text/plain")], "x").await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST, "{}", got.text());
}

#[tokio::test]
async fn what_is_sent_along_is_taken_dropped_and_counted() {
    let lab = Lab::new().await;
    let info = lab.json("/info").await;
    for path in [INPUT, "/v0.4/traces"] {
        assert!(info["endpoints"].as_array().unwrap().contains(&json!(path)), "{info}");
    }
    for path in ["/v0.3/traces", "/v0.4/traces", "/v0.5/traces", "/v0.7/traces"] {
        for method in ["PUT", "POST"] {
            let request = Request::builder().method(method).uri(path).header("host", "localhost");
            let got = lab.send(request.body(Body::from(vec![0x90; 4_096])).unwrap()).await;
            assert_eq!(
                (got.status, got.json()),
                (StatusCode::OK, json!({ "rate_by_service": { "service:,env:": 0 } })),
                "{path}"
            );
        }
    }
    assert_eq!(lab.post("/telemetry/proxy/api/v2/apmtelemetry", "{}").await.status, StatusCode::OK);
    let put = Request::put("/v0.6/stats").header("host", "localhost").body(Body::from("x")).unwrap();
    assert_eq!(lab.send(put).await.status, StatusCode::OK);
    let metrics = lab.get("/metrics").await.text();
    for line in [
        "tephra_datadog_dropped_total{what=\"traces\"} 8",
        "tephra_datadog_dropped_total{what=\"stats\"} 1",
        "tephra_datadog_dropped_total{what=\"telemetry\"} 1",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
}
