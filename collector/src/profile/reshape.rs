//! A tree's stacks made others: kept or dropped, hidden in, started lower, or turned over. Values keep their replicates, so that noise
//! can still be told from change, and every answer of the new tree is what it would be had only these stacks been sampled.
//!
//! Nothing here recurses: a hostile stack is as deep as it likes.

use rustc_hash::FxHashMap;

use super::model::Kind;
use super::tree::{Cell, Growth, SideFacts, Tree};

/// A group of stacks that is lighter than this share of all is not told apart by its callers: a quarter of a pixel on a wide screen.
const SPLIT_SHARE: u64 = 8_000;

/// Callers of callers, at most: nobody reads more, and a hostile profile has no end of them.
const CALLERS_MAX: usize = 512;

const NOTHING_LEFT: &str = "the filters leave nothing of it: take one away";

impl Tree {
    /// The stacks that have (or have not) a frame that matches, by position among the frames.
    pub fn keep(&self, matches: &[bool], having: bool) -> Self {
        let mut on_path = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            on_path[i] = on_path[node.parent as usize] || is_match(matches, node.frame);
        }
        let mut needed = vec![false; self.nodes.len()];
        for cell in self.sides.iter().flat_map(|side| &side.cells) {
            needed[cell.node as usize] |= on_path[cell.node as usize] == having;
        }
        let is_wanted = needed.clone();
        for i in (1..self.nodes.len()).rev() {
            needed[self.nodes[i].parent as usize] |= needed[i];
        }
        let mut growth = Growth::new(self.sides.len());
        let mut place = vec![0u32; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1).filter(|(i, _)| needed[*i]) {
            place[i] = growth.child(place[node.parent as usize], node.frame);
        }
        self.moved(growth, |node| is_wanted[node].then(|| place[node]))
    }

    /// All stacks without the nodes that are hidden, whose cost goes to their callers.
    pub fn hide(&self, is_hidden: impl Fn(usize) -> bool) -> Self {
        let mut growth = Growth::new(self.sides.len());
        let mut place = vec![0u32; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            let above = place[node.parent as usize];
            place[i] = if is_hidden(i) { above } else { growth.child(above, node.frame) };
        }
        self.moved(growth, |node| Some(place[node]))
    }

    /// Stacks from their first matching frame on; those without one are gone.
    pub fn start_at(&self, matches: &[bool]) -> Self {
        let mut growth = Growth::new(self.sides.len());
        // 0: nothing has matched yet.
        let mut place = vec![0u32; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            let above = place[node.parent as usize];
            if above > 0 || is_match(matches, node.frame) {
                place[i] = growth.child(above, node.frame);
            }
        }
        self.moved(growth, |node| Some(place[node]).filter(|place| *place > 0))
    }

    /// Matching frames first, with everything below them as their own cost, and then who called them, nearest first. Of
    /// calls within calls, the outermost counts.
    pub fn callers_of(&self, matches: &[bool]) -> Self {
        // The outermost match that a node is below; itself, if it is one. 0: none.
        let mut owner = vec![0u32; self.nodes.len()];
        let mut started = Vec::new();
        for (i, node) in self.nodes.iter().enumerate().skip(1) {
            owner[i] = owner[node.parent as usize];
            if owner[i] == 0 && is_match(matches, node.frame) {
                owner[i] = i as u32;
                started.push(Climb { owner: i as u32, at: i as u32 });
            }
        }
        let totals: Vec<Vec<u64>> = (0..self.sides.len()).map(|side| self.totals(side)).collect();
        let sum = |climbs: &[Climb], side: usize| {
            climbs.iter().fold(0u64, |sum, climb| sum.saturating_add(totals[side][climb.owner as usize]))
        };
        let floors: Vec<u64> = (0..totals.len()).map(|side| sum(&started, side) / SPLIT_SHARE).collect();
        let is_light = |climbs: &[Climb]| floors.iter().enumerate().all(|(side, floor)| sum(climbs, side) <= *floor);
        let mut growth = Growth::new(self.sides.len());
        let mut place = vec![0u32; self.nodes.len()];
        let mut open = vec![(0u32, 0usize, started)];
        while let Some((above, level, climbs)) = open.pop() {
            let mut groups: FxHashMap<u32, Vec<Climb>> = FxHashMap::default();
            for climb in climbs {
                groups.entry(self.nodes[climb.at as usize].frame).or_default().push(climb);
            }
            for (frame, group) in groups {
                let at = growth.child(above, frame);
                let ends = level >= CALLERS_MAX || is_light(&group);
                let mut higher = Vec::new();
                for climb in group {
                    place[climb.owner as usize] = at;
                    let caller = self.nodes[climb.at as usize].parent;
                    if !ends && caller > 0 {
                        higher.push(Climb { at: caller, ..climb });
                    }
                }
                if !higher.is_empty() {
                    open.push((at, level + 1, higher));
                }
            }
        }
        self.moved(growth, |node| Some(place[owner[node] as usize]).filter(|place| *place > 0))
    }

    /// The tree that grew, with each value where its node went; `None`: it is left out.
    fn moved(&self, mut growth: Growth, place: impl Fn(usize) -> Option<u32>) -> Self {
        let mut facts = Vec::with_capacity(self.sides.len());
        for (number, side) in self.sides.iter().enumerate() {
            let (mut total, mut samples) = (0u64, 0u64);
            for cell in &side.cells {
                let Some(node) = place(cell.node as usize) else { continue };
                total = total.saturating_add(cell.value);
                samples = samples.saturating_add(cell.samples);
                growth.record(number, Cell { node, ..*cell });
            }
            if self.profile_type.kind == Kind::Gauge {
                samples = samples.div_ceil(side.facts.replicate_seconds.len().max(1) as u64);
            }
            let empty_because = match side.facts.total {
                0 => side.facts.empty_because.clone(),
                _ => (total == 0).then(|| NOTHING_LEFT.to_owned()),
            };
            facts.push(SideFacts { total, samples, empty_because, ..side.facts.clone() });
        }
        growth.arrange(self.profile_type.clone(), self.frames.clone(), facts)
    }
}

/// A stack on its way up: from which match it came, and where it is.
#[derive(Clone, Copy)]
struct Climb {
    owner: u32,
    at: u32,
}

fn is_match(matches: &[bool], frame: u32) -> bool {
    matches.get(frame as usize).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::testing::{Sketch, simulated};

    fn matching(tree: &Tree, part: &str) -> Vec<bool> {
        tree.frames.iter().map(|frame| frame.function.contains(part)).collect()
    }

    fn sums(tree: &Tree) -> (u64, u64, u64) {
        let cells = &tree.sides[0].cells;
        (tree.sides[0].facts.total, cells.iter().map(|c| c.value).sum(), cells.iter().map(|c| c.samples).sum())
    }

    #[test]
    fn every_way_keeps_sums_and_replicates() {
        let (merged, resolutions) = simulated(3, 5, |_| 1.0);
        let tree = Tree::of((&merged, &resolutions));
        let matches = matching(&tree, "step3");
        let kept = tree.keep(&matches, true);
        let dropped = tree.keep(&matches, false);
        assert_eq!(sums(&kept).0 + sums(&dropped).0, sums(&tree).0);
        for part in [&kept, &tree.start_at(&matches), &tree.callers_of(&matches)] {
            assert_eq!(sums(part), sums(&kept));
            assert_eq!(part.sides[0].facts.samples, sums(part).2);
            let replicates: std::collections::BTreeSet<u16> = part.sides[0].cells.iter().map(|c| c.replicate).collect();
            assert_eq!(replicates.len(), 5);
        }
        let hidden = tree.hide(|node| matches[tree.nodes[node].frame as usize]);
        assert_eq!(sums(&hidden), sums(&tree));
        assert!(hidden.nodes.iter().all(|node| !matches[node.frame as usize]));
    }

    #[test]
    fn what_matches_nothing_leaves_a_tree_that_says_so() {
        let (merged, resolutions) = simulated(3, 2, |_| 1.0);
        let tree = Tree::of((&merged, &resolutions));
        let none = vec![false; tree.frames.len()];
        for empty in [tree.keep(&none, true), tree.start_at(&none), tree.callers_of(&none)] {
            assert_eq!((empty.nodes.len(), sums(&empty)), (1, (0, 0, 0)));
            assert_eq!(empty.sides[0].facts.empty_because.as_deref(), Some(NOTHING_LEFT));
        }
        assert_eq!(tree.keep(&none, false), tree);
        assert_eq!(tree.hide(|_| false), tree);
    }

    #[test]
    fn a_stack_of_thousands_of_frames_is_cut_and_not_lost() {
        let mut sketch = Sketch::cpu(1);
        let mut stack: Vec<String> = (0..4000).map(|i| format!("shop::f{i}")).collect();
        stack.push("shop::leaf".to_owned());
        sketch.add_frames(stack, 0, 10, 1);
        let (merged, resolutions) = sketch.finish();
        let tree = Tree::of((&merged, &resolutions));
        let turned = tree.callers_of(&matching(&tree, "leaf"));
        assert_eq!(sums(&turned), sums(&tree));
        assert_eq!(turned.nodes.len(), CALLERS_MAX + 2);
    }
}
