//! Answers before the click: computed one after the other, kept with their data, and computed again once all data has come. Whoever
//! posted does not wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::alerts::answer::AnswerError;
use crate::alerts::answering::{Answers, SETTLED_AFTER_MS};
use crate::alerts::link::AlertLink;
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::store::catalog::{NewPin, PinRange};
use crate::store::{KeepError, Store};

/// Answers in preparation: a storm of alerts.
const WAITING_MAX: usize = 256;

/// What an alert looked at is kept this long, whatever the retention: post-mortems come late.
const PIN_MS: u64 = 90 * 86_400_000;

/// Prepares answers.
#[derive(Debug, Clone)]
pub(super) struct Preparing {
    store: Arc<Store>,
    answers: Arc<Answers>,
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// Why there is no answer yet.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Keep(#[from] KeepError),
}

impl Preparing {
    pub(super) fn new(store: Arc<Store>, answers: Arc<Answers>) -> Self {
        let (waiting, turn) = (Arc::new(Semaphore::new(WAITING_MAX)), Arc::new(Semaphore::new(1)));
        Self { store, answers, waiting, turn }
    }

    /// Begins with the answer to a link, if not too many are waited for already.
    pub(super) fn begin(&self, link: &AlertLink) {
        let Ok(place) = self.waiting.clone().try_acquire_owned() else {
            return warn!(service = %link.service, "too many alerts at once: this one is answered when its link is opened");
        };
        tokio::spawn(self.clone().prepare(link.clone(), place));
    }

    async fn prepare(self, link: AlertLink, _place: OwnedSemaphorePermit) {
        if let Err(error) = self.compute_and_pin(&link).await {
            return warn!(service = %link.service, %error, "no answer for an alert yet");
        }
        // Agents still hold the last seconds back: once they have arrived the answer is computed again, and then it stays.
        let settled_ms = link.at_ms.saturating_add(SETTLED_AFTER_MS + 1_000);
        let Some(wait_ms) = settled_ms.checked_sub(now_ms()).filter(|ms| *ms > 0) else { return };
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let _turn = self.turn().await;
        if let Err(error) = self.answers.answer(&link).await {
            warn!(service = %link.service, %error, "the answer to an alert could not be renewed");
        }
    }

    async fn compute_and_pin(&self, link: &AlertLink) -> Result<(), PrepareError> {
        let _turn = self.turn().await;
        let answer = self.answers.answer(link).await?;
        let range = |TimeRange { from_ms, until_ms }| PinRange { service: link.service.to_string(), from_ms, until_ms };
        let pin = NewPin {
            url: link.to_url(),
            note: answer.headline.clone(),
            answer: answer.to_json().to_string(),
            expires_ms: now_ms() + PIN_MS,
            ranges: vec![range(answer.window), range(answer.baseline.range)],
        };
        match self.store.keep_pin(pin, now_ms()).await {
            // The answer is there all the same, for as long as its data is; an operator is told.
            Ok(_) | Err(KeepError::Full { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until no other answer is being prepared: people come first. `None` would mean that the semaphore is closed, which it never is.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().acquire_owned().await.ok()
    }
}
