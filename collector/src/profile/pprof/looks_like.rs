//! What a body is that is no pprof profile: told by its content, never by its name, so that a refusal can say what to do. Doors that take
//! pprof alone refuse here what `profile/formats` takes.
//!
//! Formats are looked for from the most to the least certain: by their first bytes, by the first lines of a text, by the fields of a
//! protobuf message.

use crate::profile::wire::{Value, Wire};

/// How much of a text is looked at: headers of all formats are in its first lines.
const HEAD_BYTES: usize = 16 << 10;

/// A format that is known by name and not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LooksLike {
    /// With its article: "it looks like …".
    pub what: &'static str,
    /// What its sender can do.
    pub advice: &'static str,
}

const AS_PPROF: &str = "record it as pprof; most profilers can write that";
const TAKEN: &str = "tephra import and POST /api/v1/profiles take it as it is, as long as it is whole";
const PERF: &str = "print it, and send that: perf script -i FILE | tephra import - service=NAME";
const LEGACY: &str = "convert it: go tool pprof -proto BINARY FILE > out.pb.gz";
const JFR: &str = "convert it: jfrconv -o pb.gz FILE out.pb.gz (it comes with async-profiler)";
const NODE: &str = "take a .heapprofile or a .cpuprofile instead";
const UNPACK: &str = "unpack it, and send the profile in it";

/// What `body`, inflated where it was gzipped, seems to be; `None`: nothing known.
pub(super) fn looks_like(body: &[u8]) -> Option<LooksLike> {
    let (what, advice) = magic(body).or_else(|| text(body)).or_else(|| protobuf(body))?;
    Some(LooksLike { what, advice })
}

type Known = (&'static str, &'static str);

fn magic(body: &[u8]) -> Option<Known> {
    const MAGIC: [(&[u8], Known); 14] = [
        (b"\x1f\x8b", ("a file that was gzipped twice", "inflate it once: gzip -d")),
        (b"PK\x03\x04", ("a zip archive", UNPACK)),
        (b"\x28\xb5\x2f\xfd", ("a file compressed with zstd", UNPACK)),
        (b"\xfd7zXZ\0", ("a file compressed with xz", UNPACK)),
        (b"BZh", ("a file compressed with bzip2", UNPACK)),
        (b"\x04\x22\x4d\x18", ("a file compressed with lz4", UNPACK)),
        (b"FLR\0", ("a recording of Java Flight Recorder (JFR)", JFR)),
        (b"PERFILE2", ("a recording of perf (perf.data)", PERF)),
        (b"\x7fELF", ("a program or library (ELF)", "its symbols are taken by: tephra symbols upload FILE")),
        (b"\xff\xfe", ("a text in UTF-16", "no profiler writes pprof as text: record it as pprof")),
        (b"\xfe\xff", ("a text in UTF-16", "no profiler writes pprof as text: record it as pprof")),
        (b"go 1.", ("an execution trace of Go", "take a profile instead: /debug/pprof/profile")),
        (b"SQLite format 3\0", ("a SQLite database, as Nsight and others write them", AS_PPROF)),
        (b"PAR1", ("a Parquet file", "a folder of Tephra's is opened by: tephra serve --data-dir")),
    ];
    if body.is_empty() {
        return Some(("an empty file", "was anything recorded? send what the profiler wrote"));
    }
    if is_gperftools_cpu(body) {
        return Some(("a CPU profile of gperftools", TAKEN));
    }
    MAGIC.iter().find(|(magic, _)| body.starts_with(magic)).map(|(_, known)| *known)
}

/// Words of 4 or 8 bytes, in either order: 0, how many words the header has beside these two (3 or more), and a version.
fn is_gperftools_cpu(body: &[u8]) -> bool {
    let words = |size: usize, is_big: bool| -> Option<[u64; 3]> {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(body.chunks_exact(size)) {
            let ordered: Vec<u8> = if is_big { bytes.to_vec() } else { bytes.iter().rev().copied().collect() };
            *word = ordered.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        (body.len() >= 5 * size).then_some(words)
    };
    let sizes = [(4, false), (8, false), (4, true), (8, true)];
    sizes
        .into_iter()
        .filter_map(|(size, is_big)| words(size, is_big))
        .any(|[zero, header, version]| zero == 0 && (3..16).contains(&header) && version <= 1)
}

fn text(body: &[u8]) -> Option<Known> {
    let head = &body[..body.len().min(HEAD_BYTES)];
    if head.iter().any(|byte| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b)) {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let lower = text.to_ascii_lowercase();
    match text.as_bytes().first()? {
        b'{' | b'[' => return Some(json(text)),
        b'<' if lower.contains("<svg") => {
            return Some(("a picture of a flame graph (SVG)", "send the profile that it was drawn from"));
        }
        b'<' if lower.starts_with("<!doctype html") || lower.contains("<html") => {
            return Some(("a web page (HTML)", "was this a login or an error page? fetch the profile itself"));
        }
        b'<' => return Some(("an XML document", AS_PPROF)),
        _ => {}
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(200).collect();
    let first = *lines.first()?;
    if first.contains(" profile: total ") || first.starts_with("heap profile: ") {
        return Some((
            "a profile as text (debug=1)",
            "fetch it without debug=1; tephra import and POST /api/v1/profiles take heaps and counts as text, too",
        ));
    }
    if ["--- ", "heap_v2/", "growthz", "heapz"].iter().any(|start| first.starts_with(start)) {
        return Some(("a profile of gperftools or jemalloc", LEGACY));
    }
    let says = |start: &str| lines.iter().take(8).any(|line| line.starts_with(start));
    if first.starts_with("# callgrind format")
        || (says("events: ") && (says("version: ") || says("fn=") || says("fl=")))
    {
        return Some(("an output of callgrind", AS_PPROF));
    }
    if lines.iter().take(32).any(|line| is_perf_header(line)) {
        return Some(("an output of perf script", TAKEN));
    }
    if lines.iter().filter(|line| !line.starts_with('#')).take(50).any(|line| is_folded(line)) {
        return Some(("folded stacks", TAKEN));
    }
    Some(("a text", AS_PPROF))
}

fn json(text: &str) -> Known {
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    if text.contains("speedscope.app/file-format-schema") {
        ("a speedscope file (JSON)", TAKEN)
    } else if has("resourceProfiles") {
        ("OpenTelemetry profiles (JSON)", AS_PPROF)
    } else if has("selfSize") && has("callFrame") {
        ("a heap profile of V8 (.heapprofile)", TAKEN)
    } else if has("snapshot") && has("node_fields") {
        ("a heap snapshot of V8 (.heapsnapshot)", NODE)
    } else if (has("callFrame") && has("nodes")) || (has("head") && has("functionName")) {
        ("a CPU profile of V8 (.cpuprofile)", TAKEN)
    } else if has("traceEvents") || (has("ph") && has("ts")) {
        ("a trace of Chrome (JSON)", AS_PPROF)
    } else if has("flamebearer") {
        ("a flame graph of Pyroscope (JSON)", "export it as pprof there")
    } else if has("threads") && has("libs") {
        ("a profile of Firefox or samply (JSON)", TAKEN)
    } else {
        ("JSON", "was this an error message? fetch the profile itself")
    }
}

/// Such as `name 4152/4153 [001] 75695.008865:     10 cycles:u:`.
fn is_perf_header(line: &str) -> bool {
    let Some((before, after)) = line.split_once(": ") else { return false };
    let mut words = before.split_whitespace().rev();
    let is_time = words.next().is_some_and(|time| {
        time.split_once('.').is_some_and(|(s, fraction)| is_number(s) && is_number(fraction) && fraction.len() >= 6)
    });
    let is_thread = words.any(|word| word.split('/').all(is_number));
    is_time && is_thread && !line.starts_with([' ', '\t']) && after.trim_end().ends_with(':')
}

/// Such as `main;run;step 12`.
fn is_folded(line: &str) -> bool {
    let Some((stack, count)) = line.rsplit_once(' ') else { return false };
    !stack.trim().is_empty() && stack.contains(';') && count.parse::<f64>().is_ok_and(|count| count >= 0.0)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// OpenTelemetry's `ProfilesData` and requests to export them: field 1 holds resources, field 2 the tables. pprof's field 1 holds
/// nothing but numbers, and its field 2 no fields beyond 3.
fn protobuf(body: &[u8]) -> Option<Known> {
    let mut is_other = false;
    for field in Wire(body) {
        let (number, message) = field.ok()?;
        let message = message.bytes().unwrap_or_default();
        is_other |= Wire(message).map_while(Result::ok).take(64).any(|(inner, value)| match number {
            1 => !matches!(value, Value::Number(_) | Value::Bytes([])),
            _ => inner > 3,
        });
        if !matches!(number, 1 | 2) {
            return None;
        }
    }
    is_other.then_some(("OpenTelemetry profiles (OTLP)", AS_PPROF))
}

#[cfg(test)]
mod tests {
    use crate::profile::import::ImportError;
    use crate::profile::pprof::decode;

    /// What a refusal of `body` says, and what it tells to do.
    fn refusal(body: &[u8]) -> (String, String) {
        let error = decode(body).unwrap_err();
        (error.to_string(), error.hint().to_owned())
    }

    fn words(words: &[u64], size: usize, is_big: bool) -> Vec<u8> {
        let bytes = |word: &u64| {
            let all = word.to_be_bytes();
            let mut bytes = all[8 - size..].to_vec();
            if !is_big {
                bytes.reverse();
            }
            bytes
        };
        words.iter().flat_map(bytes).collect()
    }

    #[test]
    fn other_formats_are_refused_by_name_with_what_to_do() {
        let utf16: Vec<u8> = "\u{feff}a;b 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let twice = crate::profile::testing::gzip(&crate::profile::testing::gzip(b"x"));
        for (body, what, advice) in [
            (&b"main;a 3\nmain;b 4\n"[..], "folded stacks", "tephra import"),
            (b"# made by hand\na;b;c 1\r\na;b;d 4\r\n", "folded stacks", "tephra import"),
            (&utf16, "UTF-16", "record it as pprof"),
            (
                br#"{"$schema":"https://www.speedscope.app/file-format-schema.json","profiles":[]}"#,
                "speedscope",
                "tephra import",
            ),
            (
                br#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)"}}],"startTime":1}"#,
                ".cpuprofile",
                "tephra import",
            ),
            (br#"{"head":{"functionName":"(root)","url":""},"startTime":1}"#, ".cpuprofile", "tephra import"),
            (
                br#"{"head":{"callFrame":{"functionName":"(root)"},"selfSize":0},"samples":[]}"#,
                ".heapprofile",
                "tephra import",
            ),
            (br#"{"snapshot":{"meta":{"node_fields":["type"]}}}"#, ".heapsnapshot", ".heapprofile"),
            (br#"{"resourceProfiles":[]}"#, "OpenTelemetry", "pprof"),
            (br#"[{"ph":"X","ts":1,"name":"a"}]"#, "Chrome", "pprof"),
            (br#"{"error":"unauthorized"}"#, "JSON", "error message"),
            (b"FLR\0\0\x02\0\0\0\0", "Java Flight Recorder", "jfrconv"),
            (b"PERFILE2\x68\0\0\0", "perf.data", "perf script -i"),
            (
                b"shop  4152/4153 [001] 75695.008865:          1 cycles:u: \n\t d70 main (/bin/shop)\n",
                "perf script",
                "tephra import",
            ),
            (
                b"heap profile: 13: 1595680 [471: 258] @ heap/1048576\n1: 524288 [3: 9] @ 0x1\n",
                "debug=1",
                "without debug=1",
            ),
            (b"goroutine profile: total 9\n1 @ 0x43\n", "debug=1", "without debug=1"),
            (b"--- contentionz 1 ---\ncycles/second = 3201000000\n", "gperftools", "go tool pprof -proto"),
            (b"heap_v2/524288\n  t*: 1: 2 [0: 0]\n", "jemalloc", "go tool pprof -proto"),
            (&words(&[0, 3, 0, 10_000, 0, 1], 8, false), "CPU profile of gperftools", "tephra import"),
            (&words(&[0, 3, 1, 10_000, 0, 1], 4, true), "CPU profile of gperftools", "tephra import"),
            (b"# callgrind format\nevents: Instructions\n\nfl=a.c\n", "callgrind", "pprof"),
            (b"version: 1\ncreator: callgrind-3.18\nevents: Ir\nfn=main\n", "callgrind", "pprof"),
            (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "HTML", "login"),
            (b"<?xml version=\"1.0\"?>\n<svg width=\"1200\"></svg>", "SVG", "drawn from"),
            (b"PK\x03\x04\x14\0", "zip", "unpack"),
            (b"\x28\xb5\x2f\xfd\x04\0", "zstd", "unpack"),
            (b"\x7fELF\x02\x01\x01\0", "ELF", "tephra symbols upload"),
            (&twice, "gzipped twice", "inflate it once"),
            (b"hello there, profiler", "a text", "pprof"),
            (b"", "an empty file", "was anything recorded"),
            // A resource with an attribute; a table of functions with one entry.
            (&[0x0a, 6, 0x0a, 4, 0x0a, 2, 0x0a, 0], "OTLP", "pprof"),
            (&[0x12, 6, 0x2a, 0, 0x3a, 2, 0x08, 1], "OTLP", "pprof"),
        ] {
            for body in [body.to_vec(), crate::profile::testing::gzip(body)] {
                let (said, hint) = refusal(&body);
                assert!(said.contains(what) && hint.contains(advice), "{body:?}: {said:?} ({hint:?})");
            }
        }
    }

    #[test]
    fn what_nobody_knows_is_said_to_be_no_pprof_profile() {
        let (said, _) = refusal(&[0x0b, 0xff, 0x00, 0x01]);
        assert!(said.contains("not a pprof profile"), "{said}");
        let mut cut = crate::profile::testing::gzip(b"main;a 3\n");
        cut.truncate(cut.len() - 6);
        let error = decode(&cut).unwrap_err();
        assert!(matches!(error, ImportError::DamagedGzip(_)) && error.hint().contains("again"), "{error}");
    }
}
