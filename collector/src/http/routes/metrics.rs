//! `/metrics`: Prometheus text about the collector itself. Label sets are closed, but for services, which are counted and cut off.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

use super::status::AGENTS_SINCE_MS;
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::store::catalog::Accounting;
use crate::work::blocking;

/// Services with lines of their own; the rest are summed up, so that nobody can blow up the scraper by inventing services.
const SERVICES_MAX: usize = 1_000;

/// The name under which the rest is summed up: no service can have it.
const REST: &str = "__rest__";

/// What is counted now, under the library's rules for Prometheus: names, help and escapes are its own. A counter is named without `_total`, which
/// is added, and a sentence of help without its full stop.
struct Exposition(Registry);

/// Samples of one name.
type Samples = Vec<(Vec<(&'static str, String)>, u64)>;

impl Exposition {
    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.0.register(name, help, ConstCounter::new(value));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) {
        self.0.register(name, help, ConstGauge::new(value.try_into().unwrap_or(i64::MAX)));
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        samples: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        let family = Family::<Vec<(&'static str, String)>, Counter>::default();
        for (value, count) in samples {
            family.get_or_create(&vec![(label, value.to_owned())]).inc_by(count);
        }
        self.0.register(name, help, family);
    }

    fn gauges(&mut self, name: &str, help: &str, samples: Samples) {
        let family = Family::<Vec<(&'static str, String)>, Gauge>::default();
        for (labels, value) in samples {
            family.get_or_create(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(name, help, family);
    }

    fn text(&self) -> Result<String, ApiError> {
        let mut text = String::new();
        encode(&mut text, &self.0).map_err(|error| ApiError::internal(&error))?;
        Ok(text)
    }
}

pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let mut out = Exposition(Registry::with_prefix("tephra"));
    requests(&state, &mut out);
    ingest(&state, &mut out);
    queues(&state, &mut out);
    let catalog = state.store.catalog();
    let agents = catalog.agents(now_ms().saturating_sub(AGENTS_SINCE_MS)).await?;
    let accounts = agents.iter().map(|agent| (agent.service.as_str(), &agent.accounting));
    services(&by_service(accounts), &mut out);
    let totals = catalog.totals().await?;
    out.gauge("store_segments", "Live segments", totals.segments);
    out.gauge("store_bytes", "Bytes of live segments", totals.bytes);
    out.gauge("store_windows", "Windows in live segments", totals.windows);
    out.gauge("store_samples", "Samples in live segments", totals.samples);
    out.gauge("store_quarantined_segments", "Segments found damaged", totals.quarantined);
    out.gauge("store_damaged_windows", "Single windows found damaged", state.store.damaged_windows());
    out.counter("store_write_errors", "Writes of windows that failed", state.store.failed_writes());
    let waiting = catalog.waiting().await?;
    out.gauge(
        "compaction_waiting_segments",
        "Segments as they arrived, which compaction has yet to take",
        waiting.segments,
    );
    let lag_s = if waiting.segments == 0 { 0.0 } else { now_ms().saturating_sub(waiting.since_ms) as f64 / 1e3 };
    out.seconds("compaction_lag_seconds", "For how long the first of them has waited; 0 where there is none", lag_s);
    if let Some(free) = state.store.free_bytes()? {
        out.gauge("disk_free_bytes", "Free bytes on the data folder's disk", free);
    }
    let symbols = state.symbols.stats();
    out.gauge("symbol_builds", "Builds with a symbol table", symbols.builds);
    out.gauge("symbol_bytes", "Bytes of symbol tables", symbols.bytes);
    out.gauge("uptime_seconds", "Seconds since the start", state.started.elapsed().as_secs());
    if let Some((cpu_seconds, memory)) = blocking(own_process).await? {
        out.0.register("process_cpu_seconds", "CPU time of the collector", ConstCounter::new(cpu_seconds));
        out.gauge("process_resident_memory_bytes", "Memory of the collector", memory);
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, out.text()?).into_response())
}

/// What functions cost by the rules of `--profile-rules`: times in seconds, sizes in bytes, others as they are counted.
pub(super) async fn profiles(State(state): State<AppState>) -> Result<Response, ApiError> {
    type Labels = Vec<(&'static str, String)>;
    let mut out = Exposition(Registry::with_prefix("tephra_profile"));
    let families = [
        ("seconds", "Time that functions cost, in windows that are stored"),
        ("bytes", "Memory that functions allocated, in windows that are stored"),
        ("count", "What functions did, in windows that are stored"),
    ];
    let families = families.map(|(name, help)| {
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        out.0.register(name, help, family.clone());
        (name, family)
    });
    for (counter, value) in state.costs.get().map(|costs| costs.counted()).unwrap_or_default() {
        let (name, value) = match counter.unit.as_str() {
            "nanoseconds" => ("seconds", value as f64 / 1e9),
            "bytes" => ("bytes", value as f64),
            _ => ("count", value as f64),
        };
        let labels = vec![
            ("rule", counter.rule),
            service_label(&counter.service),
            ("type", counter.profile_type),
            ("function", counter.what),
        ];
        if let Some((_, family)) = families.iter().find(|(known, _)| *known == name) {
            family.get_or_create(&labels).inc_by(value);
        }
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, out.text()?).into_response())
}

fn requests(state: &AppState, out: &mut Exposition) {
    out.0.register(
        "http_request_duration_seconds",
        "Requests by route, method and class of status, from their head to the last of the answer; calls of gRPC by the status that means the same",
        state.measured.durations(),
    );
    out.gauge("http_requests_in_flight", "Requests that are being answered", state.measured.in_flight());
    out.counters(
        "datadog_dropped",
        "Requests of Datadog's libraries that hold no profiles: taken, and dropped",
        "what",
        state.dropped.all(),
    );
    out.counters(
        "access_refused",
        "Requests refused for want of credentials, or of a role",
        "reason",
        state.refused.all(),
    );
}

fn ingest(state: &AppState, out: &mut Exposition) {
    let ingest = state.ingest.metrics().snapshot();
    let counters = [
        ("ingest_windows", "Windows stored", ingest.windows_total),
        ("ingest_samples", "Samples stored", ingest.samples_total),
        ("ingest_duplicates", "Windows that were stored already", ingest.duplicates_total),
        ("ingest_overloaded", "Windows sent back for lack of room", ingest.overloaded_total),
        ("ingest_full", "Windows sent back because there is no room for new names", ingest.full_total),
        ("ingest_overflowed", "Windows filed under their service's overflow series", ingest.overflowed_total),
        ("ingest_relabelled", "Windows with sample labels beyond the cap", ingest.relabelled_total),
        ("ingest_unavailable", "Windows sent back because the store failed", ingest.unavailable_total),
        ("ingest_segments", "Segments written", ingest.segments_total),
        ("ingest_received_bytes", "Compressed bytes of stored windows", ingest.received_bytes_total),
        ("ingest_segment_bytes", "Bytes of segments written", ingest.segment_bytes_total),
    ];
    for (name, help, value) in counters {
        out.counter(name, help, value);
    }
    out.counters("ingest_refused", "Windows refused for what they hold", "reason", ingest.refused_total);
    out.counters(
        "ingest_coarsened",
        "Samples that agents short of memory stored without span, trace or labels",
        "missing",
        ingest.coarsened_total,
    );
    let (in_use, limit) = state.ingest.memory();
    out.gauge("ingest_memory_bytes", "Memory reserved by windows between arrival and ack", in_use);
    out.gauge("ingest_memory_max_bytes", "What they may reserve", limit);
    let (in_use, limit) = state.bodies_in_use_and_limit();
    out.gauge(
        "bodies_bytes",
        "Memory taken by request bodies until they are answered, windows from agents until they are decoded",
        in_use,
    );
    out.gauge("bodies_max_bytes", "What they may take", limit);
    let ready = i64::from(state.ingest.ready().is_ok());
    out.gauge("ready", "1 while windows are taken", ready);
}

fn queues(state: &AppState, out: &mut Exposition) {
    let (to_decode, to_write) = state.ingest.queued();
    let depths = [("decode", to_decode), ("write", to_write), ("query", state.bench.waiting())];
    let sample = |(queue, depth): (&str, usize)| (vec![("queue", queue.to_owned())], depth as u64);
    out.gauges(
        "queue_depth",
        "What waits for its turn: windows to be decoded and to be written, and heavy answers",
        depths.map(sample).into(),
    );
    out.gauge("queries_running", "Heavy answers that are being computed", state.bench.running());
}

/// Sums agents up by service; what is beyond the limit goes to [`REST`].
fn by_service<'a>(agents: impl Iterator<Item = (&'a str, &'a Accounting)>) -> BTreeMap<&'a str, Accounting> {
    let mut sums: BTreeMap<&str, Accounting> = BTreeMap::new();
    for (service, account) in agents {
        let has_room = sums.len() < SERVICES_MAX || sums.contains_key(service);
        sums.entry(if has_room { service } else { REST }).or_default().add(account);
    }
    sums
}

/// sampled = stored + dropped, for each service, over its agents of the last day.
fn services(sums: &BTreeMap<&str, Accounting>, out: &mut Exposition) {
    let of = |what: fn(&Accounting) -> u64| -> Samples {
        sums.iter().map(|(service, account)| (vec![service_label(service)], what(account))).collect()
    };
    out.gauges("agent_sampled", "Samples taken by agents seen in the last day", of(|account| account.sampled));
    out.gauges("agent_stored", "Those of them that are stored", of(|account| account.stored));
    let dropped = sums.iter().flat_map(|(service, account)| {
        let by_reason = account.drops.iter();
        by_reason.map(|(reason, n)| (vec![service_label(service), ("reason", reason.clone())], *n))
    });
    out.gauges("agent_dropped", "Those of them that were lost before they were sent", dropped.collect());
}

fn service_label(service: &str) -> (&'static str, String) {
    ("service", service.to_owned())
}

/// CPU seconds and resident bytes of this process.
fn own_process() -> Option<(f64, u64)> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new().ok()?;
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    let process = system.process(pid)?;
    Some((process.accumulated_cpu_time() as f64 / 1e3, process.memory()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let mut out = Exposition(Registry::with_prefix("tephra"));
        let labels = vec![("service", "a\"} 1\ntephra_y 2".to_owned()), ("b", "c\\".to_owned())];
        out.gauges("x", "X", vec![(labels, 1)]);
        let text = out.text().unwrap();
        assert_eq!(text.lines().last(), Some("tephra_x{service=\"a\\\"} 1\\ntephra_y 2\",b=\"c\\\\\"} 1"), "{text}");
    }

    #[test]
    fn what_agents_claim_may_be_as_large_as_they_like() {
        let mut out = Exposition(Registry::with_prefix("tephra"));
        let account = Accounting { sampled: u64::MAX, ..Accounting::default() };
        services(&by_service([("x", &account)].into_iter()), &mut out);
        out.counter("y", "Y", u64::MAX);
        let text = out.text().unwrap();
        assert!(text.contains("tephra_y_total 18446744073709551615"), "{text}");
    }

    #[test]
    fn invented_services_are_summed_up() {
        let names: Vec<String> = (0..SERVICES_MAX + 50).map(|i| format!("s{i:05}")).collect();
        let account = Accounting { sampled: 2, ..Accounting::default() };
        let sums = by_service(names.iter().map(|name| (name.as_str(), &account)));
        assert_eq!(sums.len(), SERVICES_MAX + 1);
        assert_eq!(sums[REST].sampled, 100);
    }

    #[test]
    fn this_process_is_known() {
        let (cpu, memory) = own_process().unwrap();
        assert!(cpu >= 0.0 && memory > 1_000_000, "{cpu} {memory}");
    }
}
