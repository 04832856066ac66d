//! The union of prefix trees by content, and the order in which it is answered.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;
use tephra_proto::ids::BuildId;

use super::model::{Frame, Node};

/// Frames and nodes of many trees, each distinct one once. Parents precede their children.
#[derive(Debug, Default)]
pub(crate) struct Union {
    frames: Vec<Frame>,
    nodes: Vec<Node>,
    frame_index: FxHashMap<Frame, u32>,
    node_index: FxHashMap<Node, u32>,
    /// The node that was asked for last. Trees that are alike come in the same order: the next one is likely to stand behind it.
    last: u32,
    /// The way up from a foreign node; kept for its memory.
    path: Vec<(u32, Node)>,
}

impl Union {
    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many frames there are.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Frames and nodes in the order they came.
    pub(crate) fn into_parts(self) -> (Vec<Frame>, Vec<Node>) {
        (self.frames, self.nodes)
    }

    /// Our node for a foreign one: goes up to the nearest ancestor that was met before, then down again.
    pub(crate) fn node(&mut self, frames: &[Frame], nodes: &[Node], foreign: u32, moved: &mut Moved) -> u32 {
        let mut at = foreign;
        let mut parent = Node::ROOT;
        while let Some(node) = nodes.get(at as usize) {
            if let Some(known) = moved.node(at) {
                parent = known;
                break;
            }
            self.path.push((at, *node));
            at = node.parent;
        }
        while let Some((at, node)) = self.path.pop() {
            let frame = match moved.frame(node.frame) {
                Some(frame) => frame,
                None => {
                    let frame = self.add_frame(frames.get(node.frame as usize).unwrap_or(&Frame::Truncated));
                    moved.set_frame(node.frame, frame);
                    frame
                }
            };
            parent = self.add_node(Node { parent, frame });
            moved.set_node(at, parent);
        }
        parent
    }

    /// Takes in all of another union; answers where its nodes went.
    pub(crate) fn absorb(&mut self, other: Self) -> Vec<u32> {
        let frames: Vec<u32> = other.frames.iter().map(|frame| self.add_frame(frame)).collect();
        let mut moved: Vec<u32> = Vec::with_capacity(other.nodes.len());
        for node in other.nodes {
            // Roots have no parent, here as there.
            let parent = moved.get(node.parent as usize).copied().unwrap_or(Node::ROOT);
            let frame = frames.get(node.frame as usize).copied().unwrap_or_default();
            moved.push(self.add_node(Node { parent, frame }));
        }
        moved
    }

    fn add_frame(&mut self, frame: &Frame) -> u32 {
        if let Some(known) = self.frame_index.get(frame) {
            return *known;
        }
        let next = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.frame_index.insert(frame.clone(), next);
        next
    }

    fn add_node(&mut self, node: Node) -> u32 {
        let likely = self.last.wrapping_add(1);
        if self.nodes.get(likely as usize) == Some(&node) {
            self.last = likely;
            return likely;
        }
        let next = self.nodes.len() as u32;
        let index = *self.node_index.entry(node).or_insert(next);
        if index == next {
            self.nodes.push(node);
        }
        self.last = index;
        index
    }

    /// Ends with the frames by content, and the nodes by depth and then by parent and frame: an order that does not depend on who
    /// came first.
    pub(crate) fn into_order(self) -> Ordered {
        let Self { frames, nodes, .. } = self;
        let mut sorted: Vec<(Frame, u32)> = frames.into_iter().zip(0..).collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| compare(a, b));
        let mut rank = vec![0u32; sorted.len()];
        for ((_, old), new) in sorted.iter().zip(0..) {
            rank[*old as usize] = new;
        }
        // Children by parent, roots last: grouped by counting, since the parents are small numbers.
        let roots = nodes.len();
        let group = |node: &Node| if node.parent == Node::ROOT { roots } else { node.parent as usize };
        let mut ends = vec![0usize; roots + 1];
        nodes.iter().for_each(|node| ends[group(node)] += 1);
        let mut sum = 0;
        for end in &mut ends {
            sum += std::mem::replace(end, sum);
        }
        let mut children = vec![(0u32, 0u32); nodes.len()];
        for (node, old) in nodes.iter().zip(0..) {
            let place = &mut ends[group(node)];
            children[*place] = (rank[node.frame as usize], old);
            *place += 1;
        }
        let start_of = |group: usize| if group == 0 { 0 } else { ends[group - 1] };
        let mut place = vec![0u32; nodes.len()];
        let mut ordered: Vec<Node> = Vec::with_capacity(nodes.len());
        // Where the node that comes at a position was before.
        let mut olds: Vec<u32> = Vec::with_capacity(nodes.len());
        let mut add_children = |of: usize, parent: u32, ordered: &mut Vec<Node>, olds: &mut Vec<u32>| {
            let siblings = &mut children[start_of(of)..ends[of]];
            siblings.sort_unstable();
            for (frame, old) in siblings.iter() {
                place[*old as usize] = ordered.len() as u32;
                ordered.push(Node { parent, frame: *frame });
                olds.push(*old);
            }
        };
        add_children(roots, Node::ROOT, &mut ordered, &mut olds);
        let mut at = 0;
        while let Some(old) = olds.get(at).copied() {
            add_children(old as usize, at as u32, &mut ordered, &mut olds);
            at += 1;
        }
        Ordered { frames: sorted.into_iter().map(|(frame, _)| frame).collect(), nodes: ordered, place }
    }
}

/// A union in its order.
pub(crate) struct Ordered {
    pub(crate) frames: Vec<Frame>,
    pub(crate) nodes: Vec<Node>,
    /// Where each node went.
    pub(crate) place: Vec<u32>,
}

fn compare(a: &Frame, b: &Frame) -> Ordering {
    fn key(frame: &Frame) -> (u8, Option<BuildId>, u64, &str, &str, u32, bool) {
        match frame {
            Frame::Truncated => (0, None, 0, "", "", 0, false),
            Frame::Native { build_id, address } => (1, Some(*build_id), *address, "", "", 0, false),
            Frame::Symbolic { function, file, line, inlined } => (2, None, 0, function, file, *line, *inlined),
        }
    }
    key(a).cmp(&key(b))
}

/// Where the frames and nodes of one window or part went.
#[derive(Debug)]
pub(crate) struct Moved {
    frames: Vec<u32>,
    nodes: Vec<u32>,
}

impl Moved {
    /// Of a window or part with so many frames and nodes, none of which has moved yet.
    pub(crate) fn new(frames: usize, nodes: usize) -> Self {
        Self { frames: vec![u32::MAX; frames], nodes: vec![u32::MAX; nodes] }
    }

    /// Starts again, for another union.
    pub(crate) fn reset(&mut self) {
        self.frames.fill(u32::MAX);
        self.nodes.fill(u32::MAX);
    }

    fn frame(&self, foreign: u32) -> Option<u32> {
        self.frames.get(foreign as usize).copied().filter(|merged| *merged != u32::MAX)
    }

    fn node(&self, foreign: u32) -> Option<u32> {
        self.nodes.get(foreign as usize).copied().filter(|merged| *merged != u32::MAX)
    }

    fn set_frame(&mut self, foreign: u32, merged: u32) {
        if let Some(slot) = self.frames.get_mut(foreign as usize) {
            *slot = merged;
        }
    }

    fn set_node(&mut self, foreign: u32, merged: u32) {
        if let Some(slot) = self.nodes.get_mut(foreign as usize) {
            *slot = merged;
        }
    }
}
