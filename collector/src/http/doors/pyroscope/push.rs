//! `push.v1.PusherService/Push`: series of gzipped pprof profiles, as gRPC or Connect.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;

use super::stored::{Told, windows};
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::body::TIME_MAX;
use crate::http::doors::json::{Holds, Shape, many, one};
use crate::http::doors::received::{Origin, Refused, Windows};
use crate::http::doors::rpc::Call;
use crate::http::error::ApiError;
use crate::ingest::Allowance;
use crate::profile::pprof::{PPROF_BYTES_MAX, decode};
use crate::profile::wire::{Misread, Wire};

/// What a push may be.
pub(in crate::http) const PUSH: Allowance = Allowance::whole(PPROF_BYTES_MAX, TIME_MAX);

/// Profiles of one push.
const PROFILES_MAX: usize = 1_024;

/// Labels of one series.
const LABELS_MAX: usize = 256;

const LABEL: Shape = Shape { fields: &[one(1, "name", Holds::Text), one(2, "value", Holds::Text)] };
const SAMPLE: Shape = Shape { fields: &[one(1, "rawProfile", Holds::Bytes), one(2, "ID", Holds::Text)] };
const SERIES: Shape =
    Shape { fields: &[many(1, "labels", Holds::Message(&LABEL)), many(2, "samples", Holds::Message(&SAMPLE))] };
const REQUEST: Shape = Shape { fields: &[many(1, "series", Holds::Message(&SERIES))] };

/// Stores what a push holds. Profiles that are not understood cost the others nothing: these are stored, and the answer names those.
pub(in crate::http) async fn push(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let call = match Call::read(&headers, body).await {
        Ok(call) => call,
        Err(response) => return response,
    };
    let speaks = call.speaks();
    let retention_ms = state.store.options().retention.as_millis() as u64;
    let refused = Refused::default();
    let noted = refused.clone();
    let read = move || {
        let message = call.message(&REQUEST)?;
        let told = Told { at_ms: None, duration_ms: None, now_ms: now_ms(), retention_ms };
        let windows = profiles(&message)?.into_iter().flat_map(move |profile| noted.or_windows(profile.windows(told)));
        Ok::<_, ApiError>((windows, ()))
    };
    match state.ingest.append_profile(read).await.and_then(|_| refused.told().map_or(Ok(()), |(_, error)| Err(error))) {
        Ok(()) => speaks.answer(Vec::new(), &Shape::EMPTY),
        Err(error) => speaks.refuse(error),
    }
}

/// One of them, still packed.
struct Packed {
    labels: Arc<Vec<(String, String)>>,
    pprof: Bytes,
}

impl Packed {
    fn windows(&self, told: Told) -> Result<Windows, ApiError> {
        let name = self.labels.iter().find(|(name, _)| name == "__name__").map_or("", |(_, value)| value);
        let labels = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let origin = Origin::of(labels, None, "pyroscope")?;
        windows(decode(&self.pprof)?, name, &origin, told)
    }
}

fn profiles(request: &Bytes) -> Result<Vec<Packed>, ApiError> {
    let mut profiles = Vec::new();
    for series in fields(request, 1) {
        let series = series.map_err(misread)?;
        let labels = fields(series, 1).map(|label| label.and_then(pair)).take(LABELS_MAX + 1);
        let labels = labels.collect::<Result<Vec<_>, _>>().map_err(misread)?;
        if labels.len() > LABELS_MAX {
            let message = format!("a series has more than {LABELS_MAX} labels");
            return Err(ApiError::invalid(message, "keep those that people filter by"));
        }
        let labels = Arc::new(labels);
        for sample in fields(series, 2) {
            let pprof = fields(sample.map_err(misread)?, 1).next().unwrap_or(Ok(&[])).map_err(misread)?;
            profiles.push(Packed { labels: labels.clone(), pprof: request.slice_ref(pprof) });
            if profiles.len() > PROFILES_MAX {
                let message = format!("the push has more than {PROFILES_MAX} profiles");
                return Err(ApiError::invalid(message, "send fewer at once"));
            }
        }
    }
    Ok(profiles)
}

/// The messages and texts of one field.
fn fields(message: &[u8], wanted: u64) -> impl Iterator<Item = Result<&[u8], Misread>> {
    Wire(message).filter_map(move |field| match field {
        Ok((number, value)) => (number == wanted).then(|| value.bytes()),
        Err(misread) => Some(Err(misread)),
    })
}

fn pair(label: &[u8]) -> Result<(String, String), Misread> {
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let text = |number| fields(label, number).last().map_or(Ok(String::new()), |text| text.map(lossy));
    Ok((text(1)?, text(2)?))
}

fn misread(misread: Misread) -> ApiError {
    ApiError::invalid(format!("the push is not understood: {misread}"), "send push.v1.PushRequest")
}
