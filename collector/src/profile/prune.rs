//! Keeps the nodes that matter and folds the rest into "N small frames" under the parent they belong to, so that sums stay exact.

use super::report::Pruned;
use super::tree::{Cell, FrameInfo, Growth, Tree, flag};

/// How much of a tree to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PruneOptions {
    /// At most this many nodes, those of small frames included. At least 2 are kept.
    pub max_nodes: usize,
    /// Nodes below this share of the total (on a diff: of both sides' totals) are folded.
    pub min_share: f64,
}

/// The pruned tree and what it lost. Frame indexes of `tree` stay valid in it.
pub fn prune(tree: &Tree, options: PruneOptions) -> (Tree, Pruned) {
    let kept = choose(tree, options);
    if kept.iter().all(|&k| k) {
        return (tree.clone(), Pruned::default());
    }
    fold(tree, &kept)
}

/// Marks the nodes to keep: a set closed towards the root.
fn choose(tree: &Tree, options: PruneOptions) -> Vec<bool> {
    let weights = weights(tree);
    let limit = options.max_nodes.max(2);
    // A parent weighs at least as much as its child and comes before it, so any prefix of this order is a tree.
    let mut order: Vec<u32> =
        (0..tree.nodes.len() as u32).filter(|&i| i == 0 || weights[i as usize] >= options.min_share).collect();
    order.sort_unstable_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b)));
    let mut keep = order.len().min(limit);
    loop {
        let mut kept = vec![false; tree.nodes.len()];
        for &i in &order[..keep] {
            kept[i as usize] = true;
        }
        let mut has_small = vec![false; tree.nodes.len()];
        for (i, node) in tree.nodes.iter().enumerate() {
            if !kept[i] && kept[node.parent as usize] {
                has_small[node.parent as usize] = true;
            }
        }
        let small = has_small.iter().filter(|&&s| s).count();
        if keep + small <= limit || keep <= 1 {
            return kept;
        }
        // Each node kept less frees at most two places.
        keep -= (keep + small - limit).div_ceil(2).min(keep - 1);
    }
}

/// A node's share of its side's total, the larger of both sides.
fn weights(tree: &Tree) -> Vec<f64> {
    let mut weights = vec![0.0f64; tree.nodes.len()];
    for side in 0..tree.sides.len() {
        let totals = tree.totals(side);
        let all = totals[0].max(1) as f64;
        for (weight, total) in weights.iter_mut().zip(totals) {
            *weight = weight.max(total as f64 / all);
        }
    }
    weights
}

fn fold(tree: &Tree, kept: &[bool]) -> (Tree, Pruned) {
    let mut frames = tree.frames.clone();
    let mut growth = Growth::new(tree.sides.len());
    // How many nodes are folded under each kept one.
    let mut folded = vec![0u64; tree.nodes.len()];
    let mut owner = vec![0u32; tree.nodes.len()];
    for (i, node) in tree.nodes.iter().enumerate() {
        owner[i] = if kept[i] { i as u32 } else { owner[node.parent as usize] };
        if !kept[i] {
            folded[owner[i] as usize] += 1;
        }
    }
    let mut small_frames = rustc_hash::FxHashMap::default();
    let mut place = vec![0u32; tree.nodes.len()];
    let mut small = vec![0u32; tree.nodes.len()];
    for (i, node) in tree.nodes.iter().enumerate().filter(|(i, _)| kept[*i]) {
        if i > 0 {
            place[i] = growth.child(place[node.parent as usize], node.frame);
        }
        if folded[i] > 0 {
            let frame = *small_frames.entry(folded[i]).or_insert_with(|| {
                frames.push(small_frame(folded[i]));
                frames.len() as u32 - 1
            });
            small[i] = growth.child(place[i], frame);
        }
    }
    let (mut lost, mut all) = (0.0, 0.0);
    for (side, values) in tree.sides.iter().enumerate() {
        for cell in &values.cells {
            let i = cell.node as usize;
            let node = if kept[i] { place[i] } else { small[owner[i] as usize] };
            growth.record(side, Cell { node, ..*cell });
            all += cell.value as f64;
            lost += if kept[i] { 0.0 } else { cell.value as f64 };
        }
    }
    let facts = tree.sides.iter().map(|side| side.facts.clone()).collect();
    let pruned = Pruned { nodes: folded.iter().sum(), share: if all > 0.0 { lost / all } else { 0.0 } };
    (growth.arrange(tree.profile_type.clone(), frames, facts), pruned)
}

fn small_frame(n: u64) -> FrameInfo {
    let function = if n == 1 { "1 small frame".into() } else { format!("{n} small frames").into() };
    FrameInfo { function, module: "".into(), file: "".into(), line: 0, flags: flag::SMALL }
}
