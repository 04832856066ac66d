//! Why a window was refused: one enum that names the metric label, the gRPC answer and the test.

use tephra_proto::codec::CodecError;
use tephra_proto::label::NameError;

/// Why a window was refused. Refusing is final: the same window will be refused again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No header at all.
    #[error("the request has no header")]
    NoHeader,
    /// A service, instance or label outside its grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An id of another length.
    #[error("{what} has {bytes} bytes, it must have {expected}")]
    BadId {
        /// The field, such as `agent id`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The lengths that are allowed, in words.
        expected: &'static str,
    },
    /// A number outside its range.
    #[error("{what} is {value}, it must be {allowed}")]
    OutOfRange {
        /// The field, such as `sequence`.
        what: &'static str,
        /// What was sent.
        value: u64,
        /// The range that is allowed, in words.
        allowed: &'static str,
    },
    /// The window is older than the collector takes.
    #[error("the window starts {late_ms} ms ago, limit {limit_ms} ms: is the clock of this machine right?")]
    TooLate {
        /// Milliseconds from its start to now.
        late_ms: u64,
        /// The most milliseconds that are taken.
        limit_ms: u64,
    },
    /// The window lies in the future.
    #[error("the window starts {ahead_ms} ms in the future, limit {limit_ms} ms: is the clock of this machine right?")]
    TooEarly {
        /// Milliseconds from now to its start.
        ahead_ms: u64,
        /// The most milliseconds that are taken.
        limit_ms: u64,
    },
    /// A label that is written twice, or that belongs to the collector.
    #[error("label {name:?} {problem}")]
    BadLabel {
        /// The name of the label.
        name: String,
        /// What is wrong, as the end of the sentence.
        problem: &'static str,
    },
    /// More entries than the limit.
    #[error("the window has {count} {what}, limit {limit}")]
    TooMany {
        /// The table, in the plural.
        what: &'static str,
        /// Its entries, at least.
        count: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The compressed payload is larger than the limit.
    #[error("the payload has {bytes} bytes compressed, limit {limit}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// Its tables would take more memory than the collector has for all windows together.
    #[error(
        "the window takes {bytes} bytes of memory, limit {limit}: ship shorter windows, or give the collector more --ingest-memory"
    )]
    TooMuchMemory {
        /// Bytes that it takes while it is read.
        bytes: usize,
        /// The bytes of the ingest budget.
        limit: usize,
    },
    /// The payload is no zstd frame, or inflates to something else than announced.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The payload is no serialized `WindowPayload`.
    #[error("the payload is malformed: {problem}")]
    Malformed {
        /// What the decoder says.
        problem: String,
    },
    /// Sibling columns of different length.
    #[error("{what} has {found} entries, its table has {expected}")]
    Ragged {
        /// The column, such as `series values`.
        what: &'static str,
        /// Entries of the column.
        found: usize,
        /// Entries of the first column of its table.
        expected: usize,
    },
    /// An index that points past the end of its table.
    #[error("{what} {at} points to {index}, the table has {len}")]
    Dangling {
        /// The table whose entry points.
        what: &'static str,
        /// 0-based position in its table.
        at: usize,
        /// The index that was sent.
        index: u64,
        /// Length of the table it points into.
        len: usize,
    },
    /// A string longer than the limit.
    #[error("string {at} has {bytes} bytes, limit {limit}")]
    LongString {
        /// 0-based position in its table.
        at: usize,
        /// Its length in bytes.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A stack deeper than the limit.
    #[error("node {at} is {depth} frames deep, limit {limit}")]
    TooDeep {
        /// 0-based position of the node.
        at: usize,
        /// Frames from the root to the node.
        depth: usize,
        /// The deepest allowed.
        limit: usize,
    },
    /// A sum or product left its range.
    #[error("the values of {profile_type:?} add up to more than {limit}")]
    TooMuch {
        /// Name of the type of the series.
        profile_type: String,
        /// The largest sum of one window.
        limit: u64,
    },
    /// An address outside 64 bits.
    #[error("the address of frame {at} leaves the range of 64 bits")]
    BadAddress {
        /// 0-based position of the frame.
        at: usize,
    },
    /// A trace id of all zeros.
    #[error("trace id {at} is all zero")]
    ZeroTrace {
        /// 0-based position in its table.
        at: usize,
    },
    /// An unknown kind or status.
    #[error("{what} {at} is {value}, which means nothing")]
    UnknownEnum {
        /// The field that has it.
        what: &'static str,
        /// 0-based position in its table.
        at: usize,
        /// The number that was sent.
        value: i32,
    },
    /// A span's weight, start or duration makes no sense.
    #[error("span {at} has {what} {value}")]
    BadSpan {
        /// 0-based position of the span.
        at: usize,
        /// Which of its numbers.
        what: &'static str,
        /// What was sent, as text.
        value: String,
    },
    /// A histogram of requests that no requests have.
    #[error("the requests {at} have {what} {value}, which no durations have")]
    BadRequests {
        /// 0-based position in the table.
        at: usize,
        /// Which of their numbers.
        what: &'static str,
        /// What was sent.
        value: u64,
    },
    /// Two histograms of the same route and status.
    #[error("the requests {at} are a second histogram of {route:?}, ended alike")]
    RepeatedRoute {
        /// 0-based position in the table.
        at: usize,
        /// The route.
        route: String,
    },
    /// Two series of the same type.
    #[error("the window has two series of type {profile_type:?}")]
    RepeatedType {
        /// Name of the type.
        profile_type: String,
    },
    /// A sequence number so old that nobody can tell any more whether it was stored.
    #[error("sequence {sequence} is more than {window} behind the newest stored one, {newest}")]
    StaleSequence {
        /// The window's number.
        sequence: u64,
        /// The newest one of this agent.
        newest: u64,
        /// How far back is remembered.
        window: u64,
    },
}

impl Rejection {
    /// Every value of [`Rejection::reason`].
    pub const REASONS: [&'static str; 10] =
        ["header", "name", "time", "size", "count", "codec", "malformed", "index", "value", "stale"];

    /// The metric label: one of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoHeader | Self::BadId { .. } | Self::OutOfRange { .. } => "header",
            Self::Name(_) | Self::BadLabel { .. } => "name",
            Self::TooLate { .. } | Self::TooEarly { .. } => "time",
            Self::TooLarge { .. } | Self::TooMuchMemory { .. } | Self::LongString { .. } => "size",
            Self::TooMany { .. } | Self::TooDeep { .. } => "count",
            Self::Codec(_) => "codec",
            Self::Malformed { .. } | Self::Ragged { .. } | Self::RepeatedType { .. } | Self::RepeatedRoute { .. } => {
                "malformed"
            }
            Self::Dangling { .. } => "index",
            Self::TooMuch { .. }
            | Self::BadAddress { .. }
            | Self::ZeroTrace { .. }
            | Self::UnknownEnum { .. }
            | Self::BadSpan { .. }
            | Self::BadRequests { .. } => "value",
            Self::StaleSequence { .. } => "stale",
        }
    }

    pub(crate) fn malformed(problem: impl Into<String>) -> Self {
        Self::Malformed { problem: problem.into() }
    }
}
