//! The requests of one service: by route, over time, and as a map of how long they took when.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::analysis::requests::{Outcomes, errors, routes, together};
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::profile::durations::Durations;
use crate::profile::model::SpanStatus;
use crate::profile::report::PartialInfo;
use crate::query::{RequestsAsked, RequestsOver};
use crate::work::blocking;

const ROUTE_BYTES_MAX: usize = 1_024;

/// A day: a longer step is a longer range's.
const STEP_SECONDS_MAX: u64 = 86_400;

/// Columns of a map for which no step is asked.
const COLUMNS_DEFAULT: u64 = 240;

/// Routes of which values over time are told.
const LINES_MAX: usize = 20;

pub(super) async fn requests(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let asked = asked(&mut params)?;
    let route = route(&mut params)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    params.finish()?;
    let answer = async {
        let over = engine.requests(&asked).await?;
        let (spans, cut) = engine.spans(&asked.service, asked.range, &asked.labels).await?;
        let answer = blocking(move || {
            let counted = over.in_all().filter(|(name, _)| route.as_ref().is_none_or(|route| route == name));
            let routes = routes(counted, &spans, over.covered_seconds());
            let mut answer = json!({ "routes": routes });
            if asked.step_ms.is_some() {
                for route in answer["routes"].as_array_mut().into_iter().flatten().take(LINES_MAX) {
                    let points = points(&over, route["route"].as_str().unwrap_or_default());
                    route["points"] = points.into();
                }
                answer["step_ms"] = over.step_ms.into();
            }
            // That not all examples were looked at says nothing of the counts.
            if let Some(partial) = over.partial.or(cut.filter(|cut| !cut.is_cut())) {
                answer["partial"] = json!(PartialInfo::from(partial));
            }
            answer
        });
        Ok(answer.await?)
    };
    Ok(Json(state.in_turn(answer).await?))
}

/// One column for each step of time: how many requests took how long.
pub(super) async fn heatmap(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let mut asked = asked(&mut params)?;
    let route = route(&mut params)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    params.finish()?;
    asked.step_ms = asked.step_ms.or_else(|| Some(step_for(asked.range)));
    let answer = async {
        let over = engine.requests(&asked).await?;
        let answer = blocking(move || {
            let mut columns: BTreeMap<usize, Durations> = BTreeMap::new();
            let mut failed: BTreeMap<usize, u64> = BTreeMap::new();
            let wanted = over.routes.iter().filter(|(name, _)| route.as_ref().is_none_or(|route| **route == ***name));
            for (step, outcomes) in wanted.flat_map(|(_, outcomes)| by_step(outcomes)) {
                columns.entry(step).or_default().add(&together(&outcomes));
                *failed.entry(step).or_default() += errors(&outcomes);
            }
            let column = |step: usize| {
                let cells = columns.get(&step).map(Durations::bins).unwrap_or_default();
                cells.iter().flat_map(|(bin, requests)| [u64::from(*bin), *requests]).collect::<Vec<_>>()
            };
            let steps = 0..over.covered_ms.len();
            let mut answer = json!({
                "from": over.start_ms,
                "step_ms": over.step_ms,
                "bins_per_doubling": tephra_proto::durations::BINS_PER_DOUBLING,
                "covered_ms": over.covered_ms,
                "columns": steps.clone().map(column).collect::<Vec<_>>(),
                "errors": steps.map(|step| failed.get(&step).copied().unwrap_or(0)).collect::<Vec<_>>(),
            });
            if let Some(partial) = over.partial {
                answer["partial"] = json!(PartialInfo::from(partial));
            }
            answer
        });
        Ok(answer.await?)
    };
    Ok(Json(state.in_turn(answer).await?))
}

fn asked(params: &mut Params) -> Result<RequestsAsked, ApiError> {
    let (service, range, labels) = (params.service()?, params.range(now_ms())?, params.labels()?);
    let step_ms = params.number("step", 1, STEP_SECONDS_MAX)?.map(|seconds| seconds * 1_000);
    Ok(RequestsAsked { service, range, labels, step_ms })
}

pub(super) fn route(params: &mut Params) -> Result<Option<String>, ApiError> {
    let route = params.take("route")?;
    if let Some(route) = route.as_ref().filter(|route| route.len() > ROUTE_BYTES_MAX) {
        let message = format!("the route has {} bytes, limit {ROUTE_BYTES_MAX}", route.len());
        return Err(ApiError::invalid(message, "copy it from the answer without route="));
    }
    Ok(route)
}

/// The shortest step that gives few enough columns, and whose columns whole windows of a level fill.
fn step_for(range: TimeRange) -> u64 {
    const STEPS_S: [u64; 9] = [10, 20, 30, 60, 120, 300, 600, 1_800, 3_600];
    let fits = |step_ms: &u64| range.millis() / step_ms <= COLUMNS_DEFAULT;
    let day_ms = STEP_SECONDS_MAX * 1_000;
    let coarse = || (range.millis() / COLUMNS_DEFAULT).div_ceil(day_ms).max(1) * day_ms;
    STEPS_S.map(|seconds| seconds * 1_000).into_iter().find(fits).unwrap_or_else(coarse)
}

fn by_step(outcomes: &BTreeMap<SpanStatus, BTreeMap<usize, Durations>>) -> BTreeMap<usize, Outcomes> {
    let mut steps: BTreeMap<usize, Outcomes> = BTreeMap::new();
    for (status, durations) in outcomes {
        for (step, durations) in durations {
            steps.entry(*step).or_default().entry(*status).or_default().add(durations);
        }
    }
    steps
}

/// For each step: its start, requests, those that failed, p50 and p99 in µs; without the last two where nothing ended.
fn points(over: &RequestsOver, route: &str) -> Vec<Value> {
    let steps = over.routes.get(route).map(by_step).unwrap_or_default();
    let point = |(step, covered_ms): (usize, &u64)| {
        let at_ms = over.start_ms + step as u64 * over.step_ms;
        match steps.get(&step) {
            Some(outcomes) => {
                let all = together(outcomes);
                json!([at_ms, all.count(), errors(outcomes), all.quantile_us(0.5), all.quantile_us(0.99)])
            }
            None if *covered_ms > 0 => json!([at_ms, 0, 0]),
            None => json!([at_ms]),
        }
    };
    over.covered_ms.iter().enumerate().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_has_at_most_so_many_columns() {
        for (hours, step_s) in [(1, 20), (4, 60), (24, 600), (24 * 7, 3_600), (24 * 365, 2 * 86_400)] {
            let range = TimeRange { from_ms: 0, until_ms: hours * 3_600_000 };
            assert_eq!(step_for(range), step_s * 1_000, "{hours} h");
        }
    }
}
