//! All services at a glance, from sums by window: no samples are opened.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tokio::time::Instant;

use super::cover::Wish;
use super::damage::{Looked, covered};
use super::engine::check_range;
use super::fit::newest_that_fits;
use super::gather::{Received, Wanted, gather};
use super::measure::{Measured, SUM_TABLES};
use super::slices::coverage;
use super::{QueryEngine, QueryError, SPARK_POINTS, ServiceOverview};
use crate::base::range::TimeRange;
use crate::profile::model::{Kind, Partial, ProfileType};
use crate::profile::stats::sum;
use crate::store::StoreError;
use crate::store::catalog::ServiceRow;

impl QueryEngine {
    /// All services that were ever heard of, the busiest of the range first.
    ///
    /// # Errors
    /// When a limit is exceeded or the store fails.
    pub async fn services(&self, range: TimeRange) -> Result<(Vec<ServiceOverview>, Option<Partial>), QueryError> {
        check_range(range)?;
        let holds = |services: &Vec<ServiceOverview>| services.iter().any(|service| service.instances > 0);
        let (services, partial) =
            newest_that_fits(range, self.deadline(), holds, |range, by| self.services_all(range, by)).await?;
        let wish = Wish::points(covered(range, partial), None, SPARK_POINTS as u64, false);
        let looked = Looked { service: None, range, profiles: Some(wish), traces: false };
        Ok((services, self.with_damage(partial, looked).await?))
    }

    async fn services_all(&self, range: TimeRange, deadline: Instant) -> Result<Vec<ServiceOverview>, QueryError> {
        let catalog = self.store.catalog();
        let services = catalog.services().await.map_err(StoreError::from)?;
        let mut types = BTreeMap::new();
        for service in &services {
            let known = catalog.profile_types(&service.name).await.map_err(StoreError::from)?;
            types.insert(service.name.clone(), known.into_iter().map(|t| t.name).collect::<Vec<_>>());
        }
        let segments = catalog.levels_in(range, false).await.map_err(StoreError::from)?;
        let horizons = catalog.horizons("").await.map_err(StoreError::from)?;
        self.run(deadline, move |store, limits, cancel| {
            let wish = Wish::points(range, None, SPARK_POINTS as u64, false);
            let pieces = wish.cover(range, &horizons);
            let wanted = Wanted { service: None, labels: &[], sample_labels: &BTreeSet::new(), pieces: &pieces };
            let gathered = gather(store, &segments, &wanted, &SUM_TABLES, limits, cancel)?;
            let cpu = gathered.sums(store, is_cpu, cancel)?;
            Ok(overview(services, &types, &gathered.received, &cpu, range))
        })
        .await
    }
}

/// True for the type that "CPU" means.
fn is_cpu(t: &ProfileType) -> bool {
    t.name == "cpu" && t.unit == "nanoseconds" && t.kind == Kind::Counter
}

/// `types` by service; `received` and `cpu` are all windows of the range, and their CPU time.
fn overview(
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
        labels.entry(name.to_owned()).or_default().insert(value.to_owned());
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
