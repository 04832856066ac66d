//! `/pyroscope/render` and `/pyroscope/render-diff`: flame graphs over plain HTTP, as JSON that Pyroscope calls flamebearer.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::lines::lines;
use super::messages::{FlameGraph, OneOverTime};
use super::profiles::{Narrowed, max_nodes};
use super::selector::Selector;
use super::stacktraces::{difference, flame_graph};
use super::targets::{Asked, PROFILE_TYPE, asked};
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::http::AppState;
use crate::http::doors::pyroscope::types::Identity;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::respond::Payload;
use crate::work::blocking;

/// What to look at when nobody said: the last hour.
const DEFAULT_RANGE_MS: u64 = 3_600_000;

/// Points of a line lie at least this far apart, …
const STEP_MS_MIN: u64 = 15_000;

/// … and there are at most so many of them.
const POINTS: u64 = 1_500;

pub(in crate::http) async fn render(
    State(state): State<AppState>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    params.choice("format", &[("json", ())])?;
    let average = params.choice("aggregation", &[("sum", false), ("avg", true)])?;
    let nodes = nodes(&mut params)?;
    let group_by = params.all("groupBy");
    let read = Query::read(&mut params, ["query", "from", "until"])?;
    let answer = async {
        let asked = read.asked(&state).await?;
        let graph = flame_graph(&state, &asked, Narrowed::default(), nodes).await?;
        let step_ms = (asked.range.millis().div_ceil(POINTS)).next_multiple_of(STEP_MS_MIN).max(STEP_MS_MIN);
        let all = lines(&state, &asked, step_ms, &[], average).await?;
        let mut groups = Map::new();
        if let Some(by) = group_by.first() {
            for line in lines(&state, &asked, step_ms, std::slice::from_ref(by), average).await? {
                let name = line.labels.first().map_or("*", |label| &label.value).to_owned();
                groups.insert(name, timeline(Some(&line), asked.range, step_ms));
            }
        }
        let mut written = flamebearer(&graph, &asked.identity, "single");
        written["timeline"] = timeline(all.first(), asked.range, step_ms);
        written["groups"] = if group_by.is_empty() { Value::Null } else { Value::Object(groups) };
        Ok(written)
    };
    respond(headers, state.in_turn(answer).await?).await
}

pub(in crate::http) async fn render_diff(
    State(state): State<AppState>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    params.choice("format", &[("json", ())])?;
    let nodes = nodes(&mut params)?;
    let left = Query::read(&mut params, ["leftQuery", "leftFrom", "leftUntil"])?;
    let right = Query::read(&mut params, ["rightQuery", "rightFrom", "rightUntil"])?;
    let answer = async {
        let (left, right) = (left.asked(&state).await?, right.asked(&state).await?);
        let identity = left.identity.clone();
        let sides = [(left, Narrowed::default()), (right, Narrowed::default())];
        let graph = difference(&state, sides, nodes).await?;
        let mut written = flamebearer(&graph, &identity, "double");
        written["leftTicks"] = graph.left_ticks.into();
        written["rightTicks"] = graph.right_ticks.into();
        Ok(written)
    };
    respond(headers, state.in_turn(answer).await?).await
}

async fn respond(asked: HeaderMap, written: Value) -> Result<Response, ApiError> {
    let payload = blocking(move || Payload::new(&asked, "application/json", written.to_string().into_bytes()));
    Ok(payload.await?.into_response())
}

fn nodes(params: &mut Params) -> Result<usize, ApiError> {
    let older = params.number("max-nodes", i64::MIN, i64::MAX)?;
    max_nodes(params.number("maxNodes", i64::MIN, i64::MAX)?.or(older))
}

/// What is asked for, or one side of it.
struct Query {
    profile_type: String,
    selector: Selector,
    times: (i64, i64),
}

impl Query {
    fn read(params: &mut Params, [query, from, until]: [&str; 3]) -> Result<Self, ApiError> {
        let example = "process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name=\"shop\"}";
        let text = params.require(query, example)?;
        let (before, selector) = Selector::parse(&text)?;
        let named = || selector.of(PROFILE_TYPE).find_map(|matcher| matcher.only()).map(str::to_owned);
        let profile_type = if before.is_empty() { named() } else { Some(before) };
        let profile_type = profile_type.ok_or_else(|| {
            ApiError::invalid(format!("{query} does not say which profile type"), format!("write {query}={example}"))
        })?;
        let now = now_ms();
        let until = params.time(until, now)?.unwrap_or(now);
        let from = params.time(from, now)?.unwrap_or(until.saturating_sub(DEFAULT_RANGE_MS));
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Ok(Self { profile_type, selector, times: (signed(from), signed(until)) })
    }

    async fn asked(&self, state: &AppState) -> Result<Asked, ApiError> {
        asked(state, &self.profile_type, &self.selector, self.times, &[]).await
    }
}

fn flamebearer(graph: &FlameGraph, identity: &Identity, format: &str) -> Value {
    let (units, rate) = match identity.sample_type.as_str() {
        "cpu" => ("samples", 1_000_000_000),
        "inuse_objects" | "alloc_objects" | "goroutine" | "samples" => ("objects", 100),
        _ => (identity.sample_unit.as_str(), 100),
    };
    let levels: Vec<&[i64]> = graph.levels.iter().map(|level| level.values.as_slice()).collect();
    json!({
        "version": 1,
        "flamebearer": {
            "names": graph.names,
            "levels": levels,
            "numTicks": graph.total,
            "maxSelf": graph.max_self,
        },
        "metadata": {
            "format": format,
            "spyName": "",
            "sampleRate": rate,
            "units": units,
            "name": identity.sample_type,
        },
        "timeline": null,
        "groups": null,
        "heatmap": null,
    })
}

/// A value for each step of the range, nothing being 0.
fn timeline(line: Option<&OneOverTime>, range: TimeRange, step_ms: u64) -> Value {
    let start_ms = range.from_ms - range.from_ms % step_ms;
    let mut samples = vec![0u64; (range.until_ms - start_ms).div_ceil(step_ms) as usize];
    for point in line.iter().flat_map(|line| &line.points) {
        let at = u64::try_from(point.timestamp).unwrap_or(0).saturating_sub(start_ms) / step_ms;
        if let Some(sample) = samples.get_mut(at as usize) {
            *sample = point.value as u64;
        }
    }
    json!({
        "startTime": start_ms / 1_000,
        "samples": samples,
        "durationDelta": step_ms / 1_000,
        "watermarks": null,
    })
}
