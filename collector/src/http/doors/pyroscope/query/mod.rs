//! What Grafana asks Pyroscope for, answered from here: its data source and Profiles Drilldown work with this collector's address in the
//! place of Pyroscope's. Every answer comes from the one engine, so totals are those of our own flame graphs.
//!
//! | module | what it does |
//! |---|---|
//! | `messages` | the messages, and how they read as JSON |
//! | `selector`, `targets` | label selectors, and what they select: services, types, labels, a range |
//! | `names` | types, labels and their values, series |
//! | `profiles`, `tree` | profiles of what is selected, and trees of them in levels |
//! | `stacktraces`, `pprof`, `lines`, `render` | flame graphs and comparisons, profiles in pprof, values over time, and all of it over plain HTTP |
//!
//! Written after <https://github.com/grafana/pyroscope/tree/main/api>: names of fields and their numbers.

mod lines;
mod messages;
mod names;
mod pprof;
mod profiles;
mod render;
mod selector;
mod stacktraces;
mod targets;
#[cfg(test)]
mod tests;
mod tree;

use std::future::Future;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use prost::Message;

use crate::http::AppState;
use crate::http::body::TIME_MAX;
use crate::http::doors::json::Shape;
use crate::http::doors::rpc::Call;
use crate::http::error::{ApiError, ErrorKind};
use crate::ingest::Allowance;
use crate::work::blocking;

pub(in crate::http) use render::{render, render_diff};

/// A call that asks for something: selectors, and the stack of a call site.
pub(in crate::http) const CALL: Allowance = Allowance::whole(256 << 10, TIME_MAX);

/// Answers a call, when its turn comes where it opens profiles. `shapes` are those of the request and of its answer, which is serialized.
async fn unary<Q, F>(
    state: AppState,
    headers: HeaderMap,
    body: Body,
    turn: Turn,
    shapes: [&'static Shape; 2],
    work: impl FnOnce(AppState, Q) -> F,
) -> Response
where
    Q: Message + Default,
    F: Future<Output = Result<Vec<u8>, ApiError>>,
{
    let call = match Call::read(&headers, body).await {
        Ok(call) => call,
        Err(refused) => return refused,
    };
    let (speaks, [asked, answered]) = (call.speaks(), shapes);
    let answer = async {
        let message = blocking(move || call.message(asked)).await??;
        let asked = Q::decode(message).map_err(|error| {
            ApiError::invalid(format!("the message is not understood: {error}"), "send the message of this call")
        })?;
        let work = work(state.clone(), asked);
        match turn {
            Turn::None => work.await,
            Turn::Waits => state.in_turn(work).await,
        }
    };
    match answer.await {
        Ok(message) => blocking(move || speaks.answer_packed(&headers, message, answered))
            .await
            .unwrap_or_else(|error| speaks.refuse(error.into())),
        Err(error) => speaks.refuse(error),
    }
}

/// Whether a call waits for a turn, as whatever a query answers does.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The catalog answers it.
    None,
    /// It waits.
    Waits,
}

/// What is asked for is not to be had here; callers do without it.
fn unimplemented(what: &str, instead: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, what, instead)
}

/// One handler: its name, its turn, its request's and its answer's shape, and what answers it.
macro_rules! calls {
    ($($name:ident: $turn:ident $asked:ident -> $answered:ident by $work:path;)*) => { $(
        pub(in crate::http) async fn $name(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Response {
            unary(state, headers, body, Turn::$turn, [&messages::$asked, &messages::$answered], $work).await
        }
    )* };
}

calls! {
    profile_types: None RANGE -> PROFILE_TYPES by names::profile_types;
    label_names: None LABEL_NAMES -> NAMES by names::label_names;
    label_values: Waits LABEL_VALUES -> NAMES by names::label_values;
    series: Waits SERIES -> LABEL_SETS by names::series;
    profile_stats: None NOTHING -> PROFILE_STATS by names::profile_stats;
    select_series: Waits SELECT_SERIES -> SERIES_OVER_TIME by lines::select_series;
    select_merge_stacktraces: Waits SELECT_STACKTRACES -> STACKTRACES by stacktraces::select;
    select_merge_span_profile: Waits SELECT_SPANS -> STACKTRACES by stacktraces::select_spans;
    select_merge_profile: Waits SELECT_PROFILE -> PROFILE by pprof::select;
    diff: Waits DIFF -> DIFFERENCE by stacktraces::diff;
}
