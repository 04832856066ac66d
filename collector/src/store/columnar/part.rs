//! One service's share of a segment, in memory.

use crate::profile::model::{Frame, Link, Module, Node, ProfileType, SpanSummary};

/// One service's samples and all that they refer to. Indices are local to the part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// The service.
    pub service: String,
    /// Mapped files that native frames lie in.
    pub modules: Vec<Module>,
    /// Distinct frames.
    pub frames: Vec<Frame>,
    /// Prefix tree over frames, parents first.
    pub nodes: Vec<Node>,
    /// Distinct combinations of type, instance and labels.
    pub series: Vec<PartSeries>,
    /// Values, sorted by (type of the series, window, series, node).
    pub rows: Vec<PartRow>,
    /// Which windows were received: what coverage and instance counts come from, also where nothing was sampled.
    pub windows: Vec<PartWindow>,
    /// Samples that carry a trace, sorted by trace id.
    pub traces: Vec<PartTrace>,
    /// Entry spans, sorted by start.
    pub spans: Vec<SpanSummary>,
}

/// What rows have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PartSeries {
    /// What is measured.
    pub profile_type: ProfileType,
    /// Which process; empty once instances are folded.
    pub instance: String,
    /// Resource labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRow {
    /// Index into the series.
    pub series: u32,
    /// Start of the window, unix milliseconds.
    pub window_ms: u64,
    /// Length of the window in milliseconds.
    pub window_len_ms: u32,
    /// Leaf node.
    pub node: u32,
    /// In units of the type. Gauges: value × milliseconds, so that coarser windows are exact sums and a mean is one
    /// division away.
    pub value: u64,
    /// Samples behind it.
    pub samples: u64,
}

/// A window that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartWindow {
    /// Start, unix milliseconds.
    pub window_ms: u64,
    /// Length in milliseconds.
    pub window_len_ms: u32,
    /// Milliseconds of it that at least one instance covered.
    pub covered_ms: u32,
    /// Which process; empty once instances are folded.
    pub instance: String,
    /// How many instances it stands for.
    pub instances: u32,
    /// Resource labels, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// A sample with its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartTrace {
    /// Trace and span.
    pub link: Link,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Index into the series.
    pub series: u32,
    /// Leaf node.
    pub node: u32,
    /// In units of the type.
    pub value: u64,
}
