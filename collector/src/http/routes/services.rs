//! What is there: services, profile types, labels.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use tephra_proto::label;

use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::profile::report::{PartialInfo, TypeInfo};
use crate::query::ServiceOverview;

pub(super) async fn services(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let range = params.range(now_ms())?;
    params.finish()?;
    let (services, partial) = state.in_turn(async { Ok(state.engine.services(range).await?) }).await?;
    let mut answer = json!({ "services": services.iter().map(service).collect::<Vec<_>>() });
    if let Some(partial) = partial {
        answer["partial"] = json!(PartialInfo::from(partial));
    }
    Ok(Json(answer))
}

fn service(s: &ServiceOverview) -> Value {
    json!({
        "name": s.name,
        "instances": s.instances,
        "types": s.types,
        "first_seen": s.first_seen_ms,
        "last_seen": s.last_seen_ms,
        "cpu_cores": s.cpu_cores,
        "spark": s.spark,
        "labels": s.labels,
    })
}

pub(super) async fn profile_types(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let service = params.service()?;
    params.finish()?;
    let types: Vec<TypeInfo> = state.engine.types(&service).await?.iter().map(TypeInfo::from).collect();
    Ok(Json(json!({ "types": types })))
}

pub(super) async fn labels(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let (service, range) = (params.service()?, params.range(now_ms())?);
    params.finish()?;
    Ok(Json(json!({ "labels": state.engine.labels(&service, range).await? })))
}

pub(super) async fn label_values(
    State(state): State<AppState>,
    Path(name): Path<String>,
    mut params: Params,
) -> Result<Json<Value>, ApiError> {
    label::check_name(&name)?;
    let (service, range) = (params.service()?, params.range(now_ms())?);
    params.finish()?;
    Ok(Json(json!({ "values": state.engine.label_values(&service, &name, range).await? })))
}
