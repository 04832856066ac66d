//! HTTP between the services: keeps connections, and passes the trace on.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Larger answers are cut off.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Anything that can go wrong on the way.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// How it went.
    pub status: StatusCode,
    /// What is said about it.
    pub headers: HeaderMap,
    /// What was asked for.
    pub body: Bytes,
}

/// A client of one other service.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// For the service at `base`, such as `http://127.0.0.1:4052`.
    pub fn new(base: &str) -> Self {
        let http = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { base: base.trim_end_matches('/').to_owned(), http }
    }

    /// Sends a body, or asks if there is none, with those headers that have a value.
    ///
    /// # Errors
    /// When the other side cannot be reached or its answer is too large.
    pub async fn send(
        &self,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, Option<&str>)],
    ) -> Result<Answer, Error> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(*name, *value);
            }
        }
        let answer = self.http.request(request.body(Full::new(Bytes::from(body.unwrap_or_default())))?).await?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// The header that makes the called service's spans part of the caller's trace.
pub fn outgoing_traceparent() -> Option<String> {
    tephra_agent::current().map(|context| context.traceparent())
}
