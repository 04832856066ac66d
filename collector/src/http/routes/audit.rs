//! `GET /api/v1/audit`: who did what cannot be undone.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;

const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 10_000;

pub(super) async fn audit(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let limit = match params.take("limit")? {
        None => LIMIT,
        Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
            let shown: String = text.chars().take(20).collect();
            ApiError::invalid(format!("limit is {shown:?}"), format!("write a number from 1 to {LIMIT_MAX}"))
        })?,
    };
    params.finish()?;
    Ok(Json(json!({ "deeds": state.access.deeds(limit).await? })))
}
