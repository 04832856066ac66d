//! The locations of an exported profile. A function and what was inlined into it are one location, as they were one address: that is
//! how pprof says "inlined".

use rustc_hash::FxHashMap;

use super::{Line, Location};
use crate::profile::model::{Frame, Node};

/// Locations by the frames that they stand for.
pub(super) struct Locations<'a, L> {
    frames: &'a [Frame],
    /// Place and lines of a frame.
    of_frame: L,
    pub(super) locations: Vec<Location>,
    index: FxHashMap<Vec<u32>, u64>,
}

impl<'a, L: FnMut(usize) -> Location> Locations<'a, L> {
    pub(super) fn new(frames: &'a [Frame], of_frame: L) -> Self {
        Self { frames, of_frame, locations: Vec::new(), index: FxHashMap::default() }
    }

    /// Location ids from the leaf to the root.
    pub(super) fn stack(&mut self, nodes: &[Node], leaf: u32) -> Vec<u64> {
        let mut ids = Vec::new();
        let mut open: Vec<u32> = Vec::new();
        let mut at = leaf;
        while at != Node::ROOT {
            let node = nodes[at as usize];
            if open.last().is_some_and(|inner| !self.is_in(*inner, node.frame)) {
                ids.push(self.id(std::mem::take(&mut open)));
            }
            open.push(node.frame);
            at = node.parent;
        }
        if !open.is_empty() {
            ids.push(self.id(open));
        }
        ids
    }

    /// True when `inner` was inlined into `outer`, which called it.
    fn is_in(&self, inner: u32, outer: u32) -> bool {
        matches!(self.frames[inner as usize], Frame::Symbolic { inlined: true, .. })
            && matches!(self.frames[outer as usize], Frame::Symbolic { .. })
    }

    /// Of frames that share a location, the innermost first.
    fn id(&mut self, frames: Vec<u32>) -> u64 {
        if let Some(known) = self.index.get(&frames) {
            return *known;
        }
        let id = self.locations.len() as u64 + 1;
        let mut location = Location { id, ..Location::default() };
        let mut lines: Vec<Line> = Vec::new();
        for frame in &frames {
            let of_frame = (self.of_frame)(*frame as usize);
            lines.extend(of_frame.line);
            location = Location { id, line: Vec::new(), ..of_frame };
        }
        location.line = lines;
        self.locations.push(location);
        self.index.insert(frames, id);
        id
    }
}
