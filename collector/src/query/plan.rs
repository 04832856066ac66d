//! Which windows a query needs: from the catalog and the footers alone, before any of them is opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::cancel::Cancel;
use super::merge::{Sources, same_measure};
use super::slices::Span;
use super::{QueryError, QueryLimits, Selection, TimeRange};
use crate::profile::model::{Kind, ProfileType};
use crate::store::Store;
use crate::store::catalog::SegmentRow;
use crate::store::segment::{BatchInfo, Footer, TypeSum, trace_key};

/// One window that was chosen.
#[derive(Debug, Clone)]
pub(super) struct Pick {
    pub(super) segment: Arc<SegmentRow>,
    footer: Arc<Footer>,
    pub(super) number: usize,
}

impl Pick {
    pub(super) fn info(&self) -> &BatchInfo {
        static NOTHING: std::sync::LazyLock<BatchInfo> = std::sync::LazyLock::new(BatchInfo::default);
        self.footer.batches.get(self.number).unwrap_or(&NOTHING)
    }

    pub(super) fn span(&self) -> Span {
        Span { start_ms: self.info().start_ms, duration_ms: self.info().duration_ms }
    }

    /// Its sum of the type, if it carries it.
    pub(super) fn sum_of(&self, profile_type: &ProfileType) -> Option<&TypeSum> {
        self.info().types.iter().find(|sum| sum.read_type().is_some_and(|found| same_measure(&found, profile_type)))
    }
}

/// Windows of the segments that start in the range and that `wanted` wants.
pub(super) fn pick(
    store: &Store,
    segments: Vec<SegmentRow>,
    range: TimeRange,
    limits: &QueryLimits,
    cancel: &Cancel,
    wanted: impl Fn(&BatchInfo) -> bool,
) -> Result<Vec<Pick>, QueryError> {
    let mut picks = Vec::new();
    let mut found = 0;
    for segment in segments {
        cancel.check()?;
        let Some(footer) = store.footer(&segment)? else { continue };
        let segment = Arc::new(segment);
        for (number, info) in footer.batches.iter().enumerate() {
            if range.contains(info.start_ms) && wanted(info) {
                found += 1;
                if found <= limits.windows_max {
                    picks.push(Pick { segment: segment.clone(), footer: footer.clone(), number });
                }
            }
        }
    }
    if found > limits.windows_max {
        return Err(QueryError::TooManyWindows { found, limit: limits.windows_max });
    }
    Ok(picks)
}

/// True when the window carries all the labels; several values of one name mean any of them.
pub(super) fn matches_labels(info: &BatchInfo, labels: &[(String, String)]) -> bool {
    let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in labels {
        wanted.entry(name).or_default().push(value);
    }
    wanted.iter().all(|(name, values)| values.contains(&label(info, name)))
}

/// A window's value of a label; empty where it has none.
pub(super) fn label<'a>(info: &'a BatchInfo, name: &str) -> &'a str {
    if name == "instance" {
        return &info.instance;
    }
    info.labels.iter().find(|label| label.name == name).map_or("", |label| label.value.as_str())
}

/// The windows a selection is about.
#[derive(Debug)]
pub(super) struct Plan {
    /// What the type is, by the newest window that carries it.
    pub(super) profile_type: ProfileType,
    /// Windows of all instances that sent the type in this range: they count as covered time. A window without a series of the
    /// type then means that nothing was sampled, not that nobody looked.
    pub(super) covering: Vec<Pick>,
    /// Those of them that carry the type: the ones to open.
    pub(super) carriers: Vec<Pick>,
    /// Windows that match everything but the type.
    pub(super) windows_in_range: usize,
}

impl Plan {
    /// `fallback` is the type as the catalog knows it, for ranges without it.
    pub(super) fn new(picks: Vec<Pick>, selection: &Selection, fallback: ProfileType) -> Self {
        let windows_in_range = picks.len();
        let profile_type = newest_type(&picks, &selection.profile_type).unwrap_or(fallback);
        let (mut carriers, mut senders) = (Vec::new(), HashSet::new());
        for pick in &picks {
            if pick.sum_of(&profile_type).is_some() {
                senders.insert(pick.info().instance.clone());
                carriers.push(pick.clone());
            }
        }
        let covering = picks.into_iter().filter(|pick| senders.contains(&pick.info().instance)).collect();
        Self { profile_type, covering, carriers, windows_in_range }
    }

    /// Leaves only the windows that may hold the trace to be opened.
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
        Ok(())
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        self.covering.iter().map(Pick::span).collect()
    }

    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources { windows: self.covering.len() as u64, ..Sources::default() };
        for info in self.covering.iter().map(Pick::info) {
            if !sources.instances.contains(&info.instance) {
                sources.instances.insert(info.instance.clone());
            }
            sources.labels.extend(labels_of(info));
        }
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
        match selection.trace {
            Some(trace) => format!("no {name} sample of {service} in this range carries trace {trace}"),
            None => format!("{service} was up, but nothing was sampled for {name} in this range"),
        }
    }
}

/// A window's labels, without `instance`.
pub(super) fn labels_of(info: &BatchInfo) -> BTreeSet<(String, String)> {
    info.labels.iter().map(|label| (label.name.clone(), label.value.clone())).collect()
}

/// A type may change its unit or kind when a service changes its agent: the newest says what is asked for. Ties go to the larger
/// unit name, so that the answer never depends on order.
fn newest_type(picks: &[Pick], name: &str) -> Option<ProfileType> {
    let candidates = picks.iter().flat_map(|pick| {
        let start_ms = pick.info().start_ms;
        pick.info()
            .types
            .iter()
            .filter_map(TypeSum::read_type)
            .filter(|found| found.name == name)
            .map(move |t| (start_ms, t))
    });
    let newest = candidates.max_by(|(a_ms, a), (b_ms, b)| {
        (a_ms, &a.unit, a.kind == Kind::Gauge, a.period).cmp(&(b_ms, &b.unit, b.kind == Kind::Gauge, b.period))
    });
    newest.map(|(_, found)| found)
}
