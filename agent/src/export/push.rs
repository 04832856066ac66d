//! Sends windows, one at a time and in order. A window keeps its sequence number over all attempts, so the collector
//! counts it once however often it arrives.

use std::sync::Arc;
use std::time::Duration;

use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_proto::v1::{DropReason, PushResponse};
use tokio::time::timeout;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Status};

use super::backoff::Backoff;
use super::queue::{Queue, Sealed};
use super::symbols::Symbols;
use super::{REPLY_BYTES_MAX, TIMEOUT};
use crate::clock;
use crate::notice::Notice;
use crate::requests::Asked;

/// The collector may ask for a pause; this much of one is granted.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// Answers that neither accept a window nor say why not. It may be the window's fault, so it must not block the rest.
const STRANGE_ANSWERS_MAX: u32 = 10;

/// What became of one attempt.
enum Outcome {
    Accepted(PushResponse),
    /// This window will never be accepted.
    Refused(Status),
    /// Nobody answered, or not now. `pause`: what the collector asked for.
    Later {
        status: Status,
        pause: Option<Duration>,
    },
    /// Somebody answered, but not as a collector does.
    Strange(Status),
}

/// Sends everything that comes through `queue`, until it is closed, and hands on what is `asked` in return.
pub(super) async fn ship(channel: Channel, endpoint: Uri, queue: Arc<Queue>, symbols: Symbols, asked: Arc<Asked>) {
    let mut client = ProfileServiceClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    while let Some(window) = queue.next().await {
        let Some(reply) = deliver(&mut client, &endpoint, &queue, &window).await else { continue };
        asked.hear(&reply, clock::unix_ms());
        symbols.wanted(reply.wanted_build_ids);
        if reply.retry_after_ms > 0 {
            wait(&queue, clamp(Duration::from_millis(reply.retry_after_ms.into()))).await;
        }
    }
}

/// Tries until the window is accepted, refused or, once the queue is closed, has failed again.
async fn deliver(
    client: &mut ProfileServiceClient<Channel>,
    endpoint: &Uri,
    queue: &Queue,
    window: &Sealed,
) -> Option<PushResponse> {
    let mut backoff = Backoff::new();
    let mut strange = 0;
    loop {
        let last_attempt = queue.is_closed();
        let (status, pause) = match attempt(client, window).await {
            Outcome::Accepted(reply) => {
                queue.delivered(reply.duplicate);
                return Some(reply);
            }
            Outcome::Refused(status) => {
                static REFUSED: Notice = Notice::new();
                REFUSED.say(&format!("the collector refused a window: {}", status.message()));
                queue.given_up(window, DropReason::Refused);
                return None;
            }
            Outcome::Later { status, pause } => (status, pause),
            Outcome::Strange(status) => {
                strange += 1;
                (status, None)
            }
        };
        if last_attempt || strange >= STRANGE_ANSWERS_MAX {
            queue.given_up(window, if last_attempt { DropReason::QueueFull } else { DropReason::Refused });
            return None;
        }
        queue.attempt_failed();
        static FAILED: Notice = Notice::new();
        let (why, code) = (status.message(), status.code());
        FAILED.say(&format!("no collector takes windows at {endpoint}, trying again: {why} ({code:?})"));
        wait(queue, backoff.next().max(pause.map_or(Duration::ZERO, clamp))).await;
    }
}

async fn attempt(client: &mut ProfileServiceClient<Channel>, window: &Sealed) -> Outcome {
    let status = match timeout(TIMEOUT, client.push(window.request.clone())).await {
        Err(_) => Status::deadline_exceeded(format!("no answer within {} s", TIMEOUT.as_secs())),
        Ok(Ok(reply)) => return Outcome::Accepted(reply.into_inner()),
        Ok(Err(status)) => status,
    };
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => Outcome::Refused(status),
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::Unauthenticated
        | Code::PermissionDenied => Outcome::Later { pause: pushback(&status), status },
        _ => Outcome::Strange(status),
    }
}

/// gRPC's own word for "not before" (gRFC A6).
fn pushback(status: &Status) -> Option<Duration> {
    let value = status.metadata().get("grpc-retry-pushback-ms")?;
    value.to_str().ok()?.parse().ok().map(Duration::from_millis)
}

fn clamp(pause: Duration) -> Duration {
    pause.clamp(*PAUSE.start(), *PAUSE.end())
}

/// Waits, but not longer than until the queue is closed.
async fn wait(queue: &Queue, pause: Duration) {
    let _ = timeout(pause, queue.closed()).await;
}
