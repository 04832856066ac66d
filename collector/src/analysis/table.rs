//! Functions as a table: what each cost itself, and with all that it called. Exact: nothing is pruned, and recursion counts once.

use crate::profile::tree::Tree;

/// One function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index into the tree's frames.
    pub frame: u32,
    /// Its own value, in units of the type.
    pub own: u64,
    /// With all below it.
    pub total: u64,
}

/// All functions of one side, by what they cost themselves, then with all below them; the largest first.
pub fn functions(tree: &Tree, side: usize) -> Vec<Row> {
    let totals = tree.totals(side);
    let own = tree.sides.get(side).map(|side| side.own.as_slice()).unwrap_or_default();
    let mut rows: Vec<Row> = (0..tree.frames.len() as u32).map(|frame| Row { frame, own: 0, total: 0 }).collect();
    // How often each frame is on the way to the node, and that way: a function within itself is in its total already.
    let mut open = vec![0u32; tree.frames.len()];
    let mut way: Vec<(u32, u32)> = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        while way.last().is_some_and(|(end, _)| *end as usize <= at) {
            if let Some((_, frame)) = way.pop() {
                open[frame as usize] -= 1;
            }
        }
        let (row, is_open) = (&mut rows[node.frame as usize], &mut open[node.frame as usize]);
        row.own = row.own.saturating_add(own.get(at).copied().unwrap_or(0));
        if *is_open == 0 {
            row.total = row.total.saturating_add(totals[at]);
        }
        *is_open += 1;
        way.push((node.end, node.frame));
    }
    let root = tree.nodes.first().map(|node| node.frame);
    rows.retain(|row| row.total > 0 && Some(row.frame) != root);
    rows.sort_by(|a, b| (b.own, b.total, a.frame).cmp(&(a.own, a.total, b.frame)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::testing::Sketch;

    #[test]
    fn recursion_counts_once_and_sums_are_exact() {
        let mut sketch = Sketch::cpu(1);
        for (stack, value) in [("main;f;g;f", 5), ("main;g", 2), ("main;f", 1), ("h", 4)] {
            sketch.add(stack, 0, value, 1);
        }
        let (merged, resolutions) = sketch.finish();
        let tree = Tree::of((&merged, &resolutions));
        let rows = functions(&tree, 0);
        let told: Vec<String> = rows
            .iter()
            .map(|row| format!("{} {}/{}", tree.frames[row.frame as usize].function, row.own, row.total))
            .collect();
        assert_eq!(told, ["f 6/6", "h 4/4", "g 2/7", "main 0/8"]);
        assert_eq!(rows.iter().map(|row| row.own).sum::<u64>(), 12);
    }
}
