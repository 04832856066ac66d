//! Merges windows and parts of one service into one [`Part`]: dictionaries by content, values by exact sums.
//!
//! Pure. Sums commute, so it does not matter in which order, or in how many steps, windows are added.

use std::collections::HashSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::TraceId;

use super::examples;
use super::levels::Level;
use crate::base::labels::Labels;
use crate::profile::decode::Window;
use crate::profile::model::{Frame, Kind, Module, Node, ProfileType};
use crate::profile::union::{Moved, Union};
use crate::store::columnar::{
    Part, PartRequests, PartRow, PartSeries, PartSpan, PartTrace, PartWindow, RequestSums, TotalSums, WindowSums,
};

/// What becomes of windows on their way to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollup {
    /// Values, in the windows of a level.
    Level(Level),
    /// Samples with a trace id, and spans.
    Traces,
}

impl Rollup {
    /// Where a window that starts at `start_ms` and is `len_ms` long goes. A window longer than the target stays as it is.
    fn place(self, start_ms: u64, len_ms: u32) -> (u64, u32) {
        match self {
            Self::Level(level) if len_ms < level.window_ms => {
                (start_ms - start_ms % u64::from(level.window_ms), level.window_ms)
            }
            _ => (start_ms, len_ms),
        }
    }

    fn folds_instances(self) -> bool {
        matches!(self, Self::Level(level) if level.folds_instances)
    }
}

/// Collects one service's windows.
pub(crate) struct PartBuilder {
    rollup: Rollup,
    part: Part,
    modules: FxHashMap<Module, ()>,
    stacks: Union,
    series: FxHashMap<PartSeries, u32>,
    totals: TotalSums,
    windows: WindowSums,
    requests: RequestSums,
    summed_rows: usize,
}

/// A part on its way into one builder, or into several where it is large.
pub(crate) struct Incoming {
    part: Part,
    /// Where its nodes went in the builder it is being added to.
    moved: Moved,
    rows_done: usize,
    traces_done: usize,
}

impl Incoming {
    pub(crate) fn new(part: Part) -> Self {
        let moved = Moved::new(part.frames.len(), part.nodes.len());
        Self { part, moved, rows_done: 0, traces_done: 0 }
    }
}

impl PartBuilder {
    /// Starts with nothing.
    pub(crate) fn new(service: &str, rollup: Rollup) -> Self {
        Self {
            rollup,
            part: Part { service: service.to_owned(), ..Part::default() },
            modules: FxHashMap::default(),
            stacks: Union::default(),
            series: FxHashMap::default(),
            totals: TotalSums::default(),
            windows: WindowSums::default(),
            requests: RequestSums::default(),
            summed_rows: 0,
        }
    }

    /// An empty one for the same service and purpose.
    pub(crate) fn successor(&self) -> Self {
        Self::new(&self.part.service, self.rollup)
    }

    /// True when nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        let part = &self.part;
        part.rows.is_empty() && part.traces.is_empty() && part.spans.is_empty() && self.windows.len() == 0
    }

    /// Memory the builder holds, about, in bytes: what the compactor's budget counts.
    pub(crate) fn bytes(&self) -> usize {
        const PER_FRAME: usize = 2 * size_of::<Frame>() + 64;
        const PER_NODE: usize = 2 * size_of::<Node>() + 3 * size_of::<(Node, u32)>();
        self.stacks.frames() * PER_FRAME
            + self.stacks.len() * PER_NODE
            + self.part.rows.capacity() * size_of::<PartRow>()
            + self.part.traces.capacity() * size_of::<PartTrace>()
            + self.part.spans.capacity() * (size_of::<PartSpan>() + 32)
            + self.totals.len() * 96
            + self.windows.len() * 256
            + self.requests.bytes()
    }

    /// Adds a window as an agent sent it.
    pub(crate) fn add_window(&mut self, window: &Window) {
        if self.rollup == Rollup::Traces && window.links.is_empty() {
            return;
        }
        let header = &window.header;
        let instance: Arc<str> = header.instance.as_str().into();
        let mut moved = Moved::new(window.frames.len(), window.nodes.len());
        self.add_modules(&window.modules);
        for series in &window.series {
            let profile_type = &series.profile_type;
            let index = self.series_index(profile_type, &instance, &series.all_labels(header));
            match self.rollup {
                Rollup::Level(_) => {
                    let (start_ms, len_ms) = (header.start_ms, header.duration_ms);
                    let weight = if profile_type.kind == Kind::Gauge { u64::from(len_ms) } else { 1 };
                    for row in &series.rows {
                        let node = self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved);
                        self.add_row(PartRow::of(row, weight, (start_ms, len_ms), index, node));
                    }
                }
                Rollup::Traces => {
                    for row in &series.rows {
                        let Some(link) = row.link.and_then(|link| window.links.get(link as usize)) else { continue };
                        let node = self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved);
                        self.part.traces.push(PartTrace::of(window, row, *link, index, node));
                    }
                }
            }
        }
        match self.rollup {
            Rollup::Level(_) => {
                self.add_received(PartWindow::of(window));
                for requests in PartRequests::all_of(window, &instance) {
                    self.add_requests(requests);
                }
            }
            Rollup::Traces => self.part.spans.extend(PartSpan::all_of(window, &instance)),
        }
    }

    /// Adds a part of a finer level, or of the same one: all that is left of it, or as much as fits into `budget` bytes. Answers
    /// true when nothing is left; what is goes to a [`PartBuilder::successor`].
    pub(crate) fn add_part(&mut self, from: &mut Incoming, budget: usize) -> bool {
        let Incoming { part, moved, rows_done, traces_done } = from;
        moved.reset();
        self.add_modules(&part.modules);
        let series: Vec<u32> =
            part.series.iter().map(|own| self.series_index(&own.profile_type, &own.instance, &own.labels)).collect();
        let mut node = |union: &mut Union, node| union.node(&part.frames, &part.nodes, node, moved);
        while let Some(row) = part.rows.get(*rows_done).filter(|_| self.bytes() < budget) {
            let node = node(&mut self.stacks, row.node);
            self.add_row(PartRow { series: series[row.series as usize], node, ..*row });
            *rows_done += 1;
        }
        while let Some(row) = part.traces.get(*traces_done).filter(|_| self.bytes() < budget) {
            let node = node(&mut self.stacks, row.node);
            self.part.traces.push(PartTrace { series: series[row.series as usize], node, ..*row });
            *traces_done += 1;
        }
        let all = *rows_done == part.rows.len() && *traces_done == part.traces.len();
        for window in &part.windows {
            // Each builder knows the time that its rows are about; the windows count once.
            self.add_received(PartWindow { windows: if all { window.windows } else { 0 }, ..window.clone() });
        }
        if all {
            self.part.spans.append(&mut part.spans);
            for requests in part.requests.drain(..) {
                self.add_requests(requests);
            }
        }
        all
    }

    /// Leaves out what belongs to these traces.
    pub(crate) fn retain_traces(&mut self, keep: impl Fn(&TraceId) -> bool) {
        self.part.traces.retain(|row| keep(&row.link.trace_id));
        self.part.spans.retain(|span| keep(&span.span.link.trace_id));
    }

    /// Lets go of examples of requests that are too many, in windows that start at `from_ms` or later; `completed` are traces that somebody
    /// completed.
    pub(crate) fn thin_examples(&mut self, from_ms: u64, completed: &HashSet<TraceId>) {
        examples::thin(&mut self.part.spans, from_ms, completed);
    }

    /// Ends with the part, in an order that depends on its content alone.
    pub(crate) fn finish(mut self) -> Part {
        let series = self.arrange();
        self.sum_rows();
        let mut part = self.part;
        part.rows.shrink_to_fit();
        part.windows = self.windows.into_rows();
        part.totals = self.totals.into_rows(&series);
        PartTrace::sort(&mut part.traces);
        PartSpan::sort(&mut part.spans);
        part.requests = self.requests.into_rows();
        part
    }

    fn add_modules(&mut self, modules: &[Module]) {
        for module in modules {
            if self.modules.insert(module.clone(), ()).is_none() {
                self.part.modules.push(module.clone());
            }
        }
    }

    fn series_index(&mut self, profile_type: &ProfileType, instance: &Arc<str>, labels: &Labels) -> u32 {
        let instance = if self.rollup.folds_instances() { Arc::from("") } else { instance.clone() };
        let series = PartSeries { profile_type: profile_type.clone(), labels: labels.clone(), instance };
        let next = self.part.series.len() as u32;
        *self.series.entry(series).or_insert_with_key(|series| {
            self.part.series.push(series.clone());
            next
        })
    }

    fn add_row(&mut self, mut row: PartRow) {
        (row.window_ms, row.window_len_ms) = self.rollup.place(row.window_ms, row.window_len_ms);
        self.totals.add(&row);
        // Summing when the rows have doubled keeps the work at O(n log n) and the memory at twice the result.
        if self.part.rows.len() >= 2 * self.summed_rows.max(1 << 15) {
            self.sum_rows();
        }
        self.part.rows.push(row);
    }

    fn add_received(&mut self, mut window: PartWindow) {
        (window.window_ms, window.window_len_ms) = self.rollup.place(window.window_ms, window.window_len_ms);
        self.windows.add(window);
    }

    fn add_requests(&mut self, mut requests: PartRequests) {
        (requests.window_ms, requests.window_len_ms) = self.rollup.place(requests.window_ms, requests.window_len_ms);
        if self.rollup.folds_instances() {
            requests.instance = Arc::from("");
        }
        self.requests.add(requests);
    }

    /// Puts frames, nodes and series in the order of their content: neighbours in the tables are alike, so they compress, and
    /// the same content gives the same bytes. Answers where each series went.
    fn arrange(&mut self) -> Vec<u32> {
        // The maps hold copies of what is sorted now; nothing is added any more.
        self.series = FxHashMap::default();
        let part = &mut self.part;
        (part.frames, part.nodes) = std::mem::take(&mut self.stacks).into_parts();
        part.modules.sort_unstable_by(|a, b| (a.build_id, &a.name).cmp(&(b.build_id, &b.name)));
        let frames = order(&mut part.frames, Frame::cmp);
        let series = order(&mut part.series, PartSeries::cmp);
        for node in &mut part.nodes {
            node.frame = frames[node.frame as usize];
        }
        let nodes = preorder(&mut part.nodes);
        for row in &mut part.rows {
            (row.node, row.series) = (nodes[row.node as usize], series[row.series as usize]);
        }
        for row in &mut part.traces {
            (row.node, row.series) = (nodes[row.node as usize], series[row.series as usize]);
        }
        series
    }

    /// Sorts the rows as a segment has them, and adds up what has the same key.
    fn sum_rows(&mut self) {
        let mut by_type: Vec<(&str, u32)> = Vec::with_capacity(self.part.series.len());
        by_type.extend(self.part.series.iter().zip(0..).map(|(series, i)| (series.profile_type.name.as_str(), i)));
        by_type.sort_unstable();
        let mut rank = vec![0u32; by_type.len()];
        for (order, same_type) in by_type.chunk_by(|a, b| a.0 == b.0).enumerate() {
            for (_, series) in same_type {
                rank[*series as usize] = order as u32;
            }
        }
        self.part.rows.sort_unstable_by_key(|row| (rank[row.series as usize], row.key()));
        self.part.rows.dedup_by(|row, kept| row.key() == kept.key() && kept.absorb(row));
        self.summed_rows = self.part.rows.len();
    }
}

/// Sorts, and answers where each went.
fn order<T>(items: &mut Vec<T>, by: impl Fn(&T, &T) -> std::cmp::Ordering) -> Vec<u32> {
    let mut sorted: Vec<(T, u32)> = std::mem::take(items).into_iter().zip(0..).collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| by(a, b));
    let mut place = vec![0; sorted.len()];
    for (new, (_, old)) in sorted.iter().enumerate() {
        place[*old as usize] = new as u32;
    }
    items.extend(sorted.into_iter().map(|(item, _)| item));
    place
}

/// Puts nodes in preorder, siblings by frame, and answers where each went.
fn preorder(nodes: &mut Vec<Node>) -> Vec<u32> {
    let root = nodes.len();
    let parent = |node: &Node| if node.parent == Node::ROOT { root } else { node.parent as usize };
    let mut grouped: Vec<u32> = (0..nodes.len() as u32).collect();
    // The largest frame first: they leave a stack in the opposite order.
    grouped.sort_unstable_by_key(|i| (parent(&nodes[*i as usize]), u32::MAX - nodes[*i as usize].frame));
    let mut first = vec![0usize; root + 2];
    for i in &grouped {
        first[parent(&nodes[*i as usize]) + 1] += 1;
    }
    for i in 0..=root {
        first[i + 1] += first[i];
    }
    let children = |of: usize| &grouped[first[of]..first[of + 1]];
    let mut place = vec![0u32; root];
    let mut sorted = Vec::with_capacity(root);
    let mut stack: Vec<u32> = children(root).to_vec();
    while let Some(at) = stack.pop() {
        let node = nodes[at as usize];
        place[at as usize] = sorted.len() as u32;
        let parent = if node.parent == Node::ROOT { Node::ROOT } else { place[node.parent as usize] };
        sorted.push(Node { parent, frame: node.frame });
        stack.extend_from_slice(children(at as usize));
    }
    *nodes = sorted;
    place
}
