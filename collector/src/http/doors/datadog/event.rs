//! `event.json`: whose profiles an upload holds, and when they were taken.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::clock::now_ms;
use crate::base::times::parse_time;
use crate::http::doors::received::Origin;
use crate::http::error::ApiError;

/// Of the whole of it.
pub(super) const BYTES_MAX: usize = 256 << 10;

/// Labels of one upload.
const TAGS_MAX: usize = 256;

/// Tags that say nothing of what people filter by: they differ from process to process, or are the same everywhere.
const PASSED_OVER: [&str; 6] =
    ["process_id", "profiler_version", "profile_seq", "runtime-id", "format", "_dd.profiler.version"];

/// As libraries write it. What else they say in it is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Written {
    start: String,
    end: String,
    /// `name:value,name:value`.
    tags_profiler: String,
    family: String,
}

/// What is said of all profiles of an upload.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) origin: Origin,
    /// Unix milliseconds, and milliseconds.
    pub(super) at_ms: Option<u64>,
    pub(super) duration_ms: Option<u64>,
}

impl Event {
    /// # Errors
    /// When it is no such JSON, or names no service.
    pub(super) fn read(text: &[u8]) -> Result<Self, ApiError> {
        let written: Written = serde_json::from_slice(text).map_err(|error| {
            ApiError::invalid(
                format!("event.json is not understood: {error}"),
                "send it as dd-trace libraries do (version 4)",
            )
        })?;
        let time = |text: &str| parse_time(text, now_ms()).ok().filter(|_| !text.is_empty());
        let (start, end) = (time(&written.start), time(&written.end));
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        for tag in written.tags_profiler.split(',').filter(|tag| !tag.trim().is_empty()).take(TAGS_MAX) {
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            tags.entry(name.trim()).or_insert(value.trim());
        }
        // As other doors call them.
        let service = tags.remove("service").unwrap_or("unnamed_service");
        let instance = tags.get("runtime-id").or(tags.get("host")).copied().unwrap_or_default();
        let known = tags.iter().filter(|(name, _)| !PASSED_OVER.contains(name)).map(|(name, value)| (*name, *value));
        let labels = known.chain([("service_name", service), ("service_instance_id", instance)]);
        let sender: String = format!("datadog {}", written.family);
        Ok(Self {
            origin: Origin::of(labels, None, sender.trim())?,
            at_ms: start,
            duration_ms: end.zip(start).map(|(end, start)| end.saturating_sub(start)).filter(|ms| *ms > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_profiles_they_are_stands_in_the_tags() {
        let text = br#"{"attachments":["cpu.pprof"],"start":"2026-03-01T14:00:00Z","end":"2026-03-01T14:01:00.5Z","family":"go","version":"4",
            "tags_profiler":"service:shop,env:prod,version:v2,host:h-1,runtime-id:abc,process_id:7,empty:,odd"}"#;
        let Event { origin, at_ms, duration_ms } = Event::read(text).unwrap();
        assert_eq!(
            (origin.service.as_str(), origin.instance.as_str(), origin.sender.as_str()),
            ("shop", "abc", "datadog go")
        );
        assert_eq!((at_ms, duration_ms), (Some(1_772_373_600_000), Some(60_500)));
        let labels: Vec<String> = origin.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        assert_eq!(labels, ["env=prod", "host=h-1", "version=v2"]);
        assert_eq!(Event::read(b"{}").unwrap().origin.service.as_str(), "unnamed_service");
        for bad in [&b""[..], b"7", b"{\"tags_profiler\":5}", b"\xff"] {
            assert!(Event::read(bad).is_err());
        }
    }
}
