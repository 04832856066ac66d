//! `POST /profiling/v1/input`: a form with `event.json`, and the profiles that it speaks of as attachments.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::event::{BYTES_MAX, Event};
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::body;
use crate::http::doors::inflate::Encoding;
use crate::http::doors::pyroscope::types;
use crate::http::doors::received::{Refused, Windows, is_of_a_moment};
use crate::http::error::{ApiError, ErrorKind};
use crate::profile::pprof::decode;
use crate::profile::span::Said;

/// Parts of a form.
const PARTS_MAX: usize = 64;

/// How a zstd frame begins, and one of LZ4.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const LZ4: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Stores what an upload holds. Profiles that are not understood cost the others nothing; the answer names them where none is left.
pub(in crate::http) async fn input(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoding = Encoding::of(&headers)?;
    let body = body::read(body).await?;
    let body = crate::work::blocking(move || encoding.inflate(body)).await??;
    let (event, attachments) = form(content_type, body).await?;
    let event = Event::read(&event)?;
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let refused = Refused::default();
    let (noted, of) = (refused.clone(), attachments.len());
    let read = move || {
        let now = now_ms();
        let windows = attachments
            .into_iter()
            .flat_map(move |attached| noted.or_windows(attached.windows(&event, now, retention_ms)));
        Ok::<_, ApiError>((windows, ()))
    };
    state.ingest.append_profile(read).await?;
    match refused.told() {
        Some((refused, error)) if refused == of => Err(error),
        _ => Ok(StatusCode::OK.into_response()),
    }
}

/// A profile of an upload.
struct Attached {
    /// Such as `delta-heap.pprof`.
    name: String,
    content: Bytes,
}

impl Attached {
    fn windows(self, event: &Event, now_ms: u64, retention_ms: u64) -> Result<Windows, ApiError> {
        let stem = self.name.strip_suffix(".pprof").unwrap_or(&self.name);
        let (is_delta, kind) = stem.strip_prefix("delta-").map_or((false, stem), |kind| (true, kind));
        let since_start = |what: &str| {
            ApiError::invalid(
                format!("{:?} holds {what} since the start of the process, and no profile of a time", self.name),
                "leave delta profiles switched on: they are by default",
            )
        };
        if self.name.ends_with(".jfr") {
            let hint = "convert it with async-profiler's jfrconv to pprof and import that";
            return Err(ApiError::new(ErrorKind::MediaType, format!("{:?} is in Java's format JFR", self.name), hint));
        }
        if !is_delta && matches!(kind, "mutex" | "block") {
            return Err(since_start("what was waited for"));
        }
        let mut imported = decode(&inflated(self.content.clone(), &self.name)?)?;
        types::name_types(&mut imported.payload, kind_of(kind));
        if !is_delta && kind == "heap" {
            let of = |series: &tephra_proto::v1::Series| {
                series.r#type.as_ref().is_some_and(|t| t.name.starts_with("alloc_"))
            };
            imported.payload.series.retain(|series| !of(series));
            if imported.payload.series.is_empty() {
                return Err(since_start("what was allocated"));
            }
        }
        let said = Said {
            at_ms: event.at_ms,
            duration_ms: event.duration_ms,
            own_start_ns: imported.time_nanos,
            own_duration_ns: imported.duration_nanos,
            is_of_a_moment: is_of_a_moment(&imported.payload),
        };
        Ok(event.origin.windows(imported.payload, said, now_ms, retention_ms)?.0.collect())
    }
}

/// What kind of profile a file is, as Pyroscope calls them: by it types of the same name are told apart.
fn kind_of(stem: &str) -> &'static str {
    match stem {
        "cpu" => "process_cpu",
        "heap" => "memory",
        "mutex" => "mutex",
        "block" => "block",
        "goroutines" | "goroutine" => "goroutine",
        _ => "",
    }
}

/// The profile in an attachment, however it is compressed. Blocks.
fn inflated(content: Bytes, name: &str) -> Result<Bytes, ApiError> {
    if content.starts_with(&ZSTD) {
        return Encoding::Zstd.inflate(content);
    }
    if content.starts_with(&LZ4) {
        return Err(ApiError::new(
            ErrorKind::MediaType,
            format!("{name:?} is compressed with LZ4"),
            "update the library: newer ones compress with gzip or zstd",
        ));
    }
    // What is gzipped says so itself, where it is read.
    Ok(content)
}

async fn form(content_type: &str, body: Bytes) -> Result<(Bytes, Vec<Attached>), ApiError> {
    let damaged = |error: multer::Error| {
        ApiError::invalid(
            format!("the form is not understood: {error}"),
            "send multipart/form-data with event.json and its attachments",
        )
    };
    let boundary = multer::parse_boundary(content_type).map_err(damaged)?;
    let stream = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>(body) });
    let mut form = multer::Multipart::new(stream, boundary);
    let (mut event, mut attachments, mut parts) = (None, Vec::new(), 0);
    while let Some(part) = form.next_field().await.map_err(damaged)? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(ApiError::invalid(
                format!("the form has more than {PARTS_MAX} parts"),
                "send fewer profiles at once",
            ));
        }
        let name: String = part.file_name().or(part.name()).unwrap_or_default().chars().take(64).collect();
        let is_event = part.name() == Some("event") || name == "event.json";
        // Metrics and where code comes from are no profiles.
        if is_event {
            let text = part.bytes().await.map_err(damaged)?;
            if text.len() > BYTES_MAX {
                let message = format!("event.json has {} bytes, limit {BYTES_MAX}", text.len());
                return Err(ApiError::new(ErrorKind::TooLarge, message, "send fewer tags"));
            }
            event = Some(text);
        } else if name.ends_with(".pprof") || name.ends_with(".jfr") {
            attachments.push(Attached { name, content: part.bytes().await.map_err(damaged)? });
        }
    }
    let event = event.ok_or_else(|| {
        ApiError::invalid(
            "the form has no part \"event\"",
            "update the library: version 4 of its protocol sends event.json",
        )
    })?;
    Ok((event, attachments))
}
