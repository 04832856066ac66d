//! Flame graphs, of what is selected and of what some spans cost, and comparisons of two.

use std::sync::Arc;

use prost::Message;

use super::messages::{self, Difference, FORMATS, FlameGraph, Pprof, SelectSpans, SelectStacktraces, Stacktraces};
use super::profiles::{Narrowed, for_each, max_nodes};
use super::selector::Selector;
use super::targets::{Asked, asked};
use super::tree::Joined;
use super::{pprof, unimplemented};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::profile::model::Merged;
use crate::work::blocking;

/// `PROFILE_FORMAT_PPROF`.
const PPROF: i32 = 4;

pub(super) async fn select(state: AppState, call: SelectStacktraces) -> Result<Vec<u8>, ApiError> {
    let max_nodes = max_nodes(call.max_nodes)?;
    match call.format {
        0 | 1 => {
            let (asked, narrowed) = read(&state, &call).await?;
            let graph = flame_graph(&state, &asked, narrowed, max_nodes).await?;
            Ok(Stacktraces { flamegraph: Some(graph), pprof: None }.encode_to_vec())
        }
        PPROF => {
            let limit = call.max_nodes.filter(|nodes| *nodes > 0).map(|_| max_nodes);
            let (asked, narrowed) = read(&state, &call).await?;
            let profile = pprof::profile(&state, &asked, narrowed, limit).await?;
            Ok(Stacktraces { flamegraph: None, pprof: Some(Pprof { profile }) }.encode_to_vec())
        }
        format => {
            let name = usize::try_from(format).ok().and_then(|format| FORMATS.get(format));
            let name = name.map_or_else(|| format.to_string(), |name| (*name).to_owned());
            Err(unimplemented(
                &format!("format {name} is not written here"),
                "ask for PROFILE_FORMAT_FLAMEGRAPH or PROFILE_FORMAT_PPROF",
            ))
        }
    }
}

pub(super) async fn select_spans(state: AppState, call: SelectSpans) -> Result<Vec<u8>, ApiError> {
    if call.span_selector.is_empty() {
        return Err(ApiError::invalid("span_selector is empty", "say which spans: ids of 16 hexadecimal digits"));
    }
    let call = SelectStacktraces {
        profile_type: call.profile_type,
        label_selector: call.label_selector,
        start: call.start,
        end: call.end,
        max_nodes: call.max_nodes,
        format: call.format,
        span_selector: call.span_selector,
        ..SelectStacktraces::default()
    };
    select(state, call).await
}

pub(super) async fn diff(state: AppState, call: messages::Diff) -> Result<Vec<u8>, ApiError> {
    let (left, right) = (call.left.unwrap_or_default(), call.right.unwrap_or_default());
    let nodes = max_nodes(left.max_nodes)?.max(max_nodes(right.max_nodes)?);
    let (left, right) = (read(&state, &left).await?, read(&state, &right).await?);
    let graph = difference(&state, [left, right], nodes).await?;
    Ok(Difference { flamegraph: Some(graph) }.encode_to_vec())
}

async fn read(state: &AppState, call: &SelectStacktraces) -> Result<(Asked, Narrowed), ApiError> {
    if !call.span_selector.is_empty() && !call.trace_id_selector.is_empty() {
        return Err(ApiError::invalid("span_selector and trace_id_selector are given together", "keep one of them"));
    }
    let narrowed = Narrowed::new(&call.span_selector, call.stack_trace_selector.as_ref(), &call.profile_id_selector)?;
    let selector = Selector::all(std::slice::from_ref(&call.label_selector))?;
    let times = (call.start, call.end);
    let asked = asked(state, &call.profile_type, &selector, times, &call.trace_id_selector).await?;
    Ok((asked, narrowed))
}

/// The sum of what is selected.
///
/// # Errors
/// As [`for_each`].
pub(super) async fn flame_graph(
    state: &AppState,
    asked: &Asked,
    narrowed: Narrowed,
    max_nodes: usize,
) -> Result<FlameGraph, ApiError> {
    let joined = join(state, asked, &narrowed, Joined::new(), 0).await?;
    Ok(blocking(move || joined.flame_graph(max_nodes)).await?)
}

/// Both sides of a comparison.
///
/// # Errors
/// As [`for_each`], and when they are of different types.
pub(super) async fn difference(
    state: &AppState,
    sides: [(Asked, Narrowed); 2],
    max_nodes: usize,
) -> Result<FlameGraph, ApiError> {
    let [left, right] = [&sides[0].0.identity, &sides[1].0.identity].map(|identity| identity.id());
    if left != right {
        let message = format!("the left side is {left:?}, the right side is {right:?}");
        return Err(ApiError::invalid(message, "compare the same type on both sides"));
    }
    let mut joined = Joined::new();
    for (side, (asked, narrowed)) in sides.iter().enumerate() {
        joined = join(state, asked, narrowed, joined, side).await?;
    }
    Ok(blocking(move || joined.difference(max_nodes)).await?)
}

async fn join(
    state: &AppState,
    asked: &Asked,
    narrowed: &Narrowed,
    joined: Joined,
    side: usize,
) -> Result<Joined, ApiError> {
    let of = state.clone();
    let add = move |joined: &mut Joined, narrowed: &Narrowed, merged: Arc<Merged>| {
        joined.add(&narrowed.tree(&of, &merged), side);
    };
    for_each(state, asked, narrowed, joined, add).await
}
