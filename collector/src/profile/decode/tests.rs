//! What is valid is read as it was meant; what is hostile is refused by name and without harm.

use proptest::prelude::*;
use prost::Message;
use tephra_proto::limits::{
    PAYLOAD_BYTES_MAX, PAYLOAD_COMPRESSED_BYTES_MAX, STACK_DEPTH_MAX, STRING_BYTES_MAX, WINDOW_LABEL_SETS_MAX,
    WINDOW_MODULES_MAX, WINDOW_SAMPLES_MAX, WINDOW_SERIES_MAX, WINDOW_STRINGS_MAX,
};
use tephra_proto::{codec, packing, v1};

use super::*;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::profile::model::{Node, SpanStatus};

const NOW: u64 = 1_700_000_000_000;

fn window() -> TestWindow {
    TestWindow::new("shop", 1, 1, NOW)
        .label("version", "v1")
        .cpu(&[row("main;a;b", 20), traced("main;a", 10, 7), row("…;deep", 5)])
        .span(7, "GET /", -5, 1_000)
}

fn read(window: &TestWindow) -> Result<Window, Rejection> {
    let request = window.request();
    let header = request.header.unwrap();
    decode(&header, &request.payload, request.payload_bytes, Lateness::Live { now_ms: NOW })
}

/// The names of a row's frames, root first.
fn path(window: &Window, mut at: u32) -> Vec<String> {
    let mut path = Vec::new();
    while at != Node::ROOT {
        let node = window.nodes[at as usize];
        path.push(match &window.frames[node.frame as usize] {
            Frame::Symbolic { function, .. } => function.to_string(),
            Frame::Native { address, .. } => format!("{address:#x}"),
            Frame::Truncated => "…".to_owned(),
        });
        at = node.parent;
    }
    path.reverse();
    path
}

#[test]
fn a_window_is_read_as_it_was_meant() {
    let window = read(&window()).unwrap();
    let rows = &window.series[0].rows;
    let stacks: Vec<_> = rows.iter().map(|row| (path(&window, row.node).join(";"), row.value)).collect();
    assert_eq!(stacks, [("main;a;b".to_owned(), 20), ("main;a".to_owned(), 10), ("…;deep".to_owned(), 5)]);
    assert_eq!(window.links[rows[1].link.unwrap() as usize].trace_id.to_bytes(), [7; 16]);
    assert_eq!(rows[0].link, None);
    assert_eq!((window.spans[0].start_ms, &*window.spans[0].route), (NOW - 5, "GET /"));
    assert_eq!(window.header.labels.iter().collect::<Vec<_>>(), [("version", "v1")]);
}

#[test]
fn a_window_says_the_same_packed_and_plain() {
    let plain = window();
    let mut packed = window();
    packing::pack(&mut packed.payload);
    assert_ne!(packed.payload, plain.payload);
    let (plain, packed) = (read(&plain).unwrap(), read(&packed).unwrap());
    assert_eq!(format!("{packed:?}"), format!("{plain:?}"));
}

#[test]
fn values_come_in_steps_of_the_scale_and_samples_default_to_the_steps() {
    let mut window = window();
    let series = &mut window.payload.series[0];
    series.scale = 10_101_010;
    series.samples.clear();
    let read = read(&window).unwrap();
    assert_eq!((read.series[0].rows[0].value, read.series[0].rows[0].samples), (202_020_200, 20));
}

#[test]
fn native_frames_are_addresses_of_their_build() {
    let mut window = window();
    let payload = &mut window.payload;
    payload.strings.push("shop".to_owned());
    payload.modules = vec![v1::Module { build_id: vec![9; 20], name: payload.strings.len() as u32 - 1 }];
    let frames = payload.frames.as_mut().unwrap();
    frames.module.extend([1, 1]);
    frames.address_delta.extend([0x1000, -0x10]);
    let read = read(&window).unwrap();
    let build_id = tephra_proto::ids::BuildId::from_bytes(&[9; 20]).unwrap();
    let native: Vec<_> = read.frames.iter().filter(|frame| matches!(frame, Frame::Native { .. })).collect();
    assert_eq!(native, [&Frame::Native { build_id, address: 0x1000 }, &Frame::Native { build_id, address: 0xff0 }]);
}

/// Every hostile window, the reason it must be refused for, and a part of the message.
#[test]
fn hostile_windows_are_refused_by_name() {
    type Spoil = fn(&mut TestWindow);
    let cases: &[(&str, &str, Spoil)] = &[
        ("header", "agent id has 3 bytes", |w| w.header.agent_id = vec![1; 3]),
        ("header", "sequence is 0", |w| w.header.sequence = 0),
        ("header", "sequence is 9223372036854775808", |w| w.header.sequence = 1 << 63),
        ("header", "boot id is 0", |w| w.header.boot_id = 0),
        ("header", "window duration in ms is 999", |w| w.header.window_duration_ms = 999),
        ("header", "window duration in ms is 3600001", |w| w.header.window_duration_ms = 3_600_001),
        ("header", "window start", |w| w.header.window_start_unix_ms = u64::MAX),
        ("header", "sampled is", |w| w.header.sampled = u64::MAX),
        ("time", "86400001 ms ago, limit 86400000", |w| w.header.window_start_unix_ms = NOW - 86_400_001),
        ("time", "600001 ms in the future, limit 600000", |w| w.header.window_start_unix_ms = NOW + 600_001),
        ("name", "service name is empty", |w| w.header.service.clear()),
        ("name", "service name", |w| w.header.service = "../../etc".to_owned()),
        ("name", "instance name", |w| w.header.instance = "a\nb".to_owned()),
        ("name", "label name", |w| w.header.labels[0].name = "__tenant".to_owned()),
        ("name", "label value", |w| w.header.labels[0].value = "\u{1b}[31m".to_owned()),
        ("name", "\"instance\" has a field of its own", |w| w.header.labels[0].name = "instance".to_owned()),
        ("name", "\"version\" is written twice", |w| w.header.labels.push(w.header.labels[0].clone())),
        ("count", "17 labels, limit 16", |w| {
            w.header.labels = (0..17).map(|i| v1::Label { name: format!("l{i}"), value: String::new() }).collect();
        }),
        ("count", "drop counts", |w| w.header.drops = vec![v1::DropCount { reason: 1, samples: 1 }; 33]),
        ("count", "strings, limit 200000", |w| w.payload.strings = vec![String::new(); WINDOW_STRINGS_MAX + 1]),
        ("count", "modules, limit 4096", |w| w.payload.modules = vec![v1::Module::default(); WINDOW_MODULES_MAX + 1]),
        ("count", "series, limit 64", |w| w.payload.series = vec![v1::Series::default(); WINDOW_SERIES_MAX + 1]),
        ("count", "label sets, limit 1024", |w| {
            w.payload.label_sets = vec![v1::LabelSet::default(); WINDOW_LABEL_SETS_MAX + 1];
        }),
        ("count", "samples, limit 262144", |w| w.payload.series[0].value = vec![0; WINDOW_SAMPLES_MAX + 1]),
        ("size", "string 1 has 4097 bytes, limit 4096", |w| w.payload.strings[1] = "x".repeat(STRING_BYTES_MAX + 1)),
        ("size", "string 0 has 1 bytes, limit 0", |w| w.payload.strings[0] = "x".to_owned()),
        ("name", "build id", |w| w.payload.modules = vec![v1::Module { build_id: vec![1; 7], name: 0 }]),
        ("index", "name of module 0 points to 99", |w| {
            w.payload.modules = vec![v1::Module { build_id: vec![1; 20], name: 99 }];
        }),
        ("index", "module of frame 0 points to 4294967294", |w| {
            let frames = w.payload.frames.as_mut().unwrap();
            *frames = v1::FrameTable { module: vec![u32::MAX], address_delta: vec![0], ..v1::FrameTable::default() };
        }),
        ("malformed", "frame addresses has 0 entries, its table has 1", |w| {
            w.payload.frames = Some(v1::FrameTable { module: vec![1], ..v1::FrameTable::default() });
        }),
        ("malformed", "frame lines has", |w| {
            w.payload.frames.as_mut().unwrap().line.pop();
        }),
        ("index", "function of frame 0 points to 4000", |w| w.payload.frames.as_mut().unwrap().function[0] = 4_000),
        ("value", "address of frame 0 leaves", |w| {
            w.payload.modules = vec![v1::Module { build_id: vec![1; 20], name: 0 }];
            let frames = v1::FrameTable { module: vec![1], address_delta: vec![-1], ..v1::FrameTable::default() };
            w.payload.frames = Some(frames);
        }),
        ("index", "frame of node 0 points to 77", |w| w.payload.stacks.as_mut().unwrap().frame[0] = 77),
        ("index", "parent of node 1 points to 2", |w| w.payload.stacks.as_mut().unwrap().parent[1] = 2),
        ("malformed", "frames of nodes", |w| {
            w.payload.stacks.as_mut().unwrap().frame.pop();
        }),
        ("malformed", "chains of nodes stand for 7 entries, their siblings for 0", |w| {
            *w.payload.stacks.as_mut().unwrap() = v1::StackTree { chain: vec![7], ..v1::StackTree::default() };
        }),
        ("malformed", "parent and chain exclude each other", |w| {
            w.payload.stacks.as_mut().unwrap().chain = vec![1];
        }),
        ("malformed", "truncated node 1 is not a root", |w| w.payload.stacks.as_mut().unwrap().truncated = vec![1]),
        ("index", "truncated root 0 points to 500", |w| w.payload.stacks.as_mut().unwrap().truncated = vec![500]),
        ("count", "513 frames deep, limit 512", |w| {
            let stacks = w.payload.stacks.as_mut().unwrap();
            let mut parent = vec![1; STACK_DEPTH_MAX + 1];
            parent[0] = 0;
            *stacks = v1::StackTree { parent, frame: vec![0; STACK_DEPTH_MAX + 1], ..v1::StackTree::default() };
        }),
        ("index", "stack of row 0 points to 999", |w| w.payload.series[0].stack[0] = 999),
        ("malformed", "values of series has 2 entries", |w| {
            w.payload.series[0].value.pop();
        }),
        ("malformed", "times of series has 2 entries", |w| {
            w.payload.series[0].time_ms.pop();
        }),
        ("malformed", "links of series has 2 entries", |w| {
            w.payload.series[0].link.pop();
        }),
        ("index", "link of row 0 points to 8", |w| w.payload.series[0].link[0] = 9),
        ("index", "label set of row 0 points to 1", |w| w.payload.series[0].label_set = vec![1; 3]),
        ("value", "\"cpu\" add up to more", |w| w.payload.series[0].value[0] = u64::MAX),
        ("value", "\"cpu\" add up to more", |w| w.payload.series[0].scale = u64::MAX),
        ("value", "\"cpu\" add up to more", |w| w.payload.series[0].value = vec![1 << 52; 3]),
        ("header", "time of a row", |w| w.payload.series[0].time_ms[0] = u32::MAX),
        ("malformed", "a series has no type", |w| w.payload.series[0].r#type = None),
        ("value", "kind of type 0 is 9", |w| w.payload.series[0].r#type.as_mut().unwrap().kind = 9),
        ("value", "kind of type 0 is 0", |w| w.payload.series[0].r#type.as_mut().unwrap().kind = 0),
        ("name", "label name", |w| w.payload.series[0].r#type.as_mut().unwrap().name = "<b>".to_owned()),
        ("malformed", "two series of type \"cpu\"", |w| w.payload.series.push(w.payload.series[0].clone())),
        ("malformed", "trace ids have 16 bytes", |w| {
            w.payload.links.as_mut().unwrap().trace_ids.pop();
        }),
        ("malformed", "span ids has 1 entries", |w| w.payload.links.as_mut().unwrap().span_ids.truncate(8)),
        ("value", "trace id 0 is all zero", |w| w.payload.links.as_mut().unwrap().trace_ids[..16].fill(0)),
        ("count", "labels in one set", |w| {
            let set = v1::LabelSet { name: vec![0; 9], value: vec![0; 9] };
            w.payload.label_sets.push(set);
        }),
        ("malformed", "values of label set", |w| {
            w.payload.label_sets.push(v1::LabelSet { name: vec![0], value: Vec::new() });
        }),
        ("index", "link of span 0 points to 40", |w| w.payload.spans.as_mut().unwrap().link[0] = 40),
        ("index", "route of span 0 points to 40", |w| w.payload.spans.as_mut().unwrap().route[0] = 40),
        ("malformed", "weights of spans", |w| w.payload.spans.as_mut().unwrap().weight.clear()),
        ("value", "span 0 has weight NaN", |w| w.payload.spans.as_mut().unwrap().weight[0] = f32::NAN),
        ("value", "span 0 has weight 0.5", |w| w.payload.spans.as_mut().unwrap().weight[0] = 0.5),
        ("value", "span 0 has duration", |w| w.payload.spans.as_mut().unwrap().duration_us[0] = u64::MAX),
        ("value", "span 0 has start", |w| w.payload.spans.as_mut().unwrap().start_ms[0] = i64::MIN),
        ("value", "status of span 0 is 12", |w| w.payload.spans.as_mut().unwrap().status[0] = 12),
    ];
    for (reason, message, spoil) in cases {
        let mut window = window();
        spoil(&mut window);
        let rejection = read(&window).expect_err(message);
        assert!(rejection.to_string().contains(message), "{message:?} in {rejection}");
        assert_eq!(rejection.reason(), *reason, "{rejection}");
        assert!(Rejection::REASONS.contains(reason));
    }
}

#[test]
fn requests_are_counted_by_route_and_outcome() {
    let window = window().requests("GET /", v1::SpanStatus::Ok, &[1_000, 1_000, 70_000]).requests(
        "GET /",
        v1::SpanStatus::Error,
        &[3],
    );
    let read = read(&window).unwrap();
    let told = read.requests.iter().map(|told| {
        let durations = &told.durations;
        (&*told.route, told.status, durations.count(), durations.sum_us(), durations.max_us())
    });
    let expected = [("GET /", SpanStatus::Ok, 3, 72_000, 70_000), ("GET /", SpanStatus::Error, 1, 3, 3)];
    assert_eq!(told.collect::<Vec<_>>(), expected, "and not by the span that is there as an example");
}

#[test]
fn spans_stand_for_the_requests_of_agents_that_do_not_count_them() {
    let mut window = window().span(8, "GET /", 0, 2_000).span(9, "POST /", 0, 5_000);
    window.payload.spans.as_mut().unwrap().weight = vec![2.5, 2.5, 7.0];
    let read = read(&window).unwrap();
    let told = read.requests.iter().map(|told| (&*told.route, told.durations.count(), told.durations.max_us()));
    assert_eq!(told.collect::<Vec<_>>(), [("GET /", 5, 2_000), ("POST /", 7, 5_000)]);
}

/// Agents remember what ended up to 40 s before a window, and long requests began long before that.
#[test]
fn spans_that_complete_a_slow_trace_ended_before_their_window_and_count_for_nothing() {
    let mut window = window().span(8, "GET /late", -40_001, 1_000).span(9, "GET /long", -3_640_000, 3_600_000_000);
    window.payload.spans.as_mut().unwrap().weight = vec![1.0, 0.0, 0.0];
    let uncounted = read(&window).unwrap();
    let spans = uncounted.spans.iter().map(|span| (&*span.route, span.start_ms, span.weight));
    let expected = [("GET /", NOW - 5, 1.0), ("GET /late", NOW - 40_001, 0.0), ("GET /long", NOW - 3_640_000, 0.0)];
    assert_eq!(spans.collect::<Vec<_>>(), expected);
    assert_eq!(uncounted.requests.iter().map(|told| &*told.route).collect::<Vec<_>>(), ["GET /"]);
    let counted = read(&window.requests("GET /", v1::SpanStatus::Ok, &[1_000, 2_000])).unwrap();
    assert_eq!((counted.spans.len(), counted.requests.len(), counted.requests[0].durations.count()), (3, 1, 2));
    // Not before there was time.
    let mut window = self::window();
    window.payload.spans.as_mut().unwrap().start_ms[0] = -(NOW as i64);
    assert_eq!(read(&window).unwrap().spans[0].start_ms, 0);
    window.payload.spans.as_mut().unwrap().start_ms[0] -= 1;
    assert!(read(&window).unwrap_err().to_string().contains("span 0 has start"));
}

#[test]
fn histograms_that_lie_are_refused_with_what_is_wrong() {
    type Spoil = fn(&mut v1::RequestTable);
    let cases: &[(&str, &str, Spoil)] = &[
        ("index", "route of requests 0 points to 90", |t| t.route[0] = 90),
        ("value", "status of requests 0 is 9", |t| t.status[0] = 9),
        ("malformed", "a second histogram of \"/a\"", |t| {
            t.route[1] = t.route[0];
            t.status[1] = t.status[0];
        }),
        ("malformed", "statuses of requests has 1 entries", |t| t.status.truncate(1)),
        ("malformed", "sums of requests", |t| t.sum_us.clear()),
        ("malformed", "maxima of requests", |t| t.max_us.clear()),
        ("malformed", "bin counts of requests", |t| t.bins.push(1)),
        ("malformed", "bins of requests has 3 entries", |t| t.bins[0] = u32::MAX),
        ("malformed", "counts of requests", |t| t.count.truncate(1)),
        ("value", "a number of bins of 0", |t| t.bins = vec![0, 3]),
        ("value", "bin 479", |t| t.bin_step[1] = 479 - t.bin_step[0]),
        ("value", "bin 4294967295", |t| t.bin_step[0] = u32::MAX),
        ("value", "bin 106", |t| t.bin_step[1] = 0),
        ("value", "nothing in bin 106", |t| t.count[0] = 0),
        ("value", "a count of 18446744073709551615", |t| t.count[0] = u64::MAX),
        ("value", "a count, with those before, of", |t| t.count[2] = 1_000_000_001),
        ("value", "a longest duration in µs of 1000000", |t| t.max_us[0] = 1_000_000),
        ("value", "a longest duration in µs of 18446744073709551615", |t| t.max_us[0] = u64::MAX),
        ("value", "durations in µs that add up to 18446744073709551615", |t| t.sum_us[0] = u64::MAX),
    ];
    for (reason, message, spoil) in cases {
        let mut window =
            window().requests("/a", v1::SpanStatus::Ok, &[100, 70_000]).requests("/b", v1::SpanStatus::Ok, &[5]);
        read(&window).unwrap();
        spoil(window.payload.requests.as_mut().unwrap());
        let rejection = read(&window).expect_err(message);
        assert!(rejection.to_string().contains(message), "{message:?} in {rejection}");
        assert_eq!(rejection.reason(), *reason, "{rejection}");
    }
    let flood = v1::RequestTable { route: (0..1_025).collect(), ..v1::RequestTable::default() };
    let mut window = window();
    window.payload.requests = Some(flood);
    let rejection = read(&window).unwrap_err();
    assert!(rejection.to_string().contains("1025 histograms of requests, limit 1024"), "{rejection}");
}

#[test]
fn payloads_that_are_too_large_or_not_what_they_claim_are_refused() {
    let header = window().header;
    let check = |payload: &[u8], claim: usize, reason: &str| {
        let rejection = decode(&header, payload, claim as u32, Lateness::Stored).unwrap_err();
        assert_eq!(rejection.reason(), reason, "{rejection}");
    };
    check(&vec![0; PAYLOAD_COMPRESSED_BYTES_MAX + 1], 10, "size");
    check(b"not zstd", 10, "codec");
    check(&codec::compress(&vec![0; 1 << 20]).unwrap(), 10, "codec");
    check(&codec::compress(b"hello").unwrap(), PAYLOAD_BYTES_MAX + 1, "codec");
    check(&codec::compress(&[0xff; 40]).unwrap(), 40, "malformed");
}

/// Millions of empty messages fit into a payload and would be gigabytes in memory: they are counted, not built.
#[test]
fn amplification_is_seen_before_anything_is_allocated() {
    let bomb = |field: u8, content: &[u8]| -> Vec<u8> {
        let mut one = vec![field << 3 | 2, content.len() as u8];
        one.extend_from_slice(content);
        one.repeat((8 << 20) / one.len())
    };
    for (field, content) in
        [(1u8, &b""[..]), (2, b""), (5, b""), (7, b""), (4, &[0x08, 0x00]), (3, &[0x0a, 0x01, 0x00])]
    {
        let rejection = prescan::check_counts(&bomb(field, content)).expect_err("refused");
        assert!(matches!(rejection, Rejection::TooMany { .. }), "field {field}: {rejection}");
    }
    let packed = v1::WindowPayload {
        spans: Some(v1::SpanTable { weight: vec![1.0; 16_385], ..v1::SpanTable::default() }),
        ..v1::WindowPayload::default()
    };
    let rejection = prescan::check_counts(&packed.encode_to_vec()).unwrap_err();
    assert!(matches!(rejection, Rejection::TooMany { what: "spans", count: 16_385, .. }), "{rejection}");
}

proptest! {
    /// Whatever a bit flip or a cut makes of a valid payload: it is read or refused, and what is read has no dangling index.
    #[test]
    fn damaged_payloads_never_panic(
        packed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut payload = window().payload;
        if packed {
            packing::pack(&mut payload);
        }
        let mut payload = payload.encode_to_vec();
        let place = at.index(payload.len());
        payload[place] ^= 1 << bit;
        payload.truncate(cut.index(payload.len()).max(place + 1));
        let compressed = codec::compress(&payload).unwrap();
        let header = window().header;
        if let Ok(window) = decode(&header, &compressed, payload.len() as u32, Lateness::Stored) {
            for row in window.series.iter().flat_map(|series| &series.rows) {
                path(&window, row.node);
                prop_assert!(row.link.is_none_or(|link| window.links.get(link as usize).is_some()));
            }
        }
    }

    /// Bytes that were never a payload.
    #[test]
    fn garbage_never_panics(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let compressed = codec::compress(&payload).unwrap();
        let _ = decode(&window().header, &compressed, payload.len() as u32, Lateness::Stored);
    }
}
