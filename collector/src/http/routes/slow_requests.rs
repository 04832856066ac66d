//! Why some requests of a route are slow: chosen by how long they took, or by a part of the map, against the others.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::analysis::slow::{ExplainError, Question, Selector, explain};
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::profile::report::PartialInfo;

/// In per cent, the smallest and the largest share of the slowest.
const SLOWEST_PERCENT: (f64, f64) = (0.01, 50.0);

pub(super) async fn compare(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let (service, range, labels) = (params.service()?, params.range(now_ms())?, params.labels()?);
    let route = super::requests::route(&mut params)?;
    let selector = selector(&mut params, range)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    params.finish()?;
    let Some(route) = route else {
        return Err(ApiError::invalid("the route is missing", "add route=, as /api/v1/requests names it"));
    };
    let answer = async {
        let name = service.to_string();
        let question = Question { service, range, labels, route: route.clone(), selector };
        let (explained, partial) = explain(&engine, &state.symbols, question).await?;
        let mut answer = json!(explained);
        answer["service"] = json!(name);
        answer["route"] = json!(route);
        answer["from_ms"] = json!(range.from_ms);
        answer["until_ms"] = json!(range.until_ms);
        if let Some(partial) = partial {
            answer["partial"] = json!(PartialInfo::from(partial));
        }
        Ok(answer)
    };
    Ok(Json(state.in_turn(answer).await?))
}

fn selector(params: &mut Params, range: TimeRange) -> Result<Selector, ApiError> {
    let percent = params.number("slowest", SLOWEST_PERCENT.0, SLOWEST_PERCENT.1)?;
    let (min_us, max_us) = (params.number("min_us", 0, u64::MAX)?, params.number("max_us", 1, u64::MAX)?);
    let from_ms = params.number("inside_from", 0, u64::MAX)?;
    let until_ms = params.number("inside_until", 1, u64::MAX)?;
    let is_inside = min_us.is_some() || max_us.is_some() || from_ms.is_some() || until_ms.is_some();
    match (percent, is_inside) {
        (Some(_), true) => Err(ApiError::invalid(
            "slowest= and a selection by min_us=, max_us=, inside_from= or inside_until= were both given",
            "choose one of them",
        )),
        (percent, false) => Ok(Selector::Slowest { percent: percent.unwrap_or(1.0) }),
        (None, true) => {
            let min_us = min_us.unwrap_or(0);
            if let Some(max_us) = max_us.filter(|max_us| *max_us <= min_us) {
                let message = format!("no duration is from {min_us} µs and less than {max_us} µs");
                return Err(ApiError::invalid(message, "give a max_us= above min_us="));
            }
            let inside = TimeRange {
                from_ms: from_ms.unwrap_or(range.from_ms).max(range.from_ms),
                until_ms: until_ms.unwrap_or(range.until_ms).min(range.until_ms),
            };
            if inside.from_ms >= inside.until_ms {
                let TimeRange { from_ms, until_ms } = range;
                let message = format!(
                    "inside_from= and inside_until= leave nothing of the range from {from_ms} until {until_ms}"
                );
                return Err(ApiError::invalid(message, "choose a part of the range"));
            }
            Ok(Selector::Inside { min_us, max_us, range: inside })
        }
    }
}

impl From<ExplainError> for ApiError {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::Query(error) => error.into(),
            ExplainError::Work(error) => error.into(),
        }
    }
}
