//! Symbol files that come by hand or from a build pipeline instead of from an agent.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::time::Duration;
use tephra_proto::ids::BuildId;
use tephra_proto::limits::SYMBOL_FILE_BYTES_MAX;

use crate::http::AppState;
use crate::http::body::{self, TIME_MAX};
use crate::http::error::{ApiError, ErrorKind};
use crate::http::params::Params;
use crate::ingest::Allowance;
use crate::symbols::MESSAGE_BYTES_MAX;
use crate::symbols::table::Detail;
use crate::symbols::upload::{Named, PlaceError, UploadError};
use crate::work::blocking;

/// What may be sent, as it comes: it goes to the disk frame by frame. The largest file over a link of 20 Mbit/s takes a quarter of an hour.
pub(super) const FILE: Allowance =
    Allowance { bytes: SYMBOL_FILE_BYTES_MAX, held: 1 << 20, time: Duration::from_secs(15 * 60) };

/// What the body of an agent's offer may be.
pub(super) const OFFER: Allowance = Allowance::message(MESSAGE_BYTES_MAX, TIME_MAX);

/// And of its upload, chunk by chunk. Agents give up as early.
pub(super) const UPLOAD: Allowance =
    Allowance { bytes: SYMBOL_FILE_BYTES_MAX, held: MESSAGE_BYTES_MAX, time: Duration::from_secs(1_800) };

pub(super) async fn upload(
    State(state): State<AppState>,
    mut params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let id = params.require("build_id", "build_id=4f0a\u{2026}: `file` and `readelf -n` print it")?;
    params.finish()?;
    let id = BuildId::parse(&id).map_err(|e| ApiError::invalid(e.to_string(), "take it from `readelf -n FILE`"))?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.ok_or_else(|| ApiError::invalid("the size of the file is not said", "send Content-Length"))?;
    let mut receiving = state.symbols.receive(id, length)?;
    let mut body = body;
    loop {
        let Some(frame) = receiving.next(body.frame()).await? else { break };
        let frame = frame.map_err(|error| body::failed(&error))?;
        let Ok(content) = frame.into_data() else { continue };
        receiving = blocking(move || receiving.write(&content).map(|()| receiving)).await??;
    }
    let Named { detail, less } = blocking(move || receiving.finish()).await??;
    let (lines, inlines) = (detail == Detail::Lines, detail >= Detail::Inlines);
    let mut answer = json!({ "build_id": id.to_string(), "file_bytes": length, "lines": lines, "inlines": inlines, "kept": less.is_some() });
    if let Some(less) = less {
        let (known, new) = (words(detail), words(less));
        answer["note"] = json!(format!(
            "this file tells less ({new}) than an earlier one of this build ({known}), whose names stay"
        ));
    }
    Ok(Json(answer))
}

/// What a table tells, for a person.
fn words(detail: Detail) -> &'static str {
    match detail {
        Detail::Names => "functions, without lines",
        Detail::Inlines => "functions and inlined frames, without lines",
        Detail::Lines => "functions, inlined frames and lines",
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::Io(_) => Self::internal(&message),
            UploadError::Place(PlaceError::TooSlow { .. }) => {
                Self::new(ErrorKind::TooSlow, message, "send it faster, or the output of `objcopy --only-keep-debug`")
            }
            UploadError::Place(_) | UploadError::Busy(_) => {
                Self::new(ErrorKind::Overloaded, message, "try again in a minute")
            }
            UploadError::Disk(_) => Self::new(ErrorKind::Unavailable, message, "free some space, then send it again"),
            UploadError::Unread(_) => Self::new(
                ErrorKind::Unavailable,
                message,
                "send it again in a few minutes; GET /api/v1/status says how it stands",
            ),
            UploadError::Size { .. } => {
                Self::new(ErrorKind::TooLarge, message, "send the output of `objcopy --only-keep-debug`")
            }
            _ => Self::invalid(message, "send the ELF file of this very build, unstripped, or its .debug file"),
        }
    }
}
