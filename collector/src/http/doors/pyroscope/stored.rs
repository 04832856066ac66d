//! One pprof profile that came in Pyroscope's way, as windows.

use super::types;
use crate::http::doors::received::{Origin, Windows, is_of_a_moment};
use crate::http::error::ApiError;
use crate::profile::pprof::Imported;
use crate::profile::span::Said;

/// What a request says of all its profiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// When they were taken and for how long, if it says so; unix milliseconds and milliseconds.
    pub(super) at_ms: Option<u64>,
    pub(super) duration_ms: Option<u64>,
    pub(super) now_ms: u64,
    pub(super) retention_ms: u64,
}

/// The windows of a profile whose kind is called `name` there.
pub(super) fn windows(imported: Imported, name: &str, origin: &Origin, told: Told) -> Result<Windows, ApiError> {
    let Imported { mut payload, time_nanos, duration_nanos, .. } = imported;
    types::name_types(&mut payload, name);
    let Told { at_ms, duration_ms, now_ms, retention_ms } = told;
    // The profile knows best: what a request says is when its sender began to collect.
    let said = Said {
        at_ms: at_ms.filter(|_| time_nanos == 0),
        duration_ms: duration_ms.filter(|_| duration_nanos == 0),
        own_start_ns: time_nanos,
        own_duration_ns: duration_nanos,
        is_of_a_moment: is_of_a_moment(&payload),
    };
    Ok(origin.windows(payload, said, now_ms, retention_ms)?.0.collect())
}
