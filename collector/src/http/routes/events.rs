//! Deploys, alerts and notes: moments that explain a change.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tephra_proto::ids::ServiceName;
use tephra_proto::{label, limits};
use tracing::info;

use crate::base::clock::now_ms;
use crate::base::times::parse_time;
use crate::http::AppState;
use crate::http::asker::Asker;
use crate::http::body::read_json;
use crate::http::error::ApiError;
use crate::http::params::Params;
use crate::store::catalog::{Event, EventKind, NewEvent};
use crate::urls::is_web_link;

const TITLE_BYTES_MAX: usize = 400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEventBody {
    kind: String,
    service: String,
    at: Option<Value>,
    title: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    link: Option<String>,
}

pub(super) async fn list(State(state): State<AppState>, mut params: Params) -> Result<Json<Value>, ApiError> {
    let service = params.take("service")?.map(|name| ServiceName::parse(&name)).transpose()?;
    let kind = params.choice(
        "kind",
        &[
            ("all", None),
            ("deploy", Some(EventKind::Deploy)),
            ("alert", Some(EventKind::Alert)),
            ("note", Some(EventKind::Note)),
        ],
    )?;
    let range = params.range(now_ms())?;
    params.finish()?;
    let service = service.as_ref().map(ServiceName::as_str);
    let events = state.store.catalog().events(service, range.from_ms, range.until_ms, kind).await?;
    Ok(Json(json!({ "events": events.iter().map(Event::to_json).collect::<Vec<_>>() })))
}

pub(super) async fn delete(
    State(state): State<AppState>,
    Asker(asker): Asker,
    mut params: Params,
) -> Result<Json<Value>, ApiError> {
    let service = params.take("service")?.map(|name| ServiceName::parse(&name)).transpose()?;
    let (from, until) = (params.time("from", now_ms())?, params.time("until", now_ms())?);
    params.finish()?;
    let Some(until) = until else {
        return Err(ApiError::invalid("until is missing", "say until when events are deleted, such as until=now-90d"));
    };
    let service = service.as_ref().map(ServiceName::as_str);
    let deleted = state.store.delete_events(service, from.unwrap_or(0), until).await?;
    info!(deleted, service = service.unwrap_or("of all"), until, %asker, "events were deleted");
    Ok(Json(json!({ "deleted": deleted })))
}

pub(super) async fn create(State(state): State<AppState>, body: Body) -> Result<(StatusCode, Json<Value>), ApiError> {
    let example = r#"{"kind":"deploy","service":"checkout","title":"v2"}"#;
    let event = read_json::<NewEventBody>(body, example).await?.check(now_ms())?;
    let event = state.store.keep_event(event).await?;
    Ok((StatusCode::CREATED, Json(event.to_json())))
}

impl NewEventBody {
    fn check(self, now_ms: u64) -> Result<NewEvent, ApiError> {
        let kind = EventKind::parse(&self.kind).ok_or_else(|| {
            let kind: String = self.kind.chars().take(64).collect();
            ApiError::invalid(format!("kind {kind:?} is not known"), "one of: deploy, alert, note")
        })?;
        let service = ServiceName::parse(&self.service)?;
        let title = self.title.trim();
        if title.is_empty() || title.len() > TITLE_BYTES_MAX || !title.chars().all(label::is_printable) {
            let message =
                format!("the title has {} bytes, limits 1 to {TITLE_BYTES_MAX} of printable text", title.len());
            return Err(ApiError::invalid(message, "write one line for people"));
        }
        if self.labels.len() > limits::RESOURCE_LABELS_MAX {
            let message = format!("the event has {} labels, limit {}", self.labels.len(), limits::RESOURCE_LABELS_MAX);
            return Err(ApiError::invalid(message, "keep those that people filter by"));
        }
        for (name, value) in &self.labels {
            label::check_name(name)?;
            label::check_value(value)?;
        }
        let link = self.link.unwrap_or_default();
        if !link.is_empty() && !is_web_link(&link) {
            return Err(ApiError::invalid(
                "the link is not an http or https address",
                "such as https://ci.example/run/7",
            ));
        }
        let at_ms = match self.at {
            None | Some(Value::Null) => now_ms,
            Some(at) => {
                let text = at.as_str().map_or_else(|| at.to_string(), str::to_owned);
                parse_time(&text, now_ms).map_err(|error| ApiError::invalid(format!("at: {error}"), error.hint()))?
            }
        };
        let title = title.to_owned();
        Ok(NewEvent { at_ms, kind, service: service.as_str().to_owned(), title, labels: self.labels, link })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<NewEvent, String> {
        let body: NewEventBody = serde_json::from_str(json).map_err(|error| error.to_string())?;
        body.check(1_772_373_600_000).map_err(|error| error.to_string())
    }

    #[test]
    fn a_time_is_any_form_the_api_reads() {
        for (at, ms) in
            [("1772373000", 1_772_373_000_000), ("\"now-10m\"", 1_772_373_000_000), ("null", 1_772_373_600_000)]
        {
            let event = check(&format!(r#"{{"kind":"deploy","service":"a","title":"v2","at":{at}}}"#)).unwrap();
            assert_eq!(event.at_ms, ms, "{at}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let long = "x".repeat(401);
        let cases = [
            (r#"{"kind":"party","service":"a","title":"x"}"#, "\"party\" is not known"),
            (r#"{"kind":"note","service":"a b","title":"x"}"#, "' '"),
            (r#"{"kind":"note","service":"a","title":" "}"#, "limits 1 to 400"),
            (r#"{"kind":"note","service":"a","title":"a\nb"}"#, "printable"),
            (&format!(r#"{{"kind":"note","service":"a","title":"{long}"}}"#), "401 bytes"),
            (r#"{"kind":"note","service":"a","title":"x","link":"javascript:alert(1)"}"#, "http"),
            (r#"{"kind":"note","service":"a","title":"x","at":"soon"}"#, "at: \"soon\""),
            (r#"{"kind":"note","service":"a","title":"x","labels":{"A":"b"}}"#, "'A'"),
            (r#"{"kind":"note","service":"a","title":"x","tilte":"y"}"#, "unknown field `tilte`"),
        ];
        for (json, message) in cases {
            let error = check(json).expect_err(json);
            assert!(error.contains(message), "{json}: {error}");
        }
    }
}
