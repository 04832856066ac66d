//! Calls of one message and one answer, as other people's clients make them: gRPC, Connect with protobuf, Connect with JSON. All three come
//! to the same path and are told apart by their content type.
//!
//! Connect: <https://connectrpc.com/docs/protocol>. gRPC: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tonic::{Code, Status};

use super::inflate::Encoding;
use super::json::{self, Shape};
use crate::http::body;
use crate::http::error::{ApiError, ErrorKind};
use crate::http::respond::Payload;

/// How a caller writes its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Speaks {
    /// gRPC, over HTTP/2.
    Grpc,
    /// Connect, with protobuf.
    Proto,
    /// Connect, with JSON.
    Json,
}

/// A message that came, still as it was sent.
#[derive(Debug)]
pub(in crate::http) struct Call {
    speaks: Speaks,
    encoding: Encoding,
    message: Bytes,
}

impl Speaks {
    /// By the content type.
    ///
    /// # Errors
    /// When it is none that is understood.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/grpc" | "application/grpc+proto" => Ok(Self::Grpc),
            "application/proto" | "application/x-protobuf" | "application/protobuf" => Ok(Self::Proto),
            "application/json" => Ok(Self::Json),
            _ => {
                let shown: String = given.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(64).collect();
                Err(ApiError::new(
                    ErrorKind::MediaType,
                    format!("the content type is {shown:?}"),
                    "this path takes application/grpc, application/proto and application/json",
                ))
            }
        }
    }

    /// An answer: `message` is the serialized one, and `shape` how it reads as JSON.
    pub(in crate::http) fn answer(self, message: Vec<u8>, shape: &Shape) -> Response {
        match self {
            Self::Grpc => {
                let mut framed = BytesMut::with_capacity(message.len() + PREFIX_BYTES);
                framed.put_u8(0);
                framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
                framed.put_slice(&message);
                let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from_static("0"))]);
                let body = Full::new(framed.freeze()).with_trailers(async { Some(Ok(trailers)) });
                typed(StatusCode::OK, "application/grpc", Body::new(body))
            }
            Self::Proto => typed(StatusCode::OK, "application/proto", Body::from(message)),
            Self::Json => match json::write(&message, shape) {
                Some(text) => typed(StatusCode::OK, "application/json", Body::from(text)),
                None => self.refuse(ApiError::internal(&"an answer has no form in JSON")),
            },
        }
    }

    /// The same, compressed where the caller takes it, `asked` being its headers; gRPC's are as they are. Blocks for as long as that takes.
    pub(in crate::http) fn answer_packed(self, asked: &HeaderMap, message: Vec<u8>, shape: &Shape) -> Response {
        match self {
            Self::Grpc => self.answer(message, shape),
            Self::Proto => Payload::new(asked, "application/proto", message).into_response(),
            Self::Json => match json::write(&message, shape) {
                Some(text) => Payload::new(asked, "application/json", text.into_bytes()).into_response(),
                None => self.refuse(ApiError::internal(&"an answer has no form in JSON")),
            },
        }
    }

    /// A refusal in the caller's own shape.
    pub(in crate::http) fn refuse(self, error: ApiError) -> Response {
        let status = error.into_status();
        if self == Self::Grpc {
            return status.into_http();
        }
        let (http, code) = connect_error(status.code());
        let body = json!({ "code": code, "message": status.message() });
        typed(http, "application/json", Body::from(body.to_string()))
    }
}

impl Call {
    /// Reads a call. How it is to be answered is known whatever is wrong with the rest of it.
    ///
    /// # Errors
    /// The response to send: the content type is unknown, or the body is too long, too slow, or no message.
    pub(in crate::http) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Response> {
        // Who speaks something else is answered in JSON, which everybody reads.
        let speaks = Speaks::of(headers).map_err(|error| Speaks::Json.refuse(error))?;
        Self::read_as(speaks, headers, body).await.map_err(|error| speaks.refuse(error))
    }

    async fn read_as(speaks: Speaks, headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let body = body::read(body).await?;
        if speaks != Speaks::Grpc {
            return Ok(Self { speaks, encoding: Encoding::of(headers)?, message: body });
        }
        let (compressed, message) = unframed(&body).ok_or_else(|| {
            ApiError::invalid("the call does not hold exactly one gRPC message", "call it with a gRPC client")
        })?;
        let name = headers.get("grpc-encoding").map_or("", |name| name.to_str().unwrap_or("?"));
        let encoding = if compressed { Encoding::named(name)? } else { Encoding::Identity };
        Ok(Self { speaks, encoding, message: body.slice_ref(message) })
    }

    /// How it is to be answered.
    pub(in crate::http) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// The serialized message, whose fields are those of `shape`. Blocks.
    ///
    /// # Errors
    /// When it is damaged, inflates to too much, or is no JSON of this shape.
    pub(in crate::http) fn message(self, shape: &Shape) -> Result<Bytes, ApiError> {
        let message = self.encoding.inflate(self.message)?;
        match self.speaks {
            Speaks::Grpc | Speaks::Proto => Ok(message),
            Speaks::Json => json::read(&message, shape).map(Bytes::from),
        }
    }
}

/// Compression flag and length, before every gRPC message.
const PREFIX_BYTES: usize = 5;

/// Whether the only message of a body is compressed, and the message.
fn unframed(body: &[u8]) -> Option<(bool, &[u8])> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    let &[compressed @ (0 | 1), a, b, c, d] = prefix else { return None };
    (u32::from_be_bytes([a, b, c, d]) as usize == message.len()).then_some((compressed == 1, message))
}

/// Whether a path is that of a method: `/querier.v1.QuerierService/Series`.
pub(in crate::http) fn is_call(path: &str) -> bool {
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_version =
        |part: &str| part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else { return false };
    let mut parts = service.rsplit('.');
    plain(method) && parts.next().is_some_and(plain) && parts.next().is_some_and(is_version) && parts.all(plain)
}

/// HTTP status and name of an error, as Connect has them.
fn connect_error(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        Code::OutOfRange => (StatusCode::BAD_REQUEST, "out_of_range"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn typed(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_paths() {
        for path in
            ["/querier.v1.QuerierService/Series", "/opentelemetry.x.v1development.S/Export", "/vcs.v1.VCSService/Get"]
        {
            assert!(is_call(path), "{path}");
        }
        for path in [
            "/",
            "/api/v1/services",
            "/s/shop.v1.x/y",
            "/assets/a.v1.js",
            "/a.v1.B/",
            "/a.v1.B",
            "/a.b.C/D",
            "/.v1.B/C",
        ] {
            assert!(!is_call(path), "{path}");
        }
    }
}
