//! Alert links for people and machines, and the webhook that makes their answers ready.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::warn;

use super::events::event_json;
use crate::alerts::answer::{Answer, AnswerError};
use crate::alerts::answers::SETTLED_AFTER_MS;
use crate::alerts::link::AlertLink;
use crate::http::AppState;
use crate::http::body::{TIME_MAX, read_json};
use crate::http::error::{ApiError, ErrorKind};
use crate::http::pages::{self, Preview};
use crate::http::params::Params;
use crate::ingest::Allowance;
use crate::store::catalog::{Event, EventKind, NewEvent, NewPin, PinRange};
use crate::store::{KeepError, now_ms};
use crate::times::format_utc;
use crate::webhooks::payload::{Alert, Payload};

/// A page must not wait for an answer: the view asks for it again, and shows that it is being computed.
const PREVIEW_DEADLINE: Duration = Duration::from_millis(1_500);

/// A storm of 256 alerts with long annotations.
pub(super) const PAYLOAD: Allowance = Allowance::whole(2 << 20, TIME_MAX);

/// What an alert looked at is kept this long, whatever the retention: post-mortems come late.
const PIN_MS: u64 = 90 * 86_400_000;

pub(super) async fn json(State(state): State<AppState>, params: Params) -> Result<Json<Value>, ApiError> {
    let (link, ignored) = AlertLink::parse(params.into_pairs(), now_ms())?;
    let answer = answer(&state, &link).await?;
    let mut json = answer_json(&answer);
    if !ignored.is_empty() {
        json["ignored"] = ignored.into();
    }
    Ok(Json(json))
}

/// The page with the headline in its head. Never fails: a link with a mistake still opens the view, which says what is wrong.
pub(super) async fn page(
    State(state): State<AppState>,
    headers: HeaderMap,
    params: Result<Params, ApiError>,
) -> Response {
    let link = params.ok().and_then(|params| AlertLink::parse(params.into_pairs(), now_ms()).ok());
    let Some((link, _)) = link else { return pages::index(&headers, None) };
    let preview = match timeout(PREVIEW_DEADLINE, answer(&state, &link)).await {
        Ok(Ok(answer)) => Preview { title: format!("{}: alert", link.service), description: answer.headline.clone() },
        _ => Preview {
            title: format!("{}: alert", link.service),
            description: format!("What changed in {} at {}.", link.service, format_utc(link.at_ms)),
        },
    };
    pages::index(&headers, Some(&preview))
}

pub(super) async fn webhook(State(state): State<AppState>, body: Body) -> Result<Json<Value>, ApiError> {
    let example = "the payload of an Alertmanager (version 4) or Grafana webhook";
    let payload: Payload = read_json(body, example).await?;
    let (alerts, skipped) = payload.alerts(now_ms());
    if alerts.is_empty() && !skipped.is_empty() {
        let message = skipped.first().map(ToString::to_string).unwrap_or_default();
        return Err(ApiError::invalid(message, "add a label service=<name> to the alert's rule"));
    }
    let mut answers = Vec::with_capacity(alerts.len());
    for alert in alerts.into_iter().filter(|alert| alert.firing) {
        let link = link_of(&state, &alert).await?;
        let (event, is_repeat) = store_event(&state, alert).await?;
        if !is_repeat {
            prepare(&state, &link);
        }
        answers.push(json!({ "event": event_json(&event), "link": link.to_url() }));
    }
    let skipped: Vec<String> = skipped.iter().map(ToString::to_string).collect();
    Ok(Json(json!({ "alerts": answers, "skipped": skipped })))
}

/// The link that answers an alert: its service at its time, narrowed down by those of its labels that the profiles have too.
async fn link_of(state: &AppState, alert: &Alert) -> Result<AlertLink, ApiError> {
    let catalog = state.store.catalog();
    let (from, until) = (alert.at_ms.saturating_sub(86_400_000), alert.at_ms + 1);
    let known = catalog.label_names(&alert.service, from, until).await?;
    let mut labels = Vec::new();
    for (name, value) in alert.labels.iter().filter(|(name, _)| known.contains(name)) {
        if catalog.label_values(&alert.service, name, from, until).await?.contains(value) {
            labels.push((name.clone(), value.clone()));
        }
    }
    Ok(AlertLink { labels, ..AlertLink::at(&alert.service, alert.at_ms) })
}

/// Alertmanager repeats a notification for as long as the alert fires: that is one event.
async fn store_event(state: &AppState, alert: Alert) -> Result<(Event, bool), ApiError> {
    let catalog = state.store.catalog();
    let Alert { service, at_ms, title, labels, link, .. } = alert;
    let event = NewEvent { at_ms, kind: EventKind::Alert, service, title, labels, link };
    let stored = catalog.events(Some(&event.service), at_ms, at_ms + 1, Some(EventKind::Alert)).await?;
    match stored.into_iter().find(|stored| stored.event == event) {
        Some(stored) => Ok((stored, true)),
        None => Ok((state.store.keep_event(event).await?, false)),
    }
}

/// Computes the answer before the click, and keeps the data it came from. Whoever posted does not wait for it.
fn prepare(state: &AppState, link: &AlertLink) {
    let (state, link) = (state.clone(), link.clone());
    let Some(place) = state.answers.queue() else {
        return warn!(service = %link.service, "too many alerts at once: this one is answered when its link is opened");
    };
    tokio::spawn(async move {
        let _place = place;
        if let Err(error) = prepare_now(&state, &link).await {
            return warn!(service = %link.service, %error, "no answer for an alert yet");
        }
        // Agents still hold the last seconds back: once they have arrived the answer is computed again, and then it stays.
        let settled_ms = link.at_ms.saturating_add(SETTLED_AFTER_MS + 1_000);
        let Some(wait_ms) = settled_ms.checked_sub(now_ms()).filter(|ms| *ms > 0) else { return };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let _turn = state.answers.turn().await;
        if let Err(error) = answer(&state, &link).await {
            warn!(service = %link.service, %error, "the answer to an alert could not be renewed");
        }
    });
}

async fn prepare_now(state: &AppState, link: &AlertLink) -> Result<(), ApiError> {
    let _turn = state.answers.turn().await;
    let answer = answer(state, link).await?;
    let range = |(from_ms, until_ms)| PinRange { service: link.service.clone(), from_ms, until_ms };
    let pin = NewPin {
        url: link.to_url(),
        note: answer.headline.clone(),
        answer: answer_json(&answer).to_string(),
        expires_ms: now_ms() + PIN_MS,
        ranges: vec![range(answer.window), range(answer.baseline.range)],
    };
    match state.store.keep_pin(pin, now_ms()).await {
        // The answer is there all the same, for as long as its data is; an operator is told.
        Ok(_) | Err(KeepError::Full { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn answer(state: &AppState, link: &AlertLink) -> Result<Arc<Answer>, ApiError> {
    if let Some(ready) = state.answers.ready(link, now_ms()) {
        return Ok(ready);
    }
    let compute = async { state.answers.compute(link, now_ms()).await.map_err(ApiError::from) };
    state.in_turn(compute).await
}

/// The answer as `/alert.json` gives it.
fn answer_json(answer: &Answer) -> Value {
    let range = |(from, until): (u64, u64)| json!({ "from": from, "until": until });
    let mut baseline = range(answer.baseline.range);
    baseline["vs"] = answer.baseline.vs.as_str().into();
    baseline["why"] = answer.baseline.why.clone().into();
    let tried: Vec<Value> =
        answer.tried.iter().map(|tried| json!({ "vs": tried.vs.as_str(), "why_not": tried.why_not })).collect();
    json!({
        "service": answer.link.service,
        "type": answer.profile_type,
        "unit": answer.unit,
        "at": answer.link.at_ms,
        "window": range(answer.window),
        "baseline": baseline,
        "tried": tried,
        "deploy": answer.deploy.as_ref().map(event_json),
        "alert": answer.alert.as_ref().map(event_json),
        "headline": answer.headline,
        "sentences": answer.sentences,
        "movers": answer.movers,
        "confidence": answer.confidence.as_str(),
        "confidence_why": answer.confidence_why,
        "traces": answer.traces,
        "types": answer.types,
        "links": answer.links(),
    })
}

impl From<AnswerError> for ApiError {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Query(error) => error.into(),
            AnswerError::Catalog(error) => error.into(),
            AnswerError::Service(error) => error.into(),
            AnswerError::Task(error) => Self::new(ErrorKind::Internal, error, "ask again"),
        }
    }
}
