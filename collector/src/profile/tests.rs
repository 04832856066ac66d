//! What must hold for every tree, comparison and export.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::diff::{self, Basis};
use super::flame::{Annotations, Columns, DiffAnnotations, Flame};
use super::model::Merged;
use super::prune::{PruneOptions, prune};
use super::resolution::{Resolution, Symbol};
use super::testing::{Random, Sketch, simulated};
use super::tree::{Tree, flag};

/// Each path with the sums of its own values, by side.
fn by_path(tree: &Tree) -> BTreeMap<Vec<String>, Vec<u64>> {
    let name = |frame: &u32| tree.frames[*frame as usize].function.to_string();
    let mut paths = BTreeMap::new();
    for node in 0..tree.nodes.len() {
        let own: Vec<u64> = tree.sides.iter().map(|side| side.own[node]).collect();
        if own.iter().any(|&value| value > 0) {
            paths.insert(tree.path(node).iter().map(name).collect::<Vec<_>>(), own);
        }
    }
    paths
}

/// Stacks over few names, so that they share frames and recurse.
fn any_profile() -> impl Strategy<Value = (Merged, Vec<Resolution>)> {
    let stack = prop::collection::vec(0..6u8, 1..12);
    let row = (stack, 0..10u16, 1..1_000_000u64, 1..50u64);
    prop::collection::vec(row, 1..80).prop_map(|rows| {
        let mut sketch = Sketch::cpu(10);
        for (stack, replicate, value, samples) in rows {
            let stack = stack.iter().map(|f| format!("shop::f{f}")).collect();
            sketch.add_frames(stack, replicate, value, samples);
        }
        sketch.finish()
    })
}

fn check_shape(tree: &Tree) {
    for (i, node) in tree.nodes.iter().enumerate().skip(1) {
        let parent = tree.nodes[node.parent as usize];
        assert!((node.parent as usize) < i && node.depth == parent.depth + 1, "node {i}");
        assert!(node.end as usize > i && node.end <= parent.end, "node {i}");
        if tree.nodes[i - 1].end as usize == i && tree.nodes[i - 1].parent == node.parent {
            assert!(tree.frame(i - 1).function <= tree.frame(i).function, "siblings are sorted at {i}");
        }
    }
}

proptest! {
    #[test]
    fn a_tree_keeps_every_stack_and_every_unit((merged, resolutions) in any_profile()) {
        let tree = Tree::of((&merged, &resolutions));
        check_shape(&tree);
        prop_assert_eq!(tree.totals(0)[0], merged.total());
        let mut expected: BTreeMap<Vec<String>, Vec<u64>> = BTreeMap::new();
        for row in &merged.rows {
            let mut path = vec![];
            let mut at = row.node;
            while let Some(node) = merged.nodes.get(at as usize) {
                let Resolution::Symbols(symbols) = &resolutions[node.frame as usize] else { unreachable!() };
                path.push(symbols[0].function.to_string());
                at = node.parent;
            }
            path.reverse();
            expected.entry(path).or_insert_with(|| vec![0])[0] += row.value;
        }
        prop_assert_eq!(by_path(&tree), expected);
    }

    #[test]
    fn pruning_conserves_sums_and_respects_its_limit(
        (a, of_a) in any_profile(), (b, of_b) in any_profile(), max_nodes in 2..40usize, min_share in 0.0..0.2f64,
    ) {
        let tree = Tree::pair((&a, &of_a), (&b, &of_b));
        let (pruned, lost) = prune(&tree, PruneOptions { max_nodes, min_share });
        check_shape(&pruned);
        prop_assert!(pruned.nodes.len() <= max_nodes, "{} > {max_nodes}", pruned.nodes.len());
        for side in [0, 1] {
            prop_assert_eq!(pruned.totals(side)[0], tree.totals(side)[0]);
            // What is still there has the total it had.
            let totals: BTreeMap<Vec<u32>, u64> =
                tree.totals(side).into_iter().enumerate().map(|(i, total)| (tree.path(i), total)).collect();
            for (i, total) in pruned.totals(side).into_iter().enumerate() {
                if pruned.frame(i).flags & flag::SMALL == 0 {
                    prop_assert_eq!(totals[&pruned.path(i)], total);
                }
            }
        }
        let small: u64 = (0..pruned.nodes.len())
            .filter(|&i| pruned.frame(i).flags & flag::SMALL != 0)
            .map(|i| pruned.frame(i).function.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        prop_assert_eq!(small, lost.nodes);
        let shown = pruned.nodes.len() - (0..pruned.nodes.len()).filter(|&i| pruned.frame(i).flags & flag::SMALL != 0).count();
        prop_assert_eq!(shown as u64 + lost.nodes, tree.nodes.len() as u64);
    }

    #[test]
    fn a_comparison_with_itself_has_no_evidence((merged, resolutions) in any_profile()) {
        let tree = Tree::pair((&merged, &resolutions), (&merged, &resolutions));
        for basis in [Basis::Cores, Basis::Share, Basis::Instance, Basis::Total] {
            prop_assert!(diff::significance(&tree, basis).iter().all(|&q| q == 10_000));
        }
    }

    #[test]
    fn a_comparison_is_the_union_of_its_sides((a, of_a) in any_profile(), (b, of_b) in any_profile()) {
        let both = by_path(&Tree::pair((&a, &of_a), (&b, &of_b)));
        let (only_a, only_b) = (by_path(&Tree::of((&a, &of_a))), by_path(&Tree::of((&b, &of_b))));
        let value = |of: &BTreeMap<Vec<String>, Vec<u64>>, path: &Vec<String>| of.get(path).map_or(0, |v| v[0]);
        for (path, values) in &both {
            prop_assert_eq!(values, &vec![value(&only_a, path), value(&only_b, path)]);
        }
        prop_assert!(only_a.keys().chain(only_b.keys()).all(|path| both.contains_key(path)));
    }

    #[test]
    fn the_wire_form_and_its_json_twin_say_the_same((a, of_a) in any_profile(), (b, of_b) in any_profile()) {
        let tree = Tree::pair((&a, &of_a), (&b, &of_b));
        let q = diff::significance(&tree, Basis::Cores);
        let diff = DiffAnnotations { basis: Basis::Cores, movers: vec![], summary: vec![], q };
        let flame = Flame::new("checkout", &tree, &Annotations { diff: Some(diff), ..Annotations::default() });
        let (header, nodes) = decode(&flame.to_bytes());
        prop_assert_eq!(&nodes, &flame.nodes);
        let mut twin: serde_json::Value = serde_json::from_slice(&flame.to_json()).unwrap();
        let twin_nodes = twin.as_object_mut().unwrap().remove("nodes").unwrap();
        prop_assert_eq!(twin, header);
        prop_assert_eq!(twin_nodes, serde_json::to_value(&nodes).unwrap());
        // Depths come back from `up`.
        let mut depth = 0;
        for (i, up) in nodes.up.iter().enumerate() {
            depth = if i == 0 { 0 } else { depth + 1 - up };
            prop_assert_eq!(depth, tree.nodes[i].depth);
        }
    }
}

/// The reader the web view has, for the test.
fn decode(bytes: &[u8]) -> (serde_json::Value, Columns) {
    assert_eq!(&bytes[..8], b"TFLM\x01\0\0\0");
    let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[12..12 + len]).unwrap();
    let mut rest = &bytes[12 + len..];
    let n = header["node_count"].as_u64().unwrap() as usize;
    let mut column = || -> Vec<u64> {
        let mut next = || {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let (&byte, tail) = rest.split_first().unwrap();
                rest = tail;
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        };
        (0..n).map(|_| next()).collect()
    };
    let narrow = |column: Vec<u64>| column.into_iter().map(|v| v as u32).collect();
    let (up, frame, a) = (narrow(column()), narrow(column()), column());
    let diff = header["diff"].as_bool().unwrap();
    let b = diff.then(&mut column);
    let q = diff.then(&mut column).map(|q| q.into_iter().map(|v| v as u16).collect());
    assert!(rest.is_empty(), "{} bytes follow", rest.len());
    (header, Columns { up, frame, a, b, q })
}

fn symbol(function: &str, line: u32, inlined: bool) -> Symbol {
    Symbol { function: function.into(), module: "shop".into(), file: "/w/shop/src/a.rs".into(), line, inlined }
}

#[test]
fn builds_join_by_name_and_inlined_frames_are_expanded() {
    let mut sketch = Sketch::cpu(1);
    sketch.add("x;y", 0, 5, 1);
    let (merged, _) = sketch.finish();
    // The same code in two builds: other hash, other line, inlined in one and not in the other.
    let old = [
        Resolution::Symbols(vec![symbol("shop::main::h0123456789abcdef", 9, false)]),
        Resolution::Symbols(vec![symbol("shop::f", 20, false), symbol("shop::g::{closure#3}", 31, true)]),
    ];
    let new = [
        Resolution::Symbols(vec![symbol("shop::main::hfedcba9876543210", 8, false), symbol("shop::f", 22, true)]),
        Resolution::Symbols(vec![symbol("shop::g::{{closure}}", 30, false)]),
    ];
    let tree = Tree::pair((&merged, &old), (&merged, &new));
    let path = ["shop::main", "shop::f", "shop::g::{{closure}}"].map(str::to_owned).to_vec();
    assert_eq!(by_path(&tree), BTreeMap::from([(path, vec![5, 5])]));
    let leaf = tree.frame(3);
    assert_eq!((leaf.line, leaf.flags, &*leaf.file), (30, 0, "shop/src/a.rs"));
    assert_eq!(tree.frame(2).flags, 0, "inlined on one side only");
}

#[test]
fn frames_without_names_and_cut_stacks_are_marked() {
    let mut sketch = Sketch::cpu(1);
    sketch.add("(cut);b", 0, 5, 1);
    let (merged, _) = sketch.finish();
    let unresolved = Resolution::Unresolved { module: "shop".into(), address: 0x1f3a };
    let tree = Tree::of((&merged, &[Resolution::Truncated, unresolved]));
    assert_eq!(tree.frame(1).flags, flag::TRUNCATED);
    assert_eq!((&*tree.frame(2).function, tree.frame(2).flags), ("shop+0x1f3a", flag::UNRESOLVED));
}

#[test]
fn a_million_nodes_of_any_depth_are_fine() {
    let mut sketch = Sketch::cpu(1);
    sketch.add("shop::main", 0, 1, 1);
    let (mut merged, resolutions) = sketch.finish();
    // One stack of a million frames: recursion.
    merged.nodes.extend((0..1_000_000u32).map(|parent| super::model::Node { parent, frame: 0 }));
    merged.rows = vec![super::model::Row { node: 1_000_000, replicate: 0, value: 7, samples: 1 }];
    let tree = Tree::of((&merged, &resolutions));
    assert_eq!(tree.nodes.len(), 1_000_002);
    assert_eq!(tree.totals(0)[0], 7);
    let (pruned, _) = prune(&tree, PruneOptions { max_nodes: 100, min_share: 0.0 });
    assert_eq!(pruned.nodes.len(), 100);
    assert_eq!(pruned.totals(0)[0], 7);
}

#[test]
fn noise_is_neutral_on_at_least_99_percent_of_the_area() {
    for basis in [Basis::Cores, Basis::Share, Basis::Instance, Basis::Total] {
        for replicates in [4, 30] {
            let (mut neutral, mut all) = (0u64, 0u64);
            for seed in 0..20 {
                let (a, of_a) = simulated(2 * seed + 1, replicates, |_| 1.0);
                let (b, of_b) = simulated(2 * seed + 2, replicates, |_| 1.0);
                let tree = Tree::pair((&a, &of_a), (&b, &of_b));
                let totals = tree.totals(1);
                for (q, total) in diff::significance(&tree, basis).into_iter().zip(totals) {
                    neutral += if q > 500 { total } else { 0 };
                    all += total;
                }
            }
            let share = neutral as f64 / all as f64;
            assert!(share >= 0.99, "{basis:?} with {replicates} replicates: {share}");
        }
    }
}

#[test]
fn a_planted_change_is_found_and_its_neighbours_are_not() {
    for replicates in [4, 30] {
        let (a, of_a) = simulated(1, replicates, |_| 1.0);
        let (b, of_b) =
            simulated(2, replicates, |stack| if stack.contains("route2::handle;shop::step0") { 2.0 } else { 1.0 });
        let tree = Tree::pair((&a, &of_a), (&b, &of_b));
        let q = diff::significance(&tree, Basis::Cores);
        for (i, q) in q.into_iter().enumerate() {
            let path: Vec<&str> = tree.path(i).iter().map(|&f| &*tree.frames[f as usize].function).collect();
            let path = path.join(";");
            if path.ends_with("route2::handle;shop::step0::run") || path.ends_with("route2::handle") {
                assert!(q <= 500, "{path}: {q}");
            } else if path.ends_with("route1::handle;shop::step0::run") {
                assert!(q > 500, "{path}: {q}");
            }
        }
    }
}

#[test]
fn a_gauge_seen_more_often_has_not_changed() {
    // The same 10 live blocks of 512 KiB, seen in 2 windows on one side and in 6 on the other.
    let side = |replicates: u16| {
        let mut sketch = Sketch::gauge(replicates);
        for replicate in 0..replicates {
            sketch.add("shop::main;shop::cache", replicate, (10 << 19) / u64::from(replicates), 10);
        }
        sketch.finish()
    };
    let ((a, of_a), (b, of_b)) = (side(2), side(6));
    let tree = Tree::pair((&a, &of_a), (&b, &of_b));
    assert!(diff::significance(&tree, Basis::Cores).iter().all(|&q| q == 10_000));
}

#[test]
fn a_gauge_has_to_stand_out_from_the_luck_of_sampling_however_often_it_was_seen() {
    // Live blocks of 512 KiB that stay for all of the range, with a little coming and going in each slice.
    let side = |blocks: u64| {
        let mut sketch = Sketch::gauge(30);
        for replicate in 0..30 {
            let now = blocks + u64::from(replicate % 2);
            sketch.add("shop::main;shop::cache", replicate, (now << 19) / 30, now);
            sketch.add("shop::main;shop::steady", replicate, (50 << 19) / 30, 50);
        }
        sketch.finish()
    };
    for (a, b, stands_out) in [(20, 20, false), (20, 27, false), (20, 60, true), (60, 20, true), (0, 30, true)] {
        let ((a_side, of_a), (b_side, of_b)) = (side(a), side(b));
        let tree = Tree::pair((&a_side, &of_a), (&b_side, &of_b));
        let cache = tree.nodes.iter().position(|node| &*tree.frames[node.frame as usize].function == "shop::cache");
        let q = diff::significance(&tree, Basis::Cores)[cache.unwrap()];
        assert_eq!(q <= 500, stands_out, "{a} blocks against {b}: q {q}");
    }
}

#[test]
fn bases_make_sides_of_different_size_comparable() {
    let side = |replicates: u16, instances: usize| {
        let mut sketch = Sketch::cpu(replicates).instances(instances);
        for replicate in 0..replicates {
            sketch.add("shop::main", replicate, instances as u64 * 5_000_000_000, instances as u64 * 500);
        }
        sketch.finish()
    };
    let ((a, of_a), (b, of_b)) = (side(10, 1), side(20, 3));
    let tree = Tree::pair((&a, &of_a), (&b, &of_b));
    for (basis, of_a, of_b, unit, differs) in [
        (Basis::Cores, 0.5, 1.5, "cores", true),
        (Basis::Instance, 0.5, 0.5, "cores per instance", false),
        (Basis::Share, 1.0, 1.0, "share", false),
        (Basis::Total, 50.0, 300.0, "seconds", true),
    ] {
        let info = [0, 1].map(|side| super::flame::side_info(&tree, side, basis));
        assert!((info[0].value - of_a).abs() < 1e-9 && (info[1].value - of_b).abs() < 1e-9, "{basis:?} {info:?}");
        assert_eq!(info[0].unit, unit);
        assert_eq!(diff::significance(&tree, basis)[0] <= 500, differs, "{basis:?}");
    }
}

#[test]
fn poisson_draws_have_their_mean_and_variance() {
    let mut random = Random::new(7);
    let draws: Vec<f64> = (0..20_000).map(|_| random.poisson(250.0) as f64).collect();
    let of = super::stats::Replicates::of(&draws);
    assert!((of.mean - 250.0).abs() < 1.0 && (of.variance / 250.0 - 1.0).abs() < 0.05, "{of:?}");
}
