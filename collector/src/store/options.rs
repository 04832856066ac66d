//! How a store is kept.

use std::time::Duration;

use super::kept::Quotas;
use super::start::Unknown;

/// How a store is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long data is kept: the coarsest windows, and all others at most.
    pub retention: Duration,
    /// How long finer windows and traces are kept.
    pub keep: Keep,
    /// Memory for footers and windows that were read lately, bytes.
    pub cache_bytes: usize,
    /// Ingest stops while the disk has less room than this, bytes: reads, the catalog and the retention that makes room again need some.
    pub free_bytes_min: u64,
    /// How long the first window of a batch waits for others before all are written and acked: each batch costs an fsync or three,
    /// or a request that somebody pays for.
    pub batch_time: Duration,
    /// Memory that compaction may take, bytes.
    pub compaction_bytes: usize,
    /// What to do about segments in the folder that the catalog cannot explain.
    pub unknown: Unknown,
    /// How much people may keep beside profiles.
    pub quotas: Quotas,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long what is finer than an hour is kept. Older ranges are answered by coarser windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Windows as they arrived, mostly of 10 s.
    pub windows: Duration,
    /// Windows of a minute.
    pub minutes: Duration,
    /// Windows of ten minutes; from here on instances are added up.
    pub ten_minutes: Duration,
    /// Traces and spans.
    pub traces: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { windows: 7 * DAY, minutes: 14 * DAY, ten_minutes: 30 * DAY, traces: 3 * DAY }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            retention: 90 * DAY,
            keep: Keep::default(),
            cache_bytes: 128 << 20,
            free_bytes_min: 256 << 20,
            batch_time: Duration::from_millis(250),
            compaction_bytes: 512 << 20,
            unknown: Unknown::default(),
            quotas: Quotas::default(),
        }
    }
}
