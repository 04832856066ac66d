//! A window that was checked: what the store needs of it, now that its tables are no longer needed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tephra_proto::v1;

use crate::profile::decode::{Window, WindowId};
use crate::profile::model::{Kind, Module, ProfileType};
use crate::store::arrived::{self, Stored};
use crate::store::catalog::{Accounting, ContentKey};
use crate::store::segment::{PackedWindow, TypeSum, WindowInfo};

/// What is done once a window is stored.
#[derive(Clone)]
pub struct WhenStored(pub Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for WhenStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WhenStored")
    }
}

/// A checked window, ready to be stored.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) id: WindowId,
    pub(super) packed: PackedWindow,
    pub(super) version: String,
    pub(super) accounting: Accounting,
    /// Of what its sender has not numbered.
    pub(super) content: Option<ContentKey>,
    /// For whoever watches what is stored.
    pub(super) when_stored: Option<WhenStored>,
}

impl Accepted {
    pub(super) fn new(header: v1::PushHeader, payload: Bytes, payload_bytes: u32, window: &Window) -> Self {
        let checked = &window.header;
        let label = |name: &str, value: &str| v1::Label { name: name.to_owned(), value: value.to_owned() };
        let labels = checked.labels.iter().map(|(name, value)| label(name, value)).collect();
        let info = WindowInfo {
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
            requests: window.requests.iter().map(|requests| requests.durations.count()).sum(),
            agent_id: checked.id.agent_id.to_vec(),
            boot_id: checked.id.boot_id,
            sequence: checked.id.sequence,
            ..WindowInfo::default()
        };
        Self {
            id: checked.id,
            version: checked.agent_version.clone(),
            accounting: arrived::account(window),
            content: None,
            when_stored: None,
            packed: PackedWindow { header, payload, payload_bytes, info, traces: arrived::trace_keys(window) },
        }
    }

    /// What the catalog is told of it.
    pub(super) fn as_stored(&self) -> Stored<'_> {
        Stored { id: &self.id, info: &self.packed.info, version: &self.version, accounting: &self.accounting }
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
