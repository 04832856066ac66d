//! All services at a glance, from sums by window: no samples are opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::plan::{Measured, Received};
use super::slices::coverage;
use super::{SPARK_POINTS, ServiceOverview};
use crate::base::range::TimeRange;
use crate::profile::model::{Kind, ProfileType};
use crate::profile::stats::sum;
use crate::store::catalog::ServiceRow;

/// True for the type that "CPU" means.
pub(super) fn is_cpu(t: &ProfileType) -> bool {
    t.name == "cpu" && t.unit == "nanoseconds" && t.kind == Kind::Counter
}

/// `types` by service; `received` and `cpu` are all windows of the range, and their CPU time.
pub(super) fn overview(
    services: Vec<ServiceRow>,
    types: &BTreeMap<String, Vec<String>>,
    received: &[Received],
    cpu: &[Measured],
    range: TimeRange,
) -> Vec<ServiceOverview> {
    let mut by_service: BTreeMap<&str, (Vec<&Received>, Vec<&Measured>)> = BTreeMap::new();
    for received in received {
        by_service.entry(&received.service).or_default().0.push(received);
    }
    for measured in cpu {
        by_service.entry(&measured.service).or_default().1.push(measured);
    }
    let mut overviews: Vec<ServiceOverview> = services
        .into_iter()
        .map(|service| {
            let (received, cpu) = by_service.remove(service.name.as_str()).unwrap_or_default();
            let types = types.get(&service.name).cloned().unwrap_or_default();
            one(service, types, &received, &cpu, range)
        })
        .collect();
    overviews.sort_by(|a, b| b.cpu_cores.total_cmp(&a.cpu_cores).then_with(|| a.name.cmp(&b.name)));
    overviews
}

fn one(
    service: ServiceRow,
    types: Vec<String>,
    received: &[&Received],
    cpu: &[&Measured],
    range: TimeRange,
) -> ServiceOverview {
    let width_ms = range.millis().div_ceil(SPARK_POINTS as u64).max(1);
    let spans: Vec<_> = received.iter().map(|received| received.span()).collect();
    let covered = coverage(range.from_ms, width_ms, SPARK_POINTS, &spans);
    let mut cpu_ns: Vec<Option<u128>> = vec![None; SPARK_POINTS];
    let mut instances = BTreeSet::new();
    let mut label_sets = HashSet::new();
    let nothing = received.iter().map(|received| (received.window_ms, 0));
    for (window_ms, ns) in nothing.chain(cpu.iter().map(|measured| (measured.window_ms, measured.value))) {
        if let Some(sum) = cpu_ns.get_mut((window_ms.saturating_sub(range.from_ms) / width_ms) as usize) {
            *sum = Some(sum.unwrap_or(0).saturating_add(ns));
        }
    }
    for received in received {
        instances.insert(&received.instance);
        label_sets.insert(&received.labels);
    }
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, value) in label_sets.into_iter().flat_map(|labels| labels.iter()) {
        labels.entry(name.clone()).or_default().insert(value.clone());
    }
    let total_ns = sum(cpu_ns.iter().flatten().map(|ns| *ns as f64));
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
