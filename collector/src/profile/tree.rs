//! One tree over one or two merged profiles. Frames join by (module, function) along the path, so builds compare;
//! inlined frames are expanded; recursion is kept. A comparison is one tree with two sides: complete by construction.
//!
//! Nothing here recurses: a hostile stack is as deep as it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::model::{Merged, Node, Partial, ProfileType};
use super::names;
use super::resolution::Resolution;

/// Bits of [`FrameInfo::flags`].
pub mod flag {
    /// The compiler copied the function into the one above it, wherever it appears here.
    pub const INLINED: u8 = 1;
    /// Without symbols: the name is `module+0x1f3a`.
    pub const UNRESOLVED: u8 = 2;
    /// Stands for what is missing towards the root.
    pub const TRUNCATED: u8 = 4;
    /// Many small frames in one.
    pub const SMALL: u8 = 8;
    /// The root.
    pub const ROOT: u8 = 16;
}

/// A distinct frame of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameInfo {
    /// Function, normalised so that builds compare.
    pub function: Arc<str>,
    /// Binary or library, or empty.
    pub module: Arc<str>,
    /// Source file, shortened, or empty.
    pub file: Arc<str>,
    /// The first line of the function that was seen, or 0.
    pub line: u32,
    /// See [`flag`].
    pub flags: u8,
}

/// A node of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeNode {
    /// Index of the parent, which precedes this node. The root is its own parent.
    pub parent: u32,
    /// Distance to the root.
    pub depth: u32,
    /// One past the last node of its subtree.
    pub end: u32,
    /// Index into the tree's frames.
    pub frame: u32,
}

/// A node's own value in one replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Which node.
    pub node: u32,
    /// Which slice of the time range.
    pub replicate: u16,
    /// In units of the type.
    pub value: u64,
    /// How many samples are behind it.
    pub samples: u64,
}

/// What is known about one side as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct SideFacts {
    /// Unix milliseconds.
    pub from_ms: u64,
    /// Unix milliseconds, exclusive.
    pub until_ms: u64,
    /// Sum of all values, in units of the type.
    pub total: u64,
    /// How many samples are behind it.
    pub samples: u64,
    /// Time covered by received windows.
    pub seconds: f64,
    /// The same, by replicate.
    pub replicate_seconds: Vec<f64>,
    /// How many windows were merged.
    pub windows: u64,
    /// How many instances sent them.
    pub instances: u64,
    /// Resource labels seen, each with its values.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Why there is nothing.
    pub empty_because: Option<String>,
    /// Which part of the range is in it, where it is not all of it.
    pub partial: Option<Partial>,
}

/// One side's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// What is known about it as a whole.
    pub facts: SideFacts,
    /// Own value of each node.
    pub own: Vec<u64>,
    /// Own values by node and replicate, sorted by both.
    pub cells: Vec<Cell>,
}

/// A tree over one or two sides, nodes in preorder, siblings by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// What the values measure.
    pub profile_type: ProfileType,
    /// Distinct frames.
    pub frames: Vec<FrameInfo>,
    /// At least the root.
    pub nodes: Vec<TreeNode>,
    /// One, or the baseline and what is compared with it.
    pub sides: Vec<Side>,
}

/// A merged profile and what its frames turned out to be, by position.
pub type Resolved<'a> = (&'a Merged, &'a [Resolution]);

impl Tree {
    /// The tree of one profile.
    pub fn of(profile: Resolved<'_>) -> Self {
        Self::build(&[profile])
    }

    /// The union tree of a baseline `a` and what is compared with it.
    pub fn pair(a: Resolved<'_>, b: Resolved<'_>) -> Self {
        Self::build(&[a, b])
    }

    fn build(profiles: &[Resolved<'_>]) -> Self {
        let profile_type = profiles.first().map(|(m, _)| m.profile_type.clone()).expect("a tree has at least one side");
        let mut frames = FrameTable::new();
        let mut growth = Growth::new(profiles.len());
        for (side, (merged, resolutions)) in profiles.iter().enumerate() {
            let chains = frames.intern_all(resolutions);
            growth.add(side, merged, &chains);
        }
        let facts = profiles.iter().map(|(merged, _)| SideFacts::of(merged)).collect();
        growth.arrange(profile_type, frames.frames, facts)
    }

    /// Every node's value with all below it, on side `side`.
    pub fn totals(&self, side: usize) -> Vec<u64> {
        let mut totals = self.sides[side].own.clone();
        for i in (1..totals.len()).rev() {
            let parent = self.nodes[i].parent as usize;
            totals[parent] = totals[parent].saturating_add(totals[i]);
        }
        totals
    }

    /// True when there are two sides.
    pub fn is_diff(&self) -> bool {
        self.sides.len() == 2
    }

    /// The frame of a node.
    pub fn frame(&self, node: usize) -> &FrameInfo {
        &self.frames[self.nodes[node].frame as usize]
    }

    /// The frames from the root's child down to `node`.
    pub fn path(&self, node: usize) -> Vec<u32> {
        let mut path = Vec::with_capacity(self.nodes[node].depth as usize);
        let mut at = node;
        while at != 0 {
            path.push(self.nodes[at].frame);
            at = self.nodes[at].parent as usize;
        }
        path.reverse();
        path
    }
}

impl SideFacts {
    fn of(merged: &Merged) -> Self {
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &merged.labels {
            labels.entry(name.clone()).or_default().push(value.clone());
        }
        Self {
            from_ms: merged.from_ms,
            until_ms: merged.until_ms,
            total: merged.total(),
            samples: merged.samples(),
            seconds: merged.covered_seconds,
            replicate_seconds: merged.replicate_seconds.clone(),
            windows: merged.windows,
            instances: merged.instances.len() as u64,
            labels,
            empty_because: merged.empty_because.clone(),
            partial: merged.partial,
        }
    }
}

/// Distinct frames, found by what makes builds comparable: module and function, and nothing else.
struct FrameTable {
    frames: Vec<FrameInfo>,
    index: FxHashMap<(Arc<str>, Arc<str>, u8), u32>,
    files: FxHashMap<Arc<str>, Arc<str>>,
}

impl FrameTable {
    fn new() -> Self {
        let root = FrameInfo { function: "all".into(), module: "".into(), file: "".into(), line: 0, flags: flag::ROOT };
        Self { frames: vec![root], index: FxHashMap::default(), files: FxHashMap::default() }
    }

    /// For each resolution its frames, outermost first.
    fn intern_all(&mut self, resolutions: &[Resolution]) -> Vec<Vec<u32>> {
        resolutions.iter().map(|resolution| self.intern(resolution)).collect()
    }

    fn intern(&mut self, resolution: &Resolution) -> Vec<u32> {
        match resolution {
            Resolution::Symbols(symbols) => symbols
                .iter()
                .map(|s| {
                    let flags = if s.inlined { flag::INLINED } else { 0 };
                    let file = self.short_file(&s.file);
                    self.add(names::function_in(&s.function, &s.file), s.module.clone(), file, s.line, flags)
                })
                .collect(),
            Resolution::Unresolved { module, address } => {
                let name = if module.is_empty() { "unknown" } else { module.as_ref() };
                let name = names::printable(&format!("{name}+{address:#x}")).into();
                vec![self.add(name, module.clone(), "".into(), 0, flag::UNRESOLVED)]
            }
            Resolution::Truncated => {
                vec![self.add("(truncated)".into(), "".into(), "".into(), 0, flag::TRUNCATED)]
            }
        }
    }

    fn add(&mut self, function: Arc<str>, module: Arc<str>, file: Arc<str>, line: u32, flags: u8) -> u32 {
        let class = flags & (flag::UNRESOLVED | flag::TRUNCATED);
        let next = self.frames.len() as u32;
        let index = *self.index.entry((function.clone(), module.clone(), class)).or_insert(next);
        if index == next {
            let module = names::printable(&module).into();
            self.frames.push(FrameInfo { function, module, file, line, flags });
            return index;
        }
        // The same function elsewhere: its place is the first line seen, and it is inlined only if it always was. Both
        // are independent of the order in which frames came.
        let known = &mut self.frames[index as usize];
        known.flags &= flags | !flag::INLINED;
        let unknown = known.file.is_empty() && known.line == 0;
        if line > 0 && (unknown || (&*file, line) < (&*known.file, known.line)) {
            known.file = file;
            known.line = line;
        }
        index
    }

    fn short_file(&mut self, file: &Arc<str>) -> Arc<str> {
        if let Some(short) = self.files.get(file) {
            return short.clone();
        }
        let short: Arc<str> = names::file(file).into();
        self.files.insert(file.clone(), short.clone());
        short
    }
}

/// A tree that is still growing: nodes in the order they were found, parents first.
pub(super) struct Growth {
    nodes: Vec<Node>,
    children: FxHashMap<(u32, u32), u32>,
    cells: Vec<Vec<Cell>>,
}

impl Growth {
    pub(super) fn new(sides: usize) -> Self {
        let root = Node { parent: 0, frame: 0 };
        Self { nodes: vec![root], children: FxHashMap::default(), cells: vec![Vec::new(); sides] }
    }

    /// The child of `parent` with this frame, made if it is not there yet.
    pub(super) fn child(&mut self, parent: u32, frame: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let child = *self.children.entry((parent, frame)).or_insert(next);
        if child == next {
            self.nodes.push(Node { parent, frame });
        }
        child
    }

    pub(super) fn record(&mut self, side: usize, cell: Cell) {
        self.cells[side].push(cell);
    }

    fn add(&mut self, side: usize, merged: &Merged, chains: &[Vec<u32>]) {
        const UNUSED: u32 = u32::MAX;
        let mut used = vec![false; merged.nodes.len()];
        for row in &merged.rows {
            used[row.node as usize] = true;
        }
        for i in (0..used.len()).rev() {
            let parent = merged.nodes[i].parent;
            if used[i] && parent != Node::ROOT {
                used[parent as usize] = true;
            }
        }
        let mut place = vec![UNUSED; merged.nodes.len()];
        for (i, node) in merged.nodes.iter().enumerate() {
            if !used[i] {
                continue;
            }
            let mut at = if node.parent == Node::ROOT { 0 } else { place[node.parent as usize] };
            for &frame in &chains[node.frame as usize] {
                at = self.child(at, frame);
            }
            place[i] = at;
        }
        for row in &merged.rows {
            let node = place[row.node as usize];
            self.record(side, Cell { node, replicate: row.replicate, value: row.value, samples: row.samples });
        }
    }

    /// Puts nodes in preorder, siblings by name, and sums cells.
    pub(super) fn arrange(self, profile_type: ProfileType, frames: Vec<FrameInfo>, facts: Vec<SideFacts>) -> Tree {
        let order = preorder(&self.nodes, &frames);
        let mut place = vec![0u32; self.nodes.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old as usize] = new as u32;
        }
        let mut nodes: Vec<TreeNode> = Vec::with_capacity(order.len());
        for (new, &old) in order.iter().enumerate() {
            let node = self.nodes[old as usize];
            let parent = place[node.parent as usize];
            let depth = if new == 0 { 0 } else { nodes[parent as usize].depth + 1 };
            nodes.push(TreeNode { parent, depth, end: new as u32 + 1, frame: node.frame });
        }
        for i in (1..nodes.len()).rev() {
            let (parent, end) = (nodes[i].parent as usize, nodes[i].end);
            nodes[parent].end = nodes[parent].end.max(end);
        }
        let sides = self.cells.into_iter().zip(facts).map(|(cells, facts)| {
            let mut cells = sorted(cells, &place);
            cells.dedup_by(|next, kept| {
                let same = next.node == kept.node && next.replicate == kept.replicate;
                if same {
                    kept.value = kept.value.saturating_add(next.value);
                    kept.samples = kept.samples.saturating_add(next.samples);
                }
                same
            });
            let mut own = vec![0u64; nodes.len()];
            for cell in &cells {
                let own = &mut own[cell.node as usize];
                *own = own.saturating_add(cell.value);
            }
            Side { facts, own, cells }
        });
        let sides = sides.collect();
        Tree { profile_type, frames, nodes, sides }
    }
}

/// Cells by the place of their node, and then by replicate. Most come by replicate already, so counting does nearly all of it.
fn sorted(cells: Vec<Cell>, place: &[u32]) -> Vec<Cell> {
    let mut ends = vec![0usize; place.len()];
    cells.iter().for_each(|cell| ends[place[cell.node as usize] as usize] += 1);
    let mut before = 0;
    for end in &mut ends {
        before += std::mem::replace(end, before);
    }
    let mut sorted = vec![Cell { node: 0, replicate: 0, value: 0, samples: 0 }; cells.len()];
    for cell in cells {
        let node = place[cell.node as usize];
        let end = &mut ends[node as usize];
        sorted[*end] = Cell { node, ..cell };
        *end += 1;
    }
    let mut start = 0;
    for end in ends {
        let of_node = &mut sorted[start..end];
        if !of_node.is_sorted_by_key(|cell| cell.replicate) {
            of_node.sort_unstable_by_key(|cell| cell.replicate);
        }
        start = end;
    }
    sorted
}

/// Node indexes in preorder, siblings by (function, module).
fn preorder(nodes: &[Node], frames: &[FrameInfo]) -> Vec<u32> {
    let mut by_name: Vec<u32> = (0..frames.len() as u32).collect();
    let key = |i: &u32| (&frames[*i as usize].function, &frames[*i as usize].module, *i);
    by_name.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
    let mut rank = vec![0u32; frames.len()];
    for (position, &frame) in by_name.iter().enumerate() {
        rank[frame as usize] = position as u32;
    }
    // Children grouped by parent, last name first: they leave a stack in the opposite order.
    let mut first = vec![0usize; nodes.len() + 1];
    for node in nodes.iter().skip(1) {
        first[node.parent as usize + 1] += 1;
    }
    for i in 0..nodes.len() {
        first[i + 1] += first[i];
    }
    let mut ends = first.clone();
    let mut grouped = vec![0u32; nodes.len().saturating_sub(1)];
    for (node, i) in nodes.iter().zip(0u32..).skip(1) {
        let end = &mut ends[node.parent as usize];
        grouped[*end] = i;
        *end += 1;
    }
    for i in 0..nodes.len() {
        let siblings = &mut grouped[first[i]..first[i + 1]];
        if siblings.len() > 1 {
            siblings.sort_unstable_by_key(|&i| u32::MAX - rank[nodes[i as usize].frame as usize]);
        }
    }
    let mut order = Vec::with_capacity(nodes.len());
    let mut stack = vec![0u32];
    while let Some(at) = stack.pop() {
        order.push(at);
        stack.extend_from_slice(&grouped[first[at as usize]..first[at as usize + 1]]);
    }
    order
}
