//! One service's share of a segment, in memory.

use super::tables::{PartRequests, PartRow, PartSeries, PartSpan, PartTotal, PartTrace, PartWindow};
use crate::profile::model::{Frame, Module, Node};

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
    /// Requests, by window, instance, labels, route and status.
    pub(crate) requests: Vec<PartRequests>,
}
