//! How the collector itself is doing.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::base::clock::now_ms;
use crate::conditions::Condition;
use crate::http::AppState;
use crate::http::error::{ApiError, ErrorKind};
use crate::http::params::Params;
use crate::store::catalog::AgentStatus;

/// Agents that sent nothing for a day are gone.
pub(super) const AGENTS_SINCE_MS: u64 = 86_400_000;

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(state): State<AppState>) -> Result<&'static str, ApiError> {
    let not_ready = |why: String| {
        // Anybody may ask this: whoever may read finds the reason in the status.
        let why = if state.access.is_on() { "the collector is not ready".to_owned() } else { why };
        let hint = "agents keep their windows and send them again; free space, look after the database and the bucket, or restart";
        ApiError::new(ErrorKind::Unavailable, why, hint)
    };
    state.store.conditions().unready().map_or(Ok(()), Err).map_err(not_ready)?;
    state.ingest.ready().map_err(not_ready)?;
    state.store.ready().await.map_err(not_ready)?;
    Ok("ready\n")
}

pub(super) async fn status(State(state): State<AppState>, params: Params) -> Result<Json<Value>, ApiError> {
    params.finish()?;
    let catalog = state.store.catalog();
    let totals = catalog.totals().await?;
    let agents = catalog.agents(now_ms().saturating_sub(AGENTS_SINCE_MS)).await?;
    let ingest = state.ingest.metrics().snapshot();
    let refused: BTreeMap<&str, u64> = ingest.refused_total.iter().copied().filter(|(_, count)| *count > 0).collect();
    let symbols = state.symbols.stats();
    let (memory_bytes, memory_max_bytes) = state.ingest.memory();
    let (bodies_bytes, bodies_max_bytes) = state.bodies_in_use_and_limit();
    let overflows = state.ingest.overflows();
    let overflows: Vec<Value> =
        overflows.iter().map(|over| json!({ "service": over.service, "windows": over.windows })).collect();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": state.started.elapsed().as_secs(),
        "data_dir": state.store.data_dir().display().to_string(),
        "retention_s": state.store.options().retention.as_secs(),
        "store": {
            "segments": totals.segments,
            "bytes": totals.bytes,
            "windows": totals.windows,
            "samples": totals.samples,
            "quarantined": totals.quarantined,
            "damaged_windows": state.store.damaged_windows(),
        },
        "ingest": {
            "ready": state.ingest.ready().is_ok(),
            "windows_total": ingest.windows_total,
            "samples_total": ingest.samples_total,
            "duplicates_total": ingest.duplicates_total,
            "overloaded_total": ingest.overloaded_total,
            "unavailable_total": ingest.unavailable_total,
            "full_total": ingest.full_total,
            "overflowed_total": ingest.overflowed_total,
            "relabelled_total": ingest.relabelled_total,
            "overflows": overflows,
            "series_max": state.ingest.caps().series_max,
            "memory_bytes": memory_bytes,
            "memory_max_bytes": memory_max_bytes,
            "bodies_bytes": bodies_bytes,
            "bodies_max_bytes": bodies_max_bytes,
            "refused": refused,
        },
        "conditions": state.store.conditions().all().iter().map(condition).collect::<Vec<_>>(),
        "agents": agents.iter().map(agent).collect::<Vec<_>>(),
        "scrape": state.scrapes.to_json(),
        "symbols": { "builds": symbols.builds, "bytes": symbols.bytes },
        "disk_free_bytes": state.store.free_bytes()?,
    })))
}

fn condition(condition: &Condition) -> Value {
    json!({
        "kind": condition.kind,
        "subject": condition.subject,
        "severity": condition.severity.name(),
        "message": condition.message,
        "since_ms": condition.since_ms,
    })
}

fn agent(agent: &AgentStatus) -> Value {
    let account = &agent.accounting;
    // Which part of the CPU time the process used its samples stand for.
    let covered = if account.process_cpu_ns == 0 { 0.0 } else { account.cpu_ns as f64 / account.process_cpu_ns as f64 };
    json!({
        "service": agent.service,
        "instance": agent.instance,
        "last_seen": agent.last_seen_ms,
        "agent_version": agent.version,
        "sampled": account.sampled,
        "stored": account.stored,
        "dropped": account.drops,
        "cpu_covered_share": covered,
    })
}
