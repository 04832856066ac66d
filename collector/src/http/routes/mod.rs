//! One file per thing that can be asked. `API.md` is the contract.

mod alerts;
mod audit;
pub(super) mod cards;
mod deletions;
mod events;
mod flamegraph;
mod functions;
pub(super) mod growth;
mod metrics;
mod openapi;
mod pins;
mod profiles;
mod requests;
mod retention;
mod services;
mod slow_requests;
mod status;
mod symbols;
mod timeline;
mod traces;

use axum::response::{IntoResponse, Response};
use tonic::Status;

use super::AppState;
use super::body;
use super::doors::pyroscope::query;
use super::doors::{datadog, debug_pprof, mcp, otlp, pyroscope, rpc};
use super::error::{ApiError, ErrorKind};
use super::guard;
use super::pages;
use super::route::Route;
use crate::ingest;

/// All routes: the router is made of this list, and so is the test that walks it.
#[rustfmt::skip]
pub(super) fn all(state: &AppState) -> Vec<Route> {
    let (pushes, symbol_files) = (ingest::grpc::service(state.ingest.clone()), state.symbols.service());
    vec![
        Route::call("/tephra.v1.ProfileService/Push", ingest::WINDOW, pushes),
        Route::call("/tephra.v1.SymbolService/Offer", symbols::OFFER, symbol_files.clone()),
        Route::call("/tephra.v1.SymbolService/Upload", symbols::UPLOAD, symbol_files),
        Route::at("/push.v1.PusherService/Push").post(pyroscope::push::PUSH, pyroscope::push::push),
        Route::at("/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export").post(otlp::EXPORT, otlp::export),
        Route::at("/v1development/profiles").post(otlp::EXPORT, otlp::export),
        Route::at("/ingest").post(pyroscope::ingest::UPLOAD, pyroscope::ingest::upload),
        Route::at("/v0.3/traces").post(datadog::BODY, datadog::traces).put(datadog::traces),
        Route::at("/v0.4/traces").post(datadog::BODY, datadog::traces).put(datadog::traces),
        Route::at("/v0.5/traces").post(datadog::BODY, datadog::traces).put(datadog::traces),
        Route::at("/v0.7/traces").post(datadog::BODY, datadog::traces).put(datadog::traces),
        Route::at(datadog::STATS).post(datadog::BODY, datadog::stats).put(datadog::stats),
        Route::at(datadog::TELEMETRY).post(datadog::BODY, datadog::telemetry),
        Route::at(datadog::INPUT).post(datadog::BODY, datadog::input),
        Route::at("/info").get(datadog::info),
        Route::at("/api/v1/services").get(services::services).delete(deletions::service).heavy(),
        Route::at("/api/v1/profile-types").get(services::profile_types),
        Route::at("/api/v1/labels").get(services::labels),
        Route::at("/api/v1/labels/{name}/values").get(services::label_values),
        Route::at("/api/v1/timeline").get(timeline::timeline).heavy(),
        Route::at("/api/v1/flamegraph").get(flamegraph::flamegraph).heavy(),
        Route::at("/api/v1/diff").get(flamegraph::diff).heavy(),
        Route::at("/api/v1/growth").get(growth::growth_json).heavy(),
        Route::at("/api/v1/traces/{trace_id}").get(traces::trace).delete(deletions::trace).heavy(),
        Route::at("/api/v1/requests").get(requests::requests).heavy(),
        Route::at("/api/v1/requests/compare").get(slow_requests::compare).heavy(),
        Route::at("/api/v1/requests/heatmap").get(requests::heatmap).heavy(),
        Route::at("/api/v1/functions/requests").get(functions::requests).heavy(),
        Route::at("/api/v1/events").get(events::list).post(body::JSON, events::create).delete(events::delete),
        Route::at("/api/v1/alerts").post(alerts::PAYLOAD, alerts::webhook),
        Route::at("/alert.json").get(alerts::json).heavy(),
        Route::at("/api/v1/pins").get(pins::list).post(body::JSON, pins::create).heavy(),
        Route::at("/api/v1/pins/{id}").get(pins::show).delete(pins::delete),
        Route::at("/api/v1/profiles").post(profiles::PPROF, profiles::upload),
        Route::at("/api/v1/symbols").post(symbols::FILE, symbols::upload),
        Route::at("/api/v1/retention/confirm").post(body::NONE, retention::confirm),
        Route::at("/api/openapi.json").get(openapi::document),
        Route::at("/api/v1/status").get(status::status),
        Route::at("/api/v1/audit").get(audit::audit),
        Route::at("/querier.v1.QuerierService/ProfileTypes").post(query::CALL, query::profile_types),
        Route::at("/querier.v1.QuerierService/LabelNames").post(query::CALL, query::label_names),
        Route::at("/querier.v1.QuerierService/LabelValues").post(query::CALL, query::label_values).heavy(),
        Route::at("/querier.v1.QuerierService/Series").post(query::CALL, query::series).heavy(),
        Route::at("/querier.v1.QuerierService/GetProfileStats").post(query::CALL, query::profile_stats),
        Route::at("/querier.v1.QuerierService/SelectSeries").post(query::CALL, query::select_series).heavy(),
        Route::at("/querier.v1.QuerierService/SelectMergeStacktraces").post(query::CALL, query::select_merge_stacktraces).heavy(),
        Route::at("/querier.v1.QuerierService/SelectMergeSpanProfile").post(query::CALL, query::select_merge_span_profile).heavy(),
        Route::at("/querier.v1.QuerierService/SelectMergeProfile").post(query::CALL, query::select_merge_profile).heavy(),
        Route::at("/querier.v1.QuerierService/Diff").post(query::CALL, query::diff).heavy(),
        Route::at("/mcp").post(body::JSON, mcp::call).heavy(),
        Route::at("/debug/pprof/{profile}").get(debug_pprof::profile).heavy(),
        Route::at("/pyroscope/render").get(query::render).heavy(),
        Route::at("/pyroscope/render-diff").get(query::render_diff).heavy(),
        Route::at("/healthz").get(status::healthz),
        Route::at("/readyz").get(status::readyz),
        Route::at("/metrics").get(metrics::metrics),
        Route::at("/metrics/profiles").get(metrics::profiles),
        Route::at("/").get(pages::page),
        Route::at("/s/{service}").get(pages::page),
        // A service's name may hold slashes.
        Route::at("/s/{service}/{*rest}").get(pages::page),
        Route::at("/diff").get(pages::page),
        Route::at("/growth").get(pages::page),
        Route::at("/trace/{id}").get(pages::page),
        Route::at("/alert").get(alerts::page),
        // A page, or the file of its flame graph.
        Route::at("/p/{pin}").get(pins::page).heavy(),
        Route::at("/status").get(pages::page),
        Route::at("/og.png").get(cards::card).heavy(),
        Route::at("/assets/{*path}").get(pages::asset),
        Route::at("/favicon.svg").get(pages::favicon),
    ]
}

pub(super) async fn nothing_here(headers: axum::http::HeaderMap, uri: axum::http::Uri) -> Response {
    let path: String = uri.path().chars().take(128).collect();
    if guard::is_call(&path) {
        return Status::unimplemented(format!("there is no method {path}")).into_http();
    }
    if rpc::is_call(&path) {
        // Other people's clients do without what is said to be missing in their own words.
        let message = format!("there is no method {path}");
        let missing = ApiError::new(ErrorKind::NotFound, message, "API.md lists the calls that are answered");
        return rpc::Speaks::of(&headers).unwrap_or(rpc::Speaks::Json).refuse(missing);
    }
    if pages::is_asked_for(&headers) && !path.starts_with("/api/") {
        return pages::missing();
    }
    ApiError::not_found(format!("there is nothing at {path:?}"), "the API lives below /api/v1, the view at /")
        .into_response()
}

pub(super) async fn wrong_method(method: axum::http::Method) -> ApiError {
    let message = format!("{method} is not for this path");
    ApiError::new(
        ErrorKind::Method,
        message,
        "GET reads; POST is for events, alerts, pins, profiles, symbols and calls; DELETE for services, traces, events and pins",
    )
}
