//! Webhooks of alerting systems: an alert becomes an event of its service, and the answer to its link is ready before the click.

pub mod payload;
mod prepare;

use std::sync::Arc;

use crate::alerts::answering::Answers;
use crate::alerts::link::AlertLink;
use crate::store::catalog::{CatalogError, Event, EventKind, NewEvent};
use crate::store::{KeepError, Store};
use payload::{Alert, Payload, Skipped};
use prepare::Preparing;

/// How far back the profiles are looked at for labels that an alert has too.
const LABELS_REACH_MS: u64 = 86_400_000;

/// Takes what alerting systems post.
#[derive(Debug)]
pub struct Webhooks {
    store: Arc<Store>,
    preparing: Preparing,
}

/// An alert that is known from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its event.
    pub event: Event,
    /// The link that answers it.
    pub link: AlertLink,
}

/// Why nothing of a payload was taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// None of its alerts is about a service; the first of them.
    #[error("{0}")]
    NoService(Skipped),
    /// An event could not be kept.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// What the service's profiles are called.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Webhooks {
    /// Keeps events in `store`, and has `answers` compute.
    pub fn new(store: Arc<Store>, answers: Arc<Answers>) -> Self {
        Self { preparing: Preparing::new(store.clone(), answers), store }
    }

    /// Notes the firing alerts of a payload, and begins to compute what they will be asked. Also answers what was left out of it.
    ///
    /// # Errors
    /// When no alert is about a service, or the catalog fails.
    pub async fn note(&self, payload: Payload, now_ms: u64) -> Result<(Vec<Noted>, Vec<Skipped>), WebhookError> {
        let (alerts, mut skipped) = payload.alerts(now_ms);
        if alerts.is_empty() && !skipped.is_empty() {
            return Err(WebhookError::NoService(skipped.swap_remove(0)));
        }
        let mut noted = Vec::with_capacity(alerts.len());
        for alert in alerts.into_iter().filter(|alert| alert.firing) {
            let link = self.link_of(&alert).await?;
            let (event, is_repeat) = self.keep(alert).await?;
            if !is_repeat {
                self.preparing.begin(&link);
            }
            noted.push(Noted { event, link });
        }
        Ok((noted, skipped))
    }

    /// The link that answers an alert: its service at its time, narrowed down by those of its labels that the profiles have too.
    async fn link_of(&self, alert: &Alert) -> Result<AlertLink, CatalogError> {
        let catalog = self.store.catalog();
        let service = alert.service.as_str();
        let (from, until) = (alert.at_ms.saturating_sub(LABELS_REACH_MS), alert.at_ms + 1);
        let known = catalog.label_names(service, from, until).await?;
        let mut labels = Vec::new();
        for (name, value) in alert.labels.iter().filter(|(name, _)| known.contains(name)) {
            if catalog.label_values(service, name, from, until).await?.contains(value) {
                labels.push((name.clone(), value.clone()));
            }
        }
        Ok(AlertLink { labels, ..AlertLink::at(alert.service.clone(), alert.at_ms) })
    }

    /// Alertmanager repeats a notification for as long as the alert fires: that is one event. Answers whether this is a repeat.
    async fn keep(&self, alert: Alert) -> Result<(Event, bool), WebhookError> {
        let Alert { service, at_ms, title, labels, link, .. } = alert;
        let event = NewEvent { at_ms, kind: EventKind::Alert, service: service.to_string(), title, labels, link };
        let stored =
            self.store.catalog().events(Some(&event.service), at_ms, at_ms + 1, Some(EventKind::Alert)).await?;
        match stored.into_iter().find(|stored| stored.event == event) {
            Some(stored) => Ok((stored, true)),
            None => Ok((self.store.keep_event(event).await?, false)),
        }
    }
}
