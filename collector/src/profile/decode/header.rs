//! The cheap half of admission: what can be refused from the header alone.

use tephra_proto::ids::{InstanceName, ServiceName};
use tephra_proto::label::{check_name, check_value};
use tephra_proto::limits::{
    RESOURCE_LABELS_MAX, WINDOW_AHEAD_MS_MAX, WINDOW_LATE_MS_MAX, WINDOW_MS_MAX, WINDOW_MS_MIN,
};
use tephra_proto::v1::{DropReason, PushHeader};

use super::rejection::Rejection;
use crate::base::labels::{INSTANCE, Labels};

/// Names a window for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId {
    /// The agent instance.
    pub agent_id: [u8; 16],
    /// When that instance started, unix nanoseconds.
    pub boot_id: u64,
    /// 1, 2, 3, …
    pub sequence: u64,
}

/// A header whose every field was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Which window.
    pub id: WindowId,
    /// Whose.
    pub service: ServiceName,
    /// Which process of it.
    pub instance: InstanceName,
    /// Resource labels, by name.
    pub labels: Labels,
    /// Unix milliseconds.
    pub start_ms: u64,
    /// Milliseconds.
    pub duration_ms: u32,
    /// Samples taken, dropped ones included.
    pub sampled: u64,
    /// Samples lost, by reason.
    pub drops: Vec<(DropReason, u64)>,
    /// CPU time of the whole process in the window, nanoseconds.
    pub process_cpu_ns: u64,
    /// Version of the agent library.
    pub agent_version: String,
}

impl Header {
    /// The value of a label; the instance is one of them.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get_of(self.instance.as_str(), name)
    }

    /// End of the window, exclusive, unix milliseconds.
    pub fn end_ms(&self) -> u64 {
        self.start_ms + u64::from(self.duration_ms)
    }
}

/// How late a window may be.
#[derive(Debug, Clone, Copy)]
pub enum Lateness {
    /// As agents are told: see [`WINDOW_LATE_MS_MAX`].
    Live {
        /// The collector's clock, unix milliseconds.
        now_ms: u64,
    },
    /// Imports may be as old as what is kept.
    Import {
        /// The collector's clock, unix milliseconds.
        now_ms: u64,
        /// How long data is kept, milliseconds.
        retention_ms: u64,
    },
    /// What is in the store was checked when it came in.
    Stored,
}

/// Checks a header that just arrived from an agent: names, ids and the window's place in time.
///
/// # Errors
/// Names the field, its value and the limit.
pub fn check_header(header: &PushHeader, now_ms: u64) -> Result<Header, Rejection> {
    check(header, Lateness::Live { now_ms })
}

/// Checks a header against the lateness its path allows.
///
/// # Errors
/// Names the field, its value and the limit.
pub fn check(header: &PushHeader, lateness: Lateness) -> Result<Header, Rejection> {
    let id = check_id(header)?;
    let service = ServiceName::parse(&header.service)?;
    let instance = InstanceName::parse(&header.instance)?;
    let labels = check_labels(header)?;
    check_time(header, lateness)?;
    if header.drops.len() > DROP_REASONS_MAX {
        return Err(Rejection::TooMany { what: "drop counts", count: header.drops.len(), limit: DROP_REASONS_MAX });
    }
    for (what, value) in [("sampled", header.sampled), ("process_cpu_ns", header.process_cpu_ns)] {
        if value > COUNT_MAX {
            return Err(Rejection::OutOfRange { what, value, allowed: "at most 2^53" });
        }
    }
    let mut drops = Vec::with_capacity(header.drops.len());
    for drop in &header.drops {
        if drop.samples > COUNT_MAX {
            return Err(Rejection::OutOfRange { what: "drop count", value: drop.samples, allowed: "at most 2^53" });
        }
        // A reason of a later release still counts as a loss.
        drops.push((DropReason::try_from(drop.reason).unwrap_or(DropReason::Unspecified), drop.samples));
    }
    Ok(Header {
        id,
        service,
        instance,
        labels,
        start_ms: header.window_start_unix_ms,
        duration_ms: header.window_duration_ms,
        sampled: header.sampled,
        drops,
        process_cpu_ns: header.process_cpu_ns,
        agent_version: header.agent_version.chars().filter(|c| c.is_ascii_graphic()).take(64).collect(),
    })
}

/// Counters of one window stay below 2^53, so that they are exact in JSON and their sums over many windows fit 64 bits.
pub(crate) const COUNT_MAX: u64 = 1 << 53;

/// More than any release will name.
const DROP_REASONS_MAX: usize = 32;

fn check_id(header: &PushHeader) -> Result<WindowId, Rejection> {
    let bytes = header.agent_id.len();
    let agent_id = header.agent_id.as_slice().try_into();
    let agent_id = agent_id.map_err(|_| Rejection::BadId { what: "agent id", bytes, expected: "16" })?;
    // The catalog's integers are signed.
    const ALLOWED: &str = "1 to 2^63 - 1";
    for (what, value) in [("boot id", header.boot_id), ("sequence", header.sequence)] {
        if value == 0 || value > i64::MAX as u64 {
            return Err(Rejection::OutOfRange { what, value, allowed: ALLOWED });
        }
    }
    Ok(WindowId { agent_id, boot_id: header.boot_id, sequence: header.sequence })
}

fn check_labels(header: &PushHeader) -> Result<Labels, Rejection> {
    let count = header.labels.len();
    if count > RESOURCE_LABELS_MAX {
        return Err(Rejection::TooMany { what: "labels", count, limit: RESOURCE_LABELS_MAX });
    }
    for label in &header.labels {
        check_name(&label.name)?;
        check_value(&label.value)?;
        if label.name == INSTANCE || label.name == "service" {
            return Err(Rejection::BadLabel { name: label.name.clone(), problem: "has a field of its own" });
        }
    }
    let labels: Labels = header.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
    match labels.repeated() {
        Some(name) => Err(Rejection::BadLabel { name: name.to_owned(), problem: "is written twice" }),
        None => Ok(labels),
    }
}

fn check_time(header: &PushHeader, lateness: Lateness) -> Result<(), Rejection> {
    let (start, duration) = (header.window_start_unix_ms, header.window_duration_ms);
    // Other profilers may look for less than a second.
    let (shortest, allowed) = match lateness {
        Lateness::Live { .. } => (WINDOW_MS_MIN, "1000 to 3600000 (one second to one hour)"),
        Lateness::Import { .. } | Lateness::Stored => (1, "1 to 3600000 (one hour)"),
    };
    if !(shortest..=WINDOW_MS_MAX).contains(&duration) {
        return Err(Rejection::OutOfRange { what: "window duration in ms", value: duration.into(), allowed });
    }
    // Far enough from the end of 64 bits that adding durations never overflows.
    if start > 1 << 50 {
        return Err(Rejection::OutOfRange { what: "window start in unix ms", value: start, allowed: "at most 2^50" });
    }
    let (now_ms, limit_ms) = match lateness {
        Lateness::Live { now_ms } => (now_ms, WINDOW_LATE_MS_MAX),
        Lateness::Import { now_ms, retention_ms } => (now_ms, retention_ms),
        Lateness::Stored => return Ok(()),
    };
    if start < now_ms.saturating_sub(limit_ms) {
        return Err(Rejection::TooLate { late_ms: now_ms - start, limit_ms });
    }
    if start > now_ms + WINDOW_AHEAD_MS_MAX {
        return Err(Rejection::TooEarly { ahead_ms: start - now_ms, limit_ms: WINDOW_AHEAD_MS_MAX });
    }
    Ok(())
}
