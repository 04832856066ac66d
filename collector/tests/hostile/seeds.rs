//! Undamaged inputs to start from, and the classic attacks, which are large and so tried once, as they are.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use tephra_collector::store::segment::{self, PackedWindow, TypeSum, WindowInfo};
use tephra_proto::{codec, packing, v1};

pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "window" => vec![window().encode_to_vec(), packed(window()).encode_to_vec()],
        "frame" => vec![pack(&window().encode_to_vec()), HUGE_WINDOW.to_vec(), HUGE_SKIP.to_vec()],
        "header" => vec![header().encode_to_vec()],
        "pprof_body" | "since_start" => vec![gzip(&pprof()), pprof()],
        "scrape_file" => texts(&[SCRAPE]),
        "folded" => vec![b"main;serve;work 12\nmain;serve 3\n# a comment\n[unknown];a b 7\n".to_vec()],
        "formats" => ["folded", "perf_script", "speedscope", "v8", "gecko", "gperftools", "counts"]
            .into_iter()
            .flat_map(of)
            .collect(),
        "perf_script" => texts(&[PERF]),
        "speedscope" => texts(&[SPEEDSCOPE]),
        "v8" => texts(&[V8, V8_OLD, V8_HEAP]),
        "gecko" => texts(&[GECKO]),
        "gperftools" => gperftools(),
        "counts" => texts(&[HEAP, JEMALLOC, GOROUTINES, CONTENTION]),
        "otlp" => vec![export()],
        "segment_object" => segments(),
        "names" => texts(&[
            "checkout",
            "team/shop:v1",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "k8s.pod_name",
            "https://example.com/x?y=1",
            "größe 日本",
        ]),
        "query" => texts(&[
            "service=shop&type=cpu&from=now-1h&until=now&label.version=v1&label.zone=eu+1",
            "service=a%2Fb&a.from=1700000000&a.until=2023-11-14T22:13:20Z&b.label.x=y&b.from=now-15m&trace=4bf92f3577b34da6a3ce929d0e0e4736",
            "service=shop&at=1700000000000&w=10m&vs=deploy",
            "2023-11-14T22:13:20.5+02:00",
            "1w2d3h4m5s6ms",
        ]),
        "binary" => binaries(),
        other => panic!("no seeds for {other}"),
    }
}

pub(crate) fn attacks(target: &str) -> Vec<Vec<u8>> {
    match target {
        "window" => amplifications(),
        "frame" => vec![pack(&vec![0; 256 << 20]), pack(b"").repeat(10_000)],
        "pprof_body" => vec![gzip(&vec![0; 40 << 20]), gzip(b"").repeat(1_000)],
        "scrape_file" => {
            vec![b"- ".repeat(1 << 12), b"{a: ".repeat(1 << 12), b"a: &a [*a]\n".repeat(1 << 8), b"x,".repeat(1 << 18)]
        }
        "names" | "query" => vec![vec![b'a'; 1 << 20], b"&".repeat(1 << 20), b"now-".repeat(1 << 18)],
        "folded" => vec![b"a;".repeat(1 << 20), b"a;b 1\n".repeat(1 << 17)],
        "perf_script" => vec![PERF.repeat(1 << 12).into_bytes(), b"\t1 f (m)\n".repeat(1 << 16)],
        "speedscope" => vec![deep_speedscope(), wide("{\"shared\":{\"frames\":[", "{},", "]},\"profiles\":[]}")],
        "v8" => vec![
            wide("{\"head\":", "{\"children\":[", ""),
            wide("{\"head\":{\"selfSize\":1,\"children\":[", "{\"selfSize\":1},", "]}}"),
            wide("{\"nodes\":[", "{\"id\":1,\"children\":[1]},", "]}"),
        ],
        "gecko" => vec![
            wide("{\"meta\":{\"preprocessedProfileVersion\":1},\"threads\":[", "{},", "]}"),
            wide("{\"meta\":{\"preprocessedProfileVersion\":1},\"libs\":[", "0,", "],\"threads\":[]}"),
        ],
        // A table of entries that hold nothing, for each table there is; a stack of many frames, named again and again.
        "otlp" => {
            (1..=7).map(|table| in_dictionary(&[table << 3 | 2, 0].repeat(1 << 21))).chain([long_stack()]).collect()
        }
        "counts" => vec![
            b"1 @ 0x1\n".repeat(1 << 17),
            [b"goroutine profile: total 1\n1 @".as_slice(), &b" 0x1".repeat(1 << 18)].concat(),
        ],
        _ => Vec::new(),
    }
}

const SCRAPE: &str = "global: {scrape_interval: 30s}\nscrape_configs:\n  - job_name: shop\n    scrape_timeout: 5s\n    scheme: https\n    \
    static_configs:\n      - targets: ['shop-1:6060', '[::1]:6060']\n        labels: {zone: eu-1}\n    file_sd_configs:\n      \
    - files: [t/*.yml]\n        refresh_interval: 10s\n    relabel_configs:\n      - {source_labels: [zone], regex: '(.+)-1', \
    target_label: region, replacement: '$1'}\n    basic_auth: {username: u, password_file: p}\n    tls_config: {ca_file: c}\n    \
    profiling_config:\n      path_prefix: /x\n      pprof_config: {block: {enabled: false, path: /y}}\n";

const PERF: &str = "shop w1  4152/4153 [001] 75695.008865:    1001001 cpu-clock:ppp: \n\t 5d0c1f inner (inlined)\n\t 5d0c1f outer+0x13 \
    (/usr/bin/shop)\n  main.c:12\n\t 40 [unknown] ([unknown])\n\nshop  4152 75695.108865:  1001001 cpu-clock:ppp: \n\t 5d0c1f outer+0x13 \
    (/usr/bin/shop)\n\nperf 7 [000] 5.000001: 3 sched:sched_switch: prev=a\n\t 1 schedule ([kernel.kallsyms])\n";

const SPEEDSCOPE: &str = r#"{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{"frames":[{"name":"a","file":"a.c","line":3},{"name":"b"}]},
    "profiles":[{"type":"evented","name":"one","unit":"seconds","startValue":0,"endValue":3,"events":[{"type":"O","frame":0,"at":0},
    {"type":"O","frame":1,"at":1},{"type":"C","frame":1,"at":2.5},{"type":"C","frame":0,"at":3}]},
    {"type":"sampled","name":"two","unit":"none","startValue":0,"endValue":3,"samples":[[0,1],[0]],"weights":[1,2]}]}"#;

const V8: &str = r#"{"nodes":[{"id":1,"callFrame":{"functionName":"(root)","url":"","lineNumber":-1},"hitCount":0,"children":[2,3]},
    {"id":2,"callFrame":{"functionName":"f","url":"file:///f.js","lineNumber":4},"hitCount":2},{"id":3,"callFrame":{"functionName":"(idle)"},"hitCount":1}],
    "startTime":100,"endTime":500,"samples":[2,3,2],"timeDeltas":[10,100,100]}"#;

const V8_OLD: &str = r#"{"head":{"functionName":"(root)","url":"","lineNumber":-1,"id":1,"hitCount":0,"children":[{"functionName":"f","url":"",
    "lineNumber":5,"id":2,"hitCount":2,"children":[]}]},"startTime":1,"endTime":2,"samples":[2,2],"timestamps":[1000,2000]}"#;

const V8_HEAP: &str = r#"{"head":{"callFrame":{"functionName":"(root)","url":"","lineNumber":-1},"selfSize":0,"id":1,"children":[{"callFrame":
    {"functionName":"f","url":"f.js","lineNumber":5},"selfSize":20,"id":2,"children":[]}]},"samples":[]}"#;

const GECKO: &str = r#"{"meta":{"interval":1,"startTime":1700000000000,"preprocessedProfileVersion":49,"sampleUnits":{"threadCPUDelta":"ns"}},
    "libs":[{"name":"shop","codeId":"0909090909090909090909090909090909090909"}],"threads":[{"name":"main","stringArray":["f","0x10","f.c"],
    "stackTable":{"prefix":[null,0],"frame":[0,1]},"frameTable":{"func":[0,1],"line":[7,null],"address":[-1,16],"inlineDepth":[0,0]},
    "funcTable":{"name":[0,1],"fileName":[2,null],"resource":[-1,0]},"resourceTable":{"lib":[0]},
    "samples":{"stack":[0,1,null],"time":[1,2,3],"threadCPUDelta":[null,500000,0],"weight":null}}]}"#;

const HEAP: &str = "heap profile: 13: 159 [47: 258] @ heap_v2/524288\n 1: 52 [3: 157] @ 0x420cef 0x422151\n#\t0x420cee\tmain.f+0x1\t/a.go:3\n\
    MAPPED_LIBRARIES:\n00400000-00500000 r-xp 00001000 fd:01 12   /usr/bin/shop\n";

const JEMALLOC: &str = "heap_v2/524288\n  t*: 28: 56 [3: 9]\n  t0: 28: 56 [3: 9]\n@ 0x401000 0x402000\n  t*: 28: 56 [3: 9]\n  t0: 28: 56 [3: 9]\n\n\
    MAPPED_LIBRARIES:\n00400000-00500000: /usr/bin/shop\n";

const GOROUTINES: &str = "goroutine profile: total 9\n8 @ 0x43 0x44\n#\t0x42\tmain.wait+0x1\t/a.go:9\n\n1 @ 0x50\n";

const CONTENTION: &str = "--- contentionz 1 ---\ncycles/second = 3201000000\nsampling period = 100\nms since reset = 16\n\
    19490304 27 @ 0xbccc97 0xc61202\n--- Memory map: ---\n  00400000-00fcb000: shop\n";

/// Of both sizes of words, and of Java.
fn gperftools() -> Vec<Vec<u8>> {
    let words = [0u64, 3, 0, 10_000, 0, 2, 2, 0x40_0010, 0x40_0021, 1, 1, 0x50, 0, 1, 0];
    let maps = b"00400000-00500000 r-xp 00001000 fd:01 12   /usr/bin/shop\n";
    let wide: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut java: Vec<u8> = words.iter().flat_map(|word| (*word as u32).to_be_bytes()).collect();
    java[11] = 1;
    vec![[&wide[..], maps].concat(), [&java[..], b" 0x50 com.example.Shop.total (Shop.java:21)\n"].concat()]
}

/// So many of the same between a begin and an end.
fn wide(begin: &str, one: &str, end: &str) -> Vec<u8> {
    format!("{begin}{}{one}0{end}", one.repeat(1 << 16)).into_bytes()
}

/// One resource with a profile of one sample: two values at two times, labelled and linked, with a mapped file beside.
fn export() -> Vec<u8> {
    let digits = "0a660a1d0a130a0c736572766963652e6e616d6512030a01780a06180412024003124512430a0408011002121e0801120101180122031eac022a10090000000000\
     00000a000000000000001900002a36fe9c97172080c8afa0252a04080110023080ade2045a010112bf012a002a036370752a0b6e616e6f7365636f6e64732a046d\
     61696e2a067468726561642a1f70726f636573732e65786563757461626c652e6275696c645f69642e676e752a092f6c69622f612e736f0a000a0b088020108040\
     20062a0102120012061a0408011007120508011090201a001a0208032200221c0a100102030405060708090a0b0c0d0e0f10120801020304050607083200320708\
     0412030a01773216080512120a10386633633261316238663363326131623a003a040a020201";
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

/// A message with nothing but a dictionary.
fn in_dictionary(tables: &[u8]) -> Vec<u8> {
    field(2, tables)
}

/// 200 000 frames, in each of a thousand samples.
fn long_stack() -> Vec<u8> {
    let stack = field(7, &field(1, &[1].repeat(200_000)));
    let named = [field(5, b""), field(5, b"x"), field(2, b""), field(2, &[0x10, 7]), field(7, b""), stack].concat();
    let profile = [field(1, &[0x08, 1, 0x10, 1]), field(2, &[0x08, 1, 0x22, 1, 9]).repeat(1_000)].concat();
    [field(1, &field(2, &field(2, &profile))), in_dictionary(&named)].concat()
}

/// A field of a message that holds bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let (mut field, mut length) = (vec![number << 3 | 2], content.len());
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(content);
    field
}

/// Each event opens another frame, and none is closed.
fn deep_speedscope() -> Vec<u8> {
    let events = "{\"type\":\"O\",\"frame\":0,\"at\":1},".repeat(1 << 15);
    let profile = format!("{{\"unit\":\"none\",\"endValue\":2,\"events\":[{}]}}", events.trim_end_matches(','));
    format!("{{\"shared\":{{\"frames\":[{{}}]}},\"profiles\":[{profile}]}}").into_bytes()
}

/// A zstd frame with a window of 2^41 bytes.
const HUGE_WINDOW: [u8; 9] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0x00, 0x00];

/// A skippable frame that claims 4 GiB.
const HUGE_SKIP: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff];

fn pack(bytes: &[u8]) -> Vec<u8> {
    codec::compress(bytes).expect("memory to compress in")
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn header() -> v1::PushHeader {
    let label = |name: &str, value: &str| v1::Label { name: name.into(), value: value.into() };
    v1::PushHeader {
        agent_id: vec![7; 16],
        boot_id: 1,
        sequence: 9,
        service: "shop".into(),
        instance: "host-1".into(),
        labels: vec![label("version", "v1"), label("zone", "eu")],
        window_start_unix_ms: 1_700_000_000_000,
        window_duration_ms: 10_000,
        sampled: 100,
        drops: vec![v1::DropCount { reason: 1, samples: 2 }],
        process_cpu_ns: 5,
        agent_version: "0.1.0".into(),
        coarsened: Some(v1::Coarsened { without_span: 3, without_trace: 2, without_labels: 1 }),
    }
}

/// Native and symbolic frames, traces, labels, spans, a cut stack.
fn window() -> v1::WindowPayload {
    let series = |name: &str, unit: &str, kind: v1::Kind| v1::Series {
        r#type: Some(v1::ProfileType { name: name.into(), unit: unit.into(), kind: kind.into(), period: 10 }),
        stack: vec![1, 2, 3],
        value: vec![5, 6, 7],
        scale: 10,
        label_set: vec![0, 1, 0],
        link: vec![0, 1, 2],
        samples: vec![5, 6, 7],
        time_ms: vec![1, 2, 9_000],
        ..v1::Series::default()
    };
    v1::WindowPayload {
        strings: ["", "shop", "main", "src/main.rs", "route", "GET /"].map(str::to_owned).to_vec(),
        modules: vec![v1::Module { build_id: vec![9; 20], name: 1 }],
        frames: Some(v1::FrameTable {
            module: vec![0, 1, 1],
            address_delta: vec![0x1000, -0x10],
            function: vec![2],
            file: vec![3],
            line: vec![12],
            ..v1::FrameTable::default()
        }),
        stacks: Some(v1::StackTree {
            parent: vec![0, 1, 2, 0],
            frame: vec![0, 1, 2, 1],
            truncated: vec![3],
            ..v1::StackTree::default()
        }),
        series: vec![series("cpu", "nanoseconds", v1::Kind::Counter), series("inuse_space", "bytes", v1::Kind::Gauge)],
        links: Some(v1::LinkTable { trace_ids: vec![3; 32], span_ids: vec![4; 16] }),
        label_sets: vec![v1::LabelSet::default(), v1::LabelSet { name: vec![4], value: vec![1] }],
        spans: Some(v1::SpanTable {
            link: vec![0],
            route: vec![5],
            start_ms: vec![-5],
            duration_us: vec![100],
            status: vec![1],
            weight: vec![1.5],
        }),
        requests: None,
    }
}

/// The same in the form that agents ship.
fn packed(mut window: v1::WindowPayload) -> v1::WindowPayload {
    packing::pack(&mut window);
    window
}

/// Two bytes each on the wire, and as much as possible of each in memory.
fn amplifications() -> Vec<Vec<u8>> {
    let many = |field: u8, content: &[u8], times: usize| {
        let one = [&[field << 3 | 2, content.len() as u8], content].concat();
        one.repeat(times)
    };
    vec![
        many(1, b"", 100_000),
        many(2, &[0x0a, 8, 1, 1, 1, 1, 1, 1, 1, 1], 4_000),
        many(5, b"", 64),
        many(7, b"", 16_000),
        // A packed column of ones: one byte each, and four or eight in memory.
        v1::WindowPayload {
            stacks: Some(v1::StackTree {
                parent: (0..100_000).map(|i| u32::from(i % 500 > 0)).collect(),
                frame: vec![0; 100_000],
                ..Default::default()
            }),
            frames: Some(v1::FrameTable {
                module: vec![0],
                function: vec![0],
                file: vec![0],
                line: vec![0],
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec(),
        v1::WindowPayload {
            series: vec![v1::Series { stack: vec![0; 100_000], value: vec![1; 100_000], ..window().series[0].clone() }],
            ..window()
        }
        .encode_to_vec(),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A small profile in pprof's wire format, written by hand: types, a mapping, two locations, a function, a sample.
fn pprof() -> Vec<u8> {
    let field = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let strings =
        ["", "cpu", "nanoseconds", "main", "main.rs", "/usr/bin/shop", "0909090909090909090909090909090909090909"];
    let mut profile = [
        field(1, &[0x08, 1, 0x10, 2]),
        field(2, &[0x0a, 2, 1, 2, 0x12, 1, 30]),
        field(3, &[0x08, 1, 0x10, 0x80, 0x20, 0x18, 0x80, 0x40, 0x28, 5, 0x30, 6]),
        field(4, &[0x08, 1, 0x10, 1, 0x18, 0x90, 0x20]),
        field(4, &[0x08, 2, 0x10, 1, 0x18, 0xa0, 0x20, 0x22, 4, 0x08, 1, 0x10, 7]),
        field(5, &[0x08, 1, 0x10, 3, 0x18, 3, 0x20, 4]),
    ]
    .concat();
    for text in strings {
        profile.extend(field(6, text.as_bytes()));
    }
    profile.extend([0x48, 0x80, 0x80, 0x80, 0x80, 0x10, 0x50, 0x80, 0x94, 0xeb, 0xdc, 0x03]);
    profile.extend(field(11, &[0x08, 1, 0x10, 2]));
    profile.extend([0x60, 10]);
    profile
}

fn segments() -> Vec<Vec<u8>> {
    let payload = window().encode_to_vec();
    let profile_type = window().series[0].r#type.clone();
    let window = PackedWindow {
        header: header(),
        payload: pack(&payload).into(),
        payload_bytes: payload.len() as u32,
        info: WindowInfo {
            service: "shop".into(),
            types: vec![TypeSum { profile_type, total: 180, samples: 18, labels: Vec::new() }],
            ..WindowInfo::default()
        },
        traces: vec![7, 9],
    };
    let encoded = segment::encode(&[window.clone(), window], segment::Origin::default());
    vec![encoded.bytes, encoded.footer.encode_to_vec()]
}

/// This program's own first and last bytes, and a table's header.
fn binaries() -> Vec<Vec<u8>> {
    let own = std::env::current_exe().and_then(std::fs::read).expect("a program can be read");
    let mut table = b"TSYM\x01\0\0\0".to_vec();
    table.resize(32, 0);
    table.extend(b"SYMC\x08\0\0\0");
    table.resize(256, 0);
    vec![own[..8_192].to_vec(), table, elf_with_note()]
}

/// A whole, tiny ELF file: one program header, a note with a build id.
fn elf_with_note() -> Vec<u8> {
    let mut file = vec![0; 64 + 56];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[3, 0, 62, 0]);
    file[20] = 1;
    file[32] = 64;
    file[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
    file[58] = 64;
    file[64] = 4;
    file[72] = 120;
    file[96] = 36;
    file.extend([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0]);
    file.extend(b"GNU\0");
    file.extend([9; 20]);
    file
}
