//! The whole HTTP API in OpenAPI's terms. The document is written by hand, in `openapi.json` beside `API.md`: a test compares it with the
//! routes, with who may ask, and with the parameters that each path knows.

use axum::http::HeaderMap;
use axum::response::Response;

use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::respond::Payload;

/// The document.
const DOCUMENT: &str = include_str!("../../../openapi.json");

pub(super) async fn document(headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    params.finish()?;
    Ok(Payload::new(&headers, "application/json", DOCUMENT.as_bytes().to_vec()).into_response())
}
