//! OpenTelemetry's protocol for profiles: `ProfilesService/Export` by gRPC, and `POST /v1development/profiles` with protobuf or JSON.
//!
//! Profiles that cannot be stored cost the others nothing: they are counted in the answer's partial success, as the protocol has it
//! (<https://opentelemetry.io/docs/specs/otlp/#partial-success>).

mod shape;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::json::{Holds, Shape, one};
use super::received::{Origin, Refused, Windows, is_of_a_moment};
use super::rpc::{Call, Speaks};
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::body::TIME_MAX;
use crate::http::error::ApiError;
use crate::ingest::Allowance;
use crate::profile::otlp::{Part, decode};
use crate::profile::pprof::PPROF_BYTES_MAX;
use crate::profile::span::Said;

/// What an export may be.
pub(in crate::http) const EXPORT: Allowance = Allowance::whole(PPROF_BYTES_MAX, TIME_MAX);

/// `ExportProfilesServiceResponse`.
const ANSWER: Shape = Shape { fields: &[one(1, "partialSuccess", Holds::Message(&PARTIAL))] };
const PARTIAL: Shape =
    Shape { fields: &[one(1, "rejectedProfiles", Holds::Int64), one(2, "errorMessage", Holds::Text)] };

#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_profiles: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// `google.rpc.Status`: how errors are told over HTTP.
#[derive(Clone, PartialEq, prost::Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Stores what an export holds.
pub(in crate::http) async fn export(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let call = match Call::read(&headers, body).await {
        Ok(call) => call,
        Err(response) => return response,
    };
    let speaks = call.speaks();
    match store(&state, call).await {
        Ok(refused) => answer(speaks, refused.told()),
        Err(error) => refuse(speaks, error),
    }
}

async fn store(state: &AppState, call: Call) -> Result<Refused, ApiError> {
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let refused = Refused::default();
    let noted = refused.clone();
    let read = move || {
        let message = call.message(&shape::REQUEST)?;
        let now = now_ms();
        let windows = decode(&message)?.flat_map(move |part| {
            let read = part.map_err(ApiError::from).and_then(|part| windows(part, now, retention_ms));
            noted.or_windows(read)
        });
        Ok::<_, ApiError>((windows, ()))
    };
    state.ingest.append_profile(read).await?;
    Ok(refused)
}

fn windows(part: Part, now_ms: u64, retention_ms: u64) -> Result<Windows, ApiError> {
    let Part { resource, imported } = part;
    let attributes = resource.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let value_of = |name: &str| resource.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value);
    // Who profiles a whole machine knows no services, but their programs.
    let otherwise = value_of("process.executable.name").map_or("unknown_service", |name| name.as_str());
    let origin = Origin::of(attributes, Some(otherwise), "otlp")?;
    let said = Said {
        own_start_ns: imported.time_nanos,
        own_duration_ns: imported.duration_nanos,
        is_of_a_moment: is_of_a_moment(&imported.payload),
        ..Said::default()
    };
    Ok(origin.windows(imported.payload, said, now_ms, retention_ms)?.0.collect())
}

fn answer(speaks: Speaks, refused: Option<(usize, ApiError)>) -> Response {
    let partial_success = refused.map(|(refused, error)| PartialSuccess {
        rejected_profiles: refused as i64,
        error_message: format!("{error}: {}", error.hint()),
    });
    let message = prost::Message::encode_to_vec(&Answer { partial_success });
    match speaks {
        Speaks::Proto => protobuf(StatusCode::OK, message),
        _ => speaks.answer(message, &ANSWER),
    }
}

fn refuse(speaks: Speaks, error: ApiError) -> Response {
    if speaks != Speaks::Proto {
        return speaks.refuse(error);
    }
    let response = speaks.refuse(error.clone());
    let status = error.into_status();
    let body = Status { code: status.code() as i32, message: status.message().to_owned() };
    protobuf(response.status(), prost::Message::encode_to_vec(&body))
}

fn protobuf(status: StatusCode, message: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(message));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    response
}
