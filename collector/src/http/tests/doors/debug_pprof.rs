//! What `go tool pprof` fetches, read as it reads it.

use std::io::Read;

use axum::http::{StatusCode, header};
use flate2::read::GzDecoder;
use prost::Message;
use serde_json::json;
use tephra_proto::v1::Kind;

use super::{Lab, turn_ms};
use crate::ingest::testing::{TestWindow, row};

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    types: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    name: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
}

/// The last type, which readers show first, and its sum.
fn read(body: &[u8]) -> (String, i64) {
    let mut message = Vec::new();
    GzDecoder::new(body).read_to_end(&mut message).unwrap();
    let profile = Profile::decode(message.as_slice()).unwrap();
    let last = profile.types.last().unwrap();
    let name = profile.strings[usize::try_from(last.name).unwrap()].clone();
    (name, profile.samples.iter().map(|sample| sample.values.last().unwrap()).sum())
}

async fn filled() -> Lab {
    let lab = Lab::new().await;
    let second = |sequence: u64, version: &str, ns: u64| {
        TestWindow::new("shop/checkout", 1, sequence, turn_ms() + (sequence - 1) * 10_000)
            .label("version", version)
            .cpu(&[row("main;work", ns)])
            .inuse(&[row("main;keep", 4_096)])
            .series("alloc_space", "bytes", Kind::Counter, &[row("main;make", 512)])
            .series("lock", "nanoseconds", Kind::Counter, &[row("main;wait", 77)])
    };
    lab.push([second(1, "v1", 30), second(2, "v2", 500)]).await;
    lab
}

#[tokio::test]
async fn each_profile_of_go_is_the_type_that_it_means() {
    let lab = filled().await;
    let range = format!("service=shop/checkout&from={}&until={}", turn_ms(), turn_ms() + 20_000);
    for (profile, expected) in [
        ("profile", ("cpu", 530)),
        ("heap", ("inuse_space", 4_096)),
        ("allocs", ("alloc_space", 1_024)),
        ("mutex", ("lock", 154)),
        ("lock", ("lock", 154)),
        ("profile?type=lock", ("lock", 154)),
        ("profile?label.version=v2", ("cpu", 500)),
        ("profile?filter=drop:work", ("cpu", 0)),
    ] {
        let sign = if profile.contains('?') { '&' } else { '?' };
        let got = lab.get(&format!("/debug/pprof/{profile}{sign}{range}")).await;
        assert_eq!(got.status, StatusCode::OK, "{profile}: {}", got.text());
        assert!(!got.headers.contains_key(header::CONTENT_ENCODING), "the file itself is gzipped");
        let (name, sum) = read(&got.body);
        assert_eq!((name.as_str(), sum), expected, "{profile}");
        let tag = got.headers[header::ETAG].clone();
        let again = lab.get_unless(&format!("/debug/pprof/{profile}{sign}{range}"), &tag).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{profile}");
    }
}

#[tokio::test]
async fn seconds_are_the_range() {
    let lab = filled().await;
    let start = turn_ms();
    let of = |query: String| format!("/debug/pprof/profile?service=shop/checkout&{query}");
    for (query, sum) in [
        (format!("seconds=10&from={start}"), 30),
        (format!("seconds=20&from={start}"), 530),
        (format!("seconds=10&until={}", start + 20_000), 500),
        (format!("seconds=86400&until={}", start + 20_000), 530),
    ] {
        let got = lab.get(&of(query.clone())).await;
        assert_eq!(got.status, StatusCode::OK, "{query}: {}", got.text());
        assert_eq!(read(&got.body).1, sum, "{query}");
    }
    let got = lab.get(&of("seconds=86400".to_owned())).await;
    assert_eq!(read(&got.body).1, 530, "up to now");
}

#[tokio::test]
async fn what_cannot_be_answered_says_what_to_ask_for() {
    let lab = filled().await;
    for (path, status, says) in [
        ("profile", StatusCode::BAD_REQUEST, "service=checkout"),
        ("profile?service=shop/checkout&seconds=0", StatusCode::BAD_REQUEST, "limits 1 to"),
        ("profile?service=shop/checkout&seconds=99999999999999999999", StatusCode::BAD_REQUEST, "limits 1 to"),
        ("profile?service=shop/checkout&seconds=5&from=1&until=2", StatusCode::BAD_REQUEST, "leave one of them out"),
        ("profile?service=shop/checkout&debug=1", StatusCode::BAD_REQUEST, "debug"),
        ("profile?service=nobody", StatusCode::NOT_FOUND, "nobody"),
        ("goroutine?service=shop/checkout", StatusCode::NOT_FOUND, "ask for type="),
        ("%3Cscript%3E?service=shop/checkout", StatusCode::BAD_REQUEST, "is not a profile type"),
        ("%FF?service=shop/checkout", StatusCode::BAD_REQUEST, ""),
    ] {
        let got = lab.get(&format!("/debug/pprof/{path}")).await;
        assert_eq!(got.status, status, "{path}: {}", got.text());
        assert!(got.text().contains(says), "{path}: {}", got.text());
    }
    let symbols = lab.post("/debug/pprof/symbol", "0x1").await;
    assert_eq!(symbols.status, StatusCode::METHOD_NOT_ALLOWED, "names are in the profile, or nowhere");
}

#[tokio::test]
async fn a_pinned_flame_graph_has_an_address_without_a_query() {
    let lab = filled().await;
    let pin = async |url: String| {
        let got = lab.post("/api/v1/pins", json!({ "url": url }).to_string()).await;
        assert_eq!(got.status, StatusCode::CREATED, "{}", got.text());
        got.json()["url"].as_str().unwrap().to_owned()
    };
    let times = format!("from={}&until={}", turn_ms(), turn_ms() + 20_000);
    let pinned = pin(format!("/s/shop%2Fcheckout?v=1&t=focus:x&label.version=v1&tl.from=now-3h&{times}")).await;
    let got = lab.get(&format!("{pinned}.pb.gz")).await;
    assert_eq!(got.status, StatusCode::OK, "{}", got.text());
    assert_eq!(read(&got.body), ("cpu".to_owned(), 30));
    let sides = format!("/diff?service=shop/checkout&{times}&a.label.version=v1&b.label.version=v2");
    let got = lab.get(&format!("{}.pb.gz", pin(sides).await)).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert!(got.text().contains("no flame graph of one service"), "{}", got.text());
    for nothing in ["/p/nothing.pb.gz", "/p/.pb.gz"] {
        let got = lab.get(nothing).await;
        assert_eq!((got.status, got.json()["code"].clone()), (StatusCode::NOT_FOUND, json!("not_found")), "{nothing}");
    }
}
