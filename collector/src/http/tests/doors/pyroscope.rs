//! What SDKs and agents of Pyroscope push.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Draft, Lab, folded, framed, gzip, send, turn_ms};
use crate::profile::pprof::testing::TestProfile;

const PUSH: &str = "/push.v1.PusherService/Push";
const PROTO: (&str, &str) = ("content-type", "application/proto");
const NS: &str = "nanoseconds";

fn cpu(stack: &str, samples: i64) -> TestProfile {
    TestProfile::of(&[("samples", "count"), ("cpu", NS)])
        .period("cpu", NS, 10_000_000)
        .at(turn_ms())
        .lasting(10_000)
        .sample(stack, &[samples, samples * 10_000_000])
}

fn series(labels: &[(&str, &str)], profile: impl AsRef<[u8]>) -> Draft {
    let label =
        |draft: Draft, (name, value): &(&str, &str)| draft.message(1, Draft::new().bytes(1, name).bytes(2, value));
    let sample = Draft::new().bytes(1, gzip(profile.as_ref())).bytes(2, "a-b");
    labels.iter().fold(Draft::new(), label).message(2, sample)
}

fn labels(kind: &'static str, service: &'static str) -> [(&'static str, &'static str); 5] {
    [
        ("__name__", kind),
        ("service_name", service),
        ("service_version", "v2"),
        ("__session_id__", "f00"),
        ("pyroscope_spy", "gospy"),
    ]
}

#[tokio::test]
async fn a_push_is_the_same_as_connect_as_json_and_as_grpc() {
    let lab = Lab::new().await;
    let push = |service| Draft::new().message(1, series(&labels("process_cpu", service), cpu("main;work", 3).body())).0;
    let got = send(&lab, PUSH, &[PROTO, ("content-encoding", "gzip")], gzip(&push("proto"))).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, String::new()));
    assert_eq!(got.headers["content-type"], "application/proto");

    let pairs: Vec<Value> =
        labels("process_cpu", "json").iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let raw = STANDARD.encode(gzip(&cpu("main;work", 3).body()));
    let body = json!({ "series": [{ "labels": pairs, "samples": [{ "rawProfile": raw, "ID": "x" }] }], "new": [{}] });
    let got = send(&lab, PUSH, &[("content-type", "application/json")], body.to_string()).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "{}".to_owned()));

    for (service, compressed) in [("grpc", false), ("grpc-gzip", true)] {
        let message = if compressed { gzip(&push(service)) } else { push(service) };
        let headers = [("content-type", "application/grpc"), ("grpc-encoding", "gzip"), ("te", "trailers")];
        let got = send(&lab, PUSH, &headers, framed(&message, compressed)).await;
        assert_eq!((got.status, &*got.body), (StatusCode::OK, &[0; 5][..]), "an empty message");
    }
    for service in ["proto", "json", "grpc", "grpc-gzip"] {
        assert_eq!(folded(&lab, &format!("service={service}&type=cpu")).await, ["main;work 30000000"], "{service}");
        assert_eq!(folded(&lab, &format!("service={service}&label.version=v2&label.instance=f00")).await.len(), 1);
    }
}

#[tokio::test]
async fn types_of_the_same_name_are_told_apart_by_their_profile() {
    let lab = Lab::new().await;
    let locks = |n| {
        let profile = TestProfile::of(&[("contentions", "count"), ("delay", NS)]).at(turn_ms()).lasting(10_000);
        profile.sample("main;lock", &[n, n * 1_000]).body()
    };
    let heap = TestProfile::of(&[
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ])
    .period("space", "bytes", 524_288)
    .at(turn_ms())
    .sample("main;make", &[2, 200, 1, 100])
    .body();
    let push = Draft::new()
        .message(1, series(&labels("mutex", "go"), locks(2)))
        .message(1, series(&labels("block", "go"), locks(3)))
        .message(1, series(&labels("memory", "go"), heap));
    let got = send(&lab, PUSH, &[PROTO], push.0).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    for (name, stack) in [
        ("mutex_contentions", "main;lock 2"),
        ("mutex_delay", "main;lock 2000"),
        ("block_contentions", "main;lock 3"),
        ("block_delay", "main;lock 3000"),
        ("alloc_space", "main;make 200"),
        ("inuse_objects", "main;make 1"),
    ] {
        assert_eq!(folded(&lab, &format!("service=go&type={name}")).await, [stack], "{name}");
    }
}

#[tokio::test]
async fn what_is_not_understood_costs_the_others_nothing_and_is_named() {
    let lab = Lab::new().await;
    let push = Draft::new()
        .message(1, series(&labels("process_cpu", "mixed"), cpu("main;work", 3).body()))
        .message(1, series(&labels("process_cpu", "mixed"), "no pprof at all, but a text"))
        .message(1, series(&[("__name__", "process_cpu")], cpu("main", 1).body()));
    let got = send(&lab, PUSH, &[PROTO], push.0).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let said = got.json();
    assert_eq!(said["code"], "invalid_argument");
    assert!(
        said["message"]
            .as_str()
            .unwrap()
            .starts_with("2 of 3 profiles are not stored; the first of them: not a profile that")
    );
    assert_eq!(folded(&lab, "service=mixed&type=cpu").await, ["main;work 30000000"]);

    let hostile: [(&str, Vec<u8>, &str); 5] = [
        ("application/proto", vec![0xff; 40], "not what it should be"),
        ("application/json", b"{\"series\": 7}".to_vec(), "series cannot be a number"),
        ("application/json", b"{\"series\": [{\"samples\": [{\"rawProfile\": \"*\"}]}]}".to_vec(), "no base64"),
        ("application/json", b"{\"series\": [".to_vec(), "line 1"),
        ("text/plain", Vec::new(), "application/proto"),
    ];
    for (kind, body, says) in hostile {
        let got = send(&lab, PUSH, &[("content-type", kind)], body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{says}");
        assert!(got.json()["message"].as_str().unwrap().contains(says), "{}", got.text());
    }
    for body in [vec![], framed(b"", true), vec![0, 0, 0, 0, 9, 1], vec![2, 0, 0, 0, 0]] {
        let got = send(&lab, PUSH, &[("content-type", "application/grpc")], body.clone()).await;
        if body.first() != Some(&1) {
            assert_eq!(got.headers["grpc-status"], "3", "{body:?}");
        }
    }
    let nested = format!("{{\"series\":{}", "[".repeat(100_000));
    assert_eq!(send(&lab, PUSH, &[("content-type", "application/json")], nested).await.status, StatusCode::BAD_REQUEST);
}

const BOUNDARY: &str = "xYzZY";

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(name, content): &(&str, &[u8])| {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    let end = format!("--{BOUNDARY}--\r\n").into_bytes();
    parts.iter().map(part).chain([end]).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn the_older_upload_takes_forms_pprof_and_folded_stacks() {
    let lab = Lab::new().await;
    let (from, until) = (turn_ms() / 1_000, turn_ms() / 1_000 + 10);
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let path = |name: &str, more: &str| {
        format!("/ingest?name={name}&from={from}&until={until}&spyName=gospy&sampleRate=100{more}")
    };

    let profile = gzip(&cpu("main;work", 3).body());
    let body = form(&[("profile", &profile), ("sample_type_config", b"{\"samples\":{\"display-name\":\"cpu\"}}")]);
    let got = send(&lab, &path("form%7Bzone%3Deu-1%7D", ""), &[("content-type", &kind)], body).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert_eq!(folded(&lab, "service=form&type=cpu&label.zone=eu-1").await, ["main;work 30000000"]);

    let body = gzip(&form(&[("profile", &cpu("main;packed", 3).body())]));
    let got = send(&lab, &path("packed", ""), &[("content-type", &kind), ("content-encoding", "gzip")], body).await;
    assert_eq!(got.status, StatusCode::OK, "the form itself may be compressed: {}", got.text());
    assert_eq!(folded(&lab, "service=packed&type=cpu").await, ["main;packed 30000000"]);

    let locks =
        TestProfile::of(&[("contentions", "count"), ("delay", NS)]).at(turn_ms()).sample("main;lock", &[2, 7]).body();
    let config =
        b"{\"contentions\":{\"display-name\":\"block_count\"},\"delay\":{\"display-name\":\"block_duration\"}}";
    let body = form(&[("profile", &locks), ("sample_type_config", config)]);
    let got = send(&lab, &path("form", ""), &[("content-type", &kind)], body).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert_eq!(folded(&lab, "service=form&type=block_delay").await, ["main;lock 7"]);

    let got = send(&lab, &path("plain", "&format=pprof"), &[], profile).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert_eq!(folded(&lab, "service=plain&type=cpu").await, ["main;work 30000000"]);

    for (name, more, body, stack) in [
        ("folded.cpu%7B%7D", "", "main;work 3\nmain 1\n", &["main 10000000", "main;work 30000000"][..]),
        ("lines", "&format=lines", "main;work\nmain;work\n\nmain\n", &["main 10000000", "main;work 20000000"]),
        ("wall.wall", "&format=folded", "main;sleep 5\n", &["main;sleep 50000000"]),
        ("heap.alloc_space", "&units=bytes", "main;make 512\n", &["main;make 512"]),
    ] {
        let got = send(&lab, &path(name, more), &[], body).await;
        assert_eq!(got.status, StatusCode::OK, "{name}: {}", got.text());
        let service = name.split(['.', '%']).next().unwrap();
        let of = match service {
            "wall" => "wall",
            "heap" => "alloc_space",
            _ => "cpu",
        };
        assert_eq!(folded(&lab, &format!("service={service}&type={of}")).await, stack, "{name}");
    }
}

#[tokio::test]
async fn uploads_that_cannot_be_taken_say_what_to_send() {
    let lab = Lab::new().await;
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let form_of: [(&str, Vec<u8>, &str); 4] = [
        ("multipart/form-data", form(&[]), "form"),
        (&kind, form(&[("x", b"y")]), "no part \\\"profile\\\""),
        (&kind, form(&[("profile", b"x"), ("prev_profile", b"y")]), "update the client"),
        (&kind, form(&[("profile", b"x"), ("sample_type_config", b"[")]), "sample_type_config"),
    ];
    for (kind, body, says) in form_of {
        let got = send(&lab, "/ingest?name=x", &[("content-type", kind)], body).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
        assert!(got.text().contains(says), "{says}: {}", got.text());
    }
    for (query, body, says) in [
        ("", "a 1", "\\\"name\\\" is missing"),
        ("name=x%7Ba", "a 1", "no }"),
        ("name=x&from=yesterday", "a 1", "is no time"),
        ("name=x&format=trie", "a 1", "is not taken"),
        ("name=x", "no number here", "line 1"),
    ] {
        let got = send(&lab, &format!("/ingest?{query}"), &[], body).await;
        assert!(got.status.is_client_error() && got.text().contains(says), "{query}: {} {}", got.status, got.text());
    }
}

/// An answer was lost, and the client sends again: to this collector, or to another one.
#[tokio::test]
async fn what_is_sent_again_counts_once() {
    let lab = Lab::new().await;
    let push =
        |samples| Draft::new().message(1, series(&labels("process_cpu", "again"), cpu("main;work", samples).body())).0;
    for _ in 0..3 {
        assert_eq!(send(&lab, PUSH, &[PROTO], push(3)).await.status, StatusCode::OK);
    }
    assert_eq!(folded(&lab, "service=again&type=cpu").await, ["main;work 30000000"]);
    assert_eq!(send(&lab, PUSH, &[PROTO], push(4)).await.status, StatusCode::OK);
    assert_eq!(
        folded(&lab, "service=again&type=cpu").await,
        ["main;work 70000000"],
        "another content is another profile"
    );
    let twice = Draft::new()
        .message(1, series(&labels("process_cpu", "again"), cpu("main;work", 5).body()))
        .message(1, series(&labels("process_cpu", "again"), cpu("main;work", 5).body()));
    assert_eq!(send(&lab, PUSH, &[PROTO], twice.0).await.status, StatusCode::OK);
    assert_eq!(folded(&lab, "service=again&type=cpu").await, ["main;work 120000000"], "within one push too");
    let path = "/api/v1/profiles?service=again";
    let body = cpu("main;rest", 1).body();
    assert_eq!(lab.post(path, body.clone()).await.json()["duplicate"], false);
    assert_eq!(lab.post(path, body.clone()).await.json()["duplicate"], true);
    let other = format!("{path}&label.zone=eu-1");
    assert_eq!(lab.post(&other, body.clone()).await.json()["duplicate"], false, "other labels are another process");
    let delete = Request::delete("/api/v1/services?service=again").header("host", "localhost").body(Body::empty());
    assert_eq!(lab.send(delete.unwrap()).await.status, StatusCode::OK);
    assert_eq!(lab.post(path, body).await.json()["duplicate"], false, "what was deleted can be stored again");
    assert_eq!(folded(&lab, "service=again&type=cpu").await, ["main;rest 10000000"]);
}
