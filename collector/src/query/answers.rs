//! What queries answer, besides [`Merged`].

use std::collections::{BTreeMap, BTreeSet};

use tephra_proto::ids::{SpanId, TraceId};

use crate::profile::model::{Merged, Partial, ProfileType, SpanSummary};

/// Values over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// What the values measure.
    pub profile_type: ProfileType,
    /// Distance between points, milliseconds.
    pub step_ms: u64,
    /// One per value of the label it is split by; exactly one otherwise. Largest first, the rest last.
    pub series: Vec<TimelineSeries>,
    /// Which part of the range is in it, where the limits did not allow all of it.
    pub partial: Option<Partial>,
}

impl Timeline {
    /// False when nothing was received anywhere.
    pub fn holds_data(&self) -> bool {
        self.series.iter().flat_map(|series| &series.points).any(|(_, value)| value.is_some())
    }
}

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineSeries {
    /// The label's value; empty where the timeline is not split, or the label is not set.
    pub label: String,
    /// True for the sum of everything beyond the largest series.
    pub rest: bool,
    /// (start of the step in unix ms, value). Counters: units per second of covered time (CPU: nanoseconds per second, so 1e9 is one
    /// core). Gauges: the mean. `None` where nothing was received.
    pub points: Vec<(u64, Option<f64>)>,
}

/// One service, at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceOverview {
    /// As windows carry it.
    pub name: String,
    /// Distinct instances seen in the range.
    pub instances: u64,
    /// Names of the profile types it ever sent, sorted.
    pub types: Vec<String>,
    /// Start of its first window ever, unix milliseconds.
    pub first_seen_ms: u64,
    /// Start of its latest window, unix milliseconds; it may lie after the range.
    pub last_seen_ms: u64,
    /// Mean CPU over the covered time of the range, in cores.
    pub cpu_cores: f64,
    /// CPU in cores over [`SPARK_POINTS`] equal parts of the range; `None` where nothing was received.
    pub spark: Vec<Option<f64>>,
    /// Resource labels seen in the range (without `instance`).
    pub labels: BTreeMap<String, BTreeSet<String>>,
}

/// Points of a service's spark line.
pub const SPARK_POINTS: usize = 60;

/// What one trace did, across services.
#[derive(Debug, Clone)]
pub struct TraceView {
    /// As it was asked for.
    pub trace_id: TraceId,
    /// Start of the first window that holds something of it, unix milliseconds.
    pub from_ms: u64,
    /// End of the last one, unix milliseconds.
    pub until_ms: u64,
    /// By service name.
    pub services: Vec<TraceService>,
    /// The trace is in more windows than are read: this is about the newest of them.
    pub partial: Option<Partial>,
}

/// What one trace did in one service.
#[derive(Debug, Clone)]
pub struct TraceService {
    /// The service's name.
    pub service: String,
    /// Entry spans, by start.
    pub spans: Vec<SpanSummary>,
    /// One merged profile per type.
    pub types: Vec<Merged>,
    /// The rows themselves, by time; at most [`TRACE_SAMPLES_MAX`].
    pub samples: Vec<TraceSample>,
    /// How many more rows there are, later ones; profiles have them all.
    pub samples_left_out: usize,
}

/// Rows of one trace and service in an answer.
pub const TRACE_SAMPLES_MAX: usize = 20_000;

/// One row that carries the trace's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSample {
    /// When its first sample was taken, unix milliseconds (start of the window where not recorded).
    pub at_ms: u64,
    /// The innermost span it was taken in; `None` where the agent knew the trace only.
    pub span_id: Option<SpanId>,
    /// Name of the profile type.
    pub profile_type: String,
    /// In units of its type: nanoseconds of CPU time, bytes allocated.
    pub value: u64,
}
