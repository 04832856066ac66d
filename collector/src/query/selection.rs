//! What a query asks for, and why it may be refused.

use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::{ServiceName, TraceId};

use crate::base::range::TimeRange;
use crate::profile::model::PartialReason;
use crate::store::StoreError;

/// Which samples to merge: those of one type in windows of one service that start in the range.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Selection {
    /// The service.
    pub service: ServiceName,
    /// `cpu`, `alloc_space`, …
    pub profile_type: String,
    /// Start, unix milliseconds, inclusive.
    pub from_ms: u64,
    /// End, unix milliseconds, exclusive.
    pub until_ms: u64,
    /// Resource labels that must all be equal; the name `instance` selects by instance. Several values of one name: any.
    pub labels: Vec<(String, String)>,
    /// Only samples taken in this trace.
    pub trace: Option<TraceId>,
}

impl Selection {
    /// Everything that a service ever sent of one type.
    #[cfg(test)]
    pub(crate) fn everything(service: &str, profile_type: &str) -> Self {
        Self {
            service: ServiceName::parse(service).expect("a service name"),
            profile_type: profile_type.to_owned(),
            from_ms: TimeRange::ALL.from_ms,
            until_ms: TimeRange::ALL.until_ms,
            labels: Vec::new(),
            trace: None,
        }
    }

    /// Asks the same of another range.
    #[must_use]
    pub fn within(&self, range: TimeRange) -> Self {
        Self { from_ms: range.from_ms, until_ms: range.until_ms, ..self.clone() }
    }

    /// The range as one value.
    pub fn range(&self) -> TimeRange {
        TimeRange { from_ms: self.from_ms, until_ms: self.until_ms }
    }
}

/// How much work one query may do.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Time, from the question to the answer.
    pub timeout: Duration,
    /// Windows to decode: 200 000 is 5 h 30 min of 100 instances.
    pub windows_max: u64,
    /// Nodes of the merged tree.
    pub nodes_max: usize,
    /// Rows of the merged profile: nodes that hold a value, per replicate.
    pub rows_max: usize,
    /// Span summaries in one answer.
    pub spans_max: usize,
    /// Threads that decode at the same time.
    pub threads: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8);
        Self {
            timeout: Duration::from_secs(30),
            windows_max: 200_000,
            nodes_max: 4 << 20,
            rows_max: 8 << 20,
            spans_max: 500_000,
            threads,
        }
    }
}

/// Why a query has no answer. Cheap to clone: several may wait for the same one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// Nothing was ever received from it.
    #[error("no data was ever received from service {service:?}")]
    UnknownService {
        /// The name that was asked for.
        service: String,
    },
    /// The service never sent this type.
    #[error("service {service:?} has no profile type {profile_type:?}; it has: {}", known.join(", "))]
    UnknownType {
        /// The service, which is known.
        service: String,
        /// The type that was asked for.
        profile_type: String,
        /// Names of the types that it does send, sorted.
        known: Vec<String>,
    },
    /// The range is empty or ends before it starts.
    #[error("the range from {from_ms} until {until_ms} is empty")]
    EmptyRange {
        /// Start as it was asked for, unix milliseconds.
        from_ms: u64,
        /// End as it was asked for, unix milliseconds.
        until_ms: u64,
    },
    /// More windows than one query may read.
    #[error("the selection holds {found} windows, limit {limit}: choose a shorter range or add a label")]
    TooManyWindows {
        /// How many windows the selection holds.
        found: u64,
        /// The most one query reads.
        limit: u64,
    },
    /// The merged profile outgrew its memory.
    #[error("the merged profile has more than {limit} {what}: choose a shorter range or add a label")]
    TooLarge {
        /// Nodes, rows or spans.
        what: &'static str,
        /// The most one query keeps.
        limit: u64,
    },
    /// A sum left the range of 64 bits: some agent sent absurd values.
    #[error("a sum of {profile_type:?} exceeds 64 bits: some agent sent absurd values")]
    Overflow {
        /// The type whose values they are.
        profile_type: String,
    },
    /// The step of a timeline is zero or gives too many points.
    #[error("a step of {step_ms} ms gives {points} points, limit {limit}")]
    BadStep {
        /// The step that was asked for, milliseconds.
        step_ms: u64,
        /// How many points there would be.
        points: u64,
        /// The most one timeline has.
        limit: u64,
    },
    /// Whoever asked is gone.
    #[error("the query was cancelled")]
    Cancelled,
    /// The time is up.
    #[error("the query ran out of its time")]
    OutOfTime,
    /// The store failed.
    #[error(transparent)]
    Store(Arc<StoreError>),
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl QueryError {
    /// True where there was too much to look at, or too little time for it.
    pub fn is_of_limit(&self) -> bool {
        self.limit().is_some()
    }

    /// The limit that was hit, where a shorter range would not have hit it.
    pub(super) fn limit(&self) -> Option<PartialReason> {
        match self {
            Self::TooManyWindows { .. } => Some(PartialReason::Windows),
            Self::TooLarge { .. } => Some(PartialReason::Size),
            Self::OutOfTime => Some(PartialReason::Time),
            _ => None,
        }
    }

    /// Which share of the range fits, where the error knows; a little less, because windows are not spread evenly.
    pub(super) fn fitting_share(&self) -> Option<f64> {
        match self {
            Self::TooManyWindows { found, limit } => Some(0.9 * *limit as f64 / (*found).max(1) as f64),
            _ => None,
        }
    }
}
