//! `/metrics`: Prometheus text about the collector itself. Label sets are closed, but for services, which are counted and cut off.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
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

/// Text in Prometheus' exposition format.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP tephra_{name} {help}\n# TYPE tephra_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "tephra_{name}");
        for (i, (label, value)) in labels.iter().enumerate() {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{escaped}\"", if i == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

pub(super) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let mut out = Exposition::default();
    ingest(&state, &mut out);
    let catalog = state.store.catalog();
    let agents = catalog.agents(now_ms().saturating_sub(AGENTS_SINCE_MS)).await?;
    let accounts = agents.iter().map(|agent| (agent.service.as_str(), &agent.accounting));
    services(&by_service(accounts), &mut out);
    let totals = catalog.totals().await?;
    out.single("store_segments", "gauge", "Live segments.", totals.segments as f64);
    out.single("store_bytes", "gauge", "Bytes of live segments.", totals.bytes as f64);
    out.single("store_windows", "gauge", "Windows in live segments.", totals.windows as f64);
    out.single("store_samples", "gauge", "Samples in live segments.", totals.samples as f64);
    out.single("store_quarantined_segments", "gauge", "Segments found damaged.", totals.quarantined as f64);
    out.single("store_damaged_windows", "gauge", "Single windows found damaged.", state.store.damaged_windows() as f64);
    if let Some(free) = state.store.free_bytes()? {
        out.single("disk_free_bytes", "gauge", "Free bytes on the data folder's disk.", free as f64);
    }
    out.family("access_refused_total", "counter", "Requests refused for want of credentials, or of a role.");
    for (reason, count) in state.refused.all() {
        out.sample("access_refused_total", &[("reason", reason)], count as f64);
    }
    let symbols = state.symbols.stats();
    out.single("symbol_builds", "gauge", "Builds with a symbol table.", symbols.builds as f64);
    out.single("symbol_bytes", "gauge", "Bytes of symbol tables.", symbols.bytes as f64);
    out.single("uptime_seconds", "gauge", "Seconds since the start.", state.started.elapsed().as_secs_f64().round());
    if let Some((cpu_seconds, memory)) = blocking(own_process).await? {
        out.single("process_cpu_seconds_total", "counter", "CPU time of the collector.", cpu_seconds);
        out.single("process_resident_memory_bytes", "gauge", "Memory of the collector.", memory);
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, out.0).into_response())
}

fn ingest(state: &AppState, out: &mut Exposition) {
    let ingest = state.ingest.metrics().snapshot();
    let counters = [
        ("ingest_windows_total", "Windows stored.", ingest.windows_total),
        ("ingest_samples_total", "Samples stored.", ingest.samples_total),
        ("ingest_duplicates_total", "Windows that were stored already.", ingest.duplicates_total),
        ("ingest_overloaded_total", "Windows sent back for lack of room.", ingest.overloaded_total),
        ("ingest_full_total", "Windows sent back because there is no room for new names.", ingest.full_total),
        ("ingest_overflowed_total", "Windows filed under their service's overflow series.", ingest.overflowed_total),
        ("ingest_relabelled_total", "Windows with sample labels beyond the cap.", ingest.relabelled_total),
        ("ingest_unavailable_total", "Windows sent back because the store failed.", ingest.unavailable_total),
        ("ingest_segments_total", "Segments written.", ingest.segments_total),
        ("ingest_received_bytes_total", "Compressed bytes of stored windows.", ingest.received_bytes_total),
        ("ingest_segment_bytes_total", "Bytes of segments written.", ingest.segment_bytes_total),
    ];
    for (name, help, value) in counters {
        out.single(name, "counter", help, value as f64);
    }
    out.family("ingest_refused_total", "counter", "Windows refused for what they hold.");
    for (reason, count) in &ingest.refused_total {
        out.sample("ingest_refused_total", &[("reason", reason)], *count as f64);
    }
    out.family(
        "ingest_coarsened_total",
        "counter",
        "Samples that agents short of memory stored without span, trace or labels.",
    );
    for (missing, samples) in &ingest.coarsened_total {
        out.sample("ingest_coarsened_total", &[("missing", missing)], *samples as f64);
    }
    let (in_use, limit) = state.ingest.memory();
    out.single("ingest_memory_bytes", "gauge", "Memory reserved by windows between arrival and ack.", in_use as f64);
    out.single("ingest_memory_max_bytes", "gauge", "What they may reserve.", limit as f64);
    let (in_use, limit) = state.bodies_in_use_and_limit();
    out.single(
        "bodies_bytes",
        "gauge",
        "Memory taken by request bodies until they are answered, windows from agents until they are decoded.",
        in_use as f64,
    );
    out.single("bodies_max_bytes", "gauge", "What they may take.", limit as f64);
    let ready = if state.ingest.ready().is_ok() { 1.0 } else { 0.0 };
    out.single("ready", "gauge", "1 while windows are taken.", ready);
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
    out.family("agent_sampled", "gauge", "Samples taken by agents seen in the last day.");
    for (service, account) in sums {
        out.sample("agent_sampled", &[("service", service)], account.sampled as f64);
    }
    out.family("agent_stored", "gauge", "Those of them that are stored.");
    for (service, account) in sums {
        out.sample("agent_stored", &[("service", service)], account.stored as f64);
    }
    out.family("agent_dropped", "gauge", "Those of them that were lost before they were sent.");
    for (service, account) in sums {
        for (reason, samples) in &account.drops {
            out.sample("agent_dropped", &[("service", service), ("reason", reason)], *samples as f64);
        }
    }
}

/// CPU seconds and resident bytes of this process.
fn own_process() -> Option<(f64, f64)> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new().ok()?;
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    let process = system.process(pid)?;
    Some((process.accumulated_cpu_time() as f64 / 1e3, process.memory() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let mut out = Exposition::default();
        out.sample("x", &[("service", "a\"} 1\ntephra_y 2"), ("b", "c\\")], 1.0);
        assert_eq!(out.0, "tephra_x{service=\"a\\\"} 1\\ntephra_y 2\",b=\"c\\\\\"} 1\n");
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
        assert!(cpu >= 0.0 && memory > 1e6, "{cpu} {memory}");
    }
}
