//! The first gate, before any byte of a message is kept: a body is let in once its size is known to fit.
//!
//! Nothing is known yet of whoever sends it but an address. So the room for bodies is shared by address, as the memory for windows is
//! by service: however many slow bodies one address has begun, there is room for those of another.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
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
use tokio::time::{Instant, Sleep, sleep, timeout};
use tonic::Status;

use super::MESSAGE_BYTES_MAX;
use super::admit::{Budget, Reserved, overloaded, retry_after_ms};
use super::metrics::Metrics;

/// Bodies that are being read at the same time, in all: 1 000 typical windows, or 15 of the largest.
const BODIES_BYTES_MAX: usize = 64 << 20;

/// How long a request may wait for others to finish reading. Meanwhile its sender is held back by flow control.
const PLACE_TIME_MAX: Duration = Duration::from_secs(2);

/// How often it looks whether they have.
const PLACE_LOOK: Duration = Duration::from_millis(20);

/// A body must be complete by then: one that dribbles in must not hold its place for ever. Agents give up as early.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// One request from its first byte to its ack.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Compression flag and length, before every gRPC message.
const PREFIX_BYTES: usize = 5;

/// Who is at the other end of a connection, in the extensions of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// See the module.
#[derive(Debug, Clone)]
pub struct Gate {
    bodies: Budget,
    metrics: Arc<Metrics>,
}

/// The memory of a request's body, on its way through the request's extensions to whoever takes the body over.
#[derive(Debug, Clone)]
pub(super) struct BodyPlace(#[expect(dead_code, reason = "held, not used")] Arc<Reserved>);

impl Gate {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { bodies: Budget::of(BODIES_BYTES_MAX), metrics }
    }

    async fn place(&self, peer: &str, announced: usize) -> Option<BodyPlace> {
        // What is larger than any message is refused by its reader, before it is read.
        let bytes = announced.min(MESSAGE_BYTES_MAX);
        let until = Instant::now() + PLACE_TIME_MAX;
        loop {
            if let Some(reserved) = self.bodies.reserve(peer, bytes) {
                return Some(BodyPlace(Arc::new(reserved)));
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(PLACE_LOOK).await;
        }
    }
}

/// Lets a request through the [`Gate`], or answers for it. For `axum::middleware::from_fn_with_state`.
pub async fn through_gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let through = async {
        let (mut parts, body) = request.into_parts();
        let (body, announced) = Replayed::after_prefix(body).await;
        // Without a connection, as in tests, all are one.
        let peer = parts.extensions.get::<Peer>().map_or_else(String::new, |peer| peer.0.to_string());
        let Some(place) = gate.place(&peer, announced).await else {
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

/// A body whose first bytes were looked at, and whose last one must come in time.
struct Replayed {
    seen: VecDeque<Bytes>,
    rest: Body,
    deadline: Pin<Box<Sleep>>,
}

impl Replayed {
    /// Reads as far as the length of the first message. A body that ends before has none, which its reader will say.
    async fn after_prefix(mut rest: Body) -> (Self, usize) {
        let deadline = Box::pin(sleep(BODY_TIME_MAX));
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
        (Self { seen, rest, deadline }, announced)
    }
}

impl HttpBody for Replayed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.seen.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => match Pin::new(&mut self.rest).poll_frame(cx) {
                Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => Poll::Ready(Some(Err(
                    axum::Error::new(Status::deadline_exceeded("the body took longer than 10 s")),
                ))),
                polled => polled,
            },
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
    async fn slow_bodies_of_one_address_leave_room_for_another() {
        let gate = Gate::new(Arc::new(Metrics::default()));
        let mut places = Vec::new();
        while let Some(place) = gate.place("10.0.0.1", MESSAGE_BYTES_MAX).await {
            places.push(place);
        }
        assert_eq!(places.len(), 8, "half of what there is");
        assert!(gate.place("10.0.0.2", usize::MAX).await.is_some(), "a claim beyond every limit is no overflow");
        places.pop();
        assert!(gate.place("10.0.0.1", MESSAGE_BYTES_MAX).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_cut_off() {
        let first = tokio_stream::iter([Ok::<_, axum::Error>(Frame::data(Bytes::from_static(b"\0\0\0\0\x07pay")))]);
        let never = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
        let (body, announced) = Replayed::after_prefix(Body::new(StreamBody::new(never))).await;
        assert_eq!(announced, 7);
        let error = body.collect().await.unwrap_err();
        assert!(error.to_string().contains("10 s"), "{error}");
    }
}
