//! One file per thing that can be asked. `API.md` is the contract.

mod alerts;
mod deletions;
mod events;
mod flamegraph;
mod growth;
mod metrics;
mod pins;
mod profiles;
mod services;
mod status;
mod symbols;
mod timeline;
mod traces;

use axum::Router;
use axum::routing::{get, post};

use super::AppState;
use super::error::{ApiError, ErrorKind};
use super::pages;

/// All routes.
pub(super) fn all() -> Router<AppState> {
    Router::new()
        .route("/api/v1/services", get(services::services).delete(deletions::service))
        .route("/api/v1/profile-types", get(services::profile_types))
        .route("/api/v1/labels", get(services::labels))
        .route("/api/v1/labels/{name}/values", get(services::label_values))
        .route("/api/v1/timeline", get(timeline::timeline))
        .route("/api/v1/flamegraph", get(flamegraph::flamegraph))
        .route("/api/v1/diff", get(flamegraph::diff))
        .route("/api/v1/growth", get(growth::growth_json))
        .route("/api/v1/traces/{trace_id}", get(traces::trace).delete(deletions::trace))
        .route("/api/v1/requests", get(traces::requests))
        .route("/api/v1/events", get(events::list).post(events::create))
        .route("/api/v1/alerts", post(alerts::webhook))
        .route("/alert.json", get(alerts::json))
        .route("/api/v1/pins", post(pins::create))
        .route("/api/v1/pins/{id}", get(pins::show))
        .route("/api/v1/profiles", post(profiles::upload))
        .route("/api/v1/symbols", post(symbols::upload))
        .route("/api/v1/status", get(status::status))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/", get(pages::page))
        .route("/s/{service}", get(pages::page))
        // A service's name may hold slashes.
        .route("/s/{service}/{*rest}", get(pages::page))
        .route("/diff", get(pages::page))
        .route("/growth", get(pages::page))
        .route("/trace/{id}", get(pages::page))
        .route("/alert", get(alerts::page))
        .route("/p/{pin}", get(pages::page))
        .route("/status", get(pages::page))
        .route("/assets/{*path}", get(pages::asset))
        .route("/favicon.svg", get(pages::favicon))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
}

async fn nothing_here(uri: axum::http::Uri) -> ApiError {
    let path: String = uri.path().chars().take(128).collect();
    ApiError::not_found(format!("there is nothing at {path:?}"), "the API lives below /api/v1, the view at /")
}

async fn wrong_method(method: axum::http::Method) -> ApiError {
    let message = format!("{method} is not for this path");
    ApiError::new(
        ErrorKind::Method,
        message,
        "GET reads; POST is for events, alerts, pins, profiles and symbols; DELETE for services and traces",
    )
}
