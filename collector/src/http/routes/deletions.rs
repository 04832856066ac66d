//! Deleting for good: a service with all that is stored of it, or what carries one trace id.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use tephra_proto::ids::TraceId;
use tracing::info;

use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::asker::Asker;
use crate::http::error::ApiError;
use crate::http::params::Params;

pub(super) async fn service(
    State(state): State<AppState>,
    Asker(asker): Asker,
    mut params: Params,
) -> Result<Json<Value>, ApiError> {
    let service = params.service()?;
    params.finish()?;
    if !state.store.delete_service(service.as_str(), now_ms()).await? {
        let message = format!("no data was ever received from service {:?}", service.as_str());
        return Err(ApiError::not_found(message, "GET /api/v1/services lists what there is"));
    }
    info!(service = service.as_str(), %asker, "a service was deleted, with all that was stored of it");
    Ok(Json(json!({ "deleted": service.as_str() })))
}

pub(super) async fn trace(
    State(state): State<AppState>,
    Asker(asker): Asker,
    Path(trace_id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.finish()?;
    let trace_id = TraceId::parse(&trace_id)?;
    state.in_turn(async { Ok(state.engine.delete_trace(trace_id).await?) }).await?;
    info!(%trace_id, %asker, "a trace was deleted");
    Ok(Json(json!({ "deleted": trace_id.to_string() })))
}
