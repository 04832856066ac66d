//! One service's share of a segment, in memory.

use std::sync::Arc;

use crate::base::labels::Labels;
use crate::profile::model::{Frame, Link, Module, Node, ProfileType, SpanSummary};

/// One service's samples and all that they refer to. Indices are local to the part.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Part {
    /// The service.
    pub(crate) service: String,
    /// Mapped files that native frames lie in.
    pub(crate) modules: Vec<Module>,
    /// Distinct frames.
    pub(crate) frames: Vec<Frame>,
    /// Prefix tree over frames, parents first.
    pub(crate) nodes: Vec<Node>,
    /// Distinct combinations of type, instance and labels.
    pub(crate) series: Vec<PartSeries>,
    /// Values, sorted by (type of the series, window, series, node).
    pub(crate) rows: Vec<PartRow>,
    /// Sums of the rows by (series, window).
    pub(crate) totals: Vec<PartTotal>,
    /// What was received: coverage and instances, also where nothing was sampled.
    pub(crate) windows: Vec<PartWindow>,
    /// Samples that carry a trace, sorted by trace id.
    pub(crate) traces: Vec<PartTrace>,
    /// Entry spans, sorted by trace id.
    pub(crate) spans: Vec<PartSpan>,
}

/// What rows have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PartSeries {
    /// What is measured.
    pub(crate) profile_type: ProfileType,
    /// Which process; empty once instances are folded.
    pub(crate) instance: Arc<str>,
    /// Resource labels, sorted by name.
    pub(crate) labels: Labels,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartRow {
    /// Index into the series.
    pub(crate) series: u32,
    /// Start of the window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Leaf node.
    pub(crate) node: u32,
    /// In units of the type. Gauges: value × milliseconds, so that coarser windows are exact sums and a mean is one
    /// division away.
    pub(crate) value: u64,
    /// Samples behind it. Gauges: × milliseconds too.
    pub(crate) samples: u64,
}

/// The sum of a series in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartTotal {
    /// Index into the series.
    pub(crate) series: u32,
    /// Start of the window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// As in [`PartRow::value`].
    pub(crate) value: u64,
    /// As in [`PartRow::samples`].
    pub(crate) samples: u64,
}

/// An unbroken stretch of time in which one instance sent its windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartWindow {
    /// Start of the window they were added up to, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Its length in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Start of the stretch, unix milliseconds.
    pub(crate) from_ms: u64,
    /// Its end, exclusive.
    pub(crate) until_ms: u64,
    /// Windows received.
    pub(crate) windows: u32,
    /// Which process: kept at every level.
    pub(crate) instance: Arc<str>,
    /// Resource labels, sorted by name.
    pub(crate) labels: Labels,
    /// The types they carried, by name; with the series' fields, so that a type which changed its unit is told apart.
    pub(crate) types: Arc<[ProfileType]>,
}

/// A sample with its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartTrace {
    /// Trace and span.
    pub(crate) link: Link,
    /// When the first sample was taken, unix milliseconds.
    pub(crate) time_ms: u64,
    /// Start of its window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Index into the series.
    pub(crate) series: u32,
    /// Leaf node.
    pub(crate) node: u32,
    /// In units of the type, gauges too.
    pub(crate) value: u64,
    /// Samples behind it.
    pub(crate) samples: u64,
}

/// An entry span, and who sent it in which window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PartSpan {
    /// The span.
    pub(crate) span: SpanSummary,
    /// Start of its window, unix milliseconds.
    pub(crate) window_ms: u64,
    /// Length of the window in milliseconds.
    pub(crate) window_len_ms: u32,
    /// Which process.
    pub(crate) instance: Arc<str>,
    /// Resource labels, sorted by name.
    pub(crate) labels: Labels,
}
