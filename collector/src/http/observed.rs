//! What is told of each request once it is answered: a line in the log, and what Prometheus reads. Of what a request says, neither holds more
//! than the name of its route: paths, queries and headers hold names of people and secrets.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use tonic::Code;
use tracing::{debug, info};

use super::guard;
use super::measured::{Measured, Outcome, method_label};
use super::request_id::{RequestId, X_REQUEST_ID};
use crate::access::{Refusal, Who};
use crate::base::clock;
use crate::base::tenant::TenantName;
use crate::ingest::Peer;

/// The target of these lines in the log, by which they are chosen: `TEPHRA_LOG=info,tephra_collector::request=debug`.
pub const REQUESTS: &str = "tephra_collector::request";

/// The route of what has none: whatever strangers ask for is one.
const UNMATCHED: &str = "{unmatched}";

/// The middleware around everything on the port.
pub(super) async fn observed(State(measured): State<Measured>, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let mut seen = Seen::of(&request, id.clone(), measured);
    let mut answer = next.run(request).await;
    seen.answered(&answer);
    if let Some(id) = id.to_header() {
        answer.headers_mut().insert(X_REQUEST_ID, id);
    }
    answer.map(|body| Body::new(Told { body, seen }))
}

/// A request, until the last of its answer was handed on: then it is told. One whose asker went away before has no status.
struct Seen {
    measured: Measured,
    begun: Instant,
    id: RequestId,
    route: String,
    is_call: bool,
    method: &'static str,
    address: Option<IpAddr>,
    status: Option<StatusCode>,
    /// That of gRPC.
    code: Option<Code>,
    who: Option<Who>,
    /// Whose store answered, and where that is counted too.
    tenant: Option<TenantName>,
    also: Option<Measured>,
    refusal: Option<Refusal>,
    bytes: u64,
}

impl Seen {
    fn of(request: &Request, id: RequestId, measured: Measured) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        measured.begun();
        Self {
            measured,
            begun: clock::instant(),
            id,
            route: matched.map_or(UNMATCHED, MatchedPath::as_str).to_owned(),
            is_call: guard::speaks_grpc(request.headers()),
            method: method_label(request.method()),
            address: request.extensions().get::<Peer>().map(|peer| peer.0),
            status: None,
            code: None,
            who: None,
            tenant: None,
            also: None,
            refusal: None,
            bytes: 0,
        }
    }

    fn answered(&mut self, answer: &Response) {
        self.status = Some(answer.status());
        self.who = answer.extensions().get().cloned();
        self.tenant = answer.extensions().get().cloned();
        self.also = answer.extensions().get().cloned();
        if let Some(also) = &self.also {
            also.begun();
        }
        self.refusal = answer.extensions().get().copied();
        self.read_code(answer.headers());
    }

    /// What gRPC says of how a call ended, before or behind its body.
    fn read_code(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status").filter(|_| self.is_call) {
            self.code = Some(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let took = self.begun.elapsed();
        let outcome = match (self.status, self.code) {
            (None, _) => Outcome::Gone,
            (Some(StatusCode::OK), Some(code)) => Outcome::of_call(code),
            (Some(status), _) => Outcome::of_status(status),
        };
        for measured in [Some(&self.measured), self.also.as_ref()].into_iter().flatten() {
            measured.ended(&self.route, self.method, outcome, took);
        }
        let (id, route, method, bytes) = (self.id.as_str(), self.route.as_str(), self.method, self.bytes);
        let who = self.who.as_ref().map_or("", |who| who.name.as_str());
        let tenant = self.tenant.as_ref().map_or("", TenantName::as_str);
        let refused = self.refusal.map_or("", Refusal::reason);
        let status = self.status.map_or(0, |status| status.as_u16());
        let grpc_status = self.code.map(i32::from);
        let (address, ms) = (self.address.map(|address| address.to_string()), took.as_secs_f64() * 1e3);
        let address = address.as_deref().unwrap_or_default();
        macro_rules! tell {
            ($level:ident) => {
                $level!(
                    target: REQUESTS,
                    id, route, method, status, grpc_status, ms, bytes, who, tenant, refused, address, "answered"
                )
            };
        }
        // Each is a kind of its own for the log: a flood of refusals leaves out no failure.
        match (outcome, self.refusal) {
            (Outcome::Failed, _) => tell!(info),
            (_, Some(_)) => tell!(info),
            _ => tell!(debug),
        }
    }
}

/// The body of an answer, which is told when it ends.
struct Told {
    body: Body,
    seen: Seen,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let Some(data) = frame.data_ref() {
                self.seen.bytes += data.remaining() as u64;
            }
            if let Some(trailers) = frame.trailers_ref() {
                self.seen.read_code(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
