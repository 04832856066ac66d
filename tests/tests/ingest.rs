//! What the collector refuses, it refuses by name, counts, and does not store.

use tephra_proto::codec;
use tephra_proto::v1::{PushHeader, PushRequest, WindowPayload};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned, request};
use tonic::Code;

/// A good window, and what each test does to it.
fn good() -> PushRequest {
    let window = Window::new().cpu(&["main", "work"], 50);
    Agent::new("checkout", 1).seal(aligned(now_ms(), 30_000), &window)
}

fn with_header(change: impl FnOnce(&mut PushHeader)) -> PushRequest {
    let mut request = good();
    change(request.header.as_mut().expect("a header"));
    request
}

fn with_payload(change: impl FnOnce(&mut WindowPayload)) -> PushRequest {
    let mut payload = Window::new().cpu(&["main", "work"], 50).payload();
    change(&mut payload);
    request(good().header.expect("a header"), &payload)
}

#[test]
fn hostile_windows_are_refused_by_name_counted_and_not_stored() {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let bomb = vec![0; 64 << 20];
    // What is wrong, and a word that the refusal must name.
    let hostile: Vec<(&str, PushRequest)> = vec![
        ("header", PushRequest { header: None, ..good() }),
        ("agent", with_header(|h| h.agent_id.truncate(3))),
        ("sequence", with_header(|h| h.sequence = 0)),
        ("service", with_header(|h| h.service = "<img src=x>".into())),
        ("service", with_header(|h| h.service = "x".repeat(129))),
        ("label", with_header(|h| h.labels = vec![label("__reserved", "x")])),
        ("label", with_header(|h| h.labels = vec![label("version", "\u{202e}1v")])),
        ("label", with_header(|h| h.labels = (0..17).map(|i| label(&format!("l{i}"), "x")).collect())),
        ("window", with_header(|h| h.window_duration_ms = 1)),
        ("window", with_header(|h| h.window_start_unix_ms = 1)),
        ("window", with_header(|h| h.window_start_unix_ms += 3_600_000)),
        ("zstd", PushRequest { payload: b"not zstd at all".to_vec().into(), ..good() }),
        ("inflates", PushRequest { payload_bytes: 1 << 30, ..good() }),
        ("inflates", PushRequest { payload: codec::compress(&bomb).expect("compresses").into(), ..good() }),
        ("stack", with_payload(|p| p.series[0].stack[0] = 4_000_000_000)),
        ("parent", with_payload(|p| p.stacks.as_mut().expect("stacks").parent[0] = 7)),
        ("frame", with_payload(|p| p.stacks.as_mut().expect("stacks").frame[1] = 99)),
        ("function", with_payload(|p| p.frames.as_mut().expect("frames").function[0] = 99)),
        ("link", with_payload(|p| p.series[0].link = vec![9])),
        ("value", with_payload(|p| p.series[0].value.clear())),
    ];
    let count = hostile.len() as u64;
    for (word, request) in hostile {
        let refused = pusher.push(request).expect_err(word);
        assert_eq!(refused.code(), Code::InvalidArgument, "{word}: {refused}");
        assert!(refused.message().to_lowercase().contains(word), "expected {word:?} in {:?}", refused.message());
    }
    let counted: u64 = collector.refused().values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!(counted, count, "{:?}", collector.refused());
    assert_eq!(collector.windows(), 0);
    assert_eq!(collector.api.get("/api/v1/flamegraph?service=checkout").status, 404);
}

#[test]
fn a_request_beyond_the_message_limit_does_not_reach_the_store() {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let refused = pusher.push(PushRequest { payload: vec![7; 9 << 20].into(), ..good() }).expect_err("9 MiB");
    assert!(matches!(refused.code(), Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument), "{refused}");
    pusher.accept(good());
    assert_eq!(collector.windows(), 1);
}

#[test]
fn garbage_on_the_port_leaves_the_collector_standing() {
    use std::io::{Read as _, Write as _};
    let mut collector = Collector::start();
    let noises: [&[u8]; 5] = [
        b"\x00\xff\xfe garbage \r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"kind\":[",
        b"POST /tephra.v1.ProfileService/Push HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
    ];
    for noise in noises {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", collector.port())).expect("connects");
        stream.write_all(noise).expect("takes bytes");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Whatever it says, it must say it or hang up.
        let _ = stream.take(1 << 20).read_to_end(&mut Vec::new());
    }
    assert!(collector.is_alive());
    Pusher::new(&collector.endpoint()).accept(good());
    assert_eq!(collector.windows(), 1);
}

#[test]
fn a_window_pushed_again_is_counted_once() {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let window = good();
    assert!(!pusher.accept(window.clone()).duplicate);
    assert!(pusher.accept(window.clone()).duplicate);
    assert!(pusher.accept(window).duplicate);
    assert_eq!((collector.windows(), collector.samples()), (1, 50));
}

fn label(name: &str, value: &str) -> tephra_proto::v1::Label {
    tephra_proto::v1::Label { name: name.into(), value: value.into() }
}
