//! What a body is, by its content and never by its name. What is not taken, or nobody knows, is left to pprof's decoder, which says what
//! it looks like.

use super::Format;
use super::{counts, folded, gperftools, perf};
use crate::profile::formats::json::Json;

/// How much of a text is looked at: headers of all formats are in its first lines.
const HEAD_BYTES: usize = 16 << 10;

/// Lines of it that are looked at.
const HEAD_LINES: usize = 200;

/// `None`: pprof, or nothing that is taken.
pub(super) fn recognise(body: &[u8]) -> Option<Format> {
    if gperftools::is_one(body) {
        return Some(Format::GperftoolsCpu);
    }
    let head = &body[..body.len().min(HEAD_BYTES)];
    if head.iter().any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b)) {
        return None;
    }
    let head = String::from_utf8_lossy(head);
    let text = head.trim_start_matches('\u{feff}').trim_start();
    match text.as_bytes().first()? {
        b'{' => return json(&String::from_utf8_lossy(body)),
        b'[' | b'<' => return None,
        _ => {}
    }
    let is_cut = body.len() > HEAD_BYTES;
    let mut lines: Vec<&str> = text.lines().collect();
    if is_cut && lines.len() > 1 {
        lines.pop();
    }
    let lines = lines.into_iter().map(str::trim_end).filter(|line| !line.is_empty()).take(HEAD_LINES);
    let lines: Vec<&str> = lines.collect();
    if counts::is_one(lines.first()?) {
        Some(Format::Counts)
    } else if lines.iter().any(|line| perf::is_header(line)) {
        Some(Format::PerfScript)
    } else {
        folded::recognise(&lines)
    }
}

/// By the names that stand at its top, wherever in the file they are.
fn json(text: &str) -> Option<Format> {
    let mut top = Json::new(text.trim_start_matches('\u{feff}'), "JSON");
    let names = ["shared", "profiles", "nodes", "head", "threads", "meta", "resourceProfiles"];
    // Of a file that was cut short its top is known as far as it goes.
    let found = top.fields_so_far(names);
    let [shared, profiles, nodes, head, threads, meta, resource_profiles] = found.map(|field| field.is_some());
    if resource_profiles {
        return None;
    }
    if head {
        let [call_frame, own_size, function] = found[3]?.fields_so_far(["callFrame", "selfSize", "functionName"]);
        return match (call_frame.is_some() || own_size.is_some(), function.is_some()) {
            (true, _) => Some(Format::V8Heap),
            (false, true) => Some(Format::V8Cpu),
            (false, false) => None,
        };
    }
    if profiles && (shared || text.contains("speedscope.app/file-format-schema")) {
        Some(Format::Speedscope)
    } else if threads && meta {
        Some(Format::Gecko)
    } else if nodes {
        let mut first = found[2]?;
        let is_entered = first.array().ok()? && first.item().ok()?;
        let [call_frame] = if is_entered { first.fields_so_far(["callFrame"]) } else { [None] };
        call_frame.map(|_| Format::V8Cpu)
    } else {
        None
    }
}

/// A text in UTF-16, as some shells of Windows write what a program prints, in UTF-8; anything else as it is.
pub(super) fn as_utf8(body: Vec<u8>) -> Vec<u8> {
    let is_big = match body.get(..2) {
        Some(b"\xff\xfe") => false,
        Some(b"\xfe\xff") => true,
        _ => return body,
    };
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if is_big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let units = body.get(2..).unwrap_or_default().chunks_exact(2).map(unit);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}
