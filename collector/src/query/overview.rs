//! All services at a glance, from footers alone.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Pick;
use super::slices::coverage;
use super::{SPARK_POINTS, ServiceOverview, TimeRange};
use crate::profile::model::Kind;
use crate::store::catalog::ServiceRow;

/// The type that "CPU" means.
pub(super) const CPU: &str = "cpu";

/// `types` by service; `picks` are all windows of the range.
pub(super) fn overview(
    services: Vec<ServiceRow>,
    types: &BTreeMap<String, Vec<String>>,
    picks: &[Pick],
    range: TimeRange,
) -> Vec<ServiceOverview> {
    let mut by_service: BTreeMap<&str, Vec<&Pick>> = BTreeMap::new();
    for pick in picks {
        by_service.entry(&pick.info().service).or_default().push(pick);
    }
    let mut overviews: Vec<ServiceOverview> = services
        .into_iter()
        .map(|service| {
            let picks = by_service.remove(service.name.as_str()).unwrap_or_default();
            let types = types.get(&service.name).cloned().unwrap_or_default();
            one(service, types, &picks, range)
        })
        .collect();
    overviews.sort_by(|a, b| b.cpu_cores.total_cmp(&a.cpu_cores).then_with(|| a.name.cmp(&b.name)));
    overviews
}

fn one(service: ServiceRow, types: Vec<String>, picks: &[&Pick], range: TimeRange) -> ServiceOverview {
    let width_ms = range.millis().div_ceil(SPARK_POINTS as u64).max(1);
    let spans: Vec<_> = picks.iter().map(|pick| pick.span()).collect();
    let covered = coverage(range.from_ms, width_ms, SPARK_POINTS, &spans);
    let mut cpu_ns: Vec<Option<u64>> = vec![None; SPARK_POINTS];
    let mut instances = BTreeSet::new();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for info in picks.iter().map(|pick| pick.info()) {
        instances.insert(info.instance.as_str());
        for label in &info.labels {
            let values = labels.entry(label.name.clone()).or_default();
            if !values.contains(&label.value) {
                values.insert(label.value.clone());
            }
        }
        if let Some(sum) = cpu_ns.get_mut(((info.start_ms - range.from_ms) / width_ms) as usize) {
            let cpu = info.types.iter().find(|sum| {
                sum.read_type().is_some_and(|t| t.name == CPU && t.unit == "nanoseconds" && t.kind == Kind::Counter)
            });
            *sum = Some(sum.unwrap_or(0).saturating_add(cpu.map_or(0, |sum| sum.total)));
        }
    }
    let total_ns: f64 = cpu_ns.iter().flatten().map(|ns| *ns as f64).sum();
    let covered_ms: u64 = covered.iter().sum();
    let cores = |ns: f64, ms: u64| ns / 1e6 / ms.max(1) as f64;
    ServiceOverview {
        name: service.name,
        instances: instances.len() as u64,
        types,
        first_seen_ms: service.first_seen_ms,
        last_seen_ms: service.last_seen_ms,
        cpu_cores: cores(total_ns, covered_ms),
        spark: cpu_ns.iter().zip(&covered).map(|(ns, ms)| ns.map(|ns| cores(ns as f64, *ms))).collect(),
        labels,
    }
}
