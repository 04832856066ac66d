//! Windows as they arrive, put into the words of the catalog: a row for their segment, spans of their services, updates of their agents.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tephra_proto::v1;

use super::catalog::{Accounting, AgentBefore, AgentUpdate, SegmentRow, SequenceState, ServiceSpan};
use super::segment::{self, Footer, WindowInfo, trace_key};
use crate::profile::decode::{Window, WindowId};
use crate::profile::model::Kind;

/// Agent and boot.
pub(crate) type AgentKey = ([u8; 16], u64);

/// A window of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) id: &'a WindowId,
    /// What the footer says of it.
    pub(crate) info: &'a WindowInfo,
    /// Version of the agent library.
    pub(crate) version: &'a str,
    /// Where its samples went.
    pub(crate) accounting: &'a Accounting,
}

/// The row of a segment that holds what its footer says.
pub(crate) fn segment_row(id: &str, footer: &Footer, bytes: u64, crc: u32) -> SegmentRow {
    let windows = &footer.windows;
    let end = |window: &WindowInfo| window.start_ms.saturating_add(u64::from(window.duration_ms));
    SegmentRow {
        id: id.to_owned(),
        level: 0,
        min_ms: windows.iter().map(|window| window.start_ms).min().unwrap_or(0),
        max_ms: windows.iter().map(end).max().unwrap_or(0),
        bytes,
        crc,
        windows: windows.len() as u64,
        samples: windows.iter().map(samples).fold(0, u64::saturating_add),
        traces: footer.traces.into(),
    }
}

/// Samples of a window, as [`account`] counts them.
fn samples(info: &WindowInfo) -> u64 {
    let types = info.types.iter().filter_map(|sum| Some((sum.read_type()?, sum)));
    let counted = types.filter(|(profile_type, _)| profile_type.kind == Kind::Counter);
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for (profile_type, sum) in counted {
        let of_name = by_name.entry(profile_type.name).or_default();
        *of_name = of_name.saturating_add(sum.samples);
    }
    stored_samples(by_name.iter().map(|(name, samples)| (name.as_str(), *samples)))
}

/// Adds up the samples of counters: one sampled allocation is written twice, as bytes and as a count.
pub(super) fn stored_samples<'a>(by_name: impl Iterator<Item = (&'a str, u64)>) -> u64 {
    let (mut allocations, mut others) = (0, 0u64);
    for (name, samples) in by_name {
        if name.starts_with("alloc_") {
            allocations = samples.max(allocations);
        } else {
            others = others.saturating_add(samples);
        }
    }
    others.saturating_add(allocations)
}

/// What a commit of these windows changes for their agents.
pub(crate) fn agent_updates<'a>(
    windows: impl Iterator<Item = Stored<'a>>,
    before: &HashMap<AgentKey, AgentBefore>,
    after: &HashMap<AgentKey, SequenceState>,
) -> Vec<AgentUpdate> {
    let mut updates: BTreeMap<AgentKey, AgentUpdate> = BTreeMap::new();
    for window in windows {
        let key = (window.id.agent_id, window.id.boot_id);
        let update = updates.entry(key).or_insert_with(|| AgentUpdate {
            id: *window.id,
            before: before.get(&key).cloned(),
            sequences: after.get(&key).cloned().unwrap_or_default(),
            service: window.info.service.clone(),
            instance: window.info.instance.clone(),
            version: window.version.to_owned(),
            added: Accounting::default(),
        });
        update.added.add(window.accounting);
    }
    updates.into_values().collect()
}

/// What windows hold of which service.
pub(crate) fn service_spans<'a>(windows: impl Iterator<Item = &'a WindowInfo>) -> Vec<ServiceSpan> {
    let mut spans: BTreeMap<&str, ServiceSpan> = BTreeMap::new();
    for info in windows {
        let span = spans.entry(&info.service).or_insert_with(|| ServiceSpan {
            service: info.service.clone(),
            min_ms: info.start_ms,
            max_ms: info.start_ms,
            windows: 0,
            types: Vec::new(),
            labels: Vec::new(),
            sample_labels: Vec::new(),
        });
        span.min_ms = span.min_ms.min(info.start_ms);
        span.max_ms = span.max_ms.max(info.start_ms);
        span.windows += 1;
        // Later windows win: the type as it is now.
        for found in info.types.iter().filter_map(segment::TypeSum::read_type) {
            span.types.retain(|known| known.name != found.name);
            span.types.push(found);
        }
        let pair = |label: &v1::Label| (label.name.clone(), label.value.clone());
        for label in info.types.iter().flat_map(|sum| &sum.labels).map(pair) {
            if !span.sample_labels.contains(&label) {
                span.sample_labels.push(label);
            }
        }
        for label in info.labels.iter().map(pair).chain([("instance".to_owned(), info.instance.clone())]) {
            if !span.labels.contains(&label) {
                span.labels.push(label);
            }
        }
    }
    spans.into_values().collect()
}

/// Keys of the traces whose samples or spans the window holds.
pub(crate) fn trace_keys(window: &Window) -> Vec<u64> {
    let in_rows = window.series.iter().flat_map(|series| &series.rows).filter_map(|row| row.link);
    let in_rows = in_rows.filter_map(|link| window.links.get(link as usize)).map(|link| trace_key(&link.trace_id));
    let in_spans = window.spans.iter().map(|span| trace_key(&span.link.trace_id));
    let keys: BTreeSet<u64> = in_rows.chain(in_spans).collect();
    keys.into_iter().collect()
}

/// Where the window's samples went.
pub(crate) fn account(window: &Window) -> Accounting {
    let mut accounting = Accounting {
        sampled: window.header.sampled,
        process_cpu_ns: window.header.process_cpu_ns,
        ..Accounting::default()
    };
    for (reason, samples) in &window.header.drops {
        let name = reason.as_str_name().trim_start_matches("DROP_REASON_").to_lowercase();
        *accounting.drops.entry(name).or_default() += samples;
    }
    // Gauges look at samples that were counted before.
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for series in window.series.iter().filter(|series| series.profile_type.kind == Kind::Counter) {
        *by_name.entry(&series.profile_type.name).or_default() += series.samples();
        if series.profile_type.name == "cpu" && series.profile_type.unit == "nanoseconds" {
            accounting.cpu_ns += series.total();
        }
    }
    accounting.stored = stored_samples(by_name.into_iter());
    accounting
}
