//! A window that was checked: what the store needs of it, now that its tables are no longer needed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tephra_proto::v1;

use crate::profile::decode::{Window, WindowId};
use crate::profile::model::{Kind, Module, ProfileType};
use crate::store::catalog::Accounting;
use crate::store::segment::{Batch, BatchInfo, TypeSum, trace_key};

/// A checked window, ready to be stored.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) id: WindowId,
    pub(super) batch: Batch,
    pub(super) version: String,
    pub(super) accounting: Accounting,
}

impl Accepted {
    pub(super) fn new(header: v1::PushHeader, payload: Bytes, payload_bytes: u32, window: &Window) -> Self {
        let checked = &window.header;
        let label = |name: &str, value: &str| v1::Label { name: name.to_owned(), value: value.to_owned() };
        let labels = checked.labels.iter().map(|(name, value)| label(name, value)).collect();
        let info = BatchInfo {
            service: checked.service.as_str().to_owned(),
            instance: checked.instance.as_str().to_owned(),
            labels,
            start_ms: checked.start_ms,
            duration_ms: checked.duration_ms,
            types: window
                .series
                .iter()
                .map(|series| TypeSum {
                    profile_type: Some(write_type(&series.profile_type)),
                    total: series.total(),
                    samples: series.samples(),
                    labels: series.labels.iter().map(|(name, value)| label(name, value)).collect(),
                })
                .collect(),
            spans: window.spans.len() as u32,
            ..BatchInfo::default()
        };
        Self {
            id: checked.id,
            version: checked.agent_version.clone(),
            accounting: account(window),
            batch: Batch { header, payload, payload_bytes, info, traces: trace_keys(window) },
        }
    }

    pub(super) fn samples(&self) -> u64 {
        self.accounting.stored
    }
}

/// Modules that frames of the window lie in: the ones whose symbols are of use.
pub(super) fn used_modules(window: &Window) -> Vec<Module> {
    let used: BTreeSet<_> = window
        .frames
        .iter()
        .filter_map(|frame| match frame {
            crate::profile::model::Frame::Native { build_id, .. } => Some(*build_id),
            _ => None,
        })
        .collect();
    window.modules.iter().filter(|module| used.contains(&module.build_id)).cloned().collect()
}

/// Keys of the traces whose samples or spans the window holds.
fn trace_keys(window: &Window) -> Vec<u64> {
    let in_rows = window.series.iter().flat_map(|series| &series.rows).filter_map(|row| row.link);
    let in_rows = in_rows.filter_map(|link| window.links.get(link as usize)).map(|link| trace_key(&link.trace_id));
    let in_spans = window.spans.iter().map(|span| trace_key(&span.link.trace_id));
    let keys: BTreeSet<u64> = in_rows.chain(in_spans).collect();
    keys.into_iter().collect()
}

/// Where the window's samples went.
fn account(window: &Window) -> Accounting {
    let mut accounting = Accounting {
        sampled: window.header.sampled,
        process_cpu_ns: window.header.process_cpu_ns,
        ..Accounting::default()
    };
    for (reason, samples) in &window.header.drops {
        let name = reason.as_str_name().trim_start_matches("DROP_REASON_").to_lowercase();
        *accounting.drops.entry(name).or_default() += samples;
    }
    // One sampled allocation is written twice, as bytes and as a count; gauges look at samples that were counted before.
    let mut allocations: BTreeMap<&str, u64> = BTreeMap::new();
    for series in window.series.iter().filter(|series| series.profile_type.kind == Kind::Counter) {
        if series.profile_type.name.starts_with("alloc_") {
            *allocations.entry(&series.profile_type.name).or_default() += series.samples();
        } else {
            accounting.stored += series.samples();
        }
        if series.profile_type.name == "cpu" && series.profile_type.unit == "nanoseconds" {
            accounting.cpu_ns += series.total();
        }
    }
    accounting.stored += allocations.into_values().max().unwrap_or(0);
    accounting
}

fn write_type(profile_type: &ProfileType) -> v1::ProfileType {
    let kind = match profile_type.kind {
        Kind::Counter => v1::Kind::Counter,
        Kind::Gauge => v1::Kind::Gauge,
    };
    v1::ProfileType {
        name: profile_type.name.clone(),
        unit: profile_type.unit.clone(),
        kind: kind.into(),
        period: profile_type.period,
    }
}
