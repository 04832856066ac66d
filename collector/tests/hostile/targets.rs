//! One function per door that bytes from strangers come through. Each takes anything, and panics when a promise about what it made of
//! it does not hold. Also the bodies of the cargo-fuzz targets in `collector/fuzz`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use prost::Message;
use tephra_collector::alerts::link::AlertLink;
use tephra_collector::base::times;
use tephra_collector::http::ScrapeConfig;
use tephra_collector::http::params::Params;
use tephra_collector::profile::decode::{self, Header, Lateness, Opened, Window};
use tephra_collector::profile::formats::{self, Asked, Format};
use tephra_collector::profile::model::Node;
use tephra_collector::profile::otlp;
use tephra_collector::profile::pprof;
use tephra_collector::profile::since_start::{Totals, added_since};
use tephra_collector::store::bulk::{AsideObject, Bulk, BulkError, ObjectInfo};
use tephra_collector::store::segment;
use tephra_collector::symbols::{elf, table::Table};
use tephra_collector::urls::is_web_link;
use tephra_proto::ids::{BuildId, InstanceName, ServiceName, SpanId, TraceId};
use tephra_proto::{codec, label, v1};

/// A door: takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const TARGETS: [(&str, Target); 19] = [
    ("window", window),
    ("frame", frame),
    ("header", header),
    ("pprof_body", pprof_body),
    ("formats", formats),
    ("folded", folded),
    ("perf_script", perf_script),
    ("speedscope", speedscope),
    ("v8", v8),
    ("gecko", gecko),
    ("gperftools", gperftools),
    ("counts", counts),
    ("otlp", otlp),
    ("since_start", since_start),
    ("scrape_file", scrape_file),
    ("segment_object", segment_object),
    ("names", names),
    ("query", query),
    ("binary", binary),
];

const NOW_MS: u64 = 1_700_000_000_000;

/// A header that nothing is wrong with.
fn good_header() -> Header {
    let wire = v1::PushHeader {
        agent_id: vec![1; 16],
        boot_id: 1,
        sequence: 1,
        service: "shop".to_owned(),
        window_start_unix_ms: NOW_MS,
        window_duration_ms: 10_000,
        ..v1::PushHeader::default()
    };
    decode::check(&wire, Lateness::Stored).expect("a good header")
}

/// What an agent packs: a serialized `WindowPayload`.
pub(crate) fn window(payload: &[u8]) {
    let Ok(packed) = codec::compress(payload) else { return };
    if let Some(window) = read(&packed, payload.len() as u32) {
        check(&window);
    }
}

/// What an agent sends: a zstd frame.
pub(crate) fn frame(packed: &[u8]) {
    for claim in [0, packed.len() as u32, 1 << 16, u32::MAX] {
        read(packed, claim);
    }
}

fn read(packed: &[u8], claim: u32) -> Option<Window> {
    let opened = Opened::open(packed, claim).ok()?;
    let promised = opened.memory();
    let before = super::memory::reset();
    let read = opened.read(good_header());
    let taken = super::memory::peak().saturating_sub(before);
    assert!(taken <= promised + (64 << 10), "{taken} bytes taken, {promised} promised");
    read.ok()
}

/// Every index of a decoded window is one.
fn check(window: &Window) {
    for (at, node) in window.nodes.iter().enumerate() {
        assert!(node.parent == Node::ROOT || (node.parent as usize) < at, "node {at}");
        assert!((node.frame as usize) < window.frames.len(), "node {at}");
    }
    for row in window.series.iter().flat_map(|series| &series.rows) {
        assert!((row.node as usize) < window.nodes.len());
        assert!(row.link.is_none_or(|link| (link as usize) < window.links.len()));
    }
    for series in &window.series {
        assert!(series.total() <= 1 << 53 && series.samples() <= 1 << 53);
        assert!(series.labels.pairs().windows(2).all(|pair| pair[0].0 < pair[1].0), "by name, each once");
    }
    assert!(window.spans.iter().all(|span| span.weight.is_finite() && span.weight >= 1.0));
}

/// The header beside it.
pub(crate) fn header(bytes: &[u8]) {
    let Ok(wire) = v1::PushHeader::decode(bytes) else { return };
    for lateness in [
        Lateness::Live { now_ms: NOW_MS },
        Lateness::Import { now_ms: NOW_MS, retention_ms: 86_400_000 },
        Lateness::Stored,
    ] {
        if let Ok(header) = decode::check(&wire, lateness) {
            assert!(header.end_ms() > header.start_ms);
            let visible = |text: &str| text.chars().all(label::is_printable);
            assert!(visible(header.instance.as_str()) && visible(&header.agent_version));
            assert!(header.labels.iter().all(|(_, value)| visible(value)));
            assert!(header.labels.pairs().is_sorted());
        }
    }
}

/// An uploaded pprof body. What is taken must be a window that is taken.
pub(crate) fn pprof_body(body: &[u8]) {
    super::memory::reset();
    let Ok(imported) = pprof::decode(body) else { return };
    // Names were made fit, and what no window can hold was left out: only all types together may have too many rows.
    imported_window(&imported.payload, &["count"]);
}

/// An uploaded body of any format, as its content says, and as each format would read it.
pub(crate) fn formats(body: &[u8]) {
    super::memory::reset();
    if let Ok(imported) = formats::decode(body) {
        imported_window(&imported.payload, &["count"]);
    }
}

/// An export of OpenTelemetry profiles: each of its parts is a window or refused by itself.
pub(crate) fn otlp(message: &[u8]) {
    super::memory::reset();
    let message = prost::bytes::Bytes::copy_from_slice(message);
    let Ok(parts) = otlp::decode(&message) else { return };
    for part in parts.flatten() {
        imported_window(&part.imported.payload, &["count"]);
    }
}

/// What a scraped process has counted since it began, twice: what was added is a window, and never more than there was.
pub(crate) fn since_start(body: &[u8]) {
    super::memory::reset();
    let (first, second) = body.split_at(body.len() / 2);
    let decoded = [body, first, second].map(|body| pprof::decode(body).ok());
    for before in decoded.iter().flatten() {
        let counts = |name: &str| !name.starts_with("inuse");
        let looked = added_since(&Totals::default(), &mut before.payload.clone(), counts);
        for now in decoded.iter().flatten() {
            let mut payload = now.payload.clone();
            let next = added_since(&looked.totals, &mut payload, counts);
            assert!(payload.series.len() <= now.payload.series.len());
            assert!(next.totals.rows() <= now.payload.series.iter().map(|series| series.stack.len()).sum());
            imported_window(&payload, &["count"]);
        }
    }
}

/// A file that says what to scrape, and one of targets, which whatever runs on the machine may have written.
pub(crate) fn scrape_file(text: &[u8]) {
    super::memory::reset();
    if let Ok(text) = std::str::from_utf8(text)
        && let Err(problem) = ScrapeConfig::parse(text, Path::new("/"))
    {
        assert!(problem.line <= text.lines().count() + 1, "{problem}");
    }
}

/// Folded stacks, as `perf` scripts and other tools write them, and lines without counts.
pub(crate) fn folded(text: &[u8]) {
    read_as(Format::Folded, text);
    read_as(Format::Lines, text);
}

pub(crate) fn perf_script(text: &[u8]) {
    read_as(Format::PerfScript, text);
}

pub(crate) fn speedscope(text: &[u8]) {
    read_as(Format::Speedscope, text);
}

pub(crate) fn v8(text: &[u8]) {
    read_as(Format::V8Cpu, text);
    read_as(Format::V8Heap, text);
}

pub(crate) fn gecko(text: &[u8]) {
    read_as(Format::Gecko, text);
}

pub(crate) fn gperftools(body: &[u8]) {
    read_as(Format::GperftoolsCpu, body);
}

pub(crate) fn counts(text: &[u8]) {
    read_as(Format::Counts, text);
}

/// What is taken must be a window that is taken, whatever a stranger says it is.
fn read_as(format: Format, body: &[u8]) {
    for asked in
        [Asked::default(), Asked { name: Some("cpu".into()), unit: Some("nanoseconds".into()), ..Asked::default() }]
    {
        if let Ok(imported) = formats::decode_in(format, body, &asked) {
            imported_window(&imported.payload, &["count"]);
        }
    }
}

fn imported_window(payload: &v1::WindowPayload, may_be_refused: &[&str]) {
    let bytes = payload.encode_to_vec();
    let packed = codec::compress(&bytes).expect("memory to compress in");
    let read = Opened::open(&packed, bytes.len() as u32).and_then(|opened| opened.read(good_header()));
    match read {
        Ok(window) => check(&window),
        Err(refused) => assert!(may_be_refused.contains(&refused.reason()), "{refused}"),
    }
}

/// An object in the store's folder: as it lies there, and with a checksum that fits, as only a fault of ours could write it.
pub(crate) fn segment_object(bytes: &[u8]) {
    open_segment(bytes, 0);
    let mut object = b"TEPHRAL0\x01\0\0\0\0\0\0\0".to_vec();
    object.extend_from_slice(bytes);
    let crc = crc32fast::hash(bytes);
    object.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    object.extend_from_slice(&crc.to_le_bytes());
    object.extend_from_slice(b"TEPHRAL0");
    open_segment(&object, crc);
}

fn open_segment(object: &[u8], crc: u32) {
    let bulk = OneObject(object.to_vec());
    let tail = object.len().checked_sub(12).and_then(|at| object.get(at..at + 4));
    let crc = tail.map_or(crc, |four| u32::from_le_bytes(four.try_into().expect("four bytes")));
    let Ok(footer) = segment::read_footer(&bulk, "object", object.len() as u64, crc) else { return };
    for info in footer.windows.iter().take(100) {
        if let Ok(stored) = segment::read_window(&bulk, "object", info) {
            let _ = decode::decode(&stored.header, &stored.payload, stored.payload_bytes, Lateness::Stored);
        }
        for sum in &info.types {
            sum.read_type();
        }
    }
    if let Ok(traces) = segment::read_traces(&bulk, "object", &footer) {
        assert!(traces.find(7).count() <= footer.traces as usize);
    }
}

#[derive(Debug)]
struct OneObject(Vec<u8>);

impl Bulk for OneObject {
    fn put(&self, _: &str, _: &[u8]) -> Result<(), BulkError> {
        Ok(())
    }
    fn get_range(&self, _: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, BulkError> {
        let rest = self.0.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        Ok(rest.get(..bytes).unwrap_or(rest).to_vec())
    }
    fn delete(&self, _: &str) -> Result<(), BulkError> {
        Ok(())
    }
    fn list(&self) -> Result<Vec<ObjectInfo>, BulkError> {
        Ok(vec![ObjectInfo { name: "object".into(), bytes: self.0.len() as u64, modified: SystemTime::UNIX_EPOCH }])
    }
    fn quarantine(&self, _: &str) -> Result<(), BulkError> {
        Ok(())
    }
    fn set_aside(&self, _: &str, _: u64) -> Result<(), BulkError> {
        Ok(())
    }
    fn list_aside(&self) -> Result<Vec<AsideObject>, BulkError> {
        Ok(Vec::new())
    }
    fn delete_aside(&self, _: &AsideObject) -> Result<(), BulkError> {
        Ok(())
    }
    fn put_tombstone(&self, _: &str, _: &[u8]) -> Result<(), BulkError> {
        Ok(())
    }
    fn tombstones(&self) -> Result<Vec<(String, Vec<u8>)>, BulkError> {
        Ok(Vec::new())
    }
    fn delete_tombstone(&self, _: &str) -> Result<(), BulkError> {
        Ok(())
    }
}

/// The grammar of names, labels and ids: what is taken is short, visible, and comes back as it was.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if ServiceName::parse(text).is_ok() {
        assert!(text.len() <= 128 && text.is_ascii() && !text.contains(['<', '"', '\\', '\n', ' ']), "{text:?}");
    }
    if InstanceName::parse(text).is_ok() || label::check_value(text).is_ok() {
        assert!(text.len() <= 256 && text.chars().all(label::is_printable), "{text:?}");
    }
    if label::check_name(text).is_ok() {
        assert!(!text.starts_with('_') && text.len() <= 64, "{text:?}");
    }
    if let Ok(id) = TraceId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    let _ = SpanId::parse(text);
    if let Ok(id) = BuildId::parse(text) {
        assert!(id.to_string().bytes().all(|b| b.is_ascii_hexdigit()), "it names files");
    }
    if is_web_link(text) {
        assert!(text.starts_with("http"), "{text:?}");
    }
}

/// Query strings and alert links.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ms) = times::parse_time(text, NOW_MS) {
        assert!(ms <= i64::MAX as u64, "{text:?} is {ms}");
    }
    if let Ok(ms) = times::parse_duration(text) {
        assert!(ms > 0, "{text:?}");
    }
    let Ok(params) = Params::parse(text) else { return };
    if let Ok(one) = params.clone().selection(NOW_MS) {
        assert!(one.from_ms < one.until_ms);
    }
    if let Ok((a, b)) = params.clone().two_selections(NOW_MS) {
        assert!(a.from_ms < a.until_ms && b.from_ms < b.until_ms);
        assert_eq!(a.profile_type, b.profile_type);
    }
    if let Ok((link, _)) = AlertLink::parse(params.into_pairs(), NOW_MS) {
        assert!(link.from_ms() <= link.at_ms);
    }
}

/// An uploaded binary, as far as the collector itself looks at it, and a symbol table made of one.
pub(crate) fn binary(bytes: &[u8]) {
    if let Ok(table) = Table::parse(bytes) {
        let module: Arc<str> = "shop".into();
        for address in [0, 1, 0x1000, 0x1234, u64::MAX] {
            assert!(table.lookup(address, &module).len() <= 128);
        }
    }
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("room for it");
    if let Ok(identity) = elf::identify(&file) {
        assert!(identity.is(&identity.build_id(), false));
    }
    let _ = elf::image_base(&file);
}
