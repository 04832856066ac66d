//! The first gate, before any byte of a message is kept: a body is let in once its size is known to fit, and is cut off where it has
//! more bytes, or takes longer, than it may.
//!
//! Nothing is known yet of whoever sends it but an address. So the room for bodies is shared by address, as the memory for windows is
//! by service: however many slow bodies one address has begun, there is room for those of another.

use std::collections::VecDeque;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep, timeout};
use tonic::Status;

use super::admit::{Budget, Reserved, overloaded, retry_after_ms};
use super::metrics::Metrics;

use crate::base::clock;

/// Windows that are being read at the same time, in all: 1 000 typical ones, or 15 of the largest.
const WINDOWS_BYTES_MAX: usize = 64 << 20;

/// How long a request may wait for others to finish reading. Meanwhile its sender is held back by flow control.
const HOLD_TIME_MAX: Duration = Duration::from_secs(2);

/// How often it looks whether they have.
const HOLD_LOOK: Duration = Duration::from_millis(20);

/// Compression flag and length, before every gRPC message.
const PREFIX_BYTES: usize = 5;

/// Who is at the other end of a connection, in the extensions of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// What shares are counted by: the address, of IPv6 the network, whose every address its owner may use.
    pub fn neighbourhood(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
            }
            v4 => v4,
        }
    }
}

/// In the extensions of requests that come when there is no room: only probes are answered.
#[derive(Debug, Clone, Copy)]
pub struct Crowded;

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of the whole of it, as it is sent.
    pub bytes: u64,
    /// Bytes of it that are in memory at the same time: all of them, unless its reader puts away what has come.
    pub held: usize,
    /// All of it must have come by then: one that dribbles in must not hold its memory for ever.
    pub time: Duration,
}

impl Allowance {
    /// For a body that is read as a whole.
    pub const fn whole(bytes: usize, time: Duration) -> Self {
        Self { bytes: bytes as u64, held: bytes, time }
    }

    /// For a call of one message.
    pub const fn message(bytes: usize, time: Duration) -> Self {
        Self::whole(PREFIX_BYTES + bytes, time)
    }
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// It is longer than its kind may be.
    #[error("the body has more than {limit} bytes")]
    TooLong {
        /// What it may have.
        limit: u64,
    },
    /// It did not come in time.
    #[error("the body took longer than {} s", time.as_secs_f32())]
    TooLate {
        /// How long it may take.
        time: Duration,
    },
    /// Others are being read, and it is longer than it said.
    #[error("too much is being received")]
    NoRoom,
}

impl Excess {
    /// What stopped the reading of a body, if it was this.
    pub fn of(error: &axum::Error) -> Option<Self> {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(inner) = source {
            if let Some(excess) = inner.downcast_ref::<Self>() {
                return Some(*excess);
            }
            source = inner.source();
        }
        None
    }

    fn status(self) -> Status {
        match self {
            Self::TooLong { .. } => Status::out_of_range(self.to_string()),
            Self::TooLate { .. } => Status::deadline_exceeded(self.to_string()),
            Self::NoRoom => overloaded(&self.to_string(), retry_after_ms()),
        }
    }
}

/// The room for bodies that are being read at the same time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    bodies: Budget,
    metrics: Arc<Metrics>,
}

/// The memory of a request's body, given back when its request is answered, or earlier by whoever takes the body over. In the extensions of
/// a request. Clones are the same memory.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Mutex<Option<Reserved>>>);

impl BodyMemory {
    /// Makes room for the next one: from here on the body is counted elsewhere.
    pub fn give_back(&self) {
        self.lock().take();
    }

    fn grow_to(&self, bytes: usize) -> bool {
        self.lock().as_mut().is_none_or(|reserved| reserved.grow_to(bytes))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Reserved>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// For windows.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self::of(WINDOWS_BYTES_MAX, metrics)
    }

    /// For bodies that have at most so many bytes together.
    pub(super) fn of(bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self { bodies: Budget::of(bytes), metrics }
    }

    /// The same room, where what is turned away is counted elsewhere.
    pub(super) fn counted_by(&self, metrics: Arc<Metrics>) -> Self {
        Self { bodies: self.bodies.clone(), metrics }
    }

    /// Bytes of bodies that are being read, and how many there may be.
    pub fn in_use_and_limit(&self) -> (usize, usize) {
        self.bodies.in_use_and_limit()
    }

    /// Memory for a body of which `bytes` are held at the same time; waits a moment for others to finish. `None` when there is no room,
    /// which is counted.
    pub async fn hold(&self, peer: Option<&Peer>, bytes: usize) -> Option<BodyMemory> {
        // Without a connection, as in tests, all are one.
        let peer = peer.map_or_else(String::new, |peer| peer.neighbourhood().to_string());
        let until = clock::task_instant() + HOLD_TIME_MAX;
        loop {
            if let Some(reserved) = self.bodies.reserve(&peer, bytes) {
                return Some(BodyMemory(Arc::new(Mutex::new(Some(reserved)))));
            }
            if clock::task_instant() >= until {
                self.metrics.overloaded();
                return None;
            }
            sleep(HOLD_LOOK).await;
        }
    }
}

/// What a gRPC call may cost.
#[derive(Debug, Clone)]
pub struct CallBounds {
    /// Where its body is counted.
    pub gate: Gate,
    /// What its body may be: `held` is the largest message of it.
    pub body: Allowance,
    /// From its head to its answer.
    pub time: Duration,
}

/// Lets a call through the [`Gate`], or answers for it. For `axum::middleware::from_fn_with_state`.
pub async fn through_gate(State(bounds): State<CallBounds>, request: Request, next: Next) -> Response {
    let CallBounds { gate, body: allowance, time } = bounds;
    let through = async {
        let (mut parts, body) = request.into_parts();
        let mut body = Bounded::new(body, allowance, |excess| axum::Error::new(excess.status()));
        // What is larger than any message is refused by its reader, before it is read.
        let announced = body.message_bytes().await.saturating_add(PREFIX_BYTES).min(allowance.held);
        let Some(memory) = gate.hold(parts.extensions.get(), announced).await else {
            return Excess::NoRoom.status().into_http();
        };
        parts.extensions.insert(memory.clone());
        let response = next.run(Request::from_parts(parts, Body::new(body.counted_in(memory.clone())))).await;
        memory.give_back();
        response
    };
    match timeout(time, through).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded(format!("the call took longer than {} s", time.as_secs())).into_http(),
    }
}

/// A body that fails where it goes beyond what it may be.
pub struct Bounded {
    /// What was looked at already.
    seen: VecDeque<Bytes>,
    rest: Body,
    allowance: Allowance,
    received: u64,
    deadline: Pin<Box<Sleep>>,
    memory: Option<BodyMemory>,
    failed: Option<Excess>,
    tell: fn(Excess) -> axum::Error,
}

impl Bounded {
    /// The time starts now. `tell` says it to the reader.
    pub fn new(rest: Body, allowance: Allowance, tell: fn(Excess) -> axum::Error) -> Self {
        let deadline = Box::pin(sleep(allowance.time));
        Self { seen: VecDeque::new(), rest, allowance, received: 0, deadline, memory: None, failed: None, tell }
    }

    /// The same body, which from now on is counted in this memory as it grows.
    pub fn counted_in(self, memory: BodyMemory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Reads as far as the length of the first gRPC message. A body that ends before has none, which its reader will say.
    async fn message_bytes(&mut self) -> usize {
        let mut seen = VecDeque::new();
        let mut prefix = Vec::with_capacity(PREFIX_BYTES);
        while prefix.len() < PREFIX_BYTES {
            let Some(Ok(frame)) = self.frame().await else { break };
            let Ok(data) = frame.into_data() else { break };
            prefix.extend(data.iter().take(PREFIX_BYTES - prefix.len()));
            // Empty frames cost their sender nothing, so they are not kept.
            if !data.is_empty() {
                seen.push_back(data);
            }
        }
        self.seen = seen;
        match prefix[..] {
            [_, a, b, c, d] => u32::from_be_bytes([a, b, c, d]) as usize,
            _ => 0,
        }
    }

    /// What this frame is too much of.
    fn excess(&mut self, frame: &Frame<Bytes>) -> Option<Excess> {
        let Allowance { bytes, held, time } = self.allowance;
        self.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if self.received > bytes {
            return Some(Excess::TooLong { limit: bytes });
        }
        if clock::task_instant() >= self.deadline.deadline() {
            return Some(Excess::TooLate { time });
        }
        let in_memory = usize::try_from(self.received).unwrap_or(held).min(held);
        let fits = self.memory.as_ref().is_none_or(|memory| memory.grow_to(in_memory));
        (!fits).then_some(Excess::NoRoom)
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(data) = self.seen.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.failed.is_none() {
            self.failed = match Pin::new(&mut self.rest).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match self.excess(&frame) {
                    None => return Poll::Ready(Some(Ok(frame))),
                    excess => excess,
                },
                Poll::Pending if self.deadline.as_mut().poll(cx).is_ready() => {
                    Some(Excess::TooLate { time: self.allowance.time })
                }
                polled => return polled,
            };
        }
        Poll::Ready(self.failed.map(|excess| Err((self.tell)(excess))))
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_empty() && self.failed.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.received == 0 { self.rest.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;
    use crate::ingest::{MESSAGE_BYTES_MAX, WINDOW};

    fn dribble(parts: &[&'static [u8]]) -> Body {
        let frames: Vec<Result<Frame<Bytes>, axum::Error>> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part)))).collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    fn window(body: Body) -> Bounded {
        Bounded::new(body, WINDOW, |excess| axum::Error::new(excess.status()))
    }

    #[tokio::test]
    async fn a_message_announces_its_length_and_is_read_whole_all_the_same() {
        for parts in [&[&b"\0\0\0\0\x07payload"[..]][..], &[b"\0", b"", b"\0\0", b"\0\x07pay", b"load"]] {
            let mut body = window(dribble(parts));
            assert_eq!(body.message_bytes().await, 7);
            assert_eq!(body.collect().await.unwrap().to_bytes(), &b"\0\0\0\0\x07payload"[..]);
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_announces_nothing() {
        let mut body = window(dribble(&[b"\0\0\0"]));
        assert_eq!(body.message_bytes().await, 0);
        assert_eq!(body.collect().await.unwrap().to_bytes(), &b"\0\0\0"[..]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_of_one_address_leave_room_for_another() {
        let gate = Gate::new(Arc::new(Metrics::default()));
        let [here, there] = [1, 2].map(|last| Peer([10, 0, 0, last].into()));
        let mut held = Vec::new();
        while let Some(memory) = gate.hold(Some(&here), MESSAGE_BYTES_MAX).await {
            held.push(memory);
        }
        assert_eq!(held.len(), 8, "half of what there is");
        assert!(gate.hold(Some(&there), MESSAGE_BYTES_MAX).await.is_some());
        held.pop();
        assert!(gate.hold(Some(&here), MESSAGE_BYTES_MAX).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_cut_off() {
        let first = tokio_stream::iter([Ok::<_, axum::Error>(Frame::data(Bytes::from_static(b"\0\0\0\0\x07pay")))]);
        let never = tokio_stream::StreamExt::chain(first, tokio_stream::pending());
        let mut body = window(Body::new(StreamBody::new(never)));
        assert_eq!(body.message_bytes().await, 7);
        let error = body.collect().await.unwrap_err();
        assert!(error.to_string().contains("10 s"), "{error}");
    }
}
