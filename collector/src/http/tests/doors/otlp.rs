//! OpenTelemetry profiles, by each of their transports.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Draft, Lab, folded, framed, gzip, send, turn_ms};

const CALL: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const HTTP: &str = "/v1development/profiles";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A message in the making: its dictionary as JSON, which is turned into protobuf where that is wanted.
struct Export {
    strings: Vec<String>,
    dictionary: Value,
    resources: Vec<Value>,
}

impl Export {
    /// With the stacks `main;serve;query` (1) and `main` (2), a thread as attribute 1, a link to a trace (1), and an address of a mapped
    /// file as stack 3.
    fn new() -> Self {
        let mut this = Self { strings: vec![String::new()], dictionary: json!({}), resources: Vec::new() };
        let [main, serve, query, file, thread, build, lib, of] = [
            "main",
            "serve",
            "query",
            "shop.rs",
            "thread.name",
            "process.executable.build_id.gnu",
            "/lib/libshop.so",
            "unit",
        ]
        .map(|text| this.text(text));
        let _ = of;
        this.dictionary = json!({
            "mappingTable": [{}, { "memoryStart": "4096", "memoryLimit": "8192", "fileOffset": "0", "filenameStrindex": lib, "attributeIndices": [2] }],
            "functionTable": [{}, { "nameStrindex": main, "filenameStrindex": file }, { "nameStrindex": serve }, { "systemNameStrindex": query }],
            "locationTable": [
                {},
                { "lines": [{ "functionIndex": 1, "line": "7" }] },
                { "lines": [{ "functionIndex": 3 }, { "functionIndex": 2 }] },
                { "mappingIndex": 1, "address": "4112" },
            ],
            "stackTable": [{}, { "locationIndices": [2, 1] }, { "locationIndices": [1] }, { "locationIndices": [3, 1] }],
            "attributeTable": [
                {},
                { "keyStrindex": thread, "value": { "stringValue": "worker" } },
                { "keyStrindex": build, "value": { "stringValue": "8f3c2a1b8f3c2a1b" } },
            ],
            "linkTable": [{}, { "traceId": TRACE, "spanId": "00f067aa0ba902b7" }],
        });
        this
    }

    fn text(&mut self, text: &str) -> usize {
        self.strings.push(text.to_owned());
        self.strings.len() - 1
    }

    fn types(&mut self, of: (&str, &str)) -> Value {
        json!({ "typeStrindex": self.text(of.0), "unitStrindex": self.text(of.1) })
    }

    fn profile(&mut self, of: (&str, &str), period: Option<(&str, &str, u64)>, samples: Value) -> Value {
        let sample_type = self.types(of);
        let mut profile = json!({
            "sampleType": sample_type, "samples": samples,
            "timeUnixNano": (turn_ms() * 1_000_000).to_string(), "durationNano": "10000000000",
        });
        if let Some((name, unit, period)) = period {
            profile["periodType"] = self.types((name, unit));
            profile["period"] = period.to_string().into();
        }
        profile
    }

    fn resource(mut self, attributes: &[(&str, &str)], profiles: Vec<Value>) -> Self {
        let attribute = |(key, value): &(&str, &str)| json!({ "key": key, "value": { "stringValue": value } });
        let attributes: Vec<Value> = attributes.iter().map(attribute).collect();
        self.resources.push(json!({
            "resource": { "attributes": attributes }, "scopeProfiles": [{ "profiles": profiles }],
        }));
        self
    }

    fn json(&self) -> String {
        let mut dictionary = self.dictionary.clone();
        dictionary["stringTable"] = self.strings.clone().into();
        json!({ "resourceProfiles": self.resources, "dictionary": dictionary }).to_string()
    }
}

fn cpu(export: &mut Export) -> Value {
    let samples = json!([
        { "stackIndex": 1, "values": ["20000000"], "attributeIndices": [1], "linkIndex": 1 },
        { "stackIndex": 2, "values": ["10000000"] },
        { "stackIndex": 3, "values": ["40000000"] },
    ]);
    export.profile(("cpu", "nanoseconds"), Some(("cpu", "nanoseconds", 10_000_000)), samples)
}

const STACKS: [&str; 3] = ["main 10000000", "main;libshop.so+0x10 40000000", "main;serve;query 20000000"];

#[tokio::test]
async fn profiles_come_by_json_with_labels_links_and_addresses() {
    let lab = Lab::new().await;
    let mut export = Export::new();
    let profile = cpu(&mut export);
    let export = export.resource(
        &[("service.name", "shop"), ("service.version", "v2"), ("service.instance.id", "i-1")],
        vec![profile],
    );
    let got = send(
        &lab,
        HTTP,
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
        gzip(export.json().as_bytes()),
    )
    .await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "{}".to_owned()));
    assert_eq!(folded(&lab, "service=shop&type=cpu&label.version=v2&label.instance=i-1").await, STACKS);
    assert_eq!(folded(&lab, "service=shop&label.thread.name=worker").await, ["main;serve;query 20000000"]);
    assert_eq!(folded(&lab, &format!("service=shop&trace={TRACE}")).await, ["main;serve;query 20000000"]);
}

/// Samples that count looks, times at which somebody looked, and bytes that were drawn by their number.
#[tokio::test]
async fn what_is_counted_is_worth_what_lies_between_two_looks() {
    let lab = Lab::new().await;
    let mut export = Export::new();
    let looks =
        json!([{ "stackIndex": 1, "values": ["3"] }, { "stackIndex": 2, "timestampsUnixNano": ["1", "2", "3", "4"] }]);
    let looks = export.profile(("samples", "count"), Some(("cpu", "nanoseconds", 50_000_000)), looks);
    let bytes = json!([{ "stackIndex": 1, "values": ["524288", "524288"], "timestampsUnixNano": ["1", "2"] }]);
    let bytes = export.profile(("allocated_space", "bytes"), Some(("allocated_bytes", "bytes", 524_288)), bytes);
    let off = json!([{ "stackIndex": 2, "values": ["7"] }]);
    let off = export.profile(("off_cpu", "nanoseconds"), None, off);
    let export = export.resource(&[("process.executable.name", "java")], vec![looks, bytes, off]);
    let got = send(&lab, HTTP, &[("content-type", "application/json")], export.json()).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "{}".to_owned()));
    assert_eq!(folded(&lab, "service=java&type=cpu").await, ["main 200000000", "main;serve;query 150000000"]);
    assert_eq!(folded(&lab, "service=java&type=alloc_space").await, ["main;serve;query 1048576"]);
    assert_eq!(folded(&lab, "service=java&type=off_cpu").await, ["main 7"]);
}

/// One resource with one profile of one sample, by hand; `sample` is its fields.
fn by_hand(sample: Draft) -> Vec<u8> {
    let text = |draft: Draft, text: &&str| draft.bytes(5, text);
    let dictionary = ["", "cpu", "nanoseconds", "main"].iter().fold(Draft::new(), text);
    let dictionary = dictionary
        .message(3, Draft::new())
        .message(3, Draft::new().number(1, 3))
        .message(2, Draft::new())
        .message(2, Draft::new().message(3, Draft::new().number(1, 1)))
        .message(7, Draft::new())
        .message(7, Draft::new().packed(1, &[1]));
    let profile = Draft::new()
        .message(1, Draft::new().number(1, 1).number(2, 2))
        .message(2, sample)
        .fixed(3, turn_ms() * 1_000_000)
        .number(4, 10_000_000_000);
    let name = Draft::new().bytes(1, "service.name").message(2, Draft::new().bytes(1, "hand"));
    let resource = Draft::new().message(1, Draft::new().message(1, name)).message(2, Draft::new().message(2, profile));
    Draft::new().message(1, resource).message(2, dictionary).0
}

#[tokio::test]
async fn protobuf_comes_over_http_and_grpc() {
    let lab = Lab::new().await;
    let message = by_hand(Draft::new().number(1, 1).packed(4, &[30]));
    let got = send(&lab, HTTP, &[("content-type", "application/x-protobuf")], message.clone()).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, String::new()));
    assert_eq!(got.headers["content-type"], "application/x-protobuf");
    let got = send(&lab, CALL, &[("content-type", "application/grpc")], framed(&message, false)).await;
    assert_eq!((got.status, &*got.body), (StatusCode::OK, &[0; 5][..]));
    assert_eq!(
        folded(&lab, "service=hand&type=cpu").await,
        ["main 30"],
        "the same again, by whatever way, counts once"
    );
    let message = by_hand(Draft::new().number(1, 1).packed(4, &[12]));
    let got = send(&lab, CALL, &[("content-type", "application/grpc")], framed(&message, false)).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(folded(&lab, "service=hand&type=cpu").await, ["main 42"]);
}

/// As OpenTelemetry's own Go library writes it: names and texts of a resource stand in the dictionary.
#[tokio::test]
async fn a_resource_may_be_told_in_the_dictionary() {
    let lab = Lab::new().await;
    let mut export = Export::new();
    let profile = cpu(&mut export);
    let [name, service, zone, eu] = ["service.name", "by-index", "zone", "eu-1"].map(|text| export.text(text));
    let of = |key: usize, value: usize| json!({ "keyStrindex": key, "value": { "stringValueStrindex": value } });
    let attributes = json!([of(name, service), of(zone, eu)]);
    export.dictionary["attributeTable"][1] = of(zone, eu);
    let mut export = export.resource(&[], vec![profile]);
    export.resources[0]["resource"]["attributes"] = attributes;
    let got = send(&lab, HTTP, &[("content-type", "application/json")], export.json()).await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "{}".to_owned()));
    assert_eq!(folded(&lab, "service=by-index&type=cpu&label.zone=eu-1").await, STACKS);
    export.resources[0]["resource"]["attributes"] = json!([of(999, 1)]);
    let got = send(&lab, HTTP, &[("content-type", "application/json")], export.json()).await;
    assert!(got.text().contains("string 999 is referred to but not there"), "{}", got.text());
}

#[tokio::test]
async fn a_sender_of_the_older_numbers_is_refused_by_name_and_never_stored_as_silence() {
    let lab = Lab::new().await;
    // Values where attributes are today; attributes where the link is; the link where values are.
    let older = [
        Draft::new().number(1, 1).packed(2, &[30]),
        Draft::new().number(1, 1).packed(2, &[30]).packed(3, &[1]),
        Draft::new().number(1, 1).packed(2, &[30]).number(4, 1),
        Draft::new().number(1, 1).packed(2, &[30]).bytes(5, 9u64.to_le_bytes()),
    ];
    for (i, sample) in older.into_iter().enumerate() {
        let message = by_hand(sample);
        let got = send(&lab, CALL, &[("content-type", "application/grpc")], framed(&message, false)).await;
        let said = String::from_utf8_lossy(&got.body).into_owned();
        assert!(said.contains("before version 1.10") && said.contains("update the sender"), "{i}: {said:?}");
        let got = send(&lab, HTTP, &[("content-type", "application/x-protobuf")], message).await;
        assert!(got.text().contains("before version 1.10"), "{i}: {}", got.text());
    }
    assert!(!lab.get("/api/v1/services").await.text().contains("hand"));
}

#[tokio::test]
async fn refused_profiles_are_counted_and_the_others_stored() {
    let lab = Lab::new().await;
    let mut export = Export::new();
    let good = cpu(&mut export);
    let dangling = export.profile(("cpu", "nanoseconds"), None, json!([{ "stackIndex": 99, "values": ["1"] }]));
    let negative = export.profile(("cpu", "nanoseconds"), None, json!([{ "stackIndex": 1, "values": ["-1"] }]));
    let export = export
        .resource(&[("service.name", "good")], vec![good])
        .resource(&[("service.name", "bad")], vec![dangling])
        .resource(&[("service.name", "worse")], vec![negative]);
    let got = send(&lab, HTTP, &[("content-type", "application/json")], export.json()).await;
    assert_eq!(got.status, StatusCode::OK);
    let partial = &got.json()["partialSuccess"];
    assert_eq!(partial["rejectedProfiles"], "2");
    assert!(partial["errorMessage"].as_str().unwrap().contains("stack 99 is referred to but not there"), "{partial}");
    assert_eq!(folded(&lab, "service=good&type=cpu").await, STACKS);
}

#[tokio::test]
async fn broken_exports_are_refused_in_the_protocols_own_shape() {
    let lab = Lab::new().await;
    let got = send(&lab, HTTP, &[("content-type", "application/x-protobuf")], vec![0xff; 30]).await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        (&got.body[..2], got.headers["content-type"].to_str().unwrap()),
        (&[8, 3][..], "application/x-protobuf")
    );
    let got = send(&lab, HTTP, &[("content-type", "application/json")], "{\"dictionary\":{\"stackTable\":7}}").await;
    assert!(got.text().contains("stackTable cannot be a number"), "{}", got.text());
    let got = send(&lab, HTTP, &[("content-type", "application/json")], "{}").await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, "{}".to_owned()), "nothing is a valid export");
    // A stack of many frames, named by many samples in few bytes each: bounded.
    let mut export = Export::new();
    export.dictionary["stackTable"][1] = json!({ "locationIndices": vec![1; 200_000] });
    let samples: Vec<Value> = (0..400).map(|_| json!({ "stackIndex": 1, "values": ["1"] })).collect();
    let deep = export.profile(("cpu", "nanoseconds"), None, samples.into());
    let got = send(
        &lab,
        HTTP,
        &[("content-type", "application/json")],
        export.resource(&[("service.name", "deep")], vec![deep]).json(),
    )
    .await;
    assert!(got.text().contains("frames of samples"), "{}", got.text());
}
