//! Answers that take a turn, and that a client may have already: computed once for each revision of what they are made of.

use std::future::Future;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::AppState;
use super::error::ApiError;
use super::respond::Payload;
use super::revision::Revision;
use super::timing::Timing;
use crate::profile::model::{Partial, PartialReason};

/// What is computed for an answer: the body, where the time went, and what part of the range it is about.
pub(super) type Computed = (Payload, Timing, Option<Partial>);

/// Answers when its turn comes, unless the client has this revision already.
pub(super) async fn respond(
    state: &AppState,
    asked: &HeaderMap,
    revision: Option<Revision>,
    answer: impl Future<Output = Result<Computed, ApiError>>,
) -> Result<Response, ApiError> {
    if let Some(unchanged) = revision.as_ref().and_then(|revision| revision.unchanged(asked)) {
        return Ok(unchanged);
    }
    let (payload, timing, partial) = state.in_turn(answer).await?;
    Ok(timing.mark(finish(payload, revision, partial)))
}

/// Says of files too that something in them is damaged and left out: the part that is there is worth having.
const PARTIAL: HeaderName = HeaderName::from_static("tephra-partial");

/// Only a whole answer may be kept: a part of it may be a larger part the next time.
fn finish(payload: Payload, revision: Option<Revision>, partial: Option<Partial>) -> Response {
    let mut response = payload.into_response();
    if let Some(partial) = partial {
        let reason = if partial.is_damaged { PartialReason::Damaged } else { partial.reason };
        response.headers_mut().insert(PARTIAL, HeaderValue::from_static(reason.as_str()));
    }
    match revision {
        Some(revision) if partial.is_none() => revision.mark(response),
        _ => response,
    }
}
