//! Merged profiles and comparisons, in every format.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::analysis::{self, View, ViewOptions};
use crate::base::clock::now_ms;
use crate::http::AppState;
use crate::http::computed::respond;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::pprof_file;
use crate::http::respond::Payload;
use crate::http::revision::Revision;
use crate::http::timing::Timing;
use crate::profile::flame::MEDIA_TYPE;
use crate::profile::model::Partial;
use crate::work::blocking;

/// Twice what the view draws smoothly; exports of whole trees have formats of their own.
const NODES_MAX: usize = 2_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Flame,
    Folded,
    Svg,
    Pprof,
    Speedscope,
    Markdown,
}

const OF_ONE: [(&str, Format); 6] = [
    ("json", Format::Json),
    ("flame", Format::Flame),
    ("folded", Format::Folded),
    ("svg", Format::Svg),
    ("pprof", Format::Pprof),
    ("speedscope", Format::Speedscope),
];

const OF_TWO: [(&str, Format); 5] = [
    ("json", Format::Json),
    ("flame", Format::Flame),
    ("folded", Format::Folded),
    ("svg", Format::Svg),
    ("markdown", Format::Markdown),
];

pub(super) fn options(params: &mut Params) -> Result<ViewOptions, ApiError> {
    let default = ViewOptions::default();
    Ok(ViewOptions {
        max_nodes: params.number("max_nodes", 1, NODES_MAX)?.unwrap_or(default.max_nodes),
        min_share: params.number("min_share", 0.0, 1.0)?.unwrap_or(default.min_share),
        basis: default.basis,
    })
}

pub(super) async fn flamegraph(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let now = now_ms();
    let selection = params.selection(now)?;
    let engine = state.engine.within(params.timeout(state.engine.timeout())?);
    let format = params.choice("format", &OF_ONE)?;
    let options = options(&mut params)?;
    let filters = params.filters()?;
    params.finish()?;
    let prepared = engine.prepare(&selection).await?;
    let revision = Revision::of(&state, &uri, &[&prepared], "", now);
    if format == Format::Pprof {
        return respond(&state, &headers, revision, pprof_file::computed(&state, &engine, &prepared, filters)).await;
    }
    let answer = async {
        let symbols = state.symbols.clone();
        let service = selection.service.to_string();
        let name = format!("{service}-{}-{}", selection.profile_type, selection.from_ms);
        let merged = engine.merge_prepared(&prepared).await?;
        let partial = merged.partial;
        fits(format, partial)?;
        let timing = Timing::of(&[merged.cost]);
        let view = move || analysis::filtered_flamegraph(&service, &merged, &symbols, &filters, options);
        let (payload, timing) = written(headers.clone(), format, name, timing, view).await?;
        Ok((payload, timing, partial))
    };
    respond(&state, &headers, revision, answer).await
}

/// Refuses to write a part of what was asked into a file that cannot say so.
fn fits(format: Format, partial: Option<Partial>) -> Result<(), ApiError> {
    match partial {
        Some(partial) if partial.is_cut() && !matches!(format, Format::Json | Format::Flame | Format::Markdown) => {
            Err(ApiError::only_part(&partial))
        }
        _ => Ok(()),
    }
}

/// Of what is said of two sides, what stops more.
fn worse(a: Option<Partial>, b: Option<Partial>) -> Option<Partial> {
    a.filter(Partial::is_cut).or(b.filter(Partial::is_cut)).or(a).or(b)
}

pub(super) async fn diff(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let now = now_ms();
    let (a, b) = params.two_selections(now)?;
    // Each side gets half of the time.
    let engine = state.engine.within(params.timeout(state.engine.timeout())? / 2);
    let format = params.choice("format", &OF_TWO)?;
    let basis = params.basis()?;
    let options = ViewOptions { basis, ..options(&mut params)? };
    let filters = params.filters()?;
    params.finish()?;
    let (of_a, of_b) = (engine.prepare(&a).await?, engine.prepare(&b).await?);
    let revision = Revision::of(&state, &uri, &[&of_a, &of_b], "", now);
    let answer = async {
        // Each of them uses every core already.
        let (of_a, of_b) = (engine.merge_prepared(&of_a).await?, engine.merge_prepared(&of_b).await?);
        let partial = worse(of_a.partial, of_b.partial);
        fits(format, partial)?;
        let symbols = state.symbols.clone();
        let service = b.service.to_string();
        let name = format!("{service}-{}-diff-{}", b.profile_type, b.from_ms);
        let timing = Timing::of(&[of_a.cost, of_b.cost]);
        let view = move || analysis::filtered_comparison(&service, &of_a, &of_b, &symbols, &filters, options);
        let (payload, timing) = written(headers.clone(), format, name, timing, view).await?;
        Ok((payload, timing, partial))
    };
    respond(&state, &headers, revision, answer).await
}

/// Views what was merged and writes that, away from the threads that answer.
async fn written(
    asked: HeaderMap,
    format: Format,
    name: String,
    mut timing: Timing,
    view: impl FnOnce() -> View + Send + 'static,
) -> Result<(Payload, Timing), ApiError> {
    blocking(move || {
        let view = view();
        timing.step("view");
        let payload = write(&asked, &view, format, &name)?;
        timing.step("write");
        Ok((payload, timing))
    })
    .await?
}

fn write(asked: &HeaderMap, view: &View, format: Format, name: &str) -> Result<Payload, ApiError> {
    let file = |content_type, content, extension: &str| {
        Payload::attachment(asked, content_type, content, &format!("{name}.{extension}"))
    };
    Ok(match format {
        Format::Json => Payload::new(asked, "application/json", view.flame().to_json()),
        Format::Flame => Payload::new(asked, MEDIA_TYPE, view.flame().to_bytes()),
        Format::Folded => file("text/plain; charset=utf-8", view.folded().into_bytes(), "folded"),
        Format::Svg => file("image/svg+xml", view.svg().map_err(|error| ApiError::internal(&error))?, "svg"),
        Format::Speedscope => file("application/json", view.speedscope(), "speedscope.json"),
        Format::Markdown => file("text/markdown; charset=utf-8", view.markdown().into_bytes(), "md"),
        Format::Pprof => {
            return Err(ApiError::invalid("a comparison cannot be written as pprof", "export each side by itself"));
        }
    })
}
