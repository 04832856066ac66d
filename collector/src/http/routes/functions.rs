//! A function's requests: the routes it works for, how long these take, and traces in which it cost most.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tephra_proto::ids::TraceId;

use crate::analysis::function::{candidates, costliest, in_trace, routes_of};
use crate::analysis::requests::routes;
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::profile::report::{PartialInfo, TypeInfo};
use crate::query::{RequestsAsked, Selection};
use crate::work::blocking;

/// As long as names are stored.
const FUNCTION_BYTES_MAX: usize = tephra_proto::limits::STRING_BYTES_MAX;

/// A request's samples are in windows that started up to this long before it.
const WINDOW_MS: u64 = 60_000;

pub(super) async fn requests(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let selection = params.selection(now_ms())?;
    let function = params.require("function", "shop::tax::rate_for")?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())? / 3);
    params.finish()?;
    if function.len() > FUNCTION_BYTES_MAX {
        let message = format!("the function has {} bytes, limit {FUNCTION_BYTES_MAX}", function.len());
        return Err(ApiError::invalid(message, "copy it from a flame graph"));
    }
    let answer = async {
        let prepared = engine.prepare(&selection).await?;
        let labelled = engine.merge_by_labels(&prepared).await?;
        let Selection { service, labels, .. } = selection.clone();
        let asked = RequestsAsked { service, range: selection.range(), labels, step_ms: None };
        let over = engine.requests(&asked).await?;
        let (spans, of_spans) = engine.spans(&selection.service, selection.range(), &selection.labels).await?;
        let partial = labelled.merged.partial.or(of_spans).or(over.partial);
        let profile_type = TypeInfo::from(&labelled.merged.profile_type);
        let (symbols, name) = (state.symbols.clone(), function.clone());
        let (all, shares, found) = blocking(move || {
            let routes = routes(over.in_all(), &spans, over.covered_seconds());
            let (all, shares) = routes_of(&labelled, &name, &symbols, &routes);
            let found = candidates(&shares, &routes);
            (all, shares, found)
        })
        .await?;
        let looked_at = found.len();
        let mut costs = Vec::with_capacity(looked_at);
        for candidate in found {
            let Ok(trace) = TraceId::parse(&candidate.request.trace_id) else { continue };
            let around = TimeRange {
                from_ms: candidate.request.start_ms.saturating_sub(WINDOW_MS),
                until_ms: candidate.request.start_ms.saturating_add(candidate.request.duration_us / 1_000 + 1),
            };
            let of_trace = Selection { trace: Some(trace), ..selection.within(around) };
            let merged = engine.merge(&of_trace).await?;
            let (symbols, name) = (state.symbols.clone(), function.clone());
            let cost = blocking(move || in_trace(&merged, &name, &symbols)).await?;
            costs.push((candidate, cost));
        }
        let mut answer = json!({
            "function": function,
            "type": profile_type,
            "total": all.value,
            "samples": all.samples,
            "routes": shares,
            "traces": costliest(costs),
            "looked_at": looked_at,
        });
        if let Some(partial) = partial {
            answer["partial"] = json!(PartialInfo::from(partial));
        }
        Ok(answer)
    };
    Ok(Json(state.in_turn(answer).await?))
}
