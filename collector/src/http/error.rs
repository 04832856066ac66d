//! What a refused request is told: one JSON shape, whose message names the value and the limit, and whose hint says what
//! to do next.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tephra_proto::label::NameError;
use tonic::{Code, Status};

use crate::alerts::link::LinkError;
use crate::ingest::PushError;
use crate::profile::model::Partial;
use crate::query::QueryError;
use crate::store::catalog::CatalogError;
use crate::store::{KeepError, StoreError};
use crate::work::WorkError;

/// A refusal, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    kind: ErrorKind,
    message: String,
    hint: String,
    /// When to come again, where it is of any use, in seconds.
    retry_after_s: u32,
}

/// Most of what is in the way is gone by then.
const RETRY_AFTER_S: u32 = 2;

/// What a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong: repeating it will not help.
    Invalid,
    /// Nobody said who asks, or it is not believed.
    Unauthenticated,
    /// Sent from a place, or by somebody, that may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// Not with this method.
    Method,
    /// The body is of a kind the route does not read.
    MediaType,
    /// More than is taken at once.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// Too much at the moment: come back.
    Overloaded,
    /// There is as much as there may be: make room first.
    Full,
    /// Something the collector needs is not there: come back.
    Unavailable,
    /// A fault of the collector: its log says which.
    Internal,
}

impl ErrorKind {
    fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "too_slow"),
            Self::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            Self::Full => (StatusCode::TOO_MANY_REQUESTS, "full"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl ApiError {
    /// A refusal of some kind. `message` names the value and the limit, `hint` says what to do next.
    pub fn new(kind: ErrorKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into(), retry_after_s: RETRY_AFTER_S }
    }

    /// 400: the request is wrong.
    pub fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message, hint)
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message, hint)
    }

    /// 500: what went wrong is for the log, not for the client.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(ErrorKind::Internal, "the collector could not answer this", "its log says why; retrying may help")
    }

    /// 413: only a part of it fits the limits, and a file cannot say so.
    pub fn only_part(partial: &Partial) -> Self {
        let Partial { reason, from_ms, until_ms, .. } = partial;
        Self::new(
            ErrorKind::TooLarge,
            format!("only the part from {from_ms} until {until_ms} fits the limits: the query {}", reason.words()),
            format!("ask for from={from_ms}&until={until_ms}, or in parts"),
        )
    }

    /// The same where it is about some of several profiles, of which the others are stored.
    #[must_use]
    pub fn among(self, refused: usize, of: usize) -> Self {
        if of <= 1 {
            return self;
        }
        Self {
            message: format!("{refused} of {of} profiles are not stored; the first of them: {}", self.message),
            ..self
        }
    }

    /// The same in gRPC's words.
    pub fn into_status(self) -> Status {
        let code = match self.kind {
            ErrorKind::Invalid | ErrorKind::MediaType => Code::InvalidArgument,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::Forbidden => Code::PermissionDenied,
            ErrorKind::NotFound | ErrorKind::Method => Code::Unimplemented,
            ErrorKind::TooLarge => Code::OutOfRange,
            ErrorKind::TooSlow => Code::DeadlineExceeded,
            ErrorKind::Overloaded | ErrorKind::Full => Code::ResourceExhausted,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Internal => Code::Internal,
        };
        Status::new(code, format!("{}: {}", self.message, self.hint))
    }

    /// The same for a caller who is to come again after so many seconds.
    #[must_use]
    pub fn after(self, seconds: u32) -> Self {
        Self { retry_after_s: seconds, ..self }
    }

    /// What kind of refusal this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The status that it is sent with.
    pub fn status(&self) -> StatusCode {
        self.kind.parts().0
    }

    /// What to do next.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::invalid(error.to_string(), "check the spelling of the name")
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let message = error.to_string();
        match &error {
            QueryError::UnknownService { .. } => Self::not_found(
                message,
                "GET /api/v1/services lists the services; is its agent running and allowed to reach this collector?",
            ),
            QueryError::UnknownType { known, .. } => {
                let hint =
                    known.first().map_or("it has sent nothing yet".to_owned(), |first| format!("ask for type={first}"));
                Self::not_found(message, hint)
            }
            QueryError::EmptyRange { .. } => Self::invalid(message, "from must be before until"),
            QueryError::BadStep { .. } => Self::invalid(message, "choose a longer step, or leave it out"),
            QueryError::TooManyWindows { .. } | QueryError::TooLarge { .. } => {
                Self::new(ErrorKind::TooLarge, message, "choose a shorter range, or add label.<name>=<value>")
            }
            QueryError::OutOfTime => Self::new(
                ErrorKind::Unavailable,
                message,
                "choose a shorter range, add label.<name>=<value>, or give it more time with timeout=",
            ),
            QueryError::Overflow { .. } => {
                Self::invalid(message, "leave out the instance that sent them, with a label")
            }
            QueryError::Cancelled => Self::new(ErrorKind::Unavailable, message, "ask again"),
            _ => Self::internal(&error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        Self::internal(&error)
    }
}

impl From<KeepError> for ApiError {
    fn from(error: KeepError) -> Self {
        let message = error.to_string();
        match error {
            KeepError::Full { what: "pins", .. } => Self::new(
                ErrorKind::Full,
                message,
                "delete pins nobody needs: GET /api/v1/pins lists them, DELETE /api/v1/pins/{id} deletes one",
            ),
            KeepError::Full { .. } => Self::new(
                ErrorKind::Full,
                message,
                "delete old ones: DELETE /api/v1/events?until=now-90d, of one service with service=",
            ),
            KeepError::Catalog(error) => error.into(),
        }
    }
}

impl From<PushError> for ApiError {
    fn from(error: PushError) -> Self {
        let message = error.to_string();
        match error {
            PushError::Refused(_) => Self::invalid(message, "the profile is outside of what the collector takes"),
            PushError::Overloaded { .. } => Self::new(ErrorKind::Overloaded, message, "send it again a little later"),
            PushError::Full { retry_after_ms, .. } => {
                let hint = "send it again then; GET /api/v1/status says under \"conditions\" what there is too much of";
                Self::new(ErrorKind::Overloaded, message, hint).after(retry_after_ms.div_ceil(1_000))
            }
            _ => {
                Self::new(ErrorKind::Unavailable, message, "send it again; GET /readyz says when the store takes data")
            }
        }
    }
}

impl From<WorkError> for ApiError {
    fn from(error: WorkError) -> Self {
        let message = error.to_string();
        match error {
            WorkError::Crowded | WorkError::NoTurn => {
                Self::new(ErrorKind::Overloaded, message, "try again in a few seconds")
            }
            WorkError::TooLong(_) => Self::new(
                ErrorKind::Unavailable,
                message,
                "ask for a shorter range, or narrow it down with label.<name>=<value>",
            ),
            WorkError::Failed(_) => Self::internal(&error),
        }
    }
}

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> Self {
        Self::invalid(error.to_string(), error.hint())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.kind.parts();
        let body = Json(json!({ "code": code, "message": self.message, "hint": self.hint }));
        let mut response = (status, body).into_response();
        if matches!(self.kind, ErrorKind::Overloaded | ErrorKind::Unavailable) {
            response.headers_mut().insert(header::RETRY_AFTER, self.retry_after_s.into());
        }
        response
    }
}
