//! Merges windows and parts of one service into one [`Part`]: dictionaries by content, values by exact sums.
//!
//! Pure. Sums commute, so it does not matter in which order, or in how many steps, windows are added.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::profile::decode::Window;
use crate::profile::model::{Frame, Kind, Module, Node, SpanSummary};
use crate::store::columnar::{Part, PartRow, PartSeries, PartTrace, PartWindow};

/// What becomes of windows on their way to a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollup {
    /// Windows of this length in milliseconds, aligned to it; finer ones are added up.
    pub window_ms: u32,
    /// Instances are added up too: the cost of a query then follows the distinct stacks, not the number of instances.
    pub fold_instances: bool,
    /// Samples with trace ids and spans are kept.
    pub keep_traces: bool,
}

impl Rollup {
    /// Where a window that starts at `start_ms` and is `len_ms` long goes. A window longer than the target stays as it is.
    fn place(self, start_ms: u64, len_ms: u32) -> (u64, u32) {
        if len_ms >= self.window_ms {
            return (start_ms, len_ms);
        }
        (start_ms - start_ms % u64::from(self.window_ms), self.window_ms)
    }
}

/// Collects one service's windows.
pub struct PartBuilder {
    rollup: Rollup,
    part: Part,
    modules: FxHashMap<Module, ()>,
    frames: FxHashMap<Frame, u32>,
    nodes: FxHashMap<Node, u32>,
    series: FxHashMap<PartSeries, u32>,
    windows: BTreeMap<WindowKey, Received>,
    summed_rows: usize,
}

/// Windows that become one.
type WindowKey = (u64, u32, Vec<(String, String)>, String);

/// What was received of them.
#[derive(Default)]
struct Received {
    /// Covered stretches, unix milliseconds, disjoint and in order once merged.
    stretches: Vec<(u64, u64)>,
    /// Time known to be covered by windows that were folded before, as their stretches are gone.
    covered_ms: u64,
    instances: BTreeMap<String, u32>,
}

impl PartBuilder {
    /// Starts with nothing.
    pub fn new(service: &str, rollup: Rollup) -> Self {
        Self {
            rollup,
            part: Part { service: service.to_owned(), ..Part::default() },
            modules: FxHashMap::default(),
            frames: FxHashMap::default(),
            nodes: FxHashMap::default(),
            series: FxHashMap::default(),
            windows: BTreeMap::new(),
            summed_rows: 0,
        }
    }

    /// Memory the builder holds, about, in bytes: what the compactor's budget counts.
    pub fn bytes(&self) -> usize {
        const PER_FRAME: usize = 2 * size_of::<Frame>() + 16;
        const PER_NODE: usize = 2 * size_of::<Node>() + 8;
        self.part.frames.len() * PER_FRAME
            + self.part.nodes.len() * PER_NODE
            + self.part.rows.capacity() * size_of::<PartRow>()
            + self.part.traces.capacity() * size_of::<PartTrace>()
            + self.part.spans.len() * (size_of::<SpanSummary>() + 32)
            + self.windows.len() * 256
    }

    /// Adds a window as an agent sent it.
    pub fn add_window(&mut self, window: &Window) {
        let header = &window.header;
        let (start_ms, len_ms) = (header.start_ms, header.duration_ms);
        let instance = header.instance.as_str().to_owned();
        let labels = header.labels.clone();
        let nodes = self.intern(&window.modules, &window.frames, &window.nodes);
        for series in &window.series {
            let profile_type = &series.profile_type;
            let gauge_factor = if profile_type.kind == Kind::Gauge { u64::from(len_ms) } else { 1 };
            let own =
                PartSeries { profile_type: profile_type.clone(), instance: instance.clone(), labels: labels.clone() };
            let index = self.series_index(own.clone());
            for row in &series.rows {
                self.add_row(PartRow {
                    series: index,
                    window_ms: start_ms,
                    window_len_ms: len_ms,
                    node: nodes[row.node as usize],
                    value: row.value.saturating_mul(gauge_factor),
                    samples: row.samples,
                });
                if let (true, Some(link)) = (self.rollup.keep_traces, row.link) {
                    self.part.traces.push(PartTrace {
                        link: window.links[link as usize],
                        time_ms: start_ms + u64::from(row.time_ms.unwrap_or(0)),
                        series: index,
                        node: nodes[row.node as usize],
                        value: row.value,
                    });
                }
            }
        }
        if self.rollup.keep_traces {
            self.part.spans.extend_from_slice(&window.spans);
        }
        let received = self.received(start_ms, len_ms, &labels, &instance);
        received.stretches.push((start_ms, start_ms + u64::from(len_ms)));
        received.instances.insert(instance, 1);
    }

    /// Adds a part of a finer level.
    pub fn add_part(&mut self, part: &Part) {
        let nodes = self.intern(&part.modules, &part.frames, &part.nodes);
        let series: Vec<u32> = part.series.iter().map(|series| self.series_index(series.clone())).collect();
        for row in &part.rows {
            let (series, node) = (series[row.series as usize], nodes[row.node as usize]);
            self.add_row(PartRow { series, node, ..*row });
        }
        if self.rollup.keep_traces {
            let localize = |row: &PartTrace| PartTrace {
                series: series[row.series as usize],
                node: nodes[row.node as usize],
                ..*row
            };
            self.part.traces.extend(part.traces.iter().map(localize));
            self.part.spans.extend_from_slice(&part.spans);
        }
        for window in &part.windows {
            let received = self.received(window.window_ms, window.window_len_ms, &window.labels, &window.instance);
            if window.covered_ms == window.window_len_ms {
                let end = window.window_ms + u64::from(window.window_len_ms);
                received.stretches.push((window.window_ms, end));
            } else {
                received.covered_ms += u64::from(window.covered_ms);
            }
            let count = received.instances.entry(window.instance.clone()).or_default();
            *count = (*count).max(window.instances);
        }
    }

    /// Ends with the part, sorted as segments are.
    pub fn finish(mut self) -> Part {
        self.sum_rows();
        let Self { mut part, windows, .. } = self;
        part.windows = windows
            .into_iter()
            .map(|((window_ms, window_len_ms, labels, instance), received)| {
                let covered = received.covered_ms + union_ms(received.stretches);
                PartWindow {
                    window_ms,
                    window_len_ms,
                    covered_ms: covered.min(u64::from(window_len_ms)) as u32,
                    instance,
                    instances: received.instances.values().sum(),
                    labels,
                }
            })
            .collect();
        part.traces.sort_unstable_by_key(|row| (row.link, row.time_ms, row.series, row.node));
        part.spans.sort_by_key(|span| (span.start_ms, span.link));
        part
    }

    /// Maps another tree's nodes to ours, adding what is new.
    fn intern(&mut self, modules: &[Module], frames: &[Frame], nodes: &[Node]) -> Vec<u32> {
        for module in modules {
            if self.modules.insert(module.clone(), ()).is_none() {
                self.part.modules.push(module.clone());
            }
        }
        let mut intern_frame = |frame: &Frame| {
            *self.frames.entry(frame.clone()).or_insert_with(|| {
                self.part.frames.push(frame.clone());
                self.part.frames.len() as u32 - 1
            })
        };
        let frames: Vec<u32> = frames.iter().map(&mut intern_frame).collect();
        let mut ours = Vec::with_capacity(nodes.len());
        for node in nodes {
            let parent = if node.parent == Node::ROOT { Node::ROOT } else { ours[node.parent as usize] };
            let node = Node { parent, frame: frames[node.frame as usize] };
            let index = *self.nodes.entry(node).or_insert_with(|| {
                self.part.nodes.push(node);
                self.part.nodes.len() as u32 - 1
            });
            ours.push(index);
        }
        ours
    }

    fn series_index(&mut self, mut series: PartSeries) -> u32 {
        if self.rollup.fold_instances {
            series.instance = String::new();
        }
        let next = self.part.series.len() as u32;
        *self.series.entry(series).or_insert_with_key(|series| {
            self.part.series.push(series.clone());
            next
        })
    }

    fn add_row(&mut self, mut row: PartRow) {
        (row.window_ms, row.window_len_ms) = self.rollup.place(row.window_ms, row.window_len_ms);
        self.part.rows.push(row);
        // Summing when the rows have doubled keeps the work at O(n log n) and the memory at twice the result.
        if self.part.rows.len() >= 2 * self.summed_rows.max(1 << 16) {
            self.sum_rows();
        }
    }

    fn received(&mut self, start_ms: u64, len_ms: u32, labels: &[(String, String)], instance: &str) -> &mut Received {
        let (window_ms, window_len_ms) = self.rollup.place(start_ms, len_ms);
        let instance = if self.rollup.fold_instances { String::new() } else { instance.to_owned() };
        self.windows.entry((window_ms, window_len_ms, labels.to_vec(), instance)).or_default()
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
            let fits = kept.value.checked_add(row.value).filter(|sum| *sum <= i64::MAX as u64);
            match fits {
                // Sums that no longer fit stay two rows: both are right.
                Some(sum) if key(row) == key(kept) => {
                    kept.value = sum;
                    kept.samples = kept.samples.saturating_add(row.samples);
                    true
                }
                _ => false,
            }
        });
        self.summed_rows = self.part.rows.len();
    }
}

/// Length of the union of stretches of time.
fn union_ms(mut stretches: Vec<(u64, u64)>) -> u64 {
    stretches.sort_unstable();
    let (mut covered, mut until) = (0, 0);
    for (start, end) in stretches {
        covered += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    covered
}

/// Merges finished parts of one service without changing their windows: the same sums in one dictionary.
pub fn merge_parts(service: &str, parts: &[Part], rollup: Rollup) -> Part {
    let mut builder = PartBuilder::new(service, rollup);
    for part in parts {
        builder.add_part(part);
    }
    builder.finish()
}
