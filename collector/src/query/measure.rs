//! Sums of types, by window and labels: nothing is read but footers and small tables.

use std::sync::Arc;

use tephra_proto::ids::TraceId;

use super::QueryError;
use super::cancel::Cancel;
use super::gather::{Gathered, Names, PartPick, Pick};
use super::plan::Plan;
use crate::base::labels::{Labels, Matcher};
use crate::profile::decode::{Series, Window};
use crate::profile::model::{Kind, ProfileType};
use crate::store::Store;
use crate::store::columnar::Table;

/// Tables that sums are read from.
pub(super) const SUM_TABLES: [Table; 3] = [Table::Totals, Table::Windows, Table::Series];

/// A sum of one type, of one window and one combination of labels.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) service: Arc<str>,
    pub(super) window_ms: u64,
    /// Empty once instances are folded.
    pub(super) instance: Arc<str>,
    pub(super) labels: Labels,
    /// Counters: the sum. Gauges: times the milliseconds of the window.
    pub(super) value: u128,
}

impl Plan {
    /// Sums of the type, by window and labels; nothing is read but small tables.
    pub(super) fn measured(
        &self,
        store: &Store,
        labels: &[(String, String)],
        cancel: &Cancel,
    ) -> Result<Vec<Measured>, QueryError> {
        let is_wanted = |found: &ProfileType| found.measures_as(&self.profile_type);
        sums(store, &self.carriers, &self.parts, labels, is_wanted, cancel)
    }

    /// What one trace contributed to a window, by labels.
    pub(super) fn measure<'a>(
        &'a self,
        window: &'a Window,
        labels: &'a [(String, String)],
        trace: TraceId,
    ) -> impl Iterator<Item = Measured> + 'a {
        let header = &window.header;
        let matcher = Matcher::new(labels);
        let wanted = move |series: &&Series| {
            series.profile_type.measures_as(&self.profile_type) && matcher.matches(|name| series.label(header, name))
        };
        let of_trace = move |link: Option<u32>| {
            link.and_then(|link| window.links.get(link as usize)).is_some_and(|link| link.trace_id == trace)
        };
        window.series.iter().filter(wanted).filter_map(move |series| {
            let value = series.rows.iter().filter(|row| of_trace(row.link)).map(|row| row.value).sum();
            (value > 0).then(|| Measured {
                service: header.service.as_str().into(),
                window_ms: header.start_ms,
                instance: header.instance.as_str().into(),
                labels: series.all_labels(header),
                value: weighted(&self.profile_type, value, header.duration_ms),
            })
        })
    }
}

impl Gathered {
    /// Sums of a type, by service, window and labels.
    pub(super) fn sums(
        &self,
        store: &Store,
        is_wanted: impl Fn(&ProfileType) -> bool,
        cancel: &Cancel,
    ) -> Result<Vec<Measured>, QueryError> {
        sums(store, &self.picks, &self.parts, &[], is_wanted, cancel)
    }
}

/// Counters as they are, gauges times milliseconds.
fn weighted(profile_type: &ProfileType, value: u64, duration_ms: u32) -> u128 {
    match profile_type.kind {
        Kind::Counter => u128::from(value),
        Kind::Gauge => u128::from(value) * u128::from(duration_ms),
    }
}

/// Sums of types that are wanted; nothing is read but footers and small tables.
fn sums(
    store: &Store,
    picks: &[Pick],
    parts: &[PartPick],
    labels: &[(String, String)],
    is_wanted: impl Fn(&ProfileType) -> bool,
    cancel: &Cancel,
) -> Result<Vec<Measured>, QueryError> {
    let mut names = Names::default();
    let mut all = Vec::new();
    let matcher = Matcher::new(labels);
    for pick in picks {
        let info = pick.info();
        for sum in info.types.iter().filter(|sum| matcher.matches(|name| info.label(name).or_else(|| sum.label(name))))
        {
            let Some(found) = sum.read_type().filter(&is_wanted) else { continue };
            all.push(Measured {
                service: names.text(&info.service),
                window_ms: info.start_ms,
                instance: names.text(&info.instance),
                labels: names.labels(info.labels.iter().chain(&sum.labels)),
                value: weighted(&found, sum.total, info.duration_ms),
            });
        }
    }
    for part in parts {
        cancel.check()?;
        measure_part(store, part, labels, &is_wanted, &mut all)?;
    }
    Ok(all)
}

/// Sums of a compacted part.
fn measure_part(
    store: &Store,
    part: &PartPick,
    labels: &[(String, String)],
    is_wanted: impl Fn(&ProfileType) -> bool,
    into: &mut Vec<Measured>,
) -> Result<(), QueryError> {
    let matcher = Matcher::new(labels);
    let Some(dictionary) = part.dictionary(store, false)? else { return Ok(()) };
    let read = part.segment.totals(store.bulk().as_ref(), part.part, &dictionary, part.bounds());
    let Some(totals) = store.checked(&part.row.segment.id, read)? else { return Ok(()) };
    let service: Arc<str> = part.segment.services().get(part.part).map_or("", String::as_str).into();
    let wanted: Vec<bool> = dictionary
        .series
        .iter()
        .map(|series| {
            is_wanted(&series.profile_type) && matcher.matches(|name| series.labels.get_of(&series.instance, name))
        })
        .collect();
    for total in totals {
        let Some(series) = dictionary.series.get(total.series as usize) else { continue };
        if wanted.get(total.series as usize) == Some(&true) && part.wants(total.window_ms) {
            into.push(Measured {
                service: service.clone(),
                window_ms: total.window_ms,
                instance: series.instance.clone(),
                labels: series.labels.clone(),
                value: u128::from(total.value),
            });
        }
    }
    Ok(())
}
