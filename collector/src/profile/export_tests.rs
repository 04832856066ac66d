//! Every export keeps what it can hold, and hostile names stay data in all of them.

use std::io::{Read, Write};
use std::process::Command;

use prost::Message;
use tephra_proto::ids::BuildId;
use tephra_proto::v1;

use super::address::Address;
use super::diff::Basis;
use super::model::{Frame, Merged, Module, Node};
use super::resolution::{Resolution, Symbol};
use super::testing::{Sketch, simulated};
use super::tree::Tree;
use super::{decode, fold, formats, markdown, pprof, speedscope, svg};
use crate::needs::need;

const HOSTILE: &[&str] = &[
    "a;b 99\n",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "]]>",
    "\"'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\u{202e}gnp.exe",
    "nul\0byte",
    "\u{1b}[31mred",
    "# comment",
    "ends in 12 34",
    "| cell | `code` |",
    "",
    " ",
    "${jndi:ldap://x}",
    "../../etc/passwd",
    "core::array::<[u8; 32]>::f",
];

fn hostile() -> (Merged, Vec<Resolution>) {
    let mut sketch = Sketch::cpu(1);
    for (i, name) in HOSTILE.iter().enumerate() {
        sketch.add_frames(vec!["shop::main".into(), (*name).to_owned()], 0, 1000 + i as u64, 1);
    }
    sketch.finish()
}

/// Folded stacks, read again.
fn unfolded(folded: &str) -> v1::WindowPayload {
    formats::decode_in(formats::Format::Folded, folded.as_bytes(), &formats::Asked::default()).unwrap().payload
}

/// (stack, value) pairs of a payload's only series, through the decoder that agents' windows go through.
fn stacks_of(payload: &v1::WindowPayload) -> Vec<(Vec<String>, u64)> {
    let bytes = payload.encode_to_vec();
    let header = v1::PushHeader {
        agent_id: vec![1; 16],
        boot_id: 1,
        sequence: 1,
        service: "checkout".into(),
        window_start_unix_ms: 1_700_000_000_000,
        window_duration_ms: 10_000,
        ..v1::PushHeader::default()
    };
    let compressed = tephra_proto::codec::compress(&bytes).unwrap();
    let window = decode::decode(&header, &compressed, bytes.len() as u32, decode::Lateness::Stored).unwrap();
    let series = window.series.last().unwrap();
    let mut stacks: Vec<_> = series
        .rows
        .iter()
        .map(|row| {
            let mut path = vec![];
            let mut at = row.node;
            while at != Node::ROOT {
                let node = window.nodes[at as usize];
                path.push(match &window.frames[node.frame as usize] {
                    Frame::Symbolic { function, .. } => function.to_string(),
                    Frame::Native { address, .. } => format!("{address:#x}"),
                    Frame::Truncated => "(truncated)".into(),
                });
                at = node.parent;
            }
            path.reverse();
            (path, row.value)
        })
        .collect();
    stacks.sort();
    stacks
}

fn stacks_in(tree: &Tree) -> Vec<(Vec<String>, u64)> {
    let name = |frame: &u32| tree.frames[*frame as usize].function.to_string();
    let nodes = (0..tree.nodes.len()).filter(|&i| tree.sides[0].own[i] > 0);
    let mut stacks: Vec<_> =
        nodes.map(|i| (tree.path(i).iter().map(name).collect::<Vec<_>>(), tree.sides[0].own[i])).collect();
    stacks.sort();
    stacks
}

#[test]
fn folded_stacks_come_back_as_they_were() {
    let (merged, resolutions) = simulated(1, 3, |_| 1.0);
    let tree = Tree::of((&merged, &resolutions));
    let payload = unfolded(&fold::folded(&tree));
    assert_eq!(stacks_of(&payload), stacks_in(&tree));
}

#[test]
fn pprof_comes_back_as_it_was() {
    let (merged, resolutions) = simulated(1, 3, |_| 1.0);
    let tree = Tree::of((&merged, &resolutions));
    let imported = pprof::decode(&pprof::encode((&merged, &resolutions))).unwrap();
    assert_eq!(stacks_of(&imported.payload), stacks_in(&tree));
    assert_eq!(imported.time_nanos, merged.from_ms * 1_000_000);
    assert_eq!(imported.duration_nanos, 30_000_000_000);
    let series = &imported.payload.series[0];
    let samples: u64 = series.samples.iter().map(|&n| u64::from(n)).sum();
    assert_eq!((series.r#type.as_ref().unwrap().period, samples), (10_000_000, merged.samples()));
}

/// `go tool pprof` knows columns by their names, and opens no profile where two have the same.
#[test]
fn a_type_that_is_called_as_the_counts_are_is_exported_alone_and_comes_back() {
    let (mut merged, resolutions) = simulated(1, 3, |_| 1.0);
    merged.profile_type.name = "samples".into();
    merged.profile_type.unit = "count".into();
    let tree = Tree::of((&merged, &resolutions));
    let imported = pprof::decode(&pprof::encode((&merged, &resolutions))).unwrap();
    assert_eq!(imported.payload.series[0].r#type.as_ref().unwrap().name, "samples");
    assert_eq!(stacks_of(&imported.payload), stacks_in(&tree));
}

/// Two builds at overlapping addresses, with inlined frames, no name, and a cut stack.
fn native() -> (Merged, Vec<Resolution>) {
    let mut sketch = Sketch::cpu(1);
    sketch.add("(cut);b;c", 0, 40_000_000, 4);
    sketch.add("b;d", 0, 10_000_000, 1);
    let (mut merged, _) = sketch.finish();
    let ids = [BuildId::from_bytes(&[1; 20]).unwrap(), BuildId::from_bytes(&[2; 20]).unwrap()];
    merged.modules =
        vec![Module { build_id: ids[0], name: "shop".into() }, Module { build_id: ids[1], name: "libc.so.6".into() }];
    let native = |i: usize, address| Frame::Native { build_id: ids[i], address };
    merged.frames = vec![Frame::Truncated, native(0, 0x1000), native(0, 0x2000), native(1, 0x1000)];
    let symbol = |function: &str, inlined| Symbol {
        function: function.into(),
        module: "shop".into(),
        file: "/w/shop/src/main.rs".into(),
        line: 7,
        inlined,
    };
    let resolutions = vec![
        Resolution::Truncated,
        Resolution::Symbols(vec![symbol("shop::outer", false), symbol("shop::inner", true)]),
        Resolution::Symbols(vec![symbol("shop::leaf", false)]),
        Resolution::Unresolved { module: "libc.so.6".into(), address: 0x1000 },
    ];
    (merged, resolutions)
}

#[test]
fn go_s_pprof_opens_what_we_write() {
    let (merged, resolutions) = native();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&pprof::encode((&merged, &resolutions))).unwrap();
    let Some(go) = need("TEPHRA_TEST_GO", "Go tool") else { return };
    let output = Command::new(go).args(["tool", "pprof", "-traces"]).arg(file.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["Type: cpu", "shop::leaf", "shop::inner (inline)", "shop::outer", "40ms", "10ms"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn native_frames_of_an_import_keep_their_build_and_address() {
    let (merged, mut resolutions) = native();
    for (resolution, frame) in resolutions.iter_mut().zip(&merged.frames) {
        if let Frame::Native { address, .. } = frame {
            *resolution = Resolution::Unresolved { module: "shop".into(), address: *address };
        }
    }
    let imported = pprof::decode(&pprof::encode((&merged, &resolutions))).unwrap();
    let modules: Vec<&[u8]> = imported.payload.modules.iter().map(|m| m.build_id.as_slice()).collect();
    assert_eq!(modules, [[1; 20], [2; 20]]);
    let stacks = stacks_of(&imported.payload);
    assert_eq!(stacks[1], (vec!["0x1000".into(), "0x1000".into()], 10_000_000));
}

/// Where the frames of an import are, whatever they are called.
fn places_of(payload: &v1::WindowPayload) -> Vec<String> {
    stacks_of(payload).into_iter().map(|(path, _)| path.join(";")).collect()
}

#[test]
fn an_address_that_its_mapping_does_not_hold_is_no_code_of_that_file() {
    let id = "ab".repeat(20);
    let place = |mapped, address| {
        let body = pprof::testing::unsymbolized("/srv/shop", &id, mapped, &[address]);
        places_of(&pprof::decode(&body).unwrap().payload).remove(0)
    };
    let stored = |file_offset, distance| format!("{:#x}", Address::Mapped { file_offset, distance }.stored().unwrap());
    assert_eq!(place((0x40_1000, 0x40_2000, 0x1000), 0x40_1136), stored(0x1000, 0x136));
    assert_eq!(place((0, 0, 0), 0x1136), "0x1136");
    assert_eq!(place((0, u64::MAX, 0), 0x1136), "0x1136");
    assert_eq!(place((0, 0x5000, 0), 0x1136), stored(0, 0x1136));
    assert_eq!(place((0x40_1000, 0x40_2000, 0x1000), 0x40_0fff), "shop+0x400fff");
    assert_eq!(place((0x1000, u64::MAX, 0x1000), 0x9000_0000), "shop+0x90000000");
    assert_eq!(place((0, 0, 0), 1 << 62), "shop+0x4000000000000000");
    let kernel = 0xffff_ffff_8100_0000;
    assert_eq!(place((kernel, u64::MAX, kernel), kernel + 5), "shop+0xffffffff81000005");
}

#[test]
fn mangled_names_are_told_as_people_write_them_wherever_they_come_from() {
    let mangled = ["_ZN3foo3barEv", "_ZN4core3fmt5write17h0123456789abcdefE", "_RNvC6_123foo3bar", "main"];
    let names = ["foo::bar", "core::fmt::write", "123foo::bar", "main"];
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let imported = pprof::decode(&pprof::testing::system_names(&mangled)).unwrap();
    assert_eq!(places_of(&imported.payload), expected);
    let folded: String = mangled.iter().map(|name| format!("{name} 1\n")).collect();
    assert_eq!(places_of(&unfolded(&folded)), expected);
}

#[test]
fn hostile_names_stay_one_frame_of_one_line() {
    let (merged, resolutions) = hostile();
    let tree = Tree::of((&merged, &resolutions));
    let folded = fold::folded(&tree);
    assert_eq!(folded.lines().count(), HOSTILE.len());
    for line in folded.lines() {
        let (stack, _) = line.rsplit_once(' ').unwrap();
        assert_eq!(stack.split(';').count(), 2, "{line:?}");
        assert!(stack.starts_with("shop::main;"), "{line:?}");
    }
    let total: u64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    assert_eq!(total, merged.total());
    assert!(folded.lines().all(|line| !line.contains(['\u{202e}', '\0', '\u{1b}'])));
}

#[test]
fn hostile_names_are_text_in_pictures() {
    let (merged, resolutions) = hostile();
    let (other, of_other) = simulated(1, 1, |_| 1.0);
    for tree in [
        Tree::of((&merged, &resolutions)),
        Tree::pair((&merged, &resolutions), (&merged, &resolutions)),
        Tree::pair((&other, &of_other), (&merged, &resolutions)),
    ] {
        let picture = svg::svg(&tree, Basis::Cores, None, "<b>title</b>\n").unwrap();
        check_markup(&picture);
        for markup in ["<script", "<img", "<b>", "<svg onload", "]]>", "\u{202e}", "\0"] {
            assert!(!picture.contains(markup), "{markup} in {picture}");
        }
        for escaped in ["&lt;img src=x onerror=alert(1)&gt;", "&lt;/script&gt;"] {
            assert!(picture.contains(escaped), "no {escaped}");
        }
    }
}

/// Elements are those the picture is made of, none of which can run or load anything, and each is closed.
fn check_markup(picture: &str) {
    const HARMLESS: [&str; 9] = ["svg", "g", "title", "rect", "text", "defs", "linearGradient", "stop", "style"];
    let mut open: Vec<&str> = vec![];
    for tag in picture.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0) {
        if tag.starts_with("?xml ") || tag.starts_with("!DOCTYPE svg ") || tag.starts_with("!--") {
            continue;
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        assert!(HARMLESS.contains(&name), "<{tag}>");
        assert!(!tag.contains(" on") && !tag.contains("href"), "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_picture_is_as_wide_as_what_it_shows() {
    let mut sketch = Sketch::cpu(1);
    sketch.add("shop::main;shop::a", 0, 25, 1);
    sketch.add("shop::main;shop::b", 0, 75, 1);
    let (merged, resolutions) = sketch.finish();
    let picture = svg::svg(&Tree::of((&merged, &resolutions)), Basis::Cores, None, "checkout").unwrap();
    let width = |name: &str| {
        let frame = picture.split(&format!("<title>{name} (")).nth(1).unwrap();
        let number = frame.split("width=\"").nth(1).unwrap().split('%').next().unwrap();
        number.parse::<f64>().unwrap()
    };
    assert!((width("shop::a") * 4.0 - width("shop::main")).abs() < 0.05);
    assert!((width("shop::b") / 3.0 - width("shop::a")).abs() < 0.05);
}

#[test]
fn a_picture_colours_change_and_leaves_noise_alone() {
    let (before, of_before) = simulated(1, 64, |_| 1.0);
    let (after, of_after) = simulated(2, 64, |_| 3.0);
    let tree = Tree::pair((&before, &of_before), (&after, &of_after));
    let fills = |q: u16| {
        let picture = svg::svg(&tree, Basis::Cores, Some(&vec![q; tree.nodes.len()]), "x").unwrap();
        picture.matches("fill=\"rgb(250,250,250)\"").count()
    };
    let (noise, change) = (fills(10_000), fills(0));
    assert!(noise > change, "{noise} neutral frames where all is noise, {change} where all is change");
}

#[test]
fn hostile_names_stay_in_their_cell() {
    let (merged, resolutions) = hostile();
    let tree = Tree::pair((&merged, &resolutions), (&merged, &resolutions));
    let side = super::flame::side_info(&tree, 0, Basis::Cores);
    for name in HOSTILE {
        let mover = super::report::Mover {
            name: (*name).to_owned(),
            module: String::new(),
            file: String::new(),
            line: 0,
            frame: 0,
            family: String::new(),
            a: 1.0,
            b: 2.0,
            delta: 1.0,
            self_a: 1.0,
            self_b: 2.0,
            q: 0.01,
            state: "grew",
            share_of_change: 1.0,
        };
        let sentence = super::report::Sentence { text: (*name).to_owned(), frames: vec![], kind: "cause" };
        let table = markdown::comparison(name, &side, &side, &[sentence], &[mover]);
        let row = table.lines().last().unwrap();
        assert_eq!(row.replace("\\|", "").matches('|').count(), 7, "{row}");
        let outside: String = table.lines().filter(|line| !line.starts_with("| `")).collect();
        assert!(!outside.contains("<img") && !outside.contains("<script"), "{outside}");
    }
}

#[test]
fn speedscope_holds_every_stack() {
    let (merged, resolutions) = hostile();
    let tree = Tree::of((&merged, &resolutions));
    let file: serde_json::Value = serde_json::from_slice(&speedscope::speedscope(&tree, 0, "checkout cpu")).unwrap();
    let profile = &file["profiles"][0];
    let weights: u64 = profile["weights"].as_array().unwrap().iter().map(|w| w.as_u64().unwrap()).sum();
    assert_eq!((weights, profile["endValue"].as_u64().unwrap()), (merged.total(), merged.total()));
    let frames = file["shared"]["frames"].as_array().unwrap();
    for stack in profile["samples"].as_array().unwrap() {
        let names: Vec<_> =
            stack.as_array().unwrap().iter().map(|f| &frames[f.as_u64().unwrap() as usize]["name"]).collect();
        assert_eq!((names.len(), names[0].as_str()), (2, Some("shop::main")));
    }
}

#[test]
fn an_empty_profile_exports_as_empty() {
    let (merged, resolutions) = Sketch::cpu(1).finish();
    let tree = Tree::of((&merged, &resolutions));
    assert_eq!(fold::folded(&tree), "");
    assert!(svg::svg(&tree, Basis::Cores, None, "x").unwrap().contains("No samples"));
    let imported = pprof::decode(&pprof::encode((&merged, &resolutions))).unwrap();
    assert_eq!(stacks_of(&imported.payload), vec![]);
}

#[test]
fn a_damaged_pprof_body_is_refused_and_never_panics() {
    let (merged, resolutions) = native();
    let body = pprof::encode((&merged, &resolutions));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut plain).unwrap();
    for cut in 0..body.len() {
        assert!(pprof::decode(&body[..cut]).is_err(), "cut at {cut}");
    }
    let whole = pprof::decode(&plain).unwrap();
    for i in 0..plain.len() {
        for bit in 0..8 {
            let mut damaged = plain.clone();
            damaged[i] ^= 1 << bit;
            // Most single bits still decode, to something that is within the limits.
            if let Ok(imported) = pprof::decode(&damaged) {
                assert!(imported.payload.series.len() <= whole.payload.series.len() + 1);
            }
        }
    }
}

#[test]
fn a_pprof_body_cannot_cost_more_memory_than_its_limits() {
    use super::import::ImportError;
    use super::testing::gzip;
    // Two bytes for an empty sample, or an empty line inside a location.
    assert!(matches!(
        pprof::decode(&gzip(&[0x12, 0].repeat((1 << 20) + 1))),
        Err(ImportError::TooMany { what: "samples", .. })
    ));
    // A location of 2^22 + 2 bytes.
    let mut location = vec![0x22, 0x82, 0x80, 0x80, 0x02];
    location.extend([0x22, 0].repeat((2 << 20) + 1));
    assert!(matches!(pprof::decode(&gzip(&location)), Err(ImportError::TooMany { what: "lines", .. })));
    assert!(matches!(pprof::decode(&gzip(&vec![0; (32 << 20) + 1])), Err(ImportError::TooLarge { .. })));
}

#[test]
fn a_stack_deeper_than_the_limit_loses_its_root_and_says_so() {
    let stack: Vec<String> = (0..600).map(|i| format!("f{i}")).collect();
    let payload = unfolded(&format!("{} 5\n", stack.join(";")));
    let stacks = stacks_of(&payload);
    assert_eq!(
        (stacks[0].0.first().map(String::as_str), stacks[0].0.last().map(String::as_str)),
        (Some("(truncated)"), Some("f599"))
    );
}
