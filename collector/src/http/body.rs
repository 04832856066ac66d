//! Request bodies: how much of one may come, until when, and how much of all of them is in memory at the same time.
//!
//! [`admit`] stands before every route: whatever that does with a body, the body fails beyond its limits, and its memory is counted until the
//! request is answered.

use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::{ApiError, ErrorKind};
use crate::ingest::{Allowance, BodyMemory, Bounded, Excess, Gate};

/// Bodies of all requests at the same time; windows from agents have a budget of their own. An address may hold at most as much of it as is
/// still free.
pub const BODIES_BYTES_MAX: usize = 192 << 20;

/// A body that is read as a whole has come by then.
pub const TIME_MAX: Duration = Duration::from_secs(10);

/// For routes that take no body.
pub const NONE: Allowance = Allowance::whole(0, TIME_MAX);

/// Room for the beginning of a body: all of a typical profile.
const HELD_AT_FIRST: usize = 64 << 10;

/// Events, pins: a few lines.
pub const JSON: Allowance = Allowance::whole(64 << 10, TIME_MAX);

/// Puts the body of a request under its limits, once there is room for its beginning. The memory is given back when it is dropped.
///
/// # Errors
/// 413 when it announces too much, 429 when there is no room.
pub(super) async fn admit(
    gate: &Gate,
    allowance: Allowance,
    request: Request,
) -> Result<(Request, Option<BodyMemory>), ApiError> {
    // Nobody reads what a route takes no body for.
    if allowance.bytes == 0 {
        return Ok((request.map(|_| Body::empty()), None));
    }
    let (mut parts, body) = request.into_parts();
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > allowance.bytes {
        return Err(Excess::TooLong { limit: allowance.bytes }.into());
    }
    // A body takes memory as it comes: who only claims to send much holds nobody up.
    let held = usize::try_from(announced).unwrap_or(allowance.held).min(HELD_AT_FIRST);
    let memory = gate.hold(parts.extensions.get(), held).await.ok_or(Excess::NoRoom)?;
    parts.extensions.insert(memory.clone());
    let body = Bounded::new(body, allowance, axum::Error::new).counted_in(memory.clone());
    Ok((Request::from_parts(parts, Body::new(body)), Some(memory)))
}

/// Reads a whole body.
///
/// # Errors
/// 413 when it is longer than its route takes, 408 when it does not come in time, 429 when there is no room, 400 when it ends early.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, usize::MAX).await.map_err(|error| failed(&error))
}

/// What is wrong with a body that could not be read to its end.
pub fn failed(error: &axum::Error) -> ApiError {
    Excess::of(error).map_or_else(|| ApiError::invalid("the body ended early", "send it again"), ApiError::from)
}

impl From<Excess> for ApiError {
    fn from(excess: Excess) -> Self {
        let (kind, hint) = match excess {
            Excess::TooLong { .. } => (ErrorKind::TooLarge, "send less at once"),
            Excess::TooLate { .. } => (ErrorKind::TooSlow, "send it faster, or less at once"),
            Excess::NoRoom => (ErrorKind::Overloaded, "send it again a little later"),
        };
        Self::new(kind, excess.to_string(), hint)
    }
}

/// Reads a JSON body.
///
/// # Errors
/// As [`read`], and 400 when it is not the JSON that is expected; the message says where.
pub async fn read_json<T: DeserializeOwned>(body: Body, example: &str) -> Result<T, ApiError> {
    let bytes = read(body).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not understood: {error}"), format!("send {example}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bounded(body: Body, bytes: usize) -> Result<Bytes, ApiError> {
        let body = Bounded::new(body, Allowance::whole(bytes, TIME_MAX), axum::Error::new);
        read(Body::new(body)).await
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_as_too_large() {
        assert_eq!(bounded(Body::from("12345"), 5).await.unwrap(), "12345");
        let error = bounded(Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("5 bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_refused_as_too_slow() {
        let never = Body::from_stream(tokio_stream::pending::<Result<Bytes, axum::Error>>());
        let error = bounded(never, 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooSlow);
        assert!(error.to_string().contains("10 s"), "{error}");
    }

    #[tokio::test]
    async fn json_errors_say_where() {
        let error = read_json::<Vec<u8>>(Body::from("[1,\n x]"), "[1,2]").await.unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert_eq!(error.hint(), "send [1,2]");
    }
}
