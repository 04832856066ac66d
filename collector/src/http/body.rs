//! Request bodies: read up to a limit, and never further.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::error::{ApiError, ErrorKind};

/// Events, pins: a few lines.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer, 400 when it ends early.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if is_too_long(&error) => Err(ApiError::new(
            ErrorKind::TooLarge,
            format!("the body has more than {limit} bytes"),
            "send less at once",
        )),
        Err(_) => Err(ApiError::invalid("the body ended early", "send it again")),
    }
}

/// Reads a JSON body of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and 400 when it is not the JSON that is expected; the message says where.
pub async fn read_json<T: DeserializeOwned>(body: Body, limit: usize, example: &str) -> Result<T, ApiError> {
    let bytes = read(body, limit).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::invalid(format!("the body is not understood: {error}"), format!("send {example}")))
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_as_too_large() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        let error = read(Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("5 bytes"));
    }

    #[tokio::test]
    async fn json_errors_say_where() {
        let error = read_json::<Vec<u8>>(Body::from("[1,\n x]"), 100, "[1,2]").await.unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert_eq!(error.hint(), "send [1,2]");
    }
}
