//! How much somebody may send in the long run: what goes beyond it in a moment is made up for afterwards, by sending nothing.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::base::clock;

/// What may be sent at once by who was silent for as long: agents send every ten seconds.
const BURST_S: f64 = 20.0;

/// Bytes a second of somebody, or no limit. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Rate(Arc<Mutex<Level>>);

#[derive(Debug, Default)]
struct Level {
    bytes_per_s: Option<f64>,
    /// Below zero: sent, and not yet made up for.
    left: f64,
    at: Option<Instant>,
}

impl Level {
    fn fill(&mut self, now: Instant) {
        let Some(rate) = self.bytes_per_s else { return };
        let most = rate * BURST_S;
        let since = self.at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        self.left = (self.left + rate * since.as_secs_f64()).min(most);
        self.at = Some(now);
    }
}

impl Rate {
    /// What it is from now on.
    pub fn set(&self, bytes_per_s: Option<u64>) {
        let mut level = self.level();
        let bytes_per_s = bytes_per_s.map(|bytes| bytes as f64);
        if level.bytes_per_s != bytes_per_s {
            *level = Level { bytes_per_s, left: 0.0, at: None };
        }
    }

    /// Whether something may be sent now.
    ///
    /// # Errors
    /// After how long it may.
    pub fn admit(&self) -> Result<(), Duration> {
        let mut level = self.level();
        level.fill(clock::task_instant());
        match level.bytes_per_s {
            Some(rate) if level.left < 0.0 => {
                Err(Duration::try_from_secs_f64(-level.left / rate).unwrap_or(Duration::MAX))
            }
            _ => Ok(()),
        }
    }

    /// Counts what was sent.
    fn take(&self, bytes: usize) {
        self.level().left -= bytes as f64;
    }

    fn level(&self) -> std::sync::MutexGuard<'_, Level> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body whose bytes are counted as they come.
pub(super) struct Counted {
    pub(super) body: Body,
    pub(super) rate: Rate,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.rate.take(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_beyond_the_rate_is_waited_for() {
        let rate = Rate::default();
        rate.take(usize::MAX);
        assert_eq!(rate.admit(), Ok(()), "without a limit there is none");
        rate.set(Some(1_000));
        assert_eq!(rate.admit(), Ok(()));
        let body = Counted { body: Body::from(vec![0; 25_000]), rate: rate.clone() };
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 25_000);
        assert_eq!(rate.admit(), Err(Duration::from_secs(5)), "20 s were saved up");
        rate.set(Some(1_000));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(rate.admit(), Err(Duration::from_secs(1)), "to say the same again changes nothing");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rate.admit(), Ok(()));
        rate.take(500);
        rate.set(None);
        assert_eq!(rate.admit(), Ok(()));
    }
}
