//! Made-up stores for benchmarks: what months of ingest would leave behind, written in minutes, by the code that compaction
//! writes with.
//!
//! A service's stacks share their upper halves and are visited unevenly, as real ones are (Zipf); how often a stack is seen in a window
//! is drawn for each window anew (Poisson), so that neighbours are alike and never equal.

use std::sync::Arc;

use tephra_proto::ids::{SpanId, TraceId};

use crate::base::clock::now_ms;
use crate::profile::model::{Frame, Kind, Link, Node, ProfileType};
use crate::store::catalog::{Inputs, Swap};
use crate::store::columnar::{Part, PartRow, PartSeries, PartTotal, PartTrace, PartWindow};
use crate::store::compact::levels::{Level, TRACES, block_end};
use crate::store::compact::{Output, OutputError, Rollup};
use crate::store::{Store, StoreError};

/// A service that was never there.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Its name.
    pub service: String,
    /// How many processes it has.
    pub instances: u32,
    /// Distinct stacks of it.
    pub stacks: u32,
    /// Samples that one process takes in ten seconds.
    pub samples: u32,
}

/// Versions and zones that its processes have: combinations of labels.
const VERSIONS: u32 = 2;
const ZONES: u32 = 2;
/// Frames of a stack.
const DEPTH: u32 = 24;
/// Nanoseconds that a sample stands for at 99 Hz.
const PERIOD: u64 = 10_101_010;
/// Size of a segment, about.
const SEGMENT_BYTES: usize = 64 << 20;
/// Rows of a part.
const PART_ROWS: usize = 2_000_000;

impl Shape {
    /// Writes windows of a level from `from_ms` until `until_ms`. `rolled`: they are in the next level too.
    ///
    /// # Errors
    /// When the disk or the catalog fail.
    pub async fn write_level(
        &self,
        store: &Arc<Store>,
        number: u32,
        from_ms: u64,
        until_ms: u64,
        rolled: bool,
    ) -> Result<(), StoreError> {
        let Some(level) = Level::of(number) else { return Ok(()) };
        let step_ms = u64::from(level.window_ms);
        let mut at_ms = from_ms - from_ms % step_ms;
        while at_ms < until_ms {
            let end_ms = block_end(number, at_ms).min(until_ms);
            let (shape, keeper) = (self.clone(), store.clone());
            let written = tokio::task::spawn_blocking(move || {
                let mut output =
                    Output::new(keeper.bulk().as_ref(), Rollup::Level(level), SEGMENT_BYTES, keeper.provenance());
                let mut random = Random(at_ms ^ 0x5eed);
                let mut part = shape.empty(level.folds_instances);
                for window_ms in (at_ms..end_ms).step_by(step_ms as usize) {
                    shape.add_window(&mut part, level, window_ms, &mut random);
                    if part.rows.len() >= PART_ROWS {
                        output.add(&part)?;
                        part = shape.empty(level.folds_instances);
                    }
                }
                output.add(&part)?;
                output.finish()
            });
            let mut outputs = written.await?.map_err(|error| StoreError::Task(error.to_string()))?;
            outputs.iter_mut().for_each(|output| output.rolled = rolled);
            let then = Inputs::Replace;
            store.catalog().swap(&Swap { inputs: Vec::new(), then, outputs, now_ms: now_ms(), lease: None }).await?;
            at_ms = end_ms;
        }
        Ok(())
    }

    /// Writes a segment of one window at level 1 whose stacks are those of no other `variant`.
    ///
    /// # Errors
    /// When the disk or the catalog fail.
    pub async fn write_distinct(&self, store: &Arc<Store>, at_ms: u64, variant: u64) -> Result<(), StoreError> {
        let (shape, keeper) = (self.clone(), store.clone());
        let [level, ..] = crate::store::compact::levels::LEVELS;
        let written = tokio::task::spawn_blocking(move || {
            let mut random = Random(variant);
            let mut part = shape.empty(false);
            // Every stack hangs below a root of its own variant.
            let root = Frame::Symbolic {
                function: format!("variant_{variant}").into(),
                file: "".into(),
                line: 0,
                inlined: false,
            };
            let frame = part.frames.len() as u32;
            part.frames.push(root);
            for node in &mut part.nodes {
                node.parent = if node.parent == Node::ROOT { 0 } else { node.parent + 1 };
            }
            part.nodes.insert(0, Node { parent: Node::ROOT, frame });
            shape.add_window(&mut part, level, at_ms - at_ms % 10_000, &mut random);
            part.rows.iter_mut().for_each(|row| row.node += 1);
            let mut output =
                Output::new(keeper.bulk().as_ref(), Rollup::Level(level), SEGMENT_BYTES, keeper.provenance());
            output.add(&part)?;
            output.finish()
        });
        let outputs = written.await?.map_err(|error| StoreError::Task(error.to_string()))?;
        let then = Inputs::Replace;
        store.catalog().swap(&Swap { inputs: Vec::new(), then, outputs, now_ms: now_ms(), lease: None }).await?;
        Ok(())
    }

    /// Writes traces, two samples each, spread over the range; answers some of their ids.
    ///
    /// # Errors
    /// When the disk or the catalog fail.
    pub async fn write_traces(
        &self,
        store: &Arc<Store>,
        from_ms: u64,
        until_ms: u64,
        traces: u64,
    ) -> Result<Vec<TraceId>, StoreError> {
        let days = (until_ms - from_ms).div_ceil(24 * 3_600_000).max(1);
        // A day's traces are a few segments, as merging leaves them.
        let segments = days * 3;
        let mut known = Vec::new();
        for segment in 0..segments {
            let (shape, keeper) = (self.clone(), store.clone());
            let start_ms = from_ms + (until_ms - from_ms) * segment / segments;
            let length_ms = ((until_ms - from_ms) / segments).max(1);
            let written = tokio::task::spawn_blocking(move || {
                let mut random = Random(start_ms ^ 0x7ace);
                let mut part = shape.empty(false);
                for _ in 0..traces / segments {
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&random.next().to_be_bytes());
                    id[8..].copy_from_slice(&(random.next() | 1).to_be_bytes());
                    let Some(trace_id) = TraceId::from_bytes(id) else { continue };
                    let time_ms = start_ms + random.next() % length_ms;
                    let series = (random.next() % part.series.len() as u64) as u32;
                    for _ in 0..2 {
                        part.traces.push(PartTrace {
                            link: Link { trace_id, span_id: SpanId::from_bytes((random.next() | 1).to_be_bytes()) },
                            time_ms,
                            window_ms: time_ms - time_ms % 10_000,
                            window_len_ms: 10_000,
                            series,
                            node: shape.leaf(random.skewed(shape.stacks)),
                            value: PERIOD,
                            samples: 1,
                        });
                    }
                }
                part.traces.sort_unstable_by_key(|row| row.link);
                let some = part.traces.iter().step_by(1_000).map(|row| row.link.trace_id).collect::<Vec<_>>();
                let mut output =
                    Output::new(keeper.bulk().as_ref(), Rollup::Traces, SEGMENT_BYTES, keeper.provenance());
                output.add(&part)?;
                Ok::<_, OutputError>((output.finish()?, some))
            });
            let (outputs, some) = written.await?.map_err(|error| StoreError::Task(error.to_string()))?;
            debug_assert!(outputs.iter().all(|output| output.segment.level == TRACES));
            known.extend(some);
            let then = Inputs::Replace;
            store.catalog().swap(&Swap { inputs: Vec::new(), then, outputs, now_ms: now_ms(), lease: None }).await?;
        }
        Ok(known)
    }

    /// Index of a stack's leaf.
    fn leaf(&self, stack: u32) -> u32 {
        (stack + 1) * (DEPTH / 2) - 1 + self.shared_nodes()
    }

    fn shared_nodes(&self) -> u32 {
        // Upper halves are shared by a hundred stacks each.
        self.stacks.div_ceil(100) * (DEPTH / 2)
    }

    /// Its dictionaries and series, and nothing else.
    fn empty(&self, folds: bool) -> Part {
        let functions = (self.stacks / 4).max(1_000);
        let frames = (0..functions).map(|i| Frame::Symbolic {
            function: format!("service::layer_{}::module_{}::function_{i}", i % 9, i % 131).into(),
            file: format!("src/layer_{}/module_{}.rs", i % 9, i % 131).into(),
            line: 10 + i % 900,
            inlined: false,
        });
        let mut nodes = Vec::new();
        let mut random = Random(1);
        let mut chain = |nodes: &mut Vec<Node>, mut parent: u32, frames: u32| {
            for _ in 0..frames {
                nodes.push(Node { parent, frame: random.skewed(functions) });
                parent = nodes.len() as u32 - 1;
            }
        };
        for _ in 0..self.stacks.div_ceil(100) {
            chain(&mut nodes, Node::ROOT, DEPTH / 2);
        }
        for stack in 0..self.stacks {
            chain(&mut nodes, (stack / 100 + 1) * (DEPTH / 2) - 1, DEPTH / 2);
        }
        let series = match folds {
            true => (0..VERSIONS * ZONES).map(|i| self.series(i, None)).collect(),
            false => (0..self.instances).map(|i| self.series(i, Some(i))).collect(),
        };
        Part { service: self.service.clone(), frames: frames.collect(), nodes, series, ..Part::default() }
    }

    fn series(&self, i: u32, instance: Option<u32>) -> PartSeries {
        let version = ("version", format!("v{}", i % VERSIONS + 1));
        let zone = ("zone", format!("zone-{}", i / VERSIONS % ZONES));
        let instance = instance.map_or(String::new(), |i| format!("{}-{i:03}", self.service));
        PartSeries { profile_type: cpu(), instance: instance.into(), labels: [version, zone].into_iter().collect() }
    }

    fn add_window(&self, part: &mut Part, level: Level, window_ms: u64, random: &mut Random) {
        let windows = level.window_ms / 10_000;
        let per_series =
            f64::from(self.samples) * f64::from(windows) * f64::from(self.instances) / part.series.len().max(1) as f64;
        let weights: f64 = (1..=self.stacks).map(|rank| 1.0 / f64::from(rank)).sum();
        for series in 0..part.series.len() as u32 {
            let mut total = (0, 0);
            for stack in 0..self.stacks {
                let samples = random.poisson(per_series / f64::from(stack + 1) / weights);
                if samples > 0 {
                    let value = samples * PERIOD;
                    total = (total.0 + value, total.1 + samples);
                    let node = self.leaf(stack);
                    part.rows.push(PartRow { series, window_ms, window_len_ms: level.window_ms, node, value, samples });
                }
            }
            let (value, samples) = total;
            part.totals.push(PartTotal { series, window_ms, window_len_ms: level.window_ms, value, samples });
        }
        for i in 0..self.instances {
            let series = self.series(i, Some(i));
            part.windows.push(PartWindow {
                window_ms,
                window_len_ms: level.window_ms,
                from_ms: window_ms,
                until_ms: window_ms + u64::from(level.window_ms),
                windows,
                instance: series.instance,
                labels: series.labels,
                types: vec![cpu()].into(),
            });
        }
    }
}

fn cpu() -> ProfileType {
    ProfileType { name: "cpu".into(), unit: "nanoseconds".into(), kind: Kind::Counter, period: PERIOD }
}

/// SplitMix64: equal seeds make equal stores.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, never 0.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Below `limit`, mostly small ones.
    fn skewed(&mut self, limit: u32) -> u32 {
        ((f64::from(limit).powf(self.unit()) - 1.0) as u32).min(limit.saturating_sub(1))
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            let normal = (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos();
            return (mean + normal * mean.sqrt()).round().max(0.0) as u64;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}
