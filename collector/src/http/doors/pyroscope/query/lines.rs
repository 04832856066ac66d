//! Values over time, by labels: `SelectSeries`. A point is what its step holds: of counters the sum, of gauges the mean.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use prost::Message;
use tephra_proto::label;

use super::messages::{LabelPair, OneOverTime, Point, SelectSeries, SeriesOverTime};
use super::names::pair;
use super::profiles::{prepared, whole};
use super::selector::Selector;
use super::targets::{Asked, PSEUDO, asked, pseudo};
use super::unimplemented;
use crate::http::AppState;
use crate::http::error::{ApiError, ErrorKind};
use crate::profile::model::Kind;

/// Points of all lines of one answer.
const POINTS_MAX: usize = 1 << 20;

/// Labels that lines are told apart by.
const LABELS_MAX: usize = 16;

/// Four weeks: a longer step is nobody's.
const STEP_SECONDS_MAX: f64 = 28.0 * 86_400.0;

pub(super) async fn select_series(state: AppState, call: SelectSeries) -> Result<Vec<u8>, ApiError> {
    if call.stack_trace_selector.is_some_and(|stacks| !stacks.call_site.is_empty() || stacks.go_pgo.is_some()) {
        return Err(unimplemented(
            "stack_trace_selector: what single stacks cost is not kept over time",
            "ask for flame graphs of shorter ranges",
        ));
    }
    if !(0.001..=STEP_SECONDS_MAX).contains(&call.step) {
        return Err(ApiError::invalid(
            format!("step is {} s, limits 0.001 to {STEP_SECONDS_MAX}", call.step),
            "say how far points lie apart, in seconds: 15",
        ));
    }
    if call.group_by.len() > LABELS_MAX {
        let message = format!("group_by has {} labels, limit {LABELS_MAX}", call.group_by.len());
        return Err(ApiError::invalid(message, "name fewer labels"));
    }
    let selector = Selector::all(std::slice::from_ref(&call.label_selector))?;
    let asked = asked(&state, &call.profile_type, &selector, (call.start, call.end), &[]).await?;
    let step_ms = (call.step * 1e3).round() as u64;
    let mut series = lines(&state, &asked, step_ms, &call.group_by, call.aggregation == Some(1)).await?;
    if let Some(limit) = call.limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0) {
        let total = |line: &OneOverTime| line.points.iter().map(|point| point.value).sum::<f64>();
        // Values are finite and not negative, whose bits are in their order.
        series.sort_by_cached_key(|line| Reverse(total(line).to_bits()));
        series.truncate(limit);
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(SeriesOverTime { series }.encode_to_vec())
}

/// Lines by the values of labels, in their order. Points lie at the starts of steps, which are whole multiples of their length.
///
/// # Errors
/// When there are too many points, or the engine allows only a part of the range.
pub(super) async fn lines(
    state: &AppState,
    asked: &Asked,
    step_ms: u64,
    group_by: &[String],
    average: bool,
) -> Result<Vec<OneOverTime>, ApiError> {
    let is_label = |name: &&String| !PSEUDO.contains(&name.as_str()) && label::check_name(name).is_ok();
    let labels: Vec<String> = group_by.iter().filter(is_label).cloned().collect();
    let mut sums: BTreeMap<Vec<LabelPair>, BTreeMap<u64, (f64, u64)>> = BTreeMap::new();
    let (mut points, mut kind) = (0, Kind::Counter);
    for selection in &asked.selections {
        let Some(prepared) = prepared(state, selection).await? else { continue };
        let over = state.engine.sums_over_time(&prepared, step_ms, &labels).await?;
        whole(over.partial)?;
        kind = over.kind;
        for (values, line) in over.lines {
            let of_type = group_by.iter().filter(|name| PSEUDO.contains(&name.as_str()));
            let of_type = of_type
                .filter_map(|name| Some(pair(name, &pseudo(&asked.identity, selection.service.as_str(), name)?)));
            let of_line = labels.iter().zip(&values).filter(|(_, value)| !value.is_empty());
            let mut key: Vec<LabelPair> = of_type.chain(of_line.map(|(name, value)| pair(name, value))).collect();
            key.sort_unstable();
            key.dedup();
            let known = sums.entry(key).or_default();
            let before = known.len();
            for (at, (value, windows)) in line.values.iter().zip(line.windows).enumerate() {
                if let Some(value) = value {
                    let sum = known.entry(over.start_ms + at as u64 * over.step_ms).or_default();
                    *sum = (sum.0 + value, sum.1 + windows);
                }
            }
            points += known.len() - before;
            if points > POINTS_MAX {
                return Err(ApiError::new(
                    ErrorKind::TooLarge,
                    format!("more than {POINTS_MAX} points"),
                    "ask for a longer step, a shorter range or fewer labels",
                ));
            }
        }
    }
    let point = |(at, (sum, windows)): (u64, (f64, u64))| {
        let is_mean = average && kind == Kind::Counter;
        let value = if is_mean { sum / windows.max(1) as f64 } else { sum };
        Point { value, timestamp: i64::try_from(at).unwrap_or(i64::MAX) }
    };
    let line = |(labels, points): (Vec<LabelPair>, BTreeMap<u64, (f64, u64)>)| OneOverTime {
        labels,
        points: points.into_iter().map(point).collect(),
    };
    Ok(sums.into_iter().map(line).filter(|line| !line.points.is_empty()).collect())
}
