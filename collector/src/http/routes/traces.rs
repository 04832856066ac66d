//! One trace across services.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tephra_proto::ids::TraceId;

use crate::analysis::requests::status_name;
use crate::analysis::{self, ViewOptions};
use crate::base::times::format_duration;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::respond::Payload;
use crate::profile::model::{Merged, SpanSummary};
use crate::profile::report::{PartialInfo, TypeInfo};
use crate::query::TraceService;
use crate::symbols::Symbols;
use crate::work::blocking;

pub(super) async fn trace(
    State(state): State<AppState>,
    Path(trace_id): Path<String>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    params.finish()?;
    let trace_id = TraceId::parse(&trace_id)?;
    let answer = async {
        let Some(view) = engine.trace(trace_id).await? else {
            let kept = format_duration(state.store.options().keep.traces.as_millis() as u64);
            return Err(ApiError::not_found(
                format!("nothing was received for trace {trace_id}"),
                format!(
                    "traces are kept for {kept}; a trace appears here once one of its requests used enough CPU or memory \
                     to be sampled, or was among the slowest"
                ),
            ));
        };
        let symbols = state.symbols.clone();
        let payload = blocking(move || {
            let services: Vec<Value> = view.services.iter().map(|service| service_json(service, &symbols)).collect();
            let mut json = json!({
                "trace_id": view.trace_id.to_string(), "from": view.from_ms, "until": view.until_ms, "services": services,
            });
            if let Some(partial) = view.partial {
                json["partial"] = json!(PartialInfo::from(partial));
            }
            Payload::new(&headers, "application/json", json.to_string().into_bytes())
        });
        Ok(payload.await?)
    };
    Ok(state.in_turn(answer).await?.into_response())
}

fn service_json(of: &TraceService, symbols: &Symbols) -> Value {
    let samples: Vec<Value> = of
        .samples
        .iter()
        .map(|sample| {
            let span = sample.span_id.map_or_else(String::new, |id| id.to_string());
            json!([sample.at_ms, span, sample.profile_type, sample.value])
        })
        .collect();
    json!({
        "service": of.service,
        "spans": of.spans.iter().map(span_json).collect::<Vec<_>>(),
        "types": of.types.iter().map(|merged| type_json(&of.service, merged, symbols)).collect::<Vec<_>>(),
        "samples": samples,
        "samples_left_out": of.samples_left_out,
    })
}

fn type_json(service: &str, merged: &Merged, symbols: &Symbols) -> Value {
    let view = analysis::flamegraph(service, merged, symbols, ViewOptions::default());
    json!({
        "type": TypeInfo::from(&merged.profile_type),
        "total": merged.total(),
        "samples": merged.samples(),
        "flame": view.flame().to_json_value(),
    })
}

fn span_json(span: &SpanSummary) -> Value {
    json!({
        "span_id": span.link.span_id.map_or_else(String::new, |id| id.to_string()),
        "route": &*span.route,
        "start_ms": span.start_ms,
        "duration_us": span.duration_us,
        "status": status_name(span.status),
    })
}
