//! Files of other tools, small enough to reckon by hand: what they add up to, of which stacks, and what is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;
use tephra_proto::v1;

use super::{Asked, Format, decode, decode_as, decode_in, recognise};
use crate::profile::import::{ImportError, Imported};
use crate::profile::testing::gzip;

/// Value and samples by type, thread and stack: `cpu worker main;f`.
type Sums = BTreeMap<String, (u64, u64)>;

fn sums(imported: &Imported) -> Sums {
    let payload = &imported.payload;
    let (frames, stacks) = (payload.frames.as_ref().unwrap(), payload.stacks.as_ref().unwrap());
    let text = |index: u32| payload.strings[index as usize].as_str();
    let mut symbolic = 0;
    let mut names = Vec::new();
    for (at, module) in frames.module.iter().enumerate() {
        if *module > 0 {
            names.push(format!("<{}>", text(payload.modules[*module as usize - 1].name)));
            continue;
        }
        let (function, file, line) = (frames.function[symbolic], frames.file[symbolic], frames.line[symbolic]);
        let mark = if frames.inlined.contains(&(symbolic as u32)) { "~" } else { "" };
        let place = if file == 0 { String::new() } else { format!("@{}:{line}", text(file)) };
        names.push(format!("{mark}{}{place}", text(function)));
        symbolic += 1;
        assert_eq!(names.len(), at + 1);
    }
    let stack = |node: u32| {
        let (mut at, mut stack) = (node, Vec::new());
        loop {
            stack.push(names[stacks.frame[at as usize] as usize].as_str());
            match stacks.parent[at as usize] {
                0 => break,
                back => at -= back,
            }
        }
        stack.reverse();
        stack.join(";")
    };
    let mut sums = Sums::new();
    for series in &payload.series {
        for (row, node) in series.stack.iter().enumerate() {
            let set = &payload.label_sets[series.label_set[row] as usize];
            let thread = set.value.first().map_or(String::new(), |value| format!("{} ", text(*value)));
            let name = &series.r#type.as_ref().unwrap().name;
            let samples = series.samples.get(row).map_or(series.value[row], |samples| u64::from(*samples));
            let sum = sums.entry(format!("{name} {thread}{}", stack(*node))).or_default();
            *sum = (sum.0 + series.value[row], sum.1 + samples);
        }
    }
    sums
}

fn types(imported: &Imported) -> Vec<(String, String, u64)> {
    let of = |series: &v1::Series| series.r#type.clone().map(|t| (t.name, t.unit, t.period)).unwrap();
    imported.payload.series.iter().map(of).collect()
}

fn one(name: &str, unit: &str, period: u64) -> (String, String, u64) {
    (name.to_owned(), unit.to_owned(), period)
}

fn expected<const N: usize>(sums: [(&str, u64, u64); N]) -> Sums {
    sums.map(|(key, value, samples)| (key.to_owned(), (value, samples))).into()
}

fn refusal(body: &[u8]) -> String {
    let error = decode(body).unwrap_err();
    format!("{error} ({})", error.hint())
}

/// Every format once.
const FOLDED: &str = "# by hand\nmain;parse 3\nmain;render 4\r\n";
const PERF: &str = "\
# captured on a machine
shop w1  4152/4153 [001] 75695.000000:    1000000 cpu-clock:ppp:
\t     5d0c1f inner (inlined)
\t     5d0c1f outer+0x13 (/usr/bin/shop)
  main.c:12
\t     21b97 [unknown] (/lib/libc-2.27.so)

shop w1  4152/4153 [001] 75695.500000:    1000000 cpu-clock:ppp:
\t     5d0c1f inner (inlined)
\t     5d0c1f outer+0x13 (/usr/bin/shop)
  main.c:12
\t     21b97 [unknown] (/lib/libc-2.27.so)

shop w2  4152/4154 [000] 75697.000000:    1000000 cpu-clock:ppp:
\t 6ce258d4c544155 [unknown] ([unknown])

";
const SPEEDSCOPE: &str = r#"{"profiles":[
 {"type":"evented","name":"one","unit":"milliseconds","startValue":0,"endValue":3,"events":[
  {"type":"O","frame":0,"at":0},{"type":"O","frame":1,"at":1},{"at":2.5,"type":"C","frame":1},{"type":"C","frame":0,"at":3}]},
 {"type":"sampled","name":"two","unit":"seconds","startValue":0,"endValue":2,"samples":[[0,1],[0],[]],"weights":[0.25,1.5,9]}],
 "shared":{"frames":[{"name":"a","file":"a.c","line":3},{"name":"b"}]},
 "$schema":"https://www.speedscope.app/file-format-schema.json"}"#;
const V8: &str = r#"{"nodes":[
 {"id":1,"callFrame":{"functionName":"(root)","scriptId":"0","url":"","lineNumber":-1,"columnNumber":-1},"hitCount":0,"children":[2,4]},
 {"id":2,"callFrame":{"functionName":"run","url":"file:///app/shop.js","lineNumber":9},"hitCount":1,"children":[3]},
 {"id":3,"callFrame":{"functionName":"","url":"node:fs","lineNumber":4},"hitCount":1},
 {"id":4,"callFrame":{"functionName":"(idle)","url":"","lineNumber":-1},"hitCount":1}],
 "startTime":1000,"endTime":2000,"samples":[2,3,4],"timeDeltas":[100,200,300]}"#;
const V8_OLD: &str = r#"{"head":{"functionName":"(root)","url":"","lineNumber":-1,"id":1,"hitCount":0,"children":[
 {"children":[{"functionName":"g","url":"a.js","lineNumber":5,"id":3,"hitCount":1,"children":[]}],"functionName":"f","url":"a.js","lineNumber":1,"id":2,"hitCount":1}]},
 "startTime":1,"endTime":1,"samples":[2,3,3],"timestamps":[5000,6000,6500]}"#;
const V8_HEAP: &str = r#"{"head":{"callFrame":{"functionName":"(root)","url":"","lineNumber":-1},"selfSize":0,"id":1,"children":[
 {"callFrame":{"functionName":"f","url":"f.js","lineNumber":0},"selfSize":20,"id":2,"children":[
  {"children":[],"selfSize":5,"callFrame":{"functionName":"g","url":"","lineNumber":3}}]},
 {"callFrame":{"functionName":"h","url":"","lineNumber":-1},"selfSize":7,"children":[]}]},"samples":[]}"#;
const GECKO: &str = r#"{"meta":{"interval":1,"startTime":1700000000000,"preprocessedProfileVersion":49,"sampleUnits":{"time":"ms","threadCPUDelta":"µs"}},
 "libs":[{"name":"shop","codeId":"0909090909090909090909090909090909090909"},{"name":"old","codeId":null}],
 "threads":[
 {"name":"main","stringArray":["f","0x10","f.c","inner"],
  "stackTable":{"length":4,"prefix":[null,0,0,0],"frame":[0,1,2,3]},
  "frameTable":{"func":[0,1,2,3],"line":[7,null,8,null],"address":[-1,16,-1,18],"inlineDepth":[0,0,1,0]},
  "funcTable":{"name":[0,1,3,1],"fileName":[2,null,2,null],"resource":[-1,0,-1,1]},"resourceTable":{"lib":[0,1]},
  "samples":{"stack":[0,1,null,2,3],"time":[10,11,12,13,14],"threadCPUDelta":[null,500,3,200,1],"weight":null,"weightType":"samples"}},
 {"name":"io","stringArray":["f"],"stackTable":{"prefix":[null],"frame":[0]},"frameTable":{"func":[0]},"funcTable":{"name":[0]},
  "samples":{"stack":[0,0],"timeDeltas":[20,10]}}]}"#;
const HEAP: &str = "heap profile: 2: 1500 [10: 9000] @ heap_v2/1000\n1: 1000 [10: 9000] @ 0x400010 0x400021\n1: 500 [0: 0] @ 0x9\n\
    MAPPED_LIBRARIES:\n00400000-00500000 r-xp 00001000 fd:01 12   /usr/bin/shop\n";

fn gperftools(words: &[u64], bytes: usize, is_big: bool, text: &str) -> Vec<u8> {
    let word = |word: &u64| {
        let mut all = word.to_be_bytes()[8 - bytes..].to_vec();
        if !is_big {
            all.reverse();
        }
        all
    };
    let mut body: Vec<u8> = words.iter().flat_map(word).collect();
    body.extend_from_slice(text.as_bytes());
    body
}

fn cpp() -> Vec<u8> {
    let maps = "00400000-00500000 r-xp 00000000 fd:01 12 /usr/bin/shop\n7f00-7fff r-xp 00000000 fd:01 13 /lib/libpthread-2.15.so\n";
    let words = [0, 3, 0, 10_000, 0, 2, 3, 0x40_0010, 0x7f11, 0x40_0021, 5, 3, 0x40_0030, 0x7f11, 0x40_0030, 0, 1, 0];
    gperftools(&words, 8, false, maps)
}

#[test]
fn a_file_is_known_by_its_content() {
    let java = gperftools(&[0, 3, 1, 10_000, 0, 2, 1, 0x2d, 0, 1, 0], 4, true, " 0x2d a (b:1)\n");
    let bodies: [(&[u8], Format); 16] = [
        (FOLDED.as_bytes(), Format::Folded),
        (b"main 12\nmain;f 3\n", Format::Folded),
        (b"main;parse\nmain\nmain;operator new\n", Format::Lines),
        (PERF.as_bytes(), Format::PerfScript),
        (SPEEDSCOPE.as_bytes(), Format::Speedscope),
        (V8.as_bytes(), Format::V8Cpu),
        (V8_OLD.as_bytes(), Format::V8Cpu),
        (V8_HEAP.as_bytes(), Format::V8Heap),
        (GECKO.as_bytes(), Format::Gecko),
        (&cpp(), Format::GperftoolsCpu),
        (&java, Format::GperftoolsCpu),
        (HEAP.as_bytes(), Format::Counts),
        (b"heap_v2/524288\n  t*: 1: 2 [0: 0]\n", Format::Counts),
        (b"goroutine profile: total 9\n9 @ 0x1\n", Format::Counts),
        (b"--- contentionz 1 ---\n", Format::Counts),
        // Cut short.
        (&V8.as_bytes()[..V8.len() - 20], Format::V8Cpu),
    ];
    for (body, format) in bodies {
        assert_eq!(recognise::recognise(body), Some(format), "{}", String::from_utf8_lossy(body));
    }
    for body in [
        &b"hello there; profiler"[..],
        b"name;value\nfoo;12\n",
        b"a,b\nc;d\n",
        b"{\"error\":\"unauthorized\"}",
        b"{\"nodes\":[{\"id\":1}]}",
        b"[{\"ph\":\"X\"}]",
        b"<html>a;b 1</html>",
        b"\x0a\x04\x08\x01\x10\x02",
        b"\x7fELF",
        b"",
        b"\n\n",
        b"# nothing but this\n",
    ] {
        assert_eq!(recognise::recognise(body), None, "{}", String::from_utf8_lossy(body));
    }
    for (body, says) in [
        (&b"FLR\0\0\x02\0\0\0\0"[..], "Java Flight Recorder"),
        (b"PERFILE2\x68\0\0\0", "perf script -i"),
        (b"[{\"ph\":\"X\",\"ts\":1,\"name\":\"a\"}]", "Chrome"),
        (b"", "an empty file"),
        (b"{\"meta\":{\"interval\":1,\"version\":24},\"libs\":[],\"threads\":[]}", "save it there"),
    ] {
        assert!(refusal(body).contains(says), "{}", refusal(body));
    }
}

#[test]
fn folded_stacks_are_samples_unless_somebody_says_otherwise() {
    let imported = decode(&gzip(FOLDED.as_bytes())).unwrap();
    assert_eq!(types(&imported), [one("samples", "count", 0)]);
    assert_eq!(sums(&imported), expected([("samples main;parse", 3, 3), ("samples main;render", 4, 4)]));
    let asked = Asked { name: Some("wall".into()), unit: Some("us".into()), ..Asked::default() };
    let imported = decode_as(FOLDED.as_bytes(), &asked).unwrap();
    assert_eq!(types(&imported), [one("wall", "nanoseconds", 0)]);
    assert_eq!(sums(&imported), expected([("wall main;parse", 3_000, 1), ("wall main;render", 4_000, 1)]));
    let marked = decode(b"\xef\xbb\xbf a; b ;c d_[i]\t7\n// no stack\n;; 2\nThread 5;x 1\n").unwrap();
    assert_eq!(
        sums(&marked),
        expected([("samples a;b;~c d", 7, 7), ("samples [unknown]", 2, 2), ("samples Thread 5;x", 1, 1)])
    );
    let lines = decode(b"a;b\na;b\na\n").unwrap();
    assert_eq!(sums(&lines), expected([("samples a;b", 2, 2), ("samples a", 1, 1)]));
    let utf16: Vec<u8> = "\u{feff}a;größe 1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(sums(&decode(&utf16).unwrap()), expected([("samples a;größe", 1, 1)]));
    let strange = decode(b"a;\xff 1\n").unwrap();
    assert_eq!((sums(&strange), strange.remarks.names_made_fit), (expected([("samples a;\u{fffd}", 1, 1)]), 1));
}

#[test]
fn folded_stacks_that_are_no_sums_are_refused_by_their_line() {
    for (body, says) in [
        ("a;b 3 4\na;c 1 2\n", "line 1: two counts stand behind the stack (it is the difference of two profiles"),
        ("a;b 3\nno count\n", "line 2: no count stands behind \"no count\""),
        ("# c\na;b -3\n", "line 2: the count -3 is no whole number"),
        ("a;b 1.5\n", "line 1: the count 1.5 is no whole number"),
        ("a;b 99999999999999999999\n", "line 1: the count 99999999999999999999 is no whole number"),
        ("a;b 9007199254740992\na;c 1\n", "\"samples\" adds up to 9007199254740993, limit 9007199254740992"),
    ] {
        assert!(refusal(body.as_bytes()).contains(says), "{body:?}: {}", refusal(body.as_bytes()));
    }
    let asked = Asked { kinds: [("cpu".to_owned(), crate::profile::model::Kind::Gauge)].into(), ..Asked::default() };
    assert!(matches!(decode_as(FOLDED.as_bytes(), &asked), Err(ImportError::UnknownType { .. })));
    let asked = Asked { unit: Some("us".into()), ..Asked::default() };
    for (body, format) in
        [(PERF, "outputs of perf script say"), (SPEEDSCOPE, "speedscope files say"), (V8, "CPU profiles of V8 say")]
    {
        let error = decode_as(body.as_bytes(), &asked).unwrap_err().to_string();
        assert!(error.contains(format), "{error}");
    }
}

#[test]
fn perf_script_keeps_events_threads_inlined_frames_and_lines() {
    let imported = decode(PERF.as_bytes()).unwrap();
    assert_eq!(types(&imported), [one("cpu", "nanoseconds", 1_000_000)]);
    assert_eq!(
        sums(&imported),
        expected([
            ("cpu shop w1 [libc-2.27.so];outer@main.c:12;~inner", 2_000_000, 2),
            ("cpu shop w2 [unknown]", 1_000_000, 1)
        ])
    );
    assert_eq!(
        (imported.time_nanos, imported.duration_nanos),
        (0, 2_000_000_000),
        "a time since the machine's start is none"
    );
    let events = "a 1 1.000000: 300 cycles:u:\n\t1 f (x)\n\na 1 1.000001: 500 cycles:u:\n\t1 f (x)\n\na 1 1.000002: 1 sched:sched_switch: p=1\n\
        a 1 1.000003: PERF_RECORD_MMAP2 1/1: [0x1]\na 1 1.000003: 7 page-faults:  1 g+0x1 (x)\n";
    let imported = decode(events.as_bytes()).unwrap();
    assert_eq!(
        types(&imported),
        [one("cycles", "cycles", 0), one("sched_sched_switch", "count", 0), one("page_faults", "events", 7)]
    );
    let all = [("cycles a f", 800, 2), ("sched_sched_switch a [unknown]", 1, 1), ("page_faults a g", 7, 1)];
    assert_eq!(sums(&imported), expected(all));
    assert_eq!(imported.remarks.samples_without_stack, 1);
    let bare = decode(b"a 1 1.000000: cpu-clock: \n\t1 f (x)\n\na 1 1.000001: cpu-clock: \n\t1 f (x)\n").unwrap();
    assert_eq!((types(&bare), sums(&bare)), (vec![one("samples", "count", 0)], expected([("samples a f", 2, 2)])));
    let error = refusal(b"a 1 1.000000: 1 cycles:\n\t1 f (x)\nWarning: lost\n");
    assert!(error.contains("line 3: \"Warning: lost\" is neither"), "{error}");
}

#[test]
fn speedscope_adds_up_by_unit_and_thread() {
    let imported = decode(SPEEDSCOPE.as_bytes()).unwrap();
    assert_eq!(types(&imported), [one("wall", "nanoseconds", 0)]);
    let all = [
        ("wall one a@a.c:3", 1_500_000, 2),
        ("wall one a@a.c:3;b", 1_500_000, 1),
        ("wall two a@a.c:3;b", 250_000_000, 1),
        ("wall two a@a.c:3", 1_500_000_000, 1),
    ];
    assert_eq!((sums(&imported), imported.duration_nanos), (expected(all), 2_000_000_000));
    let asked = Asked { name: Some("cpu".into()), ..Asked::default() };
    assert_eq!(types(&decode_as(SPEEDSCOPE.as_bytes(), &asked).unwrap()), [one("cpu", "nanoseconds", 0)]);
    let mixed = SPEEDSCOPE.replace("\"seconds\"", "\"bytes\"").replace("\"milliseconds\"", "\"none\"");
    assert_eq!(types(&decode(mixed.as_bytes()).unwrap()), [one("samples", "count", 0), one("bytes", "bytes", 0)]);
    for (was, is, says) in [
        ("\"frame\":1,\"at\":1", "\"frame\":7,\"at\":1", "frame 7 is referred to but not there"),
        ("\"at\":1}", "\"at\":-1}", "an event at -1 follows one at 0"),
        ("\"type\":\"C\",\"frame\":1", "\"type\":\"C\",\"frame\":0", "frame 0 is closed, and is not the innermost"),
        ("[0.25,1.5,9]", "[0.25]", "fewer weights than samples"),
        ("[0.25,", "[-0.25,", "has the value -0.25"),
        ("\"line\":3}", "\"line\":3", "what goes on here does not belong to it"),
    ] {
        let broken = SPEEDSCOPE.replace(was, is);
        assert!(
            broken != SPEEDSCOPE && refusal(broken.as_bytes()).contains(says),
            "{says}: {}",
            refusal(broken.as_bytes())
        );
    }
}

#[test]
fn a_look_of_v8_stands_for_the_time_to_the_next_one() {
    let imported = decode(V8.as_bytes()).unwrap();
    assert_eq!(types(&imported), [one("cpu", "nanoseconds", 0), one("wall", "nanoseconds", 0)]);
    let all = [
        ("cpu run@/app/shop.js:10", 200_000, 1),
        ("cpu run@/app/shop.js:10;(anonymous)@node:fs:5", 300_000, 1),
        ("wall run@/app/shop.js:10", 200_000, 1),
        ("wall run@/app/shop.js:10;(anonymous)@node:fs:5", 300_000, 1),
        ("wall (idle)", 400_000, 1),
    ];
    assert_eq!((sums(&imported), imported.duration_nanos, imported.time_nanos), (expected(all), 1_000_000, 0));
    let old = decode(V8_OLD.as_bytes()).unwrap();
    let all = [("cpu f@a.js:2", 1_000_000, 1), ("cpu f@a.js:2;g@a.js:6", 1_000_000, 2)];
    let both: Sums = expected(all)
        .into_iter()
        .chain(
            expected(all.map(|(key, v, n)| (key, v, n)))
                .into_iter()
                .map(|(key, sum)| (key.replace("cpu", "wall"), sum)),
        )
        .collect();
    assert_eq!(sums(&old), both);
    let counted = V8.replace("\"samples\"", "\"other\"");
    assert_eq!(sums(&decode(counted.as_bytes()).unwrap())["samples run@/app/shop.js:10"], (1, 1));
    // Chrome's traces name each one's caller instead.
    let parents = r#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)"}},{"id":2,"parent":1,"callFrame":{"functionName":"f"}}],
        "startTime":0,"endTime":9,"samples":[2,1],"timeDeltas":[0,5]}"#;
    let imported = decode(parents.as_bytes()).unwrap();
    assert_eq!(sums(&imported)["wall f"], (5_000, 1));
    assert_eq!(sums(&imported)["wall (root)"], (4_000, 1));
    for (was, is, says) in [
        ("[2,3,4]", "[2,3,9]", "node 9 is referred to"),
        ("[100,200,300]", "[100]", "fewer times than samples"),
        ("[2,4]", "[2,8]", "node 8 is referred to"),
    ] {
        assert!(refusal(V8.replace(was, is).as_bytes()).contains(says), "{says}");
    }
    // Calls that went round in a circle end where stacks end.
    let circle = decode(V8.replace("\"hitCount\":1},\n", "\"hitCount\":1,\"children\":[2]},\n").as_bytes()).unwrap();
    assert_eq!(circle.remarks.samples_cut, 2);
}

#[test]
fn heaps_of_v8_nest_as_deep_as_they_like() {
    let imported = decode(V8_HEAP.as_bytes()).unwrap();
    assert_eq!(types(&imported), [one("inuse_space", "bytes", 0)]);
    let all = [("inuse_space f@f.js:1", 20, 1), ("inuse_space f@f.js:1;g", 5, 1), ("inuse_space h", 7, 1)];
    assert_eq!(sums(&imported), expected(all));
    assert_eq!(imported.payload.series[0].r#type.as_ref().unwrap().kind(), v1::Kind::Gauge);
    let depth = 3_000;
    let open = "{\"callFrame\":{\"functionName\":\"f\"},\"selfSize\":1,\"children\":[";
    let deep = format!("{{\"head\":{}{}}}", open.repeat(depth), "]}".repeat(depth));
    let imported = decode(deep.as_bytes()).unwrap();
    assert_eq!(imported.payload.series[0].value.iter().sum::<u64>(), depth as u64);
    assert_eq!(imported.remarks.samples_cut, depth as u64 - 512);
}

#[test]
fn gecko_keeps_builds_threads_and_the_time_that_processors_were_busy() {
    let imported = decode(&gzip(GECKO.as_bytes())).unwrap();
    assert_eq!(types(&imported), [one("cpu", "nanoseconds", 0), one("wall", "nanoseconds", 0)]);
    let all = [
        ("cpu main f@f.c:7;<shop>", 500_000, 1),
        ("cpu main f@f.c:7;~inner@f.c:8", 200_000, 1),
        ("cpu main f@f.c:7;old+0x12", 1_000, 1),
        ("wall io f", 2_000_000, 2),
    ];
    assert_eq!(sums(&imported), expected(all));
    assert_eq!((imported.time_nanos, imported.duration_nanos), (1_700_000_000_010_000_000, 21_000_000));
    assert_eq!(imported.payload.modules[0].build_id, vec![9; 20]);
    // What threads have in common may stand beside them.
    let shared = r#"{"meta":{"interval":2,"startTime":0,"preprocessedProfileVersion":58},"shared":{"stringArray":["f","a.c"],
        "stackTable":{"prefix":[null],"frame":[0]},"frameTable":{"func":[0],"line":[3]},"funcTable":{"name":[0],"source":[0]},"sources":{"filename":[1]}},
        "threads":[{"name":"a","samples":{"stack":[0],"time":[1]}},{"name":"b","samples":{"stack":[0],"weight":[3],"time":[1]}}]}"#;
    assert_eq!(
        sums(&decode(shared.as_bytes()).unwrap()),
        expected([("wall a f@a.c:3", 2_000_000, 1), ("wall b f@a.c:3", 6_000_000, 1)])
    );
    for (was, is, says) in [
        ("\"stack\":[0,1,", "\"stack\":[0,77,", "stack 77 is referred to"),
        ("\"func\":[0,1,", "\"func\":[0,77,", "function 77 is referred to"),
        ("[null,500,3,200,1]", "[null,500]", "a column of the samples is shorter"),
        ("\"prefix\":[null,0,0,0]", "\"prefix\":[null,0]", "of a version that is not known"),
    ] {
        assert!(
            refusal(GECKO.replace(was, is).as_bytes()).contains(says),
            "{says}: {}",
            refusal(GECKO.replace(was, is).as_bytes())
        );
    }
}

#[test]
fn cpu_profiles_of_gperftools_go_by_module_and_offset() {
    let imported = decode(&cpp()).unwrap();
    assert_eq!(types(&imported), [one("cpu", "nanoseconds", 10_000_000)]);
    assert_eq!(
        sums(&imported),
        expected([("cpu shop+0x20;shop+0x10", 20_000_000, 2), ("cpu shop+0x30", 50_000_000, 5)])
    );
    for (bytes, is_big) in [(4, false), (4, true), (8, true)] {
        let words = [0, 3, 1, 10_000, 0, 2, 2, 0x2d, 0x2e, 0, 1, 0];
        let java =
            gperftools(&words, bytes, is_big, "\n 0x2d com.example.Shop.total (Shop.java:21)\n 0x2e run (/lib/x.so)\n");
        let all = [("cpu run;com.example.Shop.total@Shop.java:21", 20_000_000, 2)];
        assert_eq!(sums(&decode(&java).unwrap()), expected(all));
    }
    let whole = cpp();
    assert!(refusal(&whole[..8 * 16]).contains("it ends before its last sample"));
    assert!(refusal(&whole[..8 * 9]).contains("byte 40: a sample is longer than the file"));
}

#[test]
fn what_samplers_of_heaps_saw_becomes_what_there_was() {
    let imported = decode(HEAP.as_bytes()).unwrap();
    let scale = |bytes: f64, objects: f64| 1.0 / (1.0 - (-bytes / objects / 1000.0f64).exp());
    let (a, b, c) = (scale(9000.0, 10.0), scale(1000.0, 1.0), scale(500.0, 1.0));
    let all = sums(&imported);
    assert_eq!(all["alloc_space shop+0x1020;shop+0x1010"].0, (9000.0 * a) as u64);
    assert_eq!(all["alloc_objects shop+0x1020;shop+0x1010"].0, (10.0 * a) as u64);
    assert_eq!(all["inuse_space shop+0x1020;shop+0x1010"].0, (1000.0 * b) as u64);
    assert_eq!(all["inuse_space 0x9"].0, (500.0 * c) as u64);
    assert_eq!(types(&imported)[3], one("inuse_space", "bytes", 1000));
    let jemalloc = "heap_v2/1000\n  t*: 1: 1000 [0: 0]\n  t0: 1: 1000 [0: 0]\n@ 0x400010 0x400021\n  t*: 1: 1000 [0: 0]\n  t0: 1: 1000 [0: 0]\n\n\
        MAPPED_LIBRARIES:\n00400000-00500000: /usr/bin/shop\n";
    let imported = decode(jemalloc.as_bytes()).unwrap();
    assert_eq!(types(&imported).len(), 2);
    assert_eq!(sums(&imported)["inuse_space shop+0x20;shop+0x10"].0, (1000.0 * b) as u64);
    let all_of_it = "heap profile: 1: 10 [1: 10] @ heapprofile\n1: 10 [1: 10] @ 0x1\n";
    assert_eq!(sums(&decode(all_of_it.as_bytes()).unwrap()), expected([("objects 0x1", 1, 1), ("space 0x1", 10, 1)]));
    assert!(
        refusal(b"heap profile: 1: 10 [1: 10] @ heapprofile\n0: 10 [1: 10] @ 0x1\n").contains("line 2: the numbers")
    );
}

#[test]
fn texts_of_go_have_its_names() {
    let go = "goroutine profile: total 9\n8 @ 0x43 0x44\n#\t0x42\tmain.wait+0x1\t\t/a.go:9\n#\t0x43\tmain.main+0x20\t/a.go:12\n\n1 @ 0x50\n";
    let imported = decode(go.as_bytes()).unwrap();
    assert_eq!(
        sums(&imported),
        expected([("goroutine main.main@/a.go:12;main.wait@/a.go:9", 8, 8), ("goroutine 0x50", 1, 1)])
    );
    assert_eq!(imported.payload.series[0].r#type.as_ref().unwrap().kind(), v1::Kind::Gauge);
    let contention = "--- contentionz 1 ---\ncycles/second = 2000000000\nsampling period = 100\nms since reset = 16\n  30 2 @ 0x10 0x21\n--- Memory map: ---\n";
    let imported = decode(contention.as_bytes()).unwrap();
    assert_eq!(sums(&imported), expected([("contentions 0x20;0x10", 200, 200), ("delay 0x20;0x10", 1_500, 200)]));
    assert_eq!(imported.duration_nanos, 16_000_000);
}

#[test]
fn threads_beyond_what_is_told_apart_share_a_name() {
    let mut perf = String::new();
    for thread in 0..200 {
        perf += &format!("w{thread} 1 1.000000: 10 cycles:\n\t1 f (x)\n\n");
    }
    let imported = decode(perf.as_bytes()).unwrap();
    let sums = sums(&imported);
    assert_eq!((sums.len(), sums["cycles __other__ f"]), (128, (730, 73)));
    assert_eq!(imported.remarks.left_out.len(), 1);
}

/// What is taken must be a window that is taken.
fn check(format: Format, body: &[u8]) {
    let Ok(imported) = decode_in(format, body, &Asked::default()) else { return };
    assert!(
        imported.payload.encoded_len() <= 64 * body.len() + 4_096,
        "{} of {}",
        imported.payload.encoded_len(),
        body.len()
    );
    for series in &imported.payload.series {
        assert_eq!(series.stack.len(), series.value.len());
    }
}

const ALL: [Format; 10] = [
    Format::Pprof,
    Format::Folded,
    Format::Lines,
    Format::PerfScript,
    Format::Speedscope,
    Format::V8Cpu,
    Format::V8Heap,
    Format::Gecko,
    Format::GperftoolsCpu,
    Format::Counts,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_break_a_format(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        ALL.into_iter().for_each(|format| check(format, &bytes));
    }

    /// Files that are nearly right: bytes of a good one are changed, taken out, or written twice.
    #[test]
    fn no_damage_breaks_a_format(
        which in 0usize..9,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, prop::sample::select(b"{}[]\",:-019 \n@;\xff".to_vec())), 0..6),
    ) {
        let texts = [FOLDED, PERF, SPEEDSCOPE, V8, V8_OLD, V8_HEAP, GECKO, HEAP];
        let mut body = texts.get(which).map_or_else(cpp, |text| text.as_bytes().to_vec());
        for (at, what, byte) in damage {
            let at = at.index(body.len().max(1));
            match what {
                0 if at < body.len() => body[at] = byte,
                1 if at < body.len() => drop(body.remove(at)),
                2 => body.insert(at, byte),
                _ => body.truncate(at + body.len() / 2),
            }
        }
        let _ = decode(&body);
        ALL.into_iter().for_each(|format| check(format, &body));
    }
}
