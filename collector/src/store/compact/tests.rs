//! Sums are the same in any order, any grouping, and at any coarseness.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tephra_proto::ids::BuildId;

use super::*;
use crate::profile::model::{Frame, Kind, Node, ProfileType};
use crate::store::columnar::{Part, PartRow, PartSeries, PartWindow};

const FINE: Rollup = Rollup { window_ms: 10_000, fold_instances: false, keep_traces: true };
const MINUTE: Rollup = Rollup { window_ms: 60_000, fold_instances: false, keep_traces: true };
const FOLDED: Rollup = Rollup { window_ms: 600_000, fold_instances: true, keep_traces: false };

/// What a part says, without the numbers it says it with.
type Content = BTreeMap<(String, String, u64, Vec<u64>), (u64, u64)>;

fn content(part: &Part) -> Content {
    let mut content = Content::new();
    for row in &part.rows {
        let series = &part.series[row.series as usize];
        let mut stack = Vec::new();
        let mut node = row.node;
        while node != Node::ROOT {
            let Node { parent, frame } = part.nodes[node as usize];
            let Frame::Native { address, .. } = part.frames[frame as usize] else { panic!("only native frames here") };
            stack.push(address);
            node = parent;
        }
        let key = (series.profile_type.name.clone(), series.instance.clone(), row.window_ms, stack);
        let sum = content.entry(key).or_default();
        sum.0 += row.value;
        sum.1 += row.samples;
    }
    content
}

/// One window of one instance: rows of (depth and choice of the stack, value).
fn window(instance: u8, slot: u64, stacks: &[(u8, u64)]) -> Part {
    let build_id = BuildId::from_bytes(&[7; 20]).unwrap();
    let cpu = ProfileType { name: "cpu".into(), unit: "nanoseconds".into(), kind: Kind::Counter, period: 1 };
    let mut part = Part {
        service: "s".to_owned(),
        series: vec![PartSeries { profile_type: cpu, instance: format!("i{instance}"), labels: Vec::new() }],
        windows: vec![PartWindow {
            window_ms: slot * 10_000,
            window_len_ms: 10_000,
            covered_ms: 10_000,
            instance: format!("i{instance}"),
            instances: 1,
            labels: Vec::new(),
        }],
        ..Part::default()
    };
    for (shape, value) in stacks {
        let mut parent = Node::ROOT;
        for depth in 0..=(shape % 4) {
            part.frames.push(Frame::Native { build_id, address: u64::from(depth * 10 + shape / 64) });
            part.nodes.push(Node { parent, frame: part.frames.len() as u32 - 1 });
            parent = part.nodes.len() as u32 - 1;
        }
        part.rows.push(PartRow {
            series: 0,
            window_ms: slot * 10_000,
            window_len_ms: 10_000,
            node: parent,
            value: *value,
            samples: 1,
        });
    }
    part
}

fn windows() -> impl Strategy<Value = Vec<Part>> {
    let stacks = prop::collection::vec((any::<u8>(), 0..1000u64), 0..6);
    prop::collection::vec((0..3u8, 0..200u64, stacks).prop_map(|(i, slot, stacks)| window(i, slot, &stacks)), 1..30)
}

proptest! {
    #[test]
    fn any_order_and_grouping_gives_the_same_sums(windows in windows(), split in 0..30usize, seed in any::<u64>()) {
        let together = merge_parts("s", &windows, FINE);
        let mut shuffled = windows.clone();
        shuffled.sort_by_key(|part| part.windows[0].window_ms.wrapping_mul(seed | 1).rotate_left(17) ^ part.rows.len() as u64);
        let (left, right) = shuffled.split_at(split.min(shuffled.len()));
        let stepwise = merge_parts("s", &[merge_parts("s", right, FINE), merge_parts("s", left, FINE)], FINE);
        prop_assert_eq!(content(&together), content(&stepwise));
        prop_assert_eq!(&together.windows, &stepwise.windows);
    }

    #[test]
    fn coarser_windows_are_exact_sums(windows in windows()) {
        let fine = merge_parts("s", &windows, FINE);
        let direct = merge_parts("s", &windows, FOLDED);
        let stepwise = merge_parts("s", &[merge_parts("s", std::slice::from_ref(&fine), MINUTE)], FOLDED);
        prop_assert_eq!(content(&direct), content(&stepwise));
        let mut expected = Content::new();
        for ((name, _, window, stack), (value, samples)) in content(&fine) {
            let sum = expected.entry((name, String::new(), window - window % 600_000, stack)).or_default();
            sum.0 += value;
            sum.1 += samples;
        }
        prop_assert_eq!(content(&direct), expected);
    }
}

#[test]
fn coverage_counts_each_second_once() {
    let same_time = [window(0, 6, &[(0, 1)]), window(1, 6, &[(0, 1)]), window(1, 8, &[(0, 1)])];
    let minute = merge_parts("s", &same_time, MINUTE);
    let covered: Vec<_> = minute.windows.iter().map(|w| (w.instance.as_str(), w.covered_ms, w.instances)).collect();
    assert_eq!(covered, [("i0", 10_000, 1), ("i1", 20_000, 1)]);
    let folded = merge_parts("s", &same_time, FOLDED);
    let covered: Vec<_> = folded.windows.iter().map(|w| (w.instance.as_str(), w.covered_ms, w.instances)).collect();
    assert_eq!(covered, [("", 20_000, 2)]);
}
