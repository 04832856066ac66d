//! What is written is read back; damage is an error and never a panic.

use std::sync::Arc;

use bytes::Bytes;
use tephra_proto::ids::{BuildId, SpanId, TraceId};

use super::schema::{Table, labels_from_text, labels_to_text};
use super::*;
use crate::profile::model::{Frame, Kind, Link, Module, Node, ProfileType, SpanStatus, SpanSummary};

const MINUTE: u64 = 60_000;

fn link(n: u8) -> Link {
    let trace_id = TraceId::from_bytes([n; 16]).unwrap();
    Link { trace_id, span_id: SpanId::from_bytes([n; 8]).filter(|_| n.is_multiple_of(2)) }
}

fn part(service: &str, seed: u8) -> Part {
    let build_id = BuildId::from_bytes(&[seed; 20]).unwrap();
    let cpu = ProfileType { name: "cpu".into(), unit: "nanoseconds".into(), kind: Kind::Counter, period: 10_101_010 };
    let heap = ProfileType { name: "inuse_space".into(), unit: "bytes".into(), kind: Kind::Gauge, period: 524_288 };
    let labels = vec![("version".to_owned(), "v1,=\\".to_owned()), ("zone".to_owned(), "eu-1".to_owned())];
    let series = |profile_type, instance: &str| PartSeries {
        profile_type,
        instance: instance.to_owned(),
        labels: labels.clone(),
    };
    let row = |series, window: u64, node, value| PartRow {
        series,
        window_ms: window * MINUTE,
        window_len_ms: 60_000,
        node,
        value,
        samples: value % 7,
    };
    Part {
        service: service.to_owned(),
        modules: vec![Module { build_id, name: Arc::from("shop") }],
        frames: vec![
            Frame::Truncated,
            Frame::Native { build_id, address: u64::MAX - 3 },
            Frame::Native { build_id, address: 0x1000 + u64::from(seed) },
            Frame::Symbolic { function: Arc::from("main"), file: Arc::from("src/main.rs"), line: 7 },
        ],
        nodes: vec![
            Node { parent: Node::ROOT, frame: 0 },
            Node { parent: 0, frame: 1 },
            Node { parent: Node::ROOT, frame: 3 },
            Node { parent: 2, frame: 2 },
        ],
        series: vec![series(cpu.clone(), "a"), series(cpu, "b"), series(heap, "a")],
        rows: vec![row(0, 1, 1, 5), row(1, 1, 3, u64::MAX >> 1), row(0, 2, 3, 6), row(2, 2, 2, 7)],
        windows: vec![PartWindow {
            window_ms: MINUTE,
            window_len_ms: 60_000,
            covered_ms: 50_000,
            instance: "a".to_owned(),
            instances: 1,
            labels,
        }],
        traces: vec![
            PartTrace { link: link(1), time_ms: MINUTE + 3, series: 0, node: 1, value: 9 },
            PartTrace { link: link(2), time_ms: MINUTE + 4, series: 1, node: 3, value: 10 },
        ],
        spans: vec![SpanSummary {
            link: link(2),
            route: Arc::from("GET /checkout"),
            start_ms: MINUTE + 1,
            duration_us: 1234,
            status: SpanStatus::Error,
            weight: 2.5,
        }],
    }
}

fn write(parts: &[Part]) -> Vec<(Bytes, u32)> {
    let mut writer = SegmentWriter::new(|_| Vec::new()).unwrap();
    for part in parts {
        writer.add(part).unwrap();
    }
    let checked = |(_, bytes): (Table, Vec<u8>)| (Bytes::from(bytes.clone()), crc32fast::hash(&bytes));
    writer.finish().unwrap().into_iter().map(checked).collect()
}

fn open(files: &[(Bytes, u32)]) -> Result<Segment, ColumnarError> {
    Segment::open(|table| files[table as usize].clone())
}

#[test]
fn a_segment_gives_back_each_service() {
    let parts = [part("cart", 1), part("checkout", 2), part("gateway", 3)];
    let segment = open(&write(&parts)).unwrap();
    assert_eq!(segment.services().unwrap(), ["cart", "checkout", "gateway"]);
    for part in &parts {
        assert_eq!(segment.whole(&part.service).unwrap(), *part);
    }
    assert_eq!(segment.whole("nobody").unwrap(), Part { service: "nobody".to_owned(), ..Part::default() });
}

#[test]
fn type_and_time_select_rows() {
    let whole = part("cart", 1);
    let segment = open(&write(std::slice::from_ref(&whole))).unwrap();
    let rows = |profile_type, range| segment.part("cart", profile_type, &range).unwrap().rows;
    assert_eq!(rows(Some("cpu"), 0..u64::MAX), whole.rows[..3]);
    assert_eq!(rows(Some("inuse_space"), 0..u64::MAX), whole.rows[3..]);
    assert_eq!(rows(Some("cpu"), 2 * MINUTE..3 * MINUTE), whole.rows[2..3]);
    assert_eq!(rows(None, 2 * MINUTE..3 * MINUTE), whole.rows[2..]);
    assert_eq!(rows(Some("lock"), 0..u64::MAX), []);
}

#[test]
fn several_parts_of_a_service_read_as_one() {
    let (one, two) = (part("cart", 1), part("cart", 2));
    let both = open(&write(&[one.clone(), two.clone()])).unwrap().whole("cart").unwrap();
    assert_eq!(both.nodes.len(), one.nodes.len() + two.nodes.len());
    let total = |part: &Part| part.rows.iter().map(|row| u128::from(row.value)).sum::<u128>();
    assert_eq!(total(&both), total(&one) + total(&two));
    let frame = |part: &Part, row: usize| part.frames[part.nodes[part.rows[row].node as usize].frame as usize].clone();
    assert!((0..both.rows.len()).any(|row| frame(&both, row) == frame(&two, 1)));
}

#[test]
fn a_trace_is_found_in_every_service() {
    let segment = open(&write(&[part("cart", 1), part("checkout", 2)])).unwrap();
    let found = segment.trace(link(2).trace_id).unwrap();
    let services: Vec<_> = found.iter().map(|part| (part.service.as_str(), part.traces.len())).collect();
    assert_eq!(services, [("cart", 1), ("checkout", 1)]);
    assert_eq!(found[1].traces[0].value, 10);
    assert!(segment.trace(link(9).trace_id).unwrap().is_empty());
}

#[test]
fn labels_survive_any_text() {
    let labels = vec![("a".to_owned(), "=,\\".to_owned()), ("b".to_owned(), String::new())];
    assert_eq!(labels_from_text(&labels_to_text(&labels)), labels);
    assert_eq!(labels_from_text(""), []);
}

#[test]
fn damage_is_an_error() {
    let files = write(&[part("cart", 1), part("checkout", 2)]);
    for table in Table::ALL {
        let (whole, crc) = files[table as usize].clone();
        for at in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 0x55;
            for damage in [whole.slice(..at), Bytes::from(flipped)] {
                let mut damaged = files.clone();
                damaged[table as usize] = (damage, crc);
                assert!(matches!(open(&damaged), Err(ColumnarError::Checksum { .. })), "{table:?} at {at}");
            }
        }
    }
}

#[test]
fn another_table_s_columns_are_refused() {
    let mut files = write(&[part("cart", 1)]);
    files.swap(Table::Samples as usize, Table::Spans as usize);
    assert!(matches!(open(&files), Err(ColumnarError::Inconsistent { table: Table::Samples, .. })));
}
