//! The Model Context Protocol at `POST /mcp`, for assistants that look for causes: what can be asked here, as tools that answer in the
//! sentences and tables that are written anyway.
//!
//! The streamable HTTP transport (<https://modelcontextprotocol.io/specification/2025-06-18/basic/transports>), without sessions and without
//! streams: each message is answered by itself, with JSON. Tools only read.

mod message;
mod tools;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use self::message::{Code, Message, Refused};
use crate::http::AppState;
use crate::http::body;
use crate::http::error::ApiError;

/// Versions of the protocol that are spoken, the newest first.
const VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

const VERSION_HEADER: &str = "mcp-protocol-version";

const INSTRUCTIONS: &str = "Continuous profiles of services: CPU, allocations, live memory, waits, by function, as measured in production. Begin with \
     `services`. To find out what costs most, ask `top_functions`; what changed between two times, versions or labels, `diff`; why an alert fired, \
     `alert`; what leaks, `growth`; what one request did, `trace`. Times are RFC 3339, unix milliseconds, now or now-15m.";

/// Answers one message.
pub(in crate::http) async fn call(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let version = headers.get(VERSION_HEADER).map(|value| value.to_str().unwrap_or_default());
    if let Some(version) = version.filter(|version| !VERSIONS.contains(version)) {
        let shown: String = version.chars().take(32).collect();
        let message = format!("{VERSION_HEADER} is {shown:?}");
        return ApiError::invalid(message, format!("one of {}", VERSIONS.join(", "))).into_response();
    }
    let body = match body::read(body).await {
        Ok(body) => body,
        Err(error) => return error.into_response(),
    };
    let message = match Message::read(&body) {
        Ok(message) => message,
        Err(refused) => return (StatusCode::BAD_REQUEST, Json(refused.answer(&Value::Null))).into_response(),
    };
    // What expects no answer gets none: notifications, and answers to what was never asked.
    let Some(id) = message.id else { return StatusCode::ACCEPTED.into_response() };
    let answer = match answer(&state, &message.method, message.params).await {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(refused) => refused.answer(&id),
    };
    Json(answer).into_response()
}

async fn answer(state: &AppState, method: &str, params: Value) -> Result<Value, Refused> {
    match method {
        "initialize" => {
            let asked = params["protocolVersion"].as_str().unwrap_or_default();
            let version = VERSIONS.into_iter().find(|version| *version == asked).unwrap_or(VERSIONS[0]);
            Ok(json!({
                "protocolVersion": version,
                "capabilities": { "tools": { "listChanged": false } },
                "serverInfo": { "name": "tephra", "title": "Tephra", "version": env!("CARGO_PKG_VERSION") },
                "instructions": INSTRUCTIONS,
            }))
        }
        "ping" => Ok(json!({})),
        "tools/list" => Ok(json!({ "tools": tools::all() })),
        "tools/call" => {
            let name = params["name"].as_str().unwrap_or_default();
            let tool = tools::named(name).ok_or_else(|| {
                let shown: String = name.chars().take(64).collect();
                Refused::new(Code::Params, format!("there is no tool {shown:?}"))
            })?;
            // What is wrong with a question is for the one who asks it, and no fault of the protocol.
            let (text, is_error) = match tool.call(state, &params["arguments"]).await {
                Ok(text) => (text, false),
                Err(error) => (format!("{error}. {}", error.hint()), true),
            };
            Ok(json!({ "content": [{ "type": "text", "text": text }], "isError": is_error }))
        }
        _ => {
            let shown: String = method.chars().take(64).collect();
            Err(Refused::new(Code::Method, format!("there is no method {shown:?}")))
        }
    }
}
