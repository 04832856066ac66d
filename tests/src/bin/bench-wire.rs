//! Measures what windows weigh on the wire: those of the demo shop under load, beside the same windows as gzipped pprof, and by
//! the samples in them.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use prost::Message as _;
use tephra_proto::limits::PAYLOAD_BYTES_MAX;
use tephra_proto::v1::{FrameTable, LinkTable, PushRequest, Series, StackTree, WindowPayload};
use tephra_proto::{codec, packing};
use tephra_tests::bench::Report;
use tephra_tests::binaries;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::recorded;

/// Whole windows of two services.
const WATCH: Duration = Duration::from_secs(55);

fn main() {
    let mut report = Report::default();
    let windows = recorded::shop(WATCH, recorded::Load::HEAVY);
    let collector = Collector::start();
    for program in ["shop-checkout", "shop-gateway"] {
        let mut upload = Command::new(binaries::collector());
        upload.args(["symbols", "upload", "--server", &collector.endpoint()]).arg(binaries::shop("v2", program));
        assert!(upload.output().expect("it starts").status.success(), "the shop's names are taken");
    }
    let pusher = Pusher::new(&collector.endpoint());
    let (mut ours, mut theirs, mut periods) = (0, 0, 0);
    let (mut bytes, mut samples, mut labelled) = (0, 0, 0);
    for window in &windows {
        pusher.accept(window.clone());
        let header = window.header.as_ref().expect("a window has a header");
        let payload = payload_of(window);
        let cpu = only(&payload, |series| name(series) == "cpu", false);
        let value: u64 = cpu.series.iter().flat_map(|series| &series.value).sum();
        if value >= 20 {
            ours += size(&cpu);
            periods += value;
            let (from, until) = (header.window_start_unix_ms, header.window_start_unix_ms + 1);
            let path = format!(
                "/api/v1/flamegraph?service={}&type=cpu&from={from}&until={until}&label.instance={}&format=pprof",
                header.service, header.instance
            );
            theirs += collector.api.get(&path).body.len();
        }
        let sampled = only(&payload, |series| ["cpu", "alloc_space", "alloc_objects"].contains(&name(series)), true);
        bytes += size(&sampled);
        for series in sampled.series.iter().filter(|series| name(series) != "alloc_objects") {
            let counts = if series.samples.is_empty() { &series.value } else { &widened(&series.samples) };
            samples += counts.iter().sum::<u64>();
            labelled +=
                counts.iter().zip(&series.link).filter(|(_, link)| **link > 0).map(|(count, _)| count).sum::<u64>();
        }
    }
    let whole: usize = windows.iter().map(|window| window.payload.len()).sum();
    report.note(
        "shop: windows on the wire, each, with live heap and span summaries",
        whole as f64 / windows.len() as f64,
        "B",
    );
    report.note("shop: CPU samples in the compared windows", periods as f64, "");
    report.at_most("CPU windows on the wire, of the same as gzipped pprof", ours as f64 / theirs as f64, "", 0.2);
    report.note("shop: share of samples with a trace", labelled as f64 / samples as f64, "");
    report.at_most("trace-labelled samples on the wire, stacks included", bytes as f64 / samples as f64, "B", 40.0);
    report.print();
}

fn payload_of(window: &PushRequest) -> WindowPayload {
    let payload = codec::decompress(&window.payload, PAYLOAD_BYTES_MAX).expect("the agent's own frame");
    let mut payload = WindowPayload::decode(&payload[..]).expect("the agent's own payload");
    packing::unpack(&mut payload).expect("the agent's own columns");
    payload
}

/// As the agent ships it.
fn size(payload: &WindowPayload) -> usize {
    let mut packed = payload.clone();
    packing::pack(&mut packed);
    codec::compress(&packed.encode_to_vec()).expect("memory takes bytes").len()
}

fn name(series: &Series) -> &str {
    series.r#type.as_ref().map_or("", |kind| &kind.name)
}

fn widened(samples: &[u32]) -> Vec<u64> {
    samples.iter().map(|&samples| samples.into()).collect()
}

/// The window as if it held these series alone: with the part of the stack tree, the frames and the traces that they use.
fn only(payload: &WindowPayload, wanted: impl Fn(&Series) -> bool, with_links: bool) -> WindowPayload {
    let (stacks, frames) = (payload.stacks.clone().unwrap_or_default(), payload.frames.clone().unwrap_or_default());
    let mut series: Vec<Series> = payload.series.iter().filter(|series| wanted(series)).cloned().collect();
    let mut used = vec![false; stacks.frame.len()];
    for leaf in series.iter().flat_map(|series| &series.stack) {
        let mut node = *leaf as usize;
        while !std::mem::replace(&mut used[node], true) && stacks.parent[node] > 0 {
            node -= stacks.parent[node] as usize;
        }
    }
    let mut frame_used = vec![false; frames.module.len()];
    let kept_nodes: Vec<usize> = (0..used.len()).filter(|node| used[*node]).collect();
    kept_nodes.iter().for_each(|node| frame_used[stacks.frame[*node] as usize] = true);
    let (frames, frame_ids) = kept_frames(&frames, &frame_used);
    let node_ids: HashMap<usize, u32> = kept_nodes.iter().enumerate().map(|(new, old)| (*old, new as u32)).collect();
    let mut tree = StackTree::default();
    for (new, &old) in kept_nodes.iter().enumerate() {
        let back = stacks.parent[old];
        tree.parent.push(if back == 0 { 0 } else { new as u32 - node_ids[&(old - back as usize)] });
        tree.frame.push(frame_ids[&stacks.frame[old]]);
    }
    tree.truncated = stacks.truncated.iter().filter_map(|root| node_ids.get(&(*root as usize)).copied()).collect();
    for stack in series.iter_mut().flat_map(|series| &mut series.stack) {
        *stack = node_ids[&(*stack as usize)];
    }
    let links = if with_links { Some(kept_links(payload, &mut series)) } else { None };
    if !with_links {
        for series in &mut series {
            series.link.clear();
            series.time_ms.clear();
        }
    }
    WindowPayload {
        strings: payload.strings.clone(),
        modules: payload.modules.clone(),
        frames: Some(frames),
        stacks: Some(tree),
        series,
        links,
        ..WindowPayload::default()
    }
}

/// The frames that are used, and the new number of each; all of the shop's are native.
fn kept_frames(frames: &FrameTable, used: &[bool]) -> (FrameTable, HashMap<u32, u32>) {
    let (mut kept, mut ids) = (FrameTable::default(), HashMap::new());
    let (mut address, mut previous) = (0i64, 0i64);
    let mut deltas = frames.address_delta.iter();
    for (old, &module) in frames.module.iter().enumerate() {
        if module > 0 {
            address += deltas.next().expect("one per native frame");
        }
        if used[old] {
            ids.insert(old as u32, kept.module.len() as u32);
            kept.module.push(module);
            if module > 0 {
                kept.address_delta.push(address - previous);
                previous = address;
            } else {
                kept.function.push(0);
                kept.file.push(0);
                kept.line.push(0);
            }
        }
    }
    (kept, ids)
}

/// The traces that the rows refer to, renumbered in the rows.
fn kept_links(payload: &WindowPayload, series: &mut [Series]) -> LinkTable {
    let all = payload.links.clone().unwrap_or_default();
    let mut used: Vec<u32> = series.iter().flat_map(|series| &series.link).copied().filter(|link| *link > 0).collect();
    used.sort_unstable();
    used.dedup();
    for link in series.iter_mut().flat_map(|series| &mut series.link).filter(|link| **link > 0) {
        *link = used.binary_search(link).expect("it is one of them") as u32 + 1;
    }
    let mut kept = LinkTable::default();
    for link in used {
        let at = link as usize - 1;
        kept.trace_ids.extend(&all.trace_ids[at * 16..][..16]);
        kept.span_ids.extend(&all.span_ids[at * 8..][..8]);
    }
    kept
}
