//! Pins: a view that stays as it is, with its data, whatever the retention.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tephra_proto::ids::TraceId;
use tephra_proto::label;
use tracing::info;

use crate::base::clock::now_ms;
use crate::base::times::format_duration;
use crate::http::AppState;
use crate::http::asker::Asker;
use crate::http::body::read_json;
use crate::http::card_link::CardLink;
use crate::http::doors::debug_pprof;
use crate::http::error::ApiError;
use crate::http::pages;
use crate::http::params::Params;
use crate::http::previews::{self, Preview};
use crate::pins::{Frozen, FrozenError, freeze};
use crate::store::catalog::{NewPin, Pin, PinRange};

/// A pin is kept for a year unless somebody pins it again.
const KEPT_MS: u64 = 365 * 86_400_000;

const NOTE_BYTES_MAX: usize = 1_000;

/// Of a note in a page's title.
const NOTE_CHARS_SHOWN: usize = 120;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPinBody {
    url: String,
    note: Option<String>,
}

pub(super) async fn create(State(state): State<AppState>, body: Body) -> Result<(StatusCode, Json<Value>), ApiError> {
    let example = r#"{"url":"/s/checkout?from=now-1h","note":"before the fix"}"#;
    let NewPinBody { url, note } = read_json(body, example).await?;
    let note = note.unwrap_or_default();
    if note.len() > NOTE_BYTES_MAX || !note.chars().all(|c| c == '\n' || label::is_printable(c)) {
        let message = format!("the note has {} bytes, limit {NOTE_BYTES_MAX} of printable text", note.len());
        return Err(ApiError::invalid(message, "shorten the note"));
    }
    let now = now_ms();
    let Frozen { url, mut ranges, trace } = freeze(&url, now)?;
    if let Some(trace) = trace {
        ranges = ranges_of_trace(&state, trace).await?;
    }
    let pin = NewPin { url, note, answer: String::new(), expires_ms: now + KEPT_MS, ranges };
    let pin = state.store.keep_pin(pin, now).await?;
    let url = format!("/p/{}", pin.id);
    Ok((StatusCode::CREATED, Json(pin_json(&pin, &url))))
}

pub(super) async fn list(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let (from, until) = (params.time("from", now_ms())?, params.time("until", now_ms())?);
    params.finish()?;
    let pins = state.store.catalog().pins(from.unwrap_or(0), until.unwrap_or(now_ms() + 1)).await?;
    Ok(Json(json!({ "pins": pins.iter().map(|pin| pin_json(pin, &pin.pin.url)).collect::<Vec<_>>() })))
}

pub(super) async fn delete(
    State(state): State<AppState>,
    Asker(asker): Asker,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.finish()?;
    if !state.store.delete_pin(&id).await? {
        return Err(unknown(&id));
    }
    info!(pin = id, %asker, "a pin was deleted");
    Ok(Json(json!({ "deleted": id })))
}

fn unknown(id: &str) -> ApiError {
    let id: String = id.chars().take(64).collect();
    let hint = format!("pins are kept for {}; whoever sent the link may know its page", format_duration(KEPT_MS));
    ApiError::not_found(format!("there is no pin {id:?}"), hint)
}

pub(super) async fn show(
    State(state): State<AppState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    params.finish()?;
    match state.store.catalog().pin(&id).await? {
        Some(pin) => Ok(Json(pin_json(&pin, &pin.pin.url))),
        None => Err(unknown(&id)),
    }
}

/// The page of a pin, with its note in the head; the view says what is wrong with a pin. Or the file of what it shows.
pub(super) async fn page(
    State(state): State<AppState>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    card: CardLink,
) -> Result<Response, ApiError> {
    if let Some(id) = id.strip_suffix(debug_pprof::FILE) {
        let pin = state.store.catalog().pin(id).await?.ok_or_else(|| unknown(id))?;
        return debug_pprof::of_page(&state, &uri, &headers, &pin.pin.url).await;
    }
    let pin = state.store.catalog().pin(&id).await.ok().flatten();
    let preview = pin.map_or_else(
        || previews::of("/p/", "", now_ms()),
        |pin| {
            let (path, query) = pin.pin.url.split_once('?').unwrap_or((&pin.pin.url, ""));
            let shown = previews::of(path, query, now_ms());
            match pin.pin.note.lines().next().filter(|line| !line.is_empty()) {
                Some(note) => {
                    Preview { title: note.chars().take(NOTE_CHARS_SHOWN).collect(), description: shown.title }
                }
                None => shown,
            }
        },
    );
    Ok(pages::index(&headers, Some(&preview), &card))
}

async fn ranges_of_trace(state: &AppState, trace_id: TraceId) -> Result<Vec<PinRange>, ApiError> {
    let found = state.in_turn(async { Ok(state.engine.trace(trace_id).await?) }).await?;
    let Some(view) = found else {
        return Err(ApiError::not_found(
            format!("nothing was received for trace {trace_id}"),
            "there is nothing to keep",
        ));
    };
    let range =
        |service: &str| PinRange { service: service.to_owned(), from_ms: view.from_ms, until_ms: view.until_ms };
    Ok(view.services.iter().map(|service| range(&service.service)).collect())
}

fn pin_json(pin: &Pin, url: &str) -> Value {
    json!({
        "id": pin.id,
        "url": url,
        "note": pin.pin.note,
        "created": pin.created_ms,
        "expires": pin.pin.expires_ms,
    })
}

impl From<FrozenError> for ApiError {
    fn from(error: FrozenError) -> Self {
        Self::invalid(error.to_string(), error.hint())
    }
}
