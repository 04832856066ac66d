//! What the ids of one part stand for.

use super::tables::PartSeries;
use crate::profile::model::{Frame, Module, Node};

/// The dictionaries of one part.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    /// Mapped files that native frames lie in.
    pub(crate) modules: Vec<Module>,
    /// Distinct frames.
    pub(crate) frames: Vec<Frame>,
    /// Prefix tree, parents first.
    pub(crate) nodes: Vec<Node>,
    /// What rows have in common.
    pub(crate) series: Vec<PartSeries>,
    first_frame: i32,
    first_node: i32,
    first_series: i32,
}

impl Dictionary {
    /// Memory it takes, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |frame: &Frame| match frame {
            Frame::Symbolic { function, .. } => function.len() + 48,
            _ => 0,
        };
        512 + self.frames.iter().map(|frame| size_of::<Frame>() + text(frame)).sum::<usize>()
            + self.nodes.len() * size_of::<Node>()
            + self.series.len() * 256
            + self.modules.len() * 128
    }

    /// Index of a node by its id in the segment.
    pub(crate) fn node_index(&self, id: i32) -> Option<u32> {
        index(id, self.first_node, self.nodes.len())
    }

    /// Index of a frame by its id in the segment.
    pub(super) fn frame_index(&self, id: i32) -> Option<u32> {
        index(id, self.first_frame, self.frames.len())
    }

    /// Index of a series by its id in the segment.
    pub(crate) fn series_index(&self, id: i32) -> Option<u32> {
        index(id, self.first_series, self.series.len())
    }

    /// `None` when its id does not follow the one before; so with the others.
    pub(super) fn add_frame(&mut self, id: i32, frame: Frame) -> Option<()> {
        add(&mut self.frames, &mut self.first_frame, id, frame)
    }

    pub(super) fn add_node(&mut self, id: i32, node: Node) -> Option<()> {
        add(&mut self.nodes, &mut self.first_node, id, node)
    }

    pub(super) fn add_series(&mut self, id: i32, series: PartSeries) -> Option<()> {
        add(&mut self.series, &mut self.first_series, id, series)
    }
}

/// Where `id` stands among `len` ids that start at `first`.
fn index(id: i32, first: i32, len: usize) -> Option<u32> {
    let local = u32::try_from(id.checked_sub(first)?).ok()?;
    ((local as usize) < len).then_some(local)
}

fn add<T>(known: &mut Vec<T>, first: &mut i32, id: i32, one: T) -> Option<()> {
    if known.is_empty() {
        *first = id;
    }
    if i64::from(id) != i64::from(*first) + known.len() as i64 {
        return None;
    }
    known.push(one);
    Some(())
}
