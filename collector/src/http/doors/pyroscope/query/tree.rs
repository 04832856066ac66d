//! Trees as Pyroscope draws them: joined by the names of functions alone, in levels, with what is too small in nodes called `other`.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::messages::{FlameGraph, Level};
use crate::profile::tree::Tree;

/// What stands for the nodes that are left out below another.
pub(super) const OTHER: &str = "other";

/// The root's name.
const TOTAL: &str = "total";

/// One tree over one side or two.
#[derive(Debug)]
pub(super) struct Joined {
    names: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, u32>,
    nodes: Vec<Node>,
    children: FxHashMap<(u32, u32), u32>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    name: u32,
    own: [u64; 2],
}

impl Joined {
    pub(super) fn new() -> Self {
        let root = Node { parent: 0, name: 0, own: [0; 2] };
        let total: Arc<str> = TOTAL.into();
        Self { names: vec![total], numbers: FxHashMap::default(), nodes: vec![root], children: FxHashMap::default() }
    }

    /// Adds what a tree holds to a side: 0 or 1.
    pub(super) fn add(&mut self, tree: &Tree, side: usize) {
        let totals = tree.totals(0);
        let mut place = vec![0u32; tree.nodes.len()];
        for (i, node) in tree.nodes.iter().enumerate() {
            // What is selected away leaves nodes without anything.
            if totals[i] == 0 {
                continue;
            }
            if i > 0 {
                let name = self.number(&tree.frame(i).function);
                place[i] = self.child(place[node.parent as usize], name);
            }
            let own = &mut self.nodes[place[i] as usize].own[side];
            *own = own.saturating_add(tree.sides[0].own[i]);
        }
    }

    fn number(&mut self, name: &Arc<str>) -> u32 {
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name.clone());
        }
        number
    }

    fn child(&mut self, parent: u32, name: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let child = *self.children.entry((parent, name)).or_insert(next);
        if child == next {
            self.nodes.push(Node { parent, name, own: [0; 2] });
        }
        child
    }

    /// The levels of one side: of each node offset, total, own value and name.
    pub(super) fn flame_graph(self, max_nodes: usize) -> FlameGraph {
        self.levels::<1>(max_nodes)
    }

    /// The levels of both sides: of each node offset, total and own value on the left, the same on the right, and its name.
    pub(super) fn difference(self, max_nodes: usize) -> FlameGraph {
        let graph = self.levels::<2>(max_nodes);
        FlameGraph { total: graph.left_ticks.saturating_add(graph.right_ticks), ..graph }
    }

    fn levels<const SIDES: usize>(self, max_nodes: usize) -> FlameGraph {
        let totals = self.totals();
        let kept = kept(&totals, max_nodes);
        let children = self.children_by_name(&kept);
        let mut writer = Writer::<SIDES>::default();
        let mut open: Vec<Open> = vec![(Some(0), totals[0], 0, [0; 2])];
        while let Some((node, total, level, offset)) = open.pop() {
            let Some(node) = node else {
                writer.write(level, offset, total, total, OTHER);
                continue;
            };
            let Node { own, name, .. } = self.nodes[node as usize];
            writer.write(level, offset, total, own, &self.names[name as usize]);
            let mut at = plus(offset, own);
            let mut left = minus(total, own);
            let first = open.len();
            for &child in &children[node as usize] {
                let total = totals[child as usize];
                open.push((Some(child), total, level + 1, at));
                at = plus(at, total);
                left = minus(left, total);
            }
            if left != [0; 2] {
                open.push((None, left, level + 1, at));
            }
            open[first..].reverse();
        }
        let [left, right] = totals[0].map(signed);
        FlameGraph {
            names: writer.names,
            levels: writer.levels,
            total: left,
            max_self: writer.max_self,
            left_ticks: if SIDES == 2 { left } else { 0 },
            right_ticks: if SIDES == 2 { right } else { 0 },
        }
    }

    fn totals(&self) -> Vec<[u64; 2]> {
        let mut totals: Vec<[u64; 2]> = self.nodes.iter().map(|node| node.own).collect();
        for i in (1..totals.len()).rev() {
            let parent = self.nodes[i].parent as usize;
            totals[parent] = plus(totals[parent], totals[i]);
        }
        totals
    }

    fn children_by_name(&self, kept: &[bool]) -> Vec<Vec<u32>> {
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().skip(1).filter(|(i, _)| kept[*i]) {
            children[node.parent as usize].push(i as u32);
        }
        for siblings in &mut children {
            siblings.sort_by_key(|child| &self.names[self.nodes[*child as usize].name as usize]);
        }
        children
    }
}

/// A node that is still to be written, or what is left out beside it (`None`): its total, level and offset. The next one is the last.
type Open = (Option<u32>, [u64; 2], usize, [u64; 2]);

/// The largest nodes, on either side. A parent is at least as large as its child and before it, so that these are a tree.
fn kept(totals: &[[u64; 2]], max_nodes: usize) -> Vec<bool> {
    let mut kept = vec![true; totals.len()];
    if totals.len() > max_nodes.max(1) {
        let mut order: Vec<usize> = (0..totals.len()).collect();
        let size = |i: &usize| (std::cmp::Reverse(totals[*i][0].max(totals[*i][1])), *i);
        order.select_nth_unstable_by_key(max_nodes.max(1), size);
        for small in order.into_iter().skip(max_nodes.max(1)) {
            kept[small] = false;
        }
    }
    kept
}

/// Levels as they grow, from left to right.
#[derive(Default)]
struct Writer<const SIDES: usize> {
    names: Vec<String>,
    numbers: FxHashMap<String, i64>,
    levels: Vec<Level>,
    /// Where the last node of each level ends.
    ends: Vec<[u64; 2]>,
    max_self: i64,
}

impl<const SIDES: usize> Writer<SIDES> {
    fn write(&mut self, level: usize, offset: [u64; 2], total: [u64; 2], own: [u64; 2], name: &str) {
        if self.levels.len() == level {
            self.levels.push(Level::default());
            self.ends.push([0; 2]);
        }
        let (values, end) = (&mut self.levels[level].values, &mut self.ends[level]);
        for side in 0..SIDES {
            // As far from the end of the node before it.
            values.push(signed(offset[side].saturating_sub(end[side])));
            values.extend([signed(total[side]), signed(own[side])]);
            self.max_self = self.max_self.max(signed(own[side]));
        }
        *end = plus(offset, total);
        let next = self.names.len() as i64;
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                self.names.push(name.to_owned());
                self.numbers.insert(name.to_owned(), next);
                next
            }
        };
        self.levels[level].values.push(number);
    }
}

fn plus(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])]
}

fn minus(a: [u64; 2], b: [u64; 2]) -> [u64; 2] {
    [a[0].saturating_sub(b[0]), a[1].saturating_sub(b[1])]
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Leaves of a tree only the stacks that begin with these functions, outermost first.
pub(super) fn begin_with(tree: &mut Tree, call_site: &[String]) {
    if call_site.is_empty() {
        return;
    }
    // How much of the call site leads to a node, and whether all of it does.
    let mut leads = vec![Some(0usize); tree.nodes.len()];
    for i in 1..tree.nodes.len() {
        let above = leads[tree.nodes[i].parent as usize];
        leads[i] = match above {
            Some(known) if known == call_site.len() => Some(known),
            Some(known) => (*tree.frame(i).function == *call_site[known]).then_some(known + 1),
            None => None,
        };
    }
    let is_below = |node: usize| leads[node] == Some(call_site.len());
    for side in &mut tree.sides {
        side.cells.retain(|cell| is_below(cell.node as usize));
        for (node, own) in side.own.iter_mut().enumerate() {
            *own = if is_below(node) { *own } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::profile::testing::Sketch;

    fn tree_of(stacks: &[(&str, u64)]) -> Tree {
        let mut sketch = Sketch::cpu(1);
        stacks.iter().for_each(|(stack, value)| sketch.add(stack, 0, *value, 1));
        let (merged, resolutions) = sketch.finish();
        Tree::of((&merged, &resolutions))
    }

    /// What the levels say: by path, total and own value.
    fn read(graph: &FlameGraph, sides: usize) -> BTreeMap<String, Vec<(i64, i64)>> {
        let width = sides * 3 + 1;
        let mut above: Vec<(Vec<i64>, Vec<i64>, String)> = Vec::new();
        let mut found = BTreeMap::new();
        for level in &graph.levels {
            let mut here = Vec::new();
            let mut ends = vec![0; sides];
            for node in level.values.chunks(width) {
                let mut values = Vec::new();
                let (mut from, mut until) = (Vec::new(), Vec::new());
                for (side, end) in ends.iter_mut().enumerate() {
                    let [offset, total, own] = node[side * 3..side * 3 + 3] else { panic!("{node:?}") };
                    from.push(*end + offset);
                    *end += offset + total;
                    until.push(*end);
                    values.push((total, own));
                }
                let name = &graph.names[node[width - 1] as usize];
                let inside = |(a, b, _): &&(Vec<i64>, Vec<i64>, String)| {
                    (0..sides).all(|side| a[side] <= from[side] && until[side] <= b[side])
                };
                let path = match above.iter().find(inside) {
                    Some((_, _, path)) => format!("{path};{name}"),
                    None => name.clone(),
                };
                here.push((from, until, path.clone()));
                assert_eq!(found.insert(path, values), None);
            }
            above = here;
        }
        found
    }

    #[test]
    fn a_tree_is_read_back_from_its_levels() {
        let mut joined = Joined::new();
        joined.add(&tree_of(&[("a;b", 5), ("a;c;d", 7), ("a", 1), ("e", 2)]), 0);
        joined.add(&tree_of(&[("a;b", 10)]), 0);
        let graph = joined.flame_graph(100);
        assert_eq!((graph.total, graph.max_self, graph.names[0].as_str()), (25, 15, "total"));
        let expected = [
            ("total", 25, 0),
            ("total;a", 23, 1),
            ("total;a;b", 15, 15),
            ("total;a;c", 7, 0),
            ("total;a;c;d", 7, 7),
            ("total;e", 2, 2),
        ];
        let expected = expected.map(|(path, total, own)| (path.to_owned(), vec![(total, own)]));
        assert_eq!(read(&graph, 1), BTreeMap::from(expected));
        assert_eq!(graph.levels[2].values, [1, 15, 15, 2, 0, 7, 0, 3], "offsets are from the node before");
    }

    #[test]
    fn what_is_left_out_is_in_nodes_called_other() {
        let tree = tree_of(&[("a;b", 50), ("a;c", 3), ("a;d", 2), ("e;f", 40), ("g", 1)]);
        let mut joined = Joined::new();
        joined.add(&tree, 0);
        let graph = joined.flame_graph(5);
        let expected = [
            ("total", 96, 0),
            ("total;a", 55, 0),
            ("total;a;b", 50, 50),
            ("total;a;other", 5, 5),
            ("total;e", 40, 0),
            ("total;e;f", 40, 40),
            ("total;other", 1, 1),
        ];
        let expected = expected.map(|(path, total, own)| (path.to_owned(), vec![(total, own)]));
        assert_eq!(read(&graph, 1), BTreeMap::from(expected));
        // Asked for by where it is called, it opens.
        let mut below = tree.clone();
        begin_with(&mut below, &["a".to_owned()]);
        let mut joined = Joined::new();
        joined.add(&below, 0);
        let opened = joined.flame_graph(5);
        let paths: Vec<String> = read(&opened, 1).into_keys().collect();
        assert_eq!(opened.total, 55);
        assert_eq!(paths, ["total", "total;a", "total;a;b", "total;a;c", "total;a;d"]);
    }

    #[test]
    fn a_comparison_has_both_sides_of_each_node() {
        let mut joined = Joined::new();
        joined.add(&tree_of(&[("a;b", 5), ("a;c", 1)]), 0);
        joined.add(&tree_of(&[("a;b", 9), ("d", 4)]), 1);
        let graph = joined.difference(100);
        assert_eq!((graph.total, graph.left_ticks, graph.right_ticks, graph.max_self), (19, 6, 13, 9));
        let found = read(&graph, 2);
        assert_eq!(found["total;a;b"], [(5, 5), (9, 9)]);
        assert_eq!(found["total;d"], [(0, 0), (4, 4)]);
        assert_eq!(found["total;a;c"], [(1, 1), (0, 0)]);
    }

    proptest! {
        #[test]
        fn sums_stay_exact_however_little_is_kept(
            stacks in proptest::collection::vec(("[abc](;[abcd]){0,4}", 1u64..1_000), 1..40),
            max_nodes in 1usize..60,
        ) {
            let stacks: Vec<(&str, u64)> = stacks.iter().map(|(stack, value)| (stack.as_str(), *value)).collect();
            let mut joined = Joined::new();
            joined.add(&tree_of(&stacks), 0);
            let graph = joined.flame_graph(max_nodes);
            let found = read(&graph, 1);
            let sum: i64 = stacks.iter().map(|(_, value)| *value as i64).sum();
            prop_assert_eq!(graph.total, sum);
            prop_assert_eq!(found.values().map(|values| values[0].1).sum::<i64>(), sum);
            let named = found.keys().filter(|path| !path.ends_with(OTHER)).count();
            prop_assert!(named <= max_nodes.max(1), "{} nodes, limit {}", named, max_nodes);
        }
    }
}
