//! Merges windows and parts of one service into one [`Part`]: dictionaries by content, values by exact sums.
//!
//! Pure. Sums commute, so it does not matter in which order, or in how many steps, windows are added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::base::labels::Labels;
use crate::profile::decode::Window;
use crate::profile::model::{Frame, Kind, Module, Node, ProfileType};
use crate::profile::union::{Moved, Union};
use crate::store::columnar::{Part, PartRow, PartSeries, PartSpan, PartTotal, PartTrace, PartWindow};

use super::levels::Level;

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
    totals: FxHashMap<(u32, u64, u32), (u128, u128)>,
    windows: BTreeMap<(u64, u32, Arc<str>, Labels), Received>,
    summed_rows: usize,
    /// That of the rows that came last, not yet in `totals`.
    total: Option<RunningTotal>,
}

/// The sum of rows of one series and window, which come one after the other.
struct RunningTotal {
    key: (u32, u64, u32),
    value: u128,
    samples: u128,
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

/// What was received of an instance in a window.
#[derive(Default)]
struct Received {
    /// Covered stretches, unix milliseconds, and how many windows they were.
    stretches: Vec<(u64, u64, u32)>,
    types: BTreeSet<TypeKey>,
}

/// A type in an order.
type TypeKey = (String, String, bool, u64);

impl PartBuilder {
    /// Starts with nothing.
    pub(crate) fn new(service: &str, rollup: Rollup) -> Self {
        Self {
            rollup,
            part: Part { service: service.to_owned(), ..Part::default() },
            modules: FxHashMap::default(),
            stacks: Union::default(),
            series: FxHashMap::default(),
            totals: FxHashMap::default(),
            windows: BTreeMap::new(),
            summed_rows: 0,
            total: None,
        }
    }

    /// An empty one for the same service and purpose.
    pub(crate) fn successor(&self) -> Self {
        Self::new(&self.part.service, self.rollup)
    }

    /// True when nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        let part = &self.part;
        part.rows.is_empty() && part.traces.is_empty() && part.spans.is_empty() && self.windows.is_empty()
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
    }

    /// Adds a window as an agent sent it.
    pub(crate) fn add_window(&mut self, window: &Window) {
        if self.rollup == Rollup::Traces && window.links.is_empty() {
            return;
        }
        let header = &window.header;
        let (start_ms, len_ms) = (header.start_ms, header.duration_ms);
        let instance: Arc<str> = header.instance.as_str().into();
        let labels = header.labels.clone();
        let mut types = BTreeSet::new();
        let mut moved = Moved::new(window.frames.len(), window.nodes.len());
        self.add_modules(&window.modules);
        match self.rollup {
            Rollup::Level(_) => {
                for series in &window.series {
                    let profile_type = &series.profile_type;
                    types.insert(type_key(profile_type));
                    let weight = if profile_type.kind == Kind::Gauge { u64::from(len_ms) } else { 1 };
                    let index = self.series_index(profile_type, &instance, &labels.with(&series.labels));
                    for row in &series.rows {
                        let node = self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved);
                        self.add_row(PartRow {
                            series: index,
                            window_ms: start_ms,
                            window_len_ms: len_ms,
                            node,
                            value: row.value.saturating_mul(weight).min(i64::MAX as u64),
                            samples: row.samples.saturating_mul(weight).min(i64::MAX as u64),
                        });
                    }
                }
                let end_ms = start_ms + u64::from(len_ms);
                self.add_received(start_ms, len_ms, instance, labels, (start_ms, end_ms, 1), types);
            }
            Rollup::Traces => {
                for series in &window.series {
                    let index = self.series_index(&series.profile_type, &instance, &labels.with(&series.labels));
                    for row in &series.rows {
                        let Some(link) = row.link.and_then(|link| window.links.get(link as usize)) else { continue };
                        self.part.traces.push(PartTrace {
                            link: *link,
                            time_ms: start_ms + u64::from(row.time_ms.unwrap_or(0)),
                            window_ms: start_ms,
                            window_len_ms: len_ms,
                            series: index,
                            node: self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved),
                            value: row.value,
                            samples: row.samples,
                        });
                    }
                }
                self.part.spans.extend(window.spans.iter().map(|span| PartSpan {
                    span: span.clone(),
                    window_ms: start_ms,
                    window_len_ms: len_ms,
                    instance: instance.clone(),
                    labels: labels.clone(),
                }));
            }
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
            let stretch = (window.from_ms, window.until_ms, if all { window.windows } else { 0 });
            let (instance, labels) = (window.instance.clone(), window.labels.clone());
            let types = window.types.iter().map(type_key).collect();
            self.add_received(window.window_ms, window.window_len_ms, instance, labels, stretch, types);
        }
        if all {
            self.part.spans.append(&mut part.spans);
        }
        all
    }

    /// Leaves out what belongs to these traces.
    pub(crate) fn retain_traces(&mut self, keep: impl Fn(&tephra_proto::ids::TraceId) -> bool) {
        self.part.traces.retain(|row| keep(&row.link.trace_id));
        self.part.spans.retain(|span| keep(&span.span.link.trace_id));
    }

    /// Ends with the part, in an order that depends on its content alone.
    pub(crate) fn finish(mut self) -> Part {
        self.end_total();
        self.arrange();
        self.sum_rows();
        let mut part = self.part;
        part.rows.shrink_to_fit();
        part.windows = self
            .windows
            .into_iter()
            .flat_map(|((window_ms, window_len_ms, instance, labels), received)| {
                let types = received.types.into_iter().map(|(name, unit, gauge, period)| {
                    let kind = if gauge { Kind::Gauge } else { Kind::Counter };
                    ProfileType { name, unit, kind, period }
                });
                let types: Arc<[ProfileType]> = types.collect();
                union(received.stretches).into_iter().map(move |(from_ms, until_ms, windows)| PartWindow {
                    window_ms,
                    window_len_ms,
                    from_ms,
                    until_ms,
                    windows,
                    instance: instance.clone(),
                    labels: labels.clone(),
                    types: types.clone(),
                })
            })
            .collect();
        part.totals = totals(&self.totals);
        part.traces.sort_unstable_by_key(|row| (row.link, row.time_ms, row.window_ms, row.series, row.node, row.value));
        part.spans.sort_by(|a, b| {
            let key = |span: &PartSpan| (span.span.link, span.span.start_ms, span.window_ms);
            key(a).cmp(&key(b)).then_with(|| a.instance.cmp(&b.instance))
        });
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
        let series = PartSeries { profile_type: profile_type.clone(), instance, labels: labels.clone() };
        let next = self.part.series.len() as u32;
        *self.series.entry(series).or_insert_with_key(|series| {
            self.part.series.push(series.clone());
            next
        })
    }

    fn add_row(&mut self, mut row: PartRow) {
        (row.window_ms, row.window_len_ms) = self.rollup.place(row.window_ms, row.window_len_ms);
        self.add_to_total(&row);
        // Summing when the rows have doubled keeps the work at O(n log n) and the memory at twice the result.
        if self.part.rows.len() >= 2 * self.summed_rows.max(1 << 15) {
            self.sum_rows();
        }
        self.part.rows.push(row);
    }

    fn add_to_total(&mut self, row: &PartRow) {
        let key = (row.series, row.window_ms, row.window_len_ms);
        if self.total.as_ref().is_none_or(|total| total.key != key) {
            self.end_total();
        }
        let total = self.total.get_or_insert(RunningTotal { key, value: 0, samples: 0 });
        total.value += u128::from(row.value);
        total.samples += u128::from(row.samples);
    }

    fn end_total(&mut self) {
        if let Some(RunningTotal { key, value, samples }) = self.total.take() {
            let total = self.totals.entry(key).or_default();
            total.0 += value;
            total.1 += samples;
        }
    }

    fn add_received(
        &mut self,
        start_ms: u64,
        len_ms: u32,
        instance: Arc<str>,
        labels: Labels,
        stretch: (u64, u64, u32),
        types: BTreeSet<TypeKey>,
    ) {
        let (window_ms, window_len_ms) = self.rollup.place(start_ms, len_ms);
        let received = self.windows.entry((window_ms, window_len_ms, instance, labels)).or_default();
        received.stretches.push(stretch);
        received.types.extend(types);
    }

    /// Puts frames, nodes and series in the order of their content: neighbours in the tables are alike, so they compress, and
    /// the same content gives the same bytes.
    fn arrange(&mut self) {
        // The maps hold copies of what is sorted now; nothing is added any more.
        self.series = FxHashMap::default();
        let part = &mut self.part;
        (part.frames, part.nodes) = std::mem::take(&mut self.stacks).into_parts();
        part.modules.sort_unstable_by(|a, b| (a.build_id, &a.name).cmp(&(b.build_id, &b.name)));
        let frames = order(&mut part.frames, Frame::cmp);
        let series = order(&mut part.series, |a, b| {
            let key = |s: &PartSeries| (type_key(&s.profile_type), s.labels.clone(), s.instance.clone());
            key(a).cmp(&key(b))
        });
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
        let totals = std::mem::take(&mut self.totals);
        self.totals =
            totals.into_iter().map(|((own, window, len), sum)| ((series[own as usize], window, len), sum)).collect();
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
        let key = |row: &PartRow| (rank[row.series as usize], row.window_ms, row.window_len_ms, row.series, row.node);
        self.part.rows.sort_unstable_by_key(key);
        self.part.rows.dedup_by(|row, kept| {
            if key(row) != key(kept) {
                return false;
            }
            // Sums that no longer fit stay two rows: both are right.
            let fits = |a: u64, b: u64| a.checked_add(b).filter(|sum| *sum <= i64::MAX as u64);
            let (Some(value), Some(samples)) = (fits(kept.value, row.value), fits(kept.samples, row.samples)) else {
                return false;
            };
            (kept.value, kept.samples) = (value, samples);
            true
        });
        self.summed_rows = self.part.rows.len();
    }
}

fn type_key(t: &ProfileType) -> TypeKey {
    (t.name.clone(), t.unit.clone(), t.kind == Kind::Gauge, t.period)
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

/// Sums by series and window. What exceeds the largest number of a column becomes several rows.
fn totals(sums: &FxHashMap<(u32, u64, u32), (u128, u128)>) -> Vec<PartTotal> {
    const MOST: u128 = i64::MAX as u128;
    let mut totals = Vec::with_capacity(sums.len());
    for ((series, window_ms, window_len_ms), (value, samples)) in sums {
        let (mut value, mut samples) = (*value, *samples);
        loop {
            let (now, now_samples) = (value.min(MOST), samples.min(MOST));
            let (window_ms, window_len_ms) = (*window_ms, *window_len_ms);
            let (value_now, samples_now) = (now as u64, now_samples as u64);
            totals.push(PartTotal {
                series: *series,
                window_ms,
                window_len_ms,
                value: value_now,
                samples: samples_now,
            });
            (value, samples) = (value - now, samples - now_samples);
            if value == 0 && samples == 0 {
                break;
            }
        }
    }
    totals.sort_unstable_by_key(|row| (row.window_ms, row.window_len_ms, row.series, row.value));
    totals
}

/// Joins stretches that touch or overlap.
fn union(mut stretches: Vec<(u64, u64, u32)>) -> Vec<(u64, u64, u32)> {
    stretches.sort_unstable();
    let mut joined: Vec<(u64, u64, u32)> = Vec::with_capacity(1);
    for (from, until, windows) in stretches {
        match joined.last_mut() {
            Some(last) if from <= last.1 => {
                last.1 = last.1.max(until);
                last.2 = last.2.saturating_add(windows);
            }
            _ => joined.push((from, until, windows)),
        }
    }
    joined
}
