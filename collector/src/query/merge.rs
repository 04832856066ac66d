//! The merge: a union of prefix trees by content, with exact sums. Associative and commutative: any partition and order of the
//! windows gives the same answer, to the byte.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tephra_proto::ids::{BuildId, TraceId};

use super::label_sets::LabelSets;
use super::slices::Slices;
use super::sums::Sums;
use super::{QueryError, QueryLimits};
use crate::base::labels::Matcher;
use crate::base::range::TimeRange;
use crate::profile::decode::{Series, SeriesRow, Window};
use crate::profile::model::{Cost, Frame, Kind, Merged, Module, ProfileType, Row};
use crate::profile::stats;
use crate::profile::union::{Moved, Union};
use crate::store::columnar::Dictionary;

/// What a merged profile says about its windows, besides their stacks.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) windows: u64,
    pub(super) instances: BTreeSet<String>,
    pub(super) labels: BTreeSet<(String, String)>,
}

/// What the sums of a stack are told apart by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Time, …
    pub(super) slices: &'a Slices,
    /// … or the labels of samples, where given.
    pub(super) sets: Option<&'a LabelSets>,
}

impl<'a> Parts<'a> {
    /// Time.
    pub(super) fn of_time(slices: &'a Slices) -> Self {
        Self { slices, sets: None }
    }
}

/// Sums windows of one type. For gauges everything is weighted by the milliseconds of the window.
#[derive(Debug)]
pub(super) struct Merger {
    profile_type: ProfileType,
    nodes_max: usize,
    rows_max: usize,
    module_names: FxHashMap<BuildId, Arc<str>>,
    stacks: Union,
    sums: Sums,
}

impl Merger {
    pub(super) fn new(profile_type: ProfileType, limits: &QueryLimits) -> Self {
        Self {
            profile_type,
            nodes_max: limits.nodes_max,
            rows_max: limits.rows_max,
            module_names: FxHashMap::default(),
            stacks: Union::default(),
            sums: Sums::default(),
        }
    }

    /// Adds a window's series of this type that have the labels, each to its part; only rows of one trace where given.
    pub(super) fn add_parts(
        &mut self,
        window: &Window,
        parts: Parts<'_>,
        labels: &Matcher<'_>,
        trace: Option<TraceId>,
    ) -> Result<(), QueryError> {
        let Some(replicate) = parts.slices.replicate(window.header.start_ms) else { return Ok(()) };
        let part = |series: &Series| match parts.sets {
            Some(sets) => sets.number(window.header.labels.iter().chain(series.labels.iter())),
            None => Ok(replicate),
        };
        self.add_by(window, part, labels, trace)
    }

    /// The same for a window that is one part.
    pub(super) fn add(
        &mut self,
        window: &Window,
        replicate: u16,
        labels: &Matcher<'_>,
        trace: Option<TraceId>,
    ) -> Result<(), QueryError> {
        self.add_by(window, |_| Ok(replicate), labels, trace)
    }

    fn add_by(
        &mut self,
        window: &Window,
        part: impl Fn(&Series) -> Result<u16, QueryError>,
        labels: &Matcher<'_>,
        trace: Option<TraceId>,
    ) -> Result<(), QueryError> {
        let wanted = |series: &&Series| {
            series.profile_type.measures_as(&self.profile_type)
                && labels.matches(|name| series.label(&window.header, name))
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
        for series in wanted {
            let part = part(series)?;
            for row in &series.rows {
                if let Some(wanted) = trace {
                    let link = row.link.and_then(|link| window.links.get(link as usize));
                    if link.is_none_or(|link| link.trace_id != wanted) {
                        continue;
                    }
                }
                let node = self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved);
                self.sums.add(node, part, u128::from(row.value) * weight, u128::from(row.samples) * weight);
            }
        }
        self.check_size()
    }

    /// Adds the rows of some series of a window to the replicates that `replicate` says; a counter's.
    pub(super) fn add_rows(
        &mut self,
        window: &Window,
        series: &Series,
        replicate: impl Fn(&SeriesRow) -> Option<u16>,
    ) -> Result<(), QueryError> {
        let mut moved = Moved::new(window.frames.len(), window.nodes.len());
        for row in &series.rows {
            if let Some(replicate) = replicate(row) {
                let node = self.stacks.node(&window.frames, &window.nodes, row.node, &mut moved);
                self.sums.add(node, replicate, u128::from(row.value), u128::from(row.samples));
            }
        }
        for module in &window.modules {
            self.name_module(module.build_id, &module.name);
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
            let node = self.stacks.node(&dictionary.frames, &dictionary.nodes, node, moved);
            self.sums.add(node, replicate, value, samples);
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
        let moved = self.stacks.absorb(other.stacks);
        self.sums.absorb(other.sums, &moved);
        self.check_size()
    }

    fn check_size(&mut self) -> Result<(), QueryError> {
        if self.stacks.len() > self.nodes_max {
            return Err(QueryError::TooLarge { what: "nodes", limit: self.nodes_max as u64 });
        }
        if self.sums.exceed(self.rows_max) {
            return Err(QueryError::TooLarge { what: "rows", limit: self.rows_max as u64 });
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

    /// The answer, in canonical order.
    pub(super) fn finish(self, range: TimeRange, parts: Parts<'_>, sources: Sources) -> Result<Merged, QueryError> {
        let slices = parts.slices;
        let overflow = || QueryError::Overflow { profile_type: self.profile_type.name.clone() };
        let divisor = match self.profile_type.kind {
            Kind::Counter => 1,
            Kind::Gauge => u128::from(slices.covered_ms().max(1)),
        };
        let replicate_seconds = slices.seconds();
        let order = self.stacks.into_order();
        let mut rows = Vec::new();
        let (mut total, mut samples_total) = (0u64, 0u64);
        self.sums.in_order(&order.place, |node, replicate, value, samples| {
            let rounded =
                |sum: u128, divisor: u128| u64::try_from((sum + divisor / 2) / divisor).map_err(|_| overflow());
            let seen = match self.profile_type.kind {
                Kind::Counter => 1,
                Kind::Gauge if parts.sets.is_some() => divisor,
                Kind::Gauge => covered_ms(&replicate_seconds, replicate),
            };
            let value = rounded(value, divisor)?;
            // A gauge that was seen at all has at least one sample behind it.
            let samples = rounded(samples, seen)?.max(u64::from(samples > 0));
            total = total.checked_add(value).ok_or_else(overflow)?;
            samples_total = samples_total.checked_add(samples).ok_or_else(overflow)?;
            if value > 0 || samples > 0 {
                rows.push(Row { node, replicate, value, samples });
            }
            if rows.len() > self.rows_max {
                return Err(QueryError::TooLarge { what: "rows", limit: self.rows_max as u64 });
            }
            Ok(())
        })?;
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
            received_from_ms: slices.received().from_ms,
            received_until_ms: slices.received().until_ms,
            modules: modules.collect(),
            frames: order.frames,
            nodes: order.nodes,
            rows,
            covered_seconds: stats::sum(replicate_seconds.iter().copied()),
            replicate_from_ms: slices.starts_ms(),
            replicate_seconds,
            windows: sources.windows,
            instances: sources.instances,
            labels: sources.labels,
            empty_because: None,
            partial: None,
            cost: Cost::default(),
        })
    }
}

/// Milliseconds that a replicate covers. One whose windows all overlap earlier ones has none of its own: it counts as the
/// average one.
fn covered_ms(replicate_seconds: &[f64], replicate: u16) -> u128 {
    let average = stats::sum(replicate_seconds.iter().copied()) / replicate_seconds.len().max(1) as f64;
    let seconds = replicate_seconds.get(usize::from(replicate)).copied().filter(|seconds| *seconds > 0.0);
    ((seconds.unwrap_or(average) * 1e3).round() as u128).max(1)
}

fn build_of(frame: &Frame) -> Option<BuildId> {
    match frame {
        Frame::Native { build_id, .. } => Some(*build_id),
        Frame::Symbolic { .. } | Frame::Truncated => None,
    }
}
