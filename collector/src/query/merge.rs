//! The merge: a union of prefix trees by content, with exact sums. Associative and commutative: any partition and order of the
//! windows gives the same answer, to the byte.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::{BuildId, TraceId};

use super::plan::Matcher;
use super::slices::Slices;
use super::{QueryError, QueryLimits, TimeRange};
use crate::profile::decode::{Series, Window};
use crate::profile::model::{Frame, Kind, Merged, Module, Node, ProfileType, Row};
use crate::store::columnar::Dictionary;

/// What a merged profile says about its windows, besides their stacks.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) windows: u64,
    pub(super) instances: BTreeSet<String>,
    pub(super) labels: BTreeSet<(String, String)>,
}

/// Sums windows of one type.
#[derive(Debug)]
pub(super) struct Merger {
    profile_type: ProfileType,
    nodes_max: usize,
    rows_max: usize,
    module_names: FxHashMap<BuildId, Arc<str>>,
    frames: FxHashMap<Frame, u32>,
    nodes: FxHashMap<Node, u32>,
    rows: FxHashMap<(u32, u16), Sum>,
}

/// For counters the sums themselves; for gauges weighted by the milliseconds of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    value: u128,
    samples: u128,
}

impl Merger {
    pub(super) fn new(profile_type: ProfileType, limits: &QueryLimits) -> Self {
        Self {
            profile_type,
            nodes_max: limits.nodes_max,
            rows_max: limits.rows_max,
            module_names: FxHashMap::default(),
            frames: FxHashMap::default(),
            nodes: FxHashMap::default(),
            rows: FxHashMap::default(),
        }
    }

    /// Adds a window's series of this type that have the labels to a replicate; only rows of one trace where given.
    pub(super) fn add(
        &mut self,
        window: &Window,
        replicate: u16,
        labels: &Matcher<'_>,
        trace: Option<TraceId>,
    ) -> Result<(), QueryError> {
        let wanted = |series: &&Series| {
            same_measure(&series.profile_type, &self.profile_type) && labels.series(&window.header, series)
        };
        let wanted: Vec<&Series> = window.series.iter().filter(wanted).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        for module in &window.modules {
            self.name_module(module.build_id, &module.name);
        }
        let weight = match self.profile_type.kind {
            Kind::Counter => 1,
            Kind::Gauge => u128::from(window.header.duration_ms),
        };
        let mut moved = Moved::new(window.frames.len(), window.nodes.len());
        for row in wanted.into_iter().flat_map(|series| &series.rows) {
            if let Some(wanted) = trace {
                let link = row.link.and_then(|link| window.links.get(link as usize));
                if link.is_none_or(|link| link.trace_id != wanted) {
                    continue;
                }
            }
            let node = self.node(&window.frames, &window.nodes, row.node, &mut moved)?;
            let sum = self.rows.entry((node, replicate)).or_default();
            sum.value += u128::from(row.value) * weight;
            sum.samples += u128::from(row.samples) * weight;
        }
        self.check_size()
    }

    /// Adds sums by stack of a compacted part; gauges are weighted already.
    pub(super) fn add_sums(
        &mut self,
        dictionary: &Dictionary,
        moved: &mut Moved,
        replicate: u16,
        sums: impl Iterator<Item = (u32, u128, u128)>,
    ) -> Result<(), QueryError> {
        for (node, value, samples) in sums {
            let node = self.node(&dictionary.frames, &dictionary.nodes, node, moved)?;
            let sum = self.rows.entry((node, replicate)).or_default();
            sum.value += value;
            sum.samples += samples;
        }
        self.check_size()
    }

    /// Takes note of the modules of a compacted part.
    pub(super) fn name_modules(&mut self, dictionary: &Dictionary) {
        for module in &dictionary.modules {
            self.name_module(module.build_id, &module.name);
        }
    }

    /// Adds what another merger of the same type has summed.
    pub(super) fn absorb(&mut self, other: Self) -> Result<(), QueryError> {
        for (build_id, name) in &other.module_names {
            self.name_module(*build_id, name);
        }
        let frames = by_index(other.frames);
        let nodes = by_index(other.nodes);
        let mut moved = Moved::new(frames.len(), nodes.len());
        for ((node, replicate), added) in other.rows {
            let node = self.node(&frames, &nodes, node, &mut moved)?;
            let sum = self.rows.entry((node, replicate)).or_default();
            sum.value += added.value;
            sum.samples += added.samples;
        }
        self.check_size()
    }

    fn check_size(&self) -> Result<(), QueryError> {
        for (what, count, limit) in
            [("nodes", self.nodes.len(), self.nodes_max), ("rows", self.rows.len(), self.rows_max)]
        {
            if count > limit {
                return Err(QueryError::TooLarge { what, limit: limit as u64 });
            }
        }
        Ok(())
    }

    /// Two files may carry the same build under different names: the first in the alphabet is shown.
    fn name_module(&mut self, build_id: BuildId, name: &Arc<str>) {
        let known = self.module_names.entry(build_id).or_insert_with(|| name.clone());
        if name < known {
            *known = name.clone();
        }
    }

    /// The merged node of a foreign one: goes up to the nearest ancestor that was met before, then down again.
    fn node(&mut self, frames: &[Frame], nodes: &[Node], foreign: u32, moved: &mut Moved) -> Result<u32, QueryError> {
        let mut path = Vec::new();
        let mut at = foreign;
        let mut parent = Node::ROOT;
        while let Some(node) = nodes.get(at as usize) {
            if let Some(known) = moved.node(at) {
                parent = known;
                break;
            }
            path.push((at, *node));
            at = node.parent;
        }
        while let Some((at, node)) = path.pop() {
            let frame = match moved.frame(node.frame) {
                Some(frame) => frame,
                None => self.frame(frames, node.frame, moved),
            };
            let next = self.nodes.len() as u32;
            parent = *self.nodes.entry(Node { parent, frame }).or_insert(next);
            moved.set_node(at, parent);
        }
        Ok(parent)
    }

    fn frame(&mut self, frames: &[Frame], foreign: u32, moved: &mut Moved) -> u32 {
        let frame = frames.get(foreign as usize).unwrap_or(&Frame::Truncated);
        let merged = match self.frames.get(frame) {
            Some(known) => *known,
            None => {
                let next = self.frames.len() as u32;
                self.frames.insert(frame.clone(), next);
                next
            }
        };
        moved.set_frame(foreign, merged);
        merged
    }

    /// The answer, in canonical order.
    pub(super) fn finish(self, range: TimeRange, slices: &Slices, sources: Sources) -> Result<Merged, QueryError> {
        let overflow = || QueryError::Overflow { profile_type: self.profile_type.name.clone() };
        let divisor = match self.profile_type.kind {
            Kind::Counter => 1,
            Kind::Gauge => u128::from(slices.covered_ms().max(1)),
        };
        let replicate_seconds = slices.seconds();
        let order = Order::of(self.frames, self.nodes);
        let mut rows = Vec::with_capacity(self.rows.len());
        let (mut total, mut samples_total) = (0u64, 0u64);
        for ((node, replicate), sum) in self.rows {
            let rounded =
                |sum: u128, divisor: u128| u64::try_from((sum + divisor / 2) / divisor).map_err(|_| overflow());
            let value = rounded(sum.value, divisor)?;
            let seen = match self.profile_type.kind {
                Kind::Counter => 1,
                Kind::Gauge => covered_ms(&replicate_seconds, replicate),
            };
            // A gauge that was seen at all has at least one sample behind it.
            let samples = rounded(sum.samples, seen)?.max(u64::from(sum.samples > 0));
            total = total.checked_add(value).ok_or_else(overflow)?;
            samples_total = samples_total.checked_add(samples).ok_or_else(overflow)?;
            if value > 0 || samples > 0 {
                let node = order.nodes.get(node as usize).copied().unwrap_or_default();
                rows.push(Row { node, replicate, value, samples });
            }
        }
        rows.sort_unstable_by_key(|row| (row.node, row.replicate));
        let builds: BTreeSet<BuildId> = order.frames.iter().filter_map(build_of).collect();
        let names = self.module_names;
        let modules = builds.into_iter().map(|build_id| {
            let name = names.get(&build_id).cloned().unwrap_or_else(|| Arc::from(""));
            Module { build_id, name }
        });
        Ok(Merged {
            profile_type: self.profile_type,
            from_ms: range.from_ms,
            until_ms: range.until_ms,
            modules: modules.collect(),
            frames: order.frames,
            nodes: order.sorted_nodes,
            rows,
            covered_seconds: replicate_seconds.iter().sum(),
            replicate_from_ms: slices.starts_ms(),
            replicate_seconds,
            windows: sources.windows,
            instances: sources.instances,
            labels: sources.labels,
            empty_because: None,
            partial: None,
        })
    }
}

/// Milliseconds that a replicate covers. One whose windows all overlap earlier ones has none of its own: it counts as the
/// average one.
fn covered_ms(replicate_seconds: &[f64], replicate: u16) -> u128 {
    let average = replicate_seconds.iter().sum::<f64>() / replicate_seconds.len().max(1) as f64;
    let seconds = replicate_seconds.get(usize::from(replicate)).copied().filter(|seconds| *seconds > 0.0);
    ((seconds.unwrap_or(average) * 1e3).round() as u128).max(1)
}

/// True when values of the two may be added: the period may differ, since values are in units.
pub(super) fn same_measure(a: &ProfileType, b: &ProfileType) -> bool {
    a.name == b.name && a.unit == b.unit && a.kind == b.kind
}

fn build_of(frame: &Frame) -> Option<BuildId> {
    match frame {
        Frame::Native { build_id, .. } => Some(*build_id),
        Frame::Symbolic { .. } | Frame::Truncated => None,
    }
}

/// Where the frames and nodes of one window or part went.
pub(super) struct Moved {
    frames: Vec<u32>,
    nodes: Vec<u32>,
}

impl Moved {
    pub(super) fn new(frames: usize, nodes: usize) -> Self {
        Self { frames: vec![u32::MAX; frames], nodes: vec![u32::MAX; nodes] }
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

/// Keys of a map whose values are 0, 1, 2, …, in that order.
fn by_index<T>(map: FxHashMap<T, u32>) -> Vec<T> {
    let mut pairs: Vec<(T, u32)> = map.into_iter().collect();
    pairs.sort_unstable_by_key(|(_, index)| *index);
    pairs.into_iter().map(|(key, _)| key).collect()
}

/// Frames by content, nodes by depth and then by parent and frame: an order that does not depend on who came first.
struct Order {
    frames: Vec<Frame>,
    sorted_nodes: Vec<Node>,
    /// New place of each old node.
    nodes: Vec<u32>,
}

impl Order {
    fn of(frames: FxHashMap<Frame, u32>, nodes: FxHashMap<Node, u32>) -> Self {
        let mut sorted: Vec<(Frame, u32)> = frames.into_iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| compare(a, b));
        let mut new_frames = vec![0; sorted.len()];
        for (new, (_, old)) in sorted.iter().enumerate() {
            if let Some(slot) = new_frames.get_mut(*old as usize) {
                *slot = new as u32;
            }
        }
        let nodes = by_index(nodes);
        // Parents precede children in the old order too, so one pass gives every depth.
        let mut levels: Vec<Vec<u32>> = Vec::new();
        let mut depths: Vec<usize> = Vec::with_capacity(nodes.len());
        for (old, node) in nodes.iter().enumerate() {
            let depth = depths.get(node.parent as usize).map_or(0, |depth| depth + 1);
            depths.push(depth);
            if levels.len() <= depth {
                levels.resize_with(depth + 1, Vec::new);
            }
            if let Some(level) = levels.get_mut(depth) {
                level.push(old as u32);
            }
        }
        let mut new_nodes = vec![Node::ROOT; nodes.len()];
        let mut sorted_nodes = Vec::with_capacity(nodes.len());
        for level in levels {
            let mut level: Vec<(Node, u32)> = level
                .into_iter()
                .filter_map(|old| {
                    let node = nodes.get(old as usize)?;
                    let parent = new_nodes.get(node.parent as usize).copied().unwrap_or(Node::ROOT);
                    Some((Node { parent, frame: *new_frames.get(node.frame as usize)? }, old))
                })
                .collect();
            level.sort_unstable_by_key(|(node, _)| (node.parent, node.frame));
            for (node, old) in level {
                if let Some(slot) = new_nodes.get_mut(old as usize) {
                    *slot = sorted_nodes.len() as u32;
                }
                sorted_nodes.push(node);
            }
        }
        Self { frames: sorted.into_iter().map(|(frame, _)| frame).collect(), sorted_nodes, nodes: new_nodes }
    }
}

fn compare(a: &Frame, b: &Frame) -> Ordering {
    fn key(frame: &Frame) -> (u8, Option<BuildId>, u64, &str, &str, u32) {
        match frame {
            Frame::Truncated => (0, None, 0, "", "", 0),
            Frame::Native { build_id, address } => (1, Some(*build_id), *address, "", "", 0),
            Frame::Symbolic { function, file, line } => (2, None, 0, function, file, *line),
        }
    }
    key(a).cmp(&key(b))
}
