//! The agent's settings, checked, and what they may be.

use tephra_proto::ids::{InstanceName, ServiceName};

use crate::export::Destination;

pub(crate) const CPU_HZ_MAX: u32 = 1_000;
/// Each sampled block is aligned to a page; sampling more often would cost more memory than it tells.
pub(crate) const HEAP_MEAN_BYTES_MIN: u64 = 64 << 10;
pub(crate) const HEAP_MEAN_BYTES_MAX: u64 = 1 << 30;
/// Whoever measures wants all of them; more would fill rings.
pub(crate) const WAITS_PER_SECOND_MAX: u32 = 100_000;
pub(crate) const MEMORY_BYTES_MIN: usize = 4 << 20;
/// A window must stay below what a collector takes.
pub(crate) const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Settings that were checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) service: ServiceName,
    pub(crate) instance: InstanceName,
    pub(crate) destination: Destination,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) cpu_hz: u32,
    pub(crate) heap_mean_bytes: u64,
    pub(crate) stack_depth: usize,
    /// 0: waits are not sampled.
    pub(crate) waits_per_second: u32,
    /// Budget of the window that is being filled.
    pub(crate) window_bytes: usize,
    /// Budget of the windows that wait.
    pub(crate) queue_bytes: usize,
    /// Budget of copied unwind tables.
    pub(crate) tables_bytes: usize,
    pub(crate) window_ms: u32,
}
