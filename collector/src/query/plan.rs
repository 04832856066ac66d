//! What one selection needs of what was gathered, and what can be said before any samples are opened.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::cancel::Cancel;
use super::gather::{Gathered, PartPick, Pick, Received};
use super::merge::Sources;
use super::slices::Span;
use super::{QueryError, Selection};
use crate::base::labels::Labels;
use crate::profile::decode::Window;
use crate::profile::model::{Kind, ProfileType};
use crate::store::Store;
use crate::store::compact::levels::Level;
use crate::store::segment::trace_key;

/// What windows a selection holds and where they are, before any sample is read.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the type is, by the newest window that carries it.
    pub(super) profile_type: ProfileType,
    /// What was received of all instances that sent the type in this range: it counts as covered time. A window without a series
    /// of the type then means that nothing was sampled, not that nobody looked.
    pub(super) covering: Vec<Received>,
    /// Arrived windows that carry the type: the ones to open.
    pub(super) carriers: Vec<Pick>,
    /// Parts of compacted segments to read.
    pub(super) parts: Vec<PartPick>,
    /// Windows that match everything but the type.
    pub(super) windows_in_range: u64,
    /// Instances were asked for where they are no longer kept.
    pub(super) misses_instances: bool,
    /// Names of labels that single samples have.
    pub(super) sample_labels: BTreeSet<String>,
}

impl Plan {
    /// `fallback` is the type as the catalog knows it, for ranges without it.
    pub(super) fn new(gathered: Gathered, selection: &Selection, fallback: ProfileType) -> Self {
        let Gathered { picks, parts, received } = gathered;
        let windows_in_range = received.iter().map(|received| received.windows).sum();
        let profile_type = newest_type(&received, &selection.profile_type).unwrap_or(fallback);
        let carries = |received: &Received| received.types.iter().any(|found| found.measures_as(&profile_type));
        let senders: HashSet<Arc<str>> =
            received.iter().filter(|received| carries(received)).map(|received| received.instance.clone()).collect();
        let carriers = picks.into_iter().filter(|pick| pick.carries(&profile_type)).collect();
        // A window that has the type in another measure says nothing of this one.
        let is_silent = |received: &Received| {
            !carries(received) && received.types.iter().any(|found| found.name == profile_type.name)
        };
        let covers = |received: &Received| senders.contains(&received.instance) && !is_silent(received);
        let covering = received.into_iter().filter(covers).collect();
        Self {
            profile_type,
            covering,
            carriers,
            parts,
            windows_in_range,
            misses_instances: false,
            sample_labels: BTreeSet::new(),
        }
    }

    /// Leaves only the arrived windows that may hold the trace to be opened.
    pub(super) fn narrow_to_trace(&mut self, store: &Store, trace: TraceId, cancel: &Cancel) -> Result<(), QueryError> {
        let mut holders = HashSet::new();
        let mut asked = HashSet::new();
        for pick in &self.carriers {
            if asked.insert(pick.segment.id.clone()) {
                cancel.check()?;
                if let Some(index) = store.trace_index(&pick.segment)? {
                    holders.extend(index.find(trace_key(&trace)).map(|number| (pick.segment.id.clone(), number)));
                }
            }
        }
        self.carriers.retain(|pick| holders.contains(&(pick.segment.id.clone(), pick.number)));
        self.parts.clear();
        Ok(())
    }

    /// Opens the arrived windows.
    pub(super) fn open_carriers(
        &self,
        store: &Store,
        windows: &mut Vec<Arc<Window>>,
        cancel: &Cancel,
    ) -> Result<(), QueryError> {
        for pick in &self.carriers {
            cancel.check()?;
            windows.extend(store.window(&pick.segment, pick.info())?);
        }
        Ok(())
    }

    /// Length of the longest windows that others were added up to; 0 where all are as they arrived.
    pub(super) fn coarsest_ms(&self) -> u64 {
        let levels = self.parts.iter().filter_map(|part| Level::of(part.row.segment.level));
        levels.filter(|level| level.number > 1).map(|level| u64::from(level.window_ms)).max().unwrap_or(0)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.covering.iter().map(Received::span).collect()
    }

    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        let mut labels: HashSet<&Labels> = HashSet::new();
        for received in &self.covering {
            sources.windows += received.windows;
            if !sources.instances.contains(&*received.instance) {
                sources.instances.insert(received.instance.to_string());
            }
            labels.insert(&received.labels);
        }
        sources.labels = labels.into_iter().flat_map(Labels::owned).collect();
        sources
    }

    /// Why there is nothing, as a sentence.
    pub(super) fn why_empty(&self, selection: &Selection) -> String {
        let (service, name) = (&selection.service, &selection.profile_type);
        if self.windows_in_range == 0 {
            return if selection.labels.is_empty() {
                format!("{service} sent nothing in this range")
            } else {
                format!("{service} sent nothing with these labels in this range")
            };
        }
        if self.covering.is_empty() {
            return format!("{service} sent {} windows in this range, none of them with {name}", self.windows_in_range);
        }
        if selection.labels.iter().any(|(name, _)| self.sample_labels.contains(name)) {
            return format!("no {name} sample of {service} in this range has these labels");
        }
        match selection.trace {
            Some(trace) => format!("no {name} sample of {service} in this range carries trace {trace}"),
            None if self.misses_instances => {
                format!("samples of {service} this old are kept without their instance: leave it out of the selection")
            }
            None => format!("{service} was up, but nothing was sampled for {name} in this range"),
        }
    }
}

/// A type may change its unit or kind when a service changes its agent: the newest says what is asked for. Ties go to the larger
/// unit name, so that the answer never depends on order.
fn newest_type(received: &[Received], name: &str) -> Option<ProfileType> {
    let candidates = received.iter().flat_map(|received| {
        received.types.iter().filter(|found| found.name == name).map(|found| (received.window_ms, found))
    });
    let newest = candidates.max_by(|(a_ms, a), (b_ms, b)| {
        (a_ms, &a.unit, a.kind == Kind::Gauge, a.period).cmp(&(b_ms, &b.unit, b.kind == Kind::Gauge, b.period))
    });
    newest.map(|(_, found)| found.clone())
}
