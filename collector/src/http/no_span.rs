//! Why a profile has no place in time, and what to type.

use crate::base::times::{format_duration, format_utc};
use crate::http::error::ApiError;
use crate::profile::pieces::PROFILE_MS_MAX;
use crate::profile::span::NoSpan;

const DAY_MS: u64 = 86_400_000;

/// As the API says it.
pub(super) fn no_span(no_span: NoSpan, retention_ms: u64) -> ApiError {
    let kept = about(retention_ms);
    let (message, hint) = match no_span {
        NoSpan::TooOld { start_ms, as_told: false } => (
            format!("the profile was taken at {}, and what is older than {kept} is not kept", format_utc(start_ms)),
            "say when it is to count, such as at=now-5m (tephra import: --at now-5m)",
        ),
        NoSpan::TooOld { start_ms, as_told: true } => (
            format!("at is {}, and what is older than {kept} is not kept", format_utc(start_ms)),
            "give a later time, such as now-5m",
        ),
        NoSpan::Ahead { end_ms, as_told: false } => (
            format!("by what the profile says, it ends at {}, which is yet to come", format_utc(end_ms)),
            "say when it started, such as at=now-5m (tephra import: --at now-5m)",
        ),
        NoSpan::Ahead { end_ms, as_told: true } => (
            format!("a profile that started at this time ends at {}, which is yet to come", format_utc(end_ms)),
            "at is when it started, not when it ended",
        ),
        NoSpan::TooLong { duration_ms } => (
            format!("the profile took {}, limit {}", about(duration_ms), about(PROFILE_MS_MAX)),
            "say how long it really took, such as duration=5m (tephra import: --duration 5m), or take it over a shorter time",
        ),
    };
    ApiError::invalid(message, hint)
}

fn about(ms: u64) -> String {
    match ms / DAY_MS {
        0 => format_duration(ms),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    }
}
