//! The answer to a collector that asks before it lets go of much.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tracing::info;

use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::asker::Asker;
use crate::http::error::ApiError;
use crate::http::params::Params;

pub(super) async fn confirm(
    State(state): State<AppState>,
    Asker(asker): Asker,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.finish()?;
    let confirmed = state.store.confirm_retention(now_ms()).await?;
    let (segments, bytes) = (confirmed.segments, confirmed.bytes);
    info!(segments, bytes, %asker, "retention was confirmed: what is past its time goes");
    Ok(Json(json!({ "segments": segments, "bytes": bytes })))
}
