//! Sends windows, one at a time and in order. A window keeps its sequence number over all attempts, so the collector
//! counts it once however often it arrives.

use std::sync::Arc;
use std::time::Duration;

use tephra_proto::v1::profile_service_client::ProfileServiceClient;
use tephra_proto::v1::{DropReason, PushResponse};
use tokio::time::timeout;
use tonic::transport::Uri;
use tonic::{Code, Status};

use super::REPLY_BYTES_MAX;
use super::backoff::Backoff;
use super::connect::{Connection, TIMEOUT};
use super::queue::{Queue, Sealed};
use super::symbols::Symbols;
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
pub(super) async fn ship(
    connection: Connection,
    endpoint: Uri,
    queue: Arc<Queue>,
    symbols: Symbols,
    asked: Arc<Asked>,
) {
    let mut client = ProfileServiceClient::new(connection).max_decoding_message_size(REPLY_BYTES_MAX);
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
    client: &mut ProfileServiceClient<Connection>,
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
        let (why, code) = (cause(&status), status.code());
        FAILED.say(&format!("no collector takes windows at {endpoint}, trying again: {why} ({code:?})"));
        wait(queue, backoff.next().max(pause.map_or(Duration::ZERO, clamp))).await;
    }
}

async fn attempt(client: &mut ProfileServiceClient<Connection>, window: &Sealed) -> Outcome {
    let status = match timeout(TIMEOUT, client.push(window.request.clone())).await {
        Err(_) => Status::deadline_exceeded(format!("no answer within {} s", TIMEOUT.as_secs())),
        Ok(Ok(reply)) => return Outcome::Accepted(reply.into_inner()),
        Ok(Err(status)) => status,
    };
    judge(status)
}

fn judge(status: Status) -> Outcome {
    match status.code() {
        _ if is_about_tls(&status) => Outcome::Later { pause: None, status },
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

/// Whether no collector has answered, but one that does not believe this agent's certificate: TLS 1.3 tells so only after the handshake.
fn is_about_tls(status: &Status) -> bool {
    #[cfg(feature = "tls-no-provider")]
    return std::iter::successors(std::error::Error::source(status), |&error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>()?.get_ref())
        .any(|inner| inner.is::<rustls::Error>());
    #[cfg(not(feature = "tls-no-provider"))]
    {
        let _ = status;
        false
    }
}

/// What a status says, and what is at the bottom of it, where it is about the connection.
fn cause(status: &Status) -> String {
    let sources = std::iter::successors(std::error::Error::source(status), |&error| error.source());
    match sources.last().map(ToString::to_string) {
        Some(last) if !status.message().contains(&last) => format!("{}: {last}", status.message()),
        _ => status.message().to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_token_or_a_certificate_says_nothing_of_the_window() {
        for status in [Status::unauthenticated("unknown token"), Status::permission_denied("it may not push")] {
            assert!(matches!(judge(status), Outcome::Later { .. }));
        }
        #[cfg(feature = "tls-no-provider")]
        {
            let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, alert);
            let status = Status::from_error(Box::new(error));
            assert!(cause(&status).contains("UnknownCA"), "{status:?}");
            assert!(matches!(judge(status), Outcome::Later { .. }));
        }
        let broken = std::io::Error::new(std::io::ErrorKind::InvalidData, "no frame");
        assert!(matches!(judge(Status::from_error(Box::new(broken))), Outcome::Strange(_)));
        assert!(matches!(judge(Status::internal("odd")), Outcome::Strange(_)));
        assert!(matches!(judge(Status::invalid_argument("a label")), Outcome::Refused(_)));
    }
}
