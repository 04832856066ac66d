//! The first gate, before any byte of a message is kept: a body is let in once its size is known to fit.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;

use super::MESSAGE_BYTES_MAX;
use super::admit::{overloaded, retry_after_ms};
use super::metrics::Metrics;

/// Bodies that are being read at the same time, in all: 1 000 typical windows, or 15 of the largest.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// Least that a body is charged.
const BODY_BYTES_MIN: usize = 4 << 10;

/// How long a request may wait for others to finish reading. Meanwhile its sender is held back by flow control.
const PLACE_TIME_MAX: Duration = Duration::from_secs(2);

/// One request from its first byte to its ack: a body that dribbles in must not hold its place for ever.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Compression flag and length, before every gRPC message.
const PREFIX_BYTES: usize = 5;

/// See the module.
#[derive(Debug, Clone)]
pub struct Gate {
    /// In KiB.
    bodies: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// The memory of a request's body, on its way through the request's extensions to whoever takes the body over.
#[derive(Debug, Clone)]
pub(super) struct BodyPlace(#[expect(dead_code, reason = "held, not used")] Arc<OwnedSemaphorePermit>);

impl Gate {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX >> 10)), metrics }
    }

    async fn place(&self, announced: usize) -> Option<BodyPlace> {
        // What is larger than any message is refused by its reader, before it is read.
        let bytes = announced.clamp(BODY_BYTES_MIN, MESSAGE_BYTES_MAX);
        let acquired = timeout(PLACE_TIME_MAX, self.bodies.clone().acquire_many_owned((bytes >> 10) as u32 + 1)).await;
        acquired.ok()?.ok().map(|permit| BodyPlace(Arc::new(permit)))
    }
}

/// Lets a request through the [`Gate`], or answers for it. For `axum::middleware::from_fn_with_state`.
pub async fn through_gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let through = async {
        let (mut parts, body) = request.into_parts();
        let (body, announced) = Replayed::after_prefix(body).await;
        let Some(place) = gate.place(announced).await else {
            gate.metrics.overloaded();
            return overloaded("too much is being received", retry_after_ms()).into_http();
        };
        parts.extensions.insert(place);
        next.run(Request::from_parts(parts, Body::new(body))).await
    };
    match timeout(REQUEST_TIME_MAX, through).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the request took longer than 30 s").into_http(),
    }
}

/// A body whose first bytes were looked at.
struct Replayed {
    seen: VecDeque<Bytes>,
    rest: Body,
}

impl Replayed {
    /// Reads as far as the length of the first message. A body that ends before has none, which its reader will say.
    async fn after_prefix(mut rest: Body) -> (Self, usize) {
        let mut seen = VecDeque::new();
        let mut prefix = Vec::with_capacity(PREFIX_BYTES);
        while prefix.len() < PREFIX_BYTES {
            let Some(Ok(frame)) = rest.frame().await else { break };
            let Ok(data) = frame.into_data() else { break };
            prefix.extend(data.iter().take(PREFIX_BYTES - prefix.len()));
            // Empty frames cost their sender nothing, so they are not kept.
            if !data.is_empty() {
                seen.push_back(data);
            }
        }
        let announced = match prefix[..] {
            [_, a, b, c, d] => u32::from_be_bytes([a, b, c, d]) as usize,
            _ => 0,
        };
        (Self { seen, rest }, announced)
    }
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.seen.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.rest.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn dribble(parts: &[&'static [u8]]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, axum::Error>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part)))).collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_message_announces_its_length_and_is_read_whole_all_the_same() {
        for parts in [&[&b"\0\0\0\0\x07payload"[..]][..], &[b"\0", b"", b"\0\0", b"\0\x07pay", b"load"]] {
            let (body, announced) = Replayed::after_prefix(dribble(parts)).await;
            assert_eq!(announced, 7);
            assert_eq!(body.collect().await.unwrap().to_bytes(), &b"\0\0\0\0\x07payload"[..]);
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_announces_nothing() {
        let (body, announced) = Replayed::after_prefix(dribble(&[b"\0\0\0"])).await;
        assert_eq!(announced, 0);
        assert_eq!(body.collect().await.unwrap().to_bytes(), &b"\0\0\0"[..]);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_wait_for_room_and_are_then_sent_back() {
        let metrics = Arc::new(Metrics::default());
        let gate = Gate::new(metrics);
        let mut places = Vec::new();
        while let Some(place) = gate.place(MESSAGE_BYTES_MAX).await {
            places.push(place);
        }
        assert_eq!(places.len(), BODIES_BYTES_MAX / (MESSAGE_BYTES_MAX + 1_024));
        assert!(gate.place(usize::MAX).await.is_none(), "a claim beyond every limit is no overflow");
        places.pop();
        assert!(gate.place(MESSAGE_BYTES_MAX).await.is_some());
    }
}
