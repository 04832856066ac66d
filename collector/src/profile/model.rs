//! The vocabulary of the collector: types of profile, frames, and the exact sum of many windows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::{BuildId, SpanId, TraceId};

use super::durations::Durations;

/// What a series measures: one of the types pprof names, with its unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileType {
    /// `cpu`, `alloc_space`, `alloc_objects`, `inuse_space`, `inuse_objects`, …
    pub name: String,
    /// `nanoseconds`, `bytes`, `count`.
    pub unit: String,
    /// How values add up.
    pub kind: Kind,
    /// Mean distance between samples: nanoseconds of CPU, bytes of allocation. 0: unknown.
    pub period: u64,
}

impl ProfileType {
    /// True when values of the two may be added: the period may differ, since values are in units.
    pub fn measures_as(&self, other: &Self) -> bool {
        self.name == other.name && self.unit == other.unit && self.kind == other.kind
    }
}

/// The types that our own agents send: a service has room for them whatever else it sends.
pub const OWN_TYPES: [&str; 8] =
    ["cpu", "alloc_space", "alloc_objects", "inuse_space", "inuse_objects", "wall", "wait", "lock"];

/// How values of a type add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A sum over time and over instances.
    Counter,
    /// A mean over time, a sum over instances: in-use heap is not "more" because it was looked at more often.
    Gauge,
}

/// One mapped file of a profiled process. The build id names the code; the file name is for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Module {
    /// Which build of the file.
    pub build_id: BuildId,
    /// File name without its folder.
    pub name: Arc<str>,
}

/// One frame of a stack. Equal frames are the same code, in any process, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frame {
    /// Native code. For every frame but the leaf its address already points into the call instruction, so it is looked up as it stands.
    Native {
        /// Which build.
        build_id: BuildId,
        /// An [`Address`](super::address::Address), as it is stored.
        address: u64,
    },
    /// A frame that came symbolized.
    Symbolic {
        /// Function, as its language writes it.
        function: Arc<str>,
        /// Source file, or empty.
        file: Arc<str>,
        /// Line, or 0.
        line: u32,
        /// The compiler copied it into the function above it in the stack.
        inlined: bool,
    },
    /// Stands at the root of a stack that was cut before it reached the thread's root.
    Truncated,
}

/// A node of a prefix tree: a stack is named by its leaf node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Index of the parent node, which precedes this one; [`Node::ROOT`] for a thread's root.
    pub parent: u32,
    /// Index into the frames.
    pub frame: u32,
}

impl Node {
    /// The parent of roots: no node.
    pub const ROOT: u32 = u32::MAX;
}

/// The value of one stack in one replicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Leaf node.
    pub node: u32,
    /// Which slice of the time range, 0-based: the statistical replicates of a diff.
    pub replicate: u16,
    /// Sum in units of the type. For gauges: the mean over the replicate's windows times the replicate's share of the
    /// covered time, so that rows sum to the mean over the range.
    pub value: u64,
    /// How many samples are behind it. For gauges: how many there were at a time, on average over the replicate, so that the same
    /// live block counts once in each.
    pub samples: u64,
}

/// The exact sum of many windows of one profile type, by stack: what a query answers before names are looked up.
#[derive(Debug, Clone)]
pub struct Merged {
    /// What the values measure.
    pub profile_type: ProfileType,
    /// Start of the range that was asked for, unix milliseconds.
    pub from_ms: u64,
    /// Its end, exclusive.
    pub until_ms: u64,
    /// From the first to the last instant of it in which something was received; all of it where nothing was.
    pub received_from_ms: u64,
    /// Its end, exclusive.
    pub received_until_ms: u64,
    /// The modules that frames refer to, each once.
    pub modules: Vec<Module>,
    /// Distinct frames.
    pub frames: Vec<Frame>,
    /// The prefix tree, parents first.
    pub nodes: Vec<Node>,
    /// At most one per (node, replicate), sorted by both.
    pub rows: Vec<Row>,
    /// How much time each replicate covers, in seconds: at most [`REPLICATES_MAX`] entries, in time order.
    pub replicate_seconds: Vec<f64>,
    /// When each of them starts, unix milliseconds.
    pub replicate_from_ms: Vec<u64>,
    /// Wall-clock seconds for which at least one instance sent a window. The sum of `replicate_seconds`.
    pub covered_seconds: f64,
    /// How many windows were merged.
    pub windows: u64,
    /// Distinct instances that sent them.
    pub instances: BTreeSet<String>,
    /// Resource labels seen, as (name, value).
    pub labels: BTreeSet<(String, String)>,
    /// Why there is nothing, where `rows` is empty: a sentence for the user.
    pub empty_because: Option<String>,
    /// Which part of the range is in it, where the limits of a query did not allow all of it.
    pub partial: Option<Partial>,
    /// What it took to sum it.
    pub cost: Cost,
}

/// A sum whose rows are told apart by the labels of their samples instead of by time.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The sum. The `replicate` of a row is an index into `label_sets`.
    pub merged: Merged,
    /// Combinations of labels, as (name, value) by name.
    pub label_sets: Vec<Vec<(String, String)>>,
}

/// What a sum took: for whoever wonders where the time went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Finding out what to read.
    pub plan: Duration,
    /// Reading it and adding it up.
    pub scan: Duration,
    /// Putting the sum into its order.
    pub order: Duration,
    /// Rows of compacted segments that were read.
    pub rows: u64,
    /// Windows that were read as they had arrived.
    pub windows: u64,
}

/// What an answer is about, where it is not all of what was asked. Values, covered time and windows are those of this part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Which limit was hit, or that something is damaged.
    pub reason: PartialReason,
    /// Start of the part, unix milliseconds.
    pub from_ms: u64,
    /// Its end, exclusive: that of the range.
    pub until_ms: u64,
    /// Some of what was stored in the part is damaged and left out, whatever the reason above is.
    pub is_damaged: bool,
}

impl Partial {
    /// True when the answer is about less than the range. One that is only damaged is about all of it.
    pub fn is_cut(&self) -> bool {
        self.reason != PartialReason::Damaged
    }
}

/// Why an answer is not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialReason {
    /// Its time was up.
    Time,
    /// It would have read too many windows.
    Windows,
    /// Its answer outgrew its memory.
    Size,
    /// No limit was hit: something is damaged.
    Damaged,
}

impl PartialReason {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Windows => "windows",
            Self::Size => "size",
            Self::Damaged => "damaged",
        }
    }

    /// As people say it: "the query …".
    pub fn words(self) -> &'static str {
        match self {
            Self::Time => "ran out of its time",
            Self::Windows => "would have read too many windows",
            Self::Size => "outgrew its memory",
            Self::Damaged => "left out what is damaged",
        }
    }
}

/// Windows are grouped into at most this many replicates: enough for a t-test's degrees of freedom, few enough that
/// replicates × nodes stays small.
pub const REPLICATES_MAX: usize = 64;

impl Merged {
    /// Sum of all values, in units of the type.
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|row| row.value).sum()
    }

    /// How many samples are behind the total; for gauges on average over the range.
    pub fn samples(&self) -> u64 {
        let sum: u64 = self.rows.iter().map(|row| row.samples).sum();
        match self.profile_type.kind {
            Kind::Counter => sum,
            Kind::Gauge => sum.div_ceil(self.replicate_seconds.len().max(1) as u64),
        }
    }
}

/// A W3C trace context a sample was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    /// Which trace.
    pub trace_id: TraceId,
    /// Which span of it, where known.
    pub span_id: Option<SpanId>,
}

/// A request as its service saw it: an entry span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSummary {
    /// Trace and span.
    pub link: Link,
    /// Such as `GET /checkout`.
    pub route: Arc<str>,
    /// Unix milliseconds.
    pub start_ms: u64,
    /// Microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub status: SpanStatus,
    /// How many spans of its route this one stands for (≥ 1); 0: none, it only completes its trace.
    pub weight: f32,
}

/// All requests of a route that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDurations {
    /// Such as `GET /checkout`.
    pub route: Arc<str>,
    /// How they ended.
    pub status: SpanStatus,
    /// How long they took.
    pub durations: Durations,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanStatus {
    /// Not said.
    Unset,
    /// Well.
    Ok,
    /// With an error.
    Error,
}
