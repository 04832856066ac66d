//! Values over time, with the events that explain them.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tephra_proto::label;

use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::revision::Revision;
use crate::profile::meaning::{self, Shown};
use crate::profile::report::PartialInfo;
use crate::store::catalog::Event;

/// A day: a longer step is a longer range's.
const STEP_SECONDS_MAX: u64 = 86_400;

pub(super) async fn timeline(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let now = now_ms();
    let selection = params.selection(now)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    let step_ms = params.number("step", 1, STEP_SECONDS_MAX)?.map(|seconds| seconds * 1_000);
    let by = params.take("by")?;
    params.finish()?;
    if let Some(by) = &by {
        label::check_name(by)?;
    }
    let service = Some(selection.service.as_str());
    let events = state.store.catalog().events(service, selection.from_ms, selection.until_ms, None).await?;
    let events = Value::from(events.iter().map(Event::to_json).collect::<Vec<_>>());
    let prepared = engine.prepare(&selection).await?;
    let revision = Revision::of(&state, &uri, &[&prepared], &events.to_string(), now);
    if let Some(unchanged) = revision.as_ref().and_then(|revision| revision.unchanged(&headers)) {
        return Ok(unchanged);
    }
    let answer = async { Ok(engine.timeline_prepared(&prepared, step_ms, by.as_deref()).await?) };
    let timeline = state.in_turn(answer).await?;
    let Shown { unit, factor } = meaning::over_time(&timeline.profile_type);
    let series: Vec<Value> = timeline
        .series
        .iter()
        .map(|series| {
            let points: Vec<_> = series.points.iter().map(|(at, value)| (at, value.map(|v| v * factor))).collect();
            let mut json = json!({ "label": series.label, "points": points });
            if series.rest {
                json["rest"] = true.into();
            }
            json
        })
        .collect();
    let mut answer = json!({ "step_ms": timeline.step_ms, "unit": unit, "series": series, "events": events });
    let response = match (timeline.partial, revision) {
        (Some(partial), _) => {
            answer["partial"] = json!(PartialInfo::from(partial));
            Json(answer).into_response()
        }
        (None, Some(revision)) => revision.mark(Json(answer).into_response()),
        (None, None) => Json(answer).into_response(),
    };
    Ok(response)
}
