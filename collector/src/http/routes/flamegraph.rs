//! Merged profiles and comparisons, in every format.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::analysis::{self, View, ViewOptions};
use crate::http::AppState;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::http::respond::Payload;
use crate::http::work::blocking;
use crate::profile::diff::Basis;
use crate::profile::flame::MEDIA_TYPE;
use crate::store::now_ms;

/// Twice what the view draws smoothly; exports of whole trees have formats of their own.
const NODES_MAX: usize = 2_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Flame,
}

const OF_ONE: [(&str, Format); 2] = [("json", Format::Json), ("flame", Format::Flame)];

const OF_TWO: [(&str, Format); 2] = OF_ONE;

const BASES: [(&str, Basis); 4] =
    [("cores", Basis::Cores), ("share", Basis::Share), ("instance", Basis::Instance), ("total", Basis::Total)];

fn options(params: &mut Params) -> Result<ViewOptions, ApiError> {
    let default = ViewOptions::default();
    Ok(ViewOptions {
        max_nodes: params.number("max_nodes", 1, NODES_MAX)?.unwrap_or(default.max_nodes),
        min_share: params.number("min_share", 0.0, 1.0)?.unwrap_or(default.min_share),
        basis: default.basis,
    })
}

pub(super) async fn flamegraph(
    State(state): State<AppState>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let selection = params.selection(now_ms())?;
    let format = params.choice("format", &OF_ONE)?;
    let options = options(&mut params)?;
    params.finish()?;
    let answer = async {
        let merged = state.engine.merge(&selection).await?;
        let symbols = state.symbols.clone();
        let service = selection.service.to_string();
        let name = format!("{service}-{}-{}", selection.profile_type, selection.from_ms);
        blocking(move || {
            let view = analysis::flamegraph(&service, &merged, &symbols, options);
            write(&headers, &view, format, &name)
        })
        .await
    };
    Ok(state.bench.run(answer).await?.into_response())
}

pub(super) async fn diff(
    State(state): State<AppState>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let (a, b) = params.two_selections(now_ms())?;
    let format = params.choice("format", &OF_TWO)?;
    let basis = params.choice("basis", &BASES)?;
    let options = ViewOptions { basis, ..options(&mut params)? };
    params.finish()?;
    let answer = async {
        // Each of them uses every core already.
        let (of_a, of_b) = (state.engine.merge(&a).await?, state.engine.merge(&b).await?);
        let symbols = state.symbols.clone();
        let service = b.service.to_string();
        let name = format!("{service}-{}-diff-{}", b.profile_type, b.from_ms);
        blocking(move || {
            let view = analysis::compare(&service, &of_a, &of_b, &symbols, options);
            write(&headers, &view, format, &name)
        })
        .await
    };
    Ok(state.bench.run(answer).await?.into_response())
}

fn write(asked: &HeaderMap, view: &View, format: Format, _name: &str) -> Payload {
    match format {
        Format::Json => Payload::new(asked, "application/json", view.flame().to_json()),
        Format::Flame => Payload::new(asked, MEDIA_TYPE, view.flame().to_bytes()),
    }
}
