//! `POST /ingest?name=app{labels}&from=…&until=…`: one profile, as its older SDKs upload it. In a multipart form it is a pprof profile with
//! notes on its types; otherwise `format` says what it is, and without it the body is folded stacks.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tephra_proto::v1;

use super::application;
use super::stored::{Told, windows};
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::body::{self, TIME_MAX};
use crate::http::doors::inflate::Encoding;
use crate::http::doors::received::{Origin, Windows, is_of_a_moment};
use crate::http::error::{ApiError, ErrorKind};
use crate::ingest::Allowance;
use crate::profile::formats::{self, Asked};
use crate::profile::pprof::{PPROF_BYTES_MAX, decode};
use crate::profile::span::Said;

/// What an upload may be.
pub(in crate::http) const UPLOAD: Allowance = Allowance::whole(PPROF_BYTES_MAX, TIME_MAX);

/// Samples a second, where nobody says how many.
const RATE: u64 = 100;

/// Parts of a form, and bytes of its notes.
const PARTS_MAX: usize = 16;
const NOTES_BYTES_MAX: usize = 64 << 10;

/// Stores a profile. The answer is empty, as its clients expect it.
pub(in crate::http) async fn upload(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let asked = Upload::of(uri.query().unwrap_or_default())?;
    let format = Format::of(asked.format.as_deref(), &headers)?;
    let encoding = Encoding::of(&headers)?;
    let body = body::read(body).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (body, notes, encoding) = match format {
        // What was compressed on its way is the form, and not the profile in it.
        Format::Form => {
            let inflated = tokio::task::spawn_blocking(move || encoding.inflate(body)).await;
            let (profile, notes) = form(content_type, inflated.map_err(|error| ApiError::internal(&error))??).await?;
            (profile, notes, Encoding::Identity)
        }
        _ => (body, Notes::default(), encoding),
    };
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let read = move || {
        let told = asked.told(now_ms(), retention_ms);
        Ok::<_, ApiError>((asked.windows(format, &encoding.inflate(body)?, &notes, told)?, ()))
    };
    state.ingest.append_profile(read).await?;
    Ok(StatusCode::OK.into_response())
}

/// What an upload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A form whose part `profile` is pprof.
    Form,
    Pprof,
    /// A stack and a number per line.
    Folded,
    /// A stack per line.
    Lines,
    /// speedscope's JSON.
    Speedscope,
}

impl Format {
    fn of(said: Option<&str>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match said {
            Some("pprof") if is_form(content_type) => Ok(Self::Form),
            Some("pprof") => Ok(Self::Pprof),
            Some("lines") => Ok(Self::Lines),
            Some("speedscope") => Ok(Self::Speedscope),
            Some("groups" | "folded") => Ok(Self::Folded),
            None if is_form(content_type) => Ok(Self::Form),
            None => Ok(Self::Folded),
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                Err(ApiError::new(
                    ErrorKind::MediaType,
                    format!("format={shown:?} is not taken"),
                    "send pprof (format=pprof, or a multipart form), folded stacks (format=folded), format=lines or format=speedscope",
                ))
            }
        }
    }
}

fn is_form(content_type: &str) -> bool {
    content_type.to_ascii_lowercase().contains("multipart/form-data")
}

/// What the query says.
#[derive(Debug)]
struct Upload {
    labels: Vec<(String, String)>,
    format: Option<String>,
    from_ms: Option<u64>,
    until_ms: Option<u64>,
    rate: u64,
    units: String,
    spy: String,
}

impl Upload {
    /// SDKs say more than is of use here: the rest is passed over.
    fn of(query: &str) -> Result<Self, ApiError> {
        let given: BTreeMap<String, String> =
            form_urlencoded::parse(query.as_bytes()).into_owned().filter(|(_, value)| !value.is_empty()).collect();
        let get = |name: &str| given.get(name).map(String::as_str);
        let name = get("name").ok_or_else(|| {
            ApiError::invalid("\"name\" is missing", "send such as name=checkout{version=v2}: whose profile it is")
        })?;
        Ok(Self {
            labels: application::labels(name)?,
            format: get("format").map(str::to_owned),
            from_ms: time("from", get("from"))?,
            until_ms: time("until", get("until"))?,
            rate: get("sampleRate").and_then(|rate| rate.parse().ok()).filter(|rate| *rate > 0).unwrap_or(RATE),
            units: get("units").unwrap_or("samples").to_owned(),
            spy: get("spyName").unwrap_or("pyroscope").to_owned(),
        })
    }

    fn told(&self, now_ms: u64, retention_ms: u64) -> Told {
        let duration_ms = self.until_ms.zip(self.from_ms).map(|(until, from)| until.saturating_sub(from));
        Told { at_ms: self.from_ms, duration_ms: duration_ms.filter(|ms| *ms > 0), now_ms, retention_ms }
    }

    fn windows(&self, format: Format, body: &[u8], notes: &Notes, told: Told) -> Result<Windows, ApiError> {
        let mut labels = self.labels.clone();
        let stacks = matches!(format, Format::Folded | Format::Lines).then(|| Stacks::of(&mut labels, self));
        let origin = Origin::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), None, &self.spy)?;
        let Some(stacks) = stacks else {
            let imported = match format {
                Format::Speedscope => formats::decode_in(formats::Format::Speedscope, body, &Asked::default())?,
                _ => decode(body)?,
            };
            let name = match format {
                Format::Speedscope => String::new(),
                _ => notes.name(&imported.payload),
            };
            return windows(imported, &name, &origin, told);
        };
        let payload = stacks.read(body, format)?;
        let said = Said {
            at_ms: told.at_ms,
            duration_ms: told.duration_ms,
            is_of_a_moment: is_of_a_moment(&payload),
            ..Said::default()
        };
        Ok(origin.windows(payload, said, told.now_ms, told.retention_ms)?.0.collect())
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds, told apart by how many digits they have.
fn time(name: &str, given: Option<&str>) -> Result<Option<u64>, ApiError> {
    let Some(given) = given else { return Ok(None) };
    let number: u64 = given.parse().map_err(|_| {
        let shown: String = given.chars().take(32).collect();
        ApiError::invalid(format!("{name}={shown:?} is no time"), "send unix seconds, or milliseconds to nanoseconds")
    })?;
    Ok(Some(match given.len() {
        0..=11 => number.saturating_mul(1_000),
        12..=14 => number,
        15..=17 => number / 1_000,
        _ => number / 1_000_000,
    }))
}

/// What folded stacks measure: the application's name may end in it.
struct Stacks {
    profile_type: v1::ProfileType,
    /// What one of their numbers is worth.
    step: u64,
}

impl Stacks {
    /// Takes the end of the application's name, if it is a type.
    fn of(labels: &mut [(String, String)], asked: &Upload) -> Self {
        let service = labels.iter_mut().find(|(name, _)| name == "service_name");
        let suffix = service.and_then(|(_, service)| {
            let (application, suffix) = service.rsplit_once('.')?;
            let known = known_suffix(suffix)?;
            *service = application.to_owned();
            Some(known)
        });
        let by_units = || match asked.units.as_str() {
            "objects" => ("alloc_objects", "count"),
            "bytes" => ("alloc_space", "bytes"),
            "goroutines" => ("goroutine", "count"),
            "lock_nanoseconds" => ("mutex_delay", NANOSECONDS),
            "lock_samples" => ("mutex_contentions", "count"),
            _ => ("cpu", NANOSECONDS),
        };
        let (name, unit) = suffix.unwrap_or_else(by_units);
        let is_sampled = unit == NANOSECONDS && asked.units == "samples";
        let step = if is_sampled { 1_000_000_000 / asked.rate.min(1_000_000_000) } else { 1 };
        let is_gauge = matches!(name, "goroutine" | "inuse_objects" | "inuse_space");
        let kind = if is_gauge { v1::Kind::Gauge } else { v1::Kind::Counter };
        let period = if is_sampled { step } else { 0 };
        let profile_type = v1::ProfileType { name: name.to_owned(), unit: unit.to_owned(), kind: kind.into(), period };
        Self { profile_type, step }
    }

    fn read(self, body: &[u8], format: Format) -> Result<v1::WindowPayload, ApiError> {
        let format = if format == Format::Lines { formats::Format::Lines } else { formats::Format::Folded };
        let mut payload = formats::decode_in(format, body, &Asked::default())?.payload;
        for series in &mut payload.series {
            // The numbers are how often a stack was seen.
            (series.scale, series.samples) = (self.step, Vec::new());
            series.r#type = Some(self.profile_type.clone());
        }
        Ok(payload)
    }
}

const NANOSECONDS: &str = "nanoseconds";

fn known_suffix(suffix: &str) -> Option<(&'static str, &'static str)> {
    Some(match suffix {
        "cpu" | "itimer" => ("cpu", NANOSECONDS),
        "wall" => ("wall", NANOSECONDS),
        "alloc_objects" => ("alloc_objects", "count"),
        "alloc_space" => ("alloc_space", "bytes"),
        "inuse_objects" => ("inuse_objects", "count"),
        "inuse_space" => ("inuse_space", "bytes"),
        "goroutines" => ("goroutine", "count"),
        "mutex_count" => ("mutex_contentions", "count"),
        "mutex_duration" => ("mutex_delay", NANOSECONDS),
        "block_count" => ("block_contentions", "count"),
        "block_duration" => ("block_delay", NANOSECONDS),
        _ => return None,
    })
}

/// What a form says of the types of its profile.
#[derive(Debug, Default)]
struct Notes {
    types: BTreeMap<String, Note>,
}

/// `{"cumulative":false,"display-name":"mutex_count",…}`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Note {
    #[serde(rename = "display-name")]
    display_name: String,
}

impl Notes {
    /// What kind of profile it is, as newer clients name it.
    fn name(&self, payload: &v1::WindowPayload) -> String {
        let types = payload.series.iter().filter_map(|series| series.r#type.as_ref());
        let names: Vec<&str> = types
            .map(|of| {
                self.types
                    .get(&of.name)
                    .map(|note| note.display_name.as_str())
                    .filter(|name| !name.is_empty())
                    .unwrap_or(&of.name)
            })
            .collect();
        let any = |is: fn(&str) -> bool| names.iter().any(|name| is(name));
        let name = if any(|name| name == "wall") {
            "wall"
        } else if any(|name| name.contains("cpu")) {
            "process_cpu"
        } else if any(|name| name.starts_with("mutex_") || matches!(name, "contentions" | "delay")) {
            "mutex"
        } else if any(|name| name.starts_with("block_")) {
            "block"
        } else if any(|name| name.contains("goroutine")) {
            "goroutine"
        } else {
            "memory"
        };
        name.to_owned()
    }
}

/// The profile in a form, and what is said of it.
async fn form(content_type: &str, body: Bytes) -> Result<(Bytes, Notes), ApiError> {
    let damaged = |error: multer::Error| {
        ApiError::invalid(
            format!("the form is not understood: {error}"),
            "send multipart/form-data with a part \"profile\"",
        )
    };
    let boundary = multer::parse_boundary(content_type).map_err(damaged)?;
    let stream = futures_util::stream::once(async { Ok::<_, std::convert::Infallible>(body) });
    let mut form = multer::Multipart::new(stream, boundary);
    let (mut profile, mut notes, mut parts) = (None, Notes::default(), 0);
    while let Some(part) = form.next_field().await.map_err(damaged)? {
        parts += 1;
        if parts > PARTS_MAX {
            return Err(ApiError::invalid(
                format!("the form has more than {PARTS_MAX} parts"),
                "send one profile in it",
            ));
        }
        match part.name() {
            Some("profile") => profile = Some(part.bytes().await.map_err(damaged)?),
            Some("sample_type_config") => {
                let text = part.bytes().await.map_err(damaged)?;
                if text.len() > NOTES_BYTES_MAX {
                    let message = format!("sample_type_config has {} bytes, limit {NOTES_BYTES_MAX}", text.len());
                    return Err(ApiError::invalid(message, "name the types of this profile alone"));
                }
                let types = serde_json::from_slice(&text).map_err(|error| {
                    ApiError::invalid(format!("sample_type_config is not understood: {error}"), "send it as JSON")
                })?;
                notes = Notes { types };
            }
            // What clients of long ago send: the profile before, of whose sums this one's are to be taken off.
            Some("prev_profile") => {
                return Err(ApiError::invalid(
                    "the form holds a previous profile: sums since the start of the process, and no profile of a time",
                    "update the client: newer ones send what was added since the last upload",
                ));
            }
            _ => {}
        }
    }
    let profile =
        profile.ok_or_else(|| ApiError::invalid("the form has no part \"profile\"", "send the pprof profile in it"))?;
    Ok((profile, notes))
}
