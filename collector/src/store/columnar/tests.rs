//! What is written is read back, and nothing else: not after any flipped bit, not after any cut.

use std::sync::Arc;

use tephra_proto::ids::{BuildId, SpanId, TraceId};

use super::text::{labels_from_text, labels_to_text, types_from_text, types_to_text};
use super::*;
use crate::base::labels::Labels;
use crate::base::range::TimeRange;
use crate::profile::durations::Durations;
use crate::profile::model::{Frame, Kind, Link, Module, Node, ProfileType, RouteDurations, SpanStatus, SpanSummary};
use crate::store::bulk::{Bulk, Folder};
use crate::store::catalog::TableObject;

fn profile_type(name: &str, kind: Kind) -> ProfileType {
    ProfileType { name: name.to_owned(), unit: "bytes/s".to_owned(), kind, period: 7 }
}

fn part(service: &str) -> Part {
    let build_id = BuildId::from_bytes(&[7; 20]).unwrap();
    let labels: Labels = [("version", "a=b,c\\d"), ("zone", "")].into_iter().collect();
    let instance: Arc<str> = "host-1".into();
    let series = |name: &str, kind| PartSeries {
        profile_type: profile_type(name, kind),
        instance: instance.clone(),
        labels: labels.clone(),
    };
    let link = |n: u8| Link { trace_id: TraceId::from_bytes([n; 16]).unwrap(), span_id: SpanId::from_bytes([n; 8]) };
    let row = |series, window_ms, node, value| PartRow {
        series,
        window_ms,
        window_len_ms: 10_000,
        node,
        value,
        samples: value / 2 + 1,
    };
    let trace = |n, node| PartTrace {
        link: link(n),
        time_ms: 10_000 + u64::from(n),
        window_ms: 10_000,
        window_len_ms: 10_000,
        series: 0,
        node,
        value: 5,
        samples: 2,
    };
    let span = SpanSummary {
        link: Link { span_id: None, ..link(3) },
        route: "GET /x".into(),
        start_ms: 11_000,
        duration_us: 77,
        status: SpanStatus::Error,
        weight: 2.5,
    };
    Part {
        service: service.to_owned(),
        modules: vec![Module { build_id, name: "libx.so".into() }],
        frames: vec![
            Frame::Native { build_id, address: u64::MAX },
            Frame::Symbolic { function: "wait()".into(), file: "a.rs".into(), line: u32::MAX, inlined: true },
            Frame::Truncated,
        ],
        nodes: vec![
            Node { parent: Node::ROOT, frame: 2 },
            Node { parent: 0, frame: 0 },
            Node { parent: Node::ROOT, frame: 1 },
        ],
        series: vec![series("cpu", Kind::Counter), series("inuse", Kind::Gauge)],
        rows: vec![row(0, 10_000, 1, 3), row(0, 20_000, 2, i64::MAX as u64), row(1, 10_000, 0, 9)],
        totals: vec![PartTotal { series: 0, window_ms: 10_000, window_len_ms: 10_000, value: 3, samples: 2 }],
        windows: vec![PartWindow {
            window_ms: 10_000,
            window_len_ms: 10_000,
            from_ms: 10_000,
            until_ms: 20_000,
            windows: 1,
            instance: instance.clone(),
            labels: labels.clone(),
            types: vec![profile_type("cpu", Kind::Counter), profile_type("inuse", Kind::Gauge)].into(),
        }],
        traces: vec![trace(3, 1), trace(3, 2), trace(200, 1)],
        spans: vec![PartSpan {
            span,
            window_ms: 10_000,
            window_len_ms: 10_000,
            instance: instance.clone(),
            labels: labels.clone(),
        }],
        requests: [
            (SpanStatus::Ok, vec![(0, 1), (106, u64::from(u32::MAX)), (478, 2)]),
            (SpanStatus::Error, vec![(20, 1)]),
        ]
        .map(|(status, bins)| {
            let longest = tephra_proto::durations::longest_us(bins[bins.len() - 1].0) as u64;
            let durations = Durations::from_bins(bins, longest, longest).unwrap();
            PartRequests {
                window_ms: 10_000,
                window_len_ms: 10_000,
                instance: instance.clone(),
                labels: labels.clone(),
                requests: RouteDurations { route: "GET /x".into(), status, durations },
            }
        })
        .into(),
    }
}

fn write(bulk: &dyn Bulk, parts: &[Part]) -> Vec<(Table, TableObject)> {
    let mut writer = SegmentWriter::new();
    for part in parts {
        writer.add(part).unwrap();
    }
    let finished = writer.finish().unwrap().into_iter().enumerate();
    let put = finished.map(|(i, finished)| {
        let object = format!("{i:032x}");
        bulk.put(&object, &finished.bytes).unwrap();
        let bytes = finished.bytes.len() as u64;
        let name = finished.table.name().to_owned();
        (finished.table, TableObject { name, object, bytes, data_bytes: finished.data_bytes, crc: finished.crc })
    });
    put.collect()
}

fn open(bulk: &dyn Bulk, objects: &[(Table, TableObject)]) -> Result<Segment, Problem> {
    let open = |(table, object): &(Table, TableObject)| Ok((*table, Arc::new(TableFile::open(bulk, *table, object)?)));
    Ok(Segment::new(objects.iter().map(open).collect::<Result<Vec<_>, Problem>>()?))
}

#[test]
fn parts_are_read_back_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let bulk = Folder::open(dir.path()).unwrap();
    let parts = [part("a"), part("a"), part("b"), Part { service: "c".to_owned(), ..Part::default() }];
    let segment = open(&bulk, &write(&bulk, &parts)).unwrap();
    for (i, part) in parts.iter().enumerate() {
        assert_eq!(&segment.whole(&bulk, i).unwrap(), part);
    }
    assert_eq!(segment.parts_of("a").collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_trace_is_found_among_many_without_reading_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let bulk = Folder::open(dir.path()).unwrap();
    let mut large = part("a");
    let id = |n: u64| {
        let mut bytes = [1; 16];
        bytes[..8].copy_from_slice(&(n + 1).to_be_bytes());
        TraceId::from_bytes(bytes).unwrap()
    };
    let template = large.traces[0];
    // Three rows each, so that a trace may begin on one page and end on the next.
    large.traces = (0..60_000u64)
        .map(|i| PartTrace { link: Link { trace_id: id(i / 3), span_id: None }, value: i, ..template })
        .collect();
    let segment = open(&bulk, &write(&bulk, &[large])).unwrap();
    let dictionary = segment.dictionary(&bulk, 0, true).unwrap();
    for n in [0, 1, 1_365, 1_366, 12_345, 19_999] {
        let found = segment.find_trace(&bulk, 0, id(n)).unwrap();
        let (rows, spans) = segment.trace(&bulk, &found, &dictionary).unwrap();
        let values: Vec<u64> = rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [3 * n, 3 * n + 1, 3 * n + 2]);
        assert!(spans.is_empty());
    }
    assert!(segment.find_trace(&bulk, 0, id(20_000)).unwrap().is_empty());
    assert!(segment.find_trace(&bulk, 0, TraceId::from_bytes([255; 16]).unwrap()).unwrap().is_empty());
}

/// A trace id that begins with this number.
fn numbered(n: u64) -> TraceId {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&(n + 1).to_be_bytes());
    TraceId::from_bytes(bytes).unwrap()
}

#[test]
fn samples_of_some_traces_are_those_that_a_look_at_all_finds() {
    let dir = tempfile::tempdir().unwrap();
    let bulk = Folder::open(dir.path()).unwrap();
    let mut large = part("a");
    let template = large.traces[0];
    // Even numbers have samples, a few of them many more than a page holds.
    let samples = |n: u64| if n.is_multiple_of(9_000) { 5_000 } else { 1 + n % 3 };
    large.traces = (0..70_000u64)
        .map(|n| 2 * n)
        .flat_map(|n| (0..samples(n)).map(move |value| (n, value)))
        .map(|(n, value)| PartTrace { link: Link { trace_id: numbered(n), ..template.link }, value, ..template })
        .collect();
    let segment = open(&bulk, &write(&bulk, &[large.clone()])).unwrap();
    let dictionary = segment.dictionary(&bulk, 0, true).unwrap();
    let groups = segment.trace_groups(&bulk, 0).unwrap();
    assert!(groups.len() > 1, "more than a row group");
    let all = 0..140_010u64;
    for wanted in [
        vec![],
        vec![0],
        vec![1],
        vec![18_000, 18_002, 139_998, 139_999],
        all.clone().step_by(997).collect(),
        all.collect(),
    ] {
        let wanted: Vec<TraceId> = wanted.into_iter().map(numbered).collect();
        let ids: Vec<[u8; 16]> = wanted.iter().map(|trace| trace.to_bytes()).collect();
        let mut found = Vec::new();
        for (group, _) in &groups {
            let rows = segment.find_samples(&bulk, *group, &ids).unwrap();
            found.extend(segment.samples_at(&bulk, *group, &ids, &rows, &dictionary).unwrap());
        }
        let expected = large.traces.iter().filter(|row| wanted.binary_search(&row.link.trace_id).is_ok());
        let without_span = |row: &PartTrace| PartTrace { link: Link { span_id: None, ..row.link }, ..*row };
        assert!(
            found.iter().copied().eq(expected.map(without_span)),
            "{} traces: {} samples",
            wanted.len(),
            found.len()
        );
    }
}

#[test]
fn spans_of_a_route_are_found_without_those_of_other_busy_routes() {
    let dir = tempfile::tempdir().unwrap();
    let bulk = Folder::open(dir.path()).unwrap();
    let mut large = part("a");
    let template = large.spans[0].clone();
    // Of ten spans six are of one route, three of another, and one of one of many.
    large.spans = (0..60_000u64)
        .map(|n| {
            let route = match n % 10 {
                0..6 => "/busy".to_owned(),
                6..9 => "/lively".to_owned(),
                _ => format!("/rare/{}", n / 10 % 7),
            };
            let link = Link { trace_id: numbered(n / 2), span_id: SpanId::from_bytes((n + 1).to_be_bytes()) };
            let span = SpanSummary { link, route: route.into(), start_ms: 10_000 + n, duration_us: n, ..template.span };
            let instance = if n % 4 == 0 { "host-1" } else { "host-2" }.into();
            PartSpan { span, window_ms: n / 10_000 * 10_000, instance, ..template.clone() }
        })
        .collect();
    let segment = open(&bulk, &write(&bulk, &[large.clone()])).unwrap();
    let mut whole = segment.whole(&bulk, 0).unwrap();
    PartSpan::sort(&mut whole.spans);
    assert_eq!(whole, large);
    let range = TimeRange { from_ms: 10_000, until_ms: 40_000 };
    let is_host_1 = |instance: &str, _: &Labels| instance == "host-1";
    for (route, read_at_most) in [("/busy", 42_000), ("/rare/3", 6_000), ("/none", 6_000)] {
        let groups = segment.span_groups(&bulk, 0, route, range).unwrap();
        for of_process in [None, Some(&is_host_1 as Processes<'_>)] {
            let mut looked = Vec::new();
            for group in &groups {
                segment.look_at_spans(&bulk, group, route, range, of_process, |look| looked.push(look)).unwrap();
            }
            let expected = large.spans.iter().filter(|row| {
                *row.span.route == *route
                    && range.contains(row.window_ms)
                    && of_process.is_none_or(|takes| takes(&row.instance, &row.labels))
            });
            let look = |PartSpan { span, .. }: &PartSpan| SpanLook {
                trace_id: span.link.trace_id,
                start_ms: span.start_ms,
                duration_us: span.duration_us,
                weight: span.weight,
            };
            assert!(looked.iter().copied().eq(expected.map(look)), "{route}: {}", looked.len());
        }
        let wanted: Vec<[u8; 16]> = (0..40_000).step_by(61).map(|n| numbered(n).to_bytes()).collect();
        let found = groups.iter().flat_map(|group| segment.spans_of(&bulk, group, &wanted).unwrap());
        let found: Vec<PartSpan> = found.filter(|row| *row.span.route == *route).collect();
        let is_wanted = |row: &&PartSpan| {
            *row.span.route == *route && wanted.binary_search(&row.span.link.trace_id.to_bytes()).is_ok()
        };
        assert!(found.iter().eq(large.spans.iter().filter(is_wanted)), "{route}: {}", found.len());
        let everyone: Vec<[u8; 16]> = (0..30_000).map(|n| numbered(n).to_bytes()).collect();
        let read = groups.iter().map(|group| segment.spans_of(&bulk, group, &everyone).unwrap().len()).sum::<usize>();
        assert!(read <= read_at_most, "{route}: {read} were read");
    }
    // Whoever follows a trace finds it in all routes, in its order.
    let dictionary = segment.dictionary(&bulk, 0, true).unwrap();
    for n in [3, 4, 29_999] {
        let found = segment.find_trace(&bulk, 0, numbered(n)).unwrap();
        let (_, spans) = segment.trace(&bulk, &found, &dictionary).unwrap();
        assert_eq!(spans, large.spans[2 * n as usize..2 * n as usize + 2]);
    }
}

#[test]
fn no_damaged_byte_is_ever_served() {
    let dir = tempfile::tempdir().unwrap();
    let bulk = Folder::open(dir.path()).unwrap();
    let objects = write(&bulk, &[part("a")]);
    for (_, object) in &objects {
        let whole = bulk.get_range(&object.object, 0, usize::MAX >> 1).unwrap();
        let read = || open(&bulk, &objects).and_then(|segment| segment.whole(&bulk, 0));
        let damaged = |what: String| {
            assert!(matches!(read(), Err(Problem::Damaged { .. })), "{} with {what}", object.name);
        };
        // The first four bytes say "Parquet" to people and tools; they lie in the first block all the same.
        for at in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            bulk.put(&object.object, &flipped).unwrap();
            damaged(format!("byte {at} flipped"));
        }
        for len in (0..whole.len()).step_by(7) {
            bulk.put(&object.object, &whole[..len]).unwrap();
            damaged(format!("{len} of {} bytes", whole.len()));
        }
        bulk.put(&object.object, &whole).unwrap();
        read().unwrap();
    }
}

#[test]
fn labels_and_types_survive_as_text() {
    let labels = [("a,b".to_owned(), "=\\,".to_owned()), ("c".to_owned(), String::new())];
    let text = labels_to_text(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    assert_eq!(labels_from_text(&text).owned().collect::<Vec<_>>(), labels);
    assert!(labels_from_text("").is_empty());
    let types = vec![profile_type("x=/y", Kind::Gauge), profile_type("cpu", Kind::Counter)];
    assert_eq!(types_from_text(&types_to_text(&types)), Some(types));
    assert_eq!(types_from_text("cpu=ns/sometimes/1"), None);
}
