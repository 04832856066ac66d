//! What a connection does at the moment: whether anything is being answered on it, and since when nothing is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    /// What times count from.
    since: Instant,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// The same, and answers that are still being sent.
    busy: AtomicUsize,
    /// When a request last began or ended, milliseconds; 0: never.
    used_ms: AtomicU64,
}

impl Activity {
    pub(super) fn new(since: Instant) -> Self {
        Self { since, answering: AtomicUsize::new(0), busy: AtomicUsize::new(0), used_ms: AtomicU64::new(0) }
    }

    /// Notes that a request has begun.
    pub(super) fn begin(self: &Arc<Self>) -> Asked {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.touch();
        Asked { activity: self.clone(), is_answered: false }
    }

    /// Whether an answer is being made: then a peer that says nothing is only waiting.
    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing is lost when the connection ends now.
    pub(super) fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0
    }

    /// When it was last used, if it ever was.
    pub(super) fn used(&self) -> Option<u64> {
        Some(self.used_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0)
    }

    fn touch(&self) {
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used_ms.store(now.max(1), Ordering::Relaxed);
    }
}

/// A request, until its answer was sent.
#[derive(Debug)]
pub(super) struct Asked {
    activity: Arc<Activity>,
    is_answered: bool,
}

impl Asked {
    /// The answer is made, and has yet to be sent.
    pub(super) fn answered(mut self, body: Body) -> Answer {
        self.is_answered = true;
        self.activity.answering.fetch_sub(1, Ordering::Relaxed);
        Answer { body, _asked: self }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_answered {
            self.activity.answering.fetch_sub(1, Ordering::Relaxed);
        }
        self.activity.touch();
        self.activity.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    _asked: Asked,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
    use super::*;

    #[test]
    fn a_connection_is_idle_once_the_last_answer_was_sent() {
        let activity = Arc::new(Activity::new(Instant::now()));
        assert!(activity.is_idle() && activity.used().is_none());
        let [first, second] = [(); 2].map(|()| activity.begin());
        assert!(activity.is_answering() && !activity.is_idle() && activity.used().is_some());
        let answer = first.answered(Body::empty());
        // As when the asker goes away.
        drop(second);
        assert!(!activity.is_answering() && !activity.is_idle());
        drop(answer);
        assert!(activity.is_idle());
    }
}
