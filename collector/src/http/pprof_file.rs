//! One service's profile as a file that `go tool pprof` and whatever else reads pprof opens: gzipped, with addresses, builds and labels.

use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::AppState;
use super::computed::{Computed, respond};
use super::error::ApiError;
use super::respond::Payload;
use super::revision::Revision;
use super::timing::Timing;
use crate::analysis::{self, Filters};
use crate::base::clock::now_ms;
use crate::profile::model::Partial;
use crate::query::{Prepared, QueryEngine, Selection};
use crate::work::blocking;

/// Answers a request with the profile of a selection.
///
/// # Errors
/// As the engine's, and when its limits allow only a part of it: a file cannot say so.
pub(super) async fn answer(
    state: &AppState,
    engine: &QueryEngine,
    (uri, headers): (&Uri, &HeaderMap),
    selection: &Selection,
    filters: Filters,
) -> Result<Response, ApiError> {
    let prepared = engine.prepare(selection).await?;
    let revision = Revision::of(state, uri, &[&prepared], "", now_ms());
    respond(state, headers, revision, computed(state, engine, &prepared, filters)).await
}

/// The file of what is prepared.
///
/// # Errors
/// As [`answer`].
pub(super) async fn computed(
    state: &AppState,
    engine: &QueryEngine,
    prepared: &Prepared,
    filters: Filters,
) -> Result<Computed, ApiError> {
    let labelled = engine.merge_by_labels(prepared).await?;
    let partial = labelled.merged.partial;
    if let Some(cut) = partial.as_ref().filter(|partial| Partial::is_cut(partial)) {
        return Err(ApiError::only_part(cut));
    }
    let timing = Timing::of(&[labelled.merged.cost]);
    let symbols = state.symbols.clone();
    // Already gzipped, and the file is expected to be.
    let content = blocking(move || analysis::pprof(&labelled, &symbols, &filters)).await?;
    let selection = prepared.selection();
    let name = format!("{}-{}-{}.pb.gz", selection.service, selection.profile_type, selection.from_ms);
    let payload = Payload::attachment(&HeaderMap::new(), "application/octet-stream", content, &name);
    Ok((payload, timing, partial))
}
