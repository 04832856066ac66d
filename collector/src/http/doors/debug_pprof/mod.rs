//! `GET /debug/pprof/{profile}`, as a Go program answers it, for `go tool pprof` and whatever else asks there: what was received of a service,
//! in place of one process. A Go program measures for `seconds` before it answers; here they are the range, and the answer is at once.
//!
//! Also the file of a pinned flame graph, under an address without a query: some viewers take no other.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use percent_encoding::percent_decode_str;

use crate::analysis::Filters;
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::pprof_file;

/// Profiles as Go calls them, and the types here that are one, likeliest first.
const PROFILES: [(&str, &[&str]); 6] = [
    ("profile", &["cpu"]),
    ("heap", &["inuse_space"]),
    ("allocs", &["alloc_space"]),
    ("mutex", &["mutex_delay", "lock"]),
    ("block", &["block_delay", "wait"]),
    ("goroutine", &["goroutine"]),
];

/// What the file of a pin ends in.
pub(in crate::http) const FILE: &str = ".pb.gz";

/// A profile of a service: by Go's name for it, or by that of its type.
pub(in crate::http) async fn profile(
    State(state): State<AppState>,
    Path(profile): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let now = now_ms();
    params.seconds(now)?;
    let go = PROFILES.into_iter().find(|(name, _)| *name == profile);
    let types = go.map_or(vec![profile.as_str()], |(_, types)| types.to_vec());
    let named = params.profile_type("type")?;
    params.default("type", types.first().copied().unwrap_or_default());
    let mut selection = params.selection(now)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    let filters = params.filters()?;
    params.finish()?;
    let known = engine.types(&selection.service).await?;
    let is_known = |wanted: &str| known.iter().any(|known| known.name == wanted);
    match named {
        Some(named) => selection.profile_type = named,
        None => {
            if let Some(found) = types.into_iter().find(|wanted| is_known(wanted)) {
                selection.profile_type = found.to_owned();
            }
        }
    }
    pprof_file::answer(&state, &engine, (&uri, &headers), &selection, filters).await
}

/// The file of a page that shows a flame graph, such as a pinned one. What its view hides or puts first is in it all the same.
pub(in crate::http) async fn of_page(
    state: &AppState,
    uri: &Uri,
    headers: &HeaderMap,
    page: &str,
) -> Result<Response, ApiError> {
    let (path, query) = page.split_once('?').unwrap_or((page, ""));
    let Some(service) = path.strip_prefix("/s/") else {
        return Err(ApiError::not_found(
            "this pin shows no flame graph of one service",
            "pin the page of a service; each side of a comparison has a page of its own",
        ));
    };
    let mut params = Params::parse(query)?;
    params.retain(|name| matches!(name, "type" | "from" | "until" | "trace") || name.starts_with("label."));
    params.default("service", &percent_decode_str(service).decode_utf8_lossy());
    let selection = params.selection(now_ms())?;
    pprof_file::answer(state, &state.engine, (uri, headers), &selection, Filters::default()).await
}
