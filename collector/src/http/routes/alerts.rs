//! Alert links for people and machines, and the webhook.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::alerts::answer::AnswerError;
use crate::alerts::link::AlertLink;
use crate::base::clock::now_ms;
use crate::base::times::format_utc;
use crate::http::AppState;
use crate::http::body::{TIME_MAX, read_json};
use crate::http::card_link::CardLink;
use crate::http::error::{ApiError, ErrorKind};
use crate::http::pages;
use crate::http::params::Params;
use crate::http::previews::Preview;
use crate::ingest::Allowance;
use crate::webhooks::payload::Payload;
use crate::webhooks::{Noted, WebhookError};

/// A page must not wait for an answer: the view asks for it again, and shows that it is being computed.
const PREVIEW_DEADLINE: Duration = Duration::from_millis(1_500);

/// A storm of 256 alerts with long annotations.
pub(super) const PAYLOAD: Allowance = Allowance::whole(2 << 20, TIME_MAX);

pub(super) async fn json(State(state): State<AppState>, params: Params) -> Result<Json<Value>, ApiError> {
    let (link, ignored) = AlertLink::parse(params.into_pairs(), now_ms())?;
    let mut json = state.answers.answer(&link).await?.to_json();
    if !ignored.is_empty() {
        json["ignored"] = ignored.into();
    }
    Ok(Json(json))
}

/// The page with the headline in its head. Never fails: a link with a mistake still opens the view, which says what is wrong.
pub(super) async fn page(
    State(state): State<AppState>,
    headers: HeaderMap,
    card: CardLink,
    params: Result<Params, ApiError>,
) -> Response {
    let link = params.ok().and_then(|params| AlertLink::parse(params.into_pairs(), now_ms()).ok());
    let Some((link, _)) = link else { return pages::index(&headers, None, &card) };
    let preview = match timeout(PREVIEW_DEADLINE, state.answers.answer(&link)).await {
        Ok(Ok(answer)) => Preview { title: format!("{}: alert", link.service), description: answer.headline.clone() },
        _ => Preview {
            title: format!("{}: alert", link.service),
            description: format!("What changed in {} at {}.", link.service, format_utc(link.at_ms)),
        },
    };
    pages::index(&headers, Some(&preview), &card)
}

pub(super) async fn webhook(State(state): State<AppState>, body: Body) -> Result<Json<Value>, ApiError> {
    let example = "the payload of an Alertmanager (version 4) or Grafana webhook";
    let payload: Payload = read_json(body, example).await?;
    let (noted, skipped) = state.webhooks.note(payload, now_ms()).await?;
    let alert = |noted: &Noted| json!({ "event": noted.event.to_json(), "link": noted.link.to_url() });
    let alerts: Vec<Value> = noted.iter().map(alert).collect();
    let skipped: Vec<String> = skipped.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "alerts": alerts, "skipped": skipped })))
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Query(error) => error.into(),
            AnswerError::Catalog(error) => error.into(),
            AnswerError::Work(error) => error.into(),
            AnswerError::NoBaseline => Self::new(ErrorKind::Internal, error.to_string(), "ask again"),
        }
    }
}

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NoService(skipped) => {
                Self::invalid(skipped.to_string(), "add a label service=<name> to the alert's rule")
            }
            WebhookError::Keep(error) => error.into(),
            WebhookError::Catalog(error) => error.into(),
        }
    }
}
