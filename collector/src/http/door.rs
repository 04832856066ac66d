//! Asks whoever sends a request who they are, before anything of it is read, and writes down what cannot be undone.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, AUTHORIZATION};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tephra_proto::label;

use super::AppState;
use super::application::Applications;
use super::error::{ApiError, ErrorKind};
use super::guard;
use super::pages;
use super::permissions::{self, Need};
use super::rate::Counted;
use crate::access::proxies::{Forwarded, Person};
use crate::access::role::Role;
use crate::access::{Admitted, Brought, Refusal, Who};
use crate::base::certificate::PeerCertificate;
use crate::base::clock::now_ms;
use crate::base::tenant::TenantName;
use crate::ingest::Peer;
use crate::store::access::Deed;

/// Characters of what a deed was done to.
const SUBJECT_CHARS_MAX: usize = 200;

/// What the door leads to. Nothing behind it knows that there are tenants.
#[derive(Debug, Clone)]
pub(super) struct Front {
    /// The default tenant's, whose handlers come next, and who may do what.
    pub(super) state: AppState,
    /// Those of all others.
    pub(super) others: Option<Arc<dyn Applications>>,
}

impl Front {
    /// Has a request answered from the store of its tenant. `sends`: what it brings is to be stored.
    async fn answer(&self, tenant: &TenantName, path: &str, sends: bool, request: Request, next: Next) -> Response {
        if tenant.is_default() {
            return next.run(request).await;
        }
        let opened = match &self.others {
            Some(others) => others.open(tenant).await,
            None => Err(ApiError::new(
                ErrorKind::Forbidden,
                "this collector has no stores of tenants",
                "with PostgreSQL and a bucket, run a collector for each tenant",
            )),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return tell(error, &request),
        };
        if !sends {
            return opened.answer(path, request).await;
        }
        if let Err(after) = opened.rate.admit() {
            let seconds = u32::try_from(after.as_secs()).unwrap_or(u32::MAX).saturating_add(1).min(RETRY_AFTER_S_MAX);
            let message = format!("more was sent than this tenant may send in the long run; come again in {seconds} s");
            let hint = "send less, or ask for more: `tephra tenant limit NAME --rate`";
            return tell(ApiError::new(ErrorKind::Overloaded, message, hint).after(seconds), &request);
        }
        let rate = opened.rate.clone();
        opened.answer(path, request.map(|body| Body::new(Counted { body, rate }))).await
    }
}

/// Nobody is sent away for longer, seconds.
const RETRY_AFTER_S_MAX: u32 = 60;

/// The middleware around every route, with the path that it was made for.
pub(super) async fn door(State(front): State<Front>, request: Request, next: Next) -> Response {
    let state = &front.state;
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let permission = permissions::of(request.method(), &path);
    let need = match permission.map(|permission| permission.need) {
        Some(Need::Nothing) => return next.run(request).await,
        Some(Need::Role(role)) => role,
        // A method that the path does not take is told so by the router, to whoever may do everything.
        None => Role::Admin,
    };
    let address = request.extensions().get::<Peer>().map(|peer| peer.0);
    let asked = permission.is_some_and(|permission| permission.audited).then(|| Asked::of(&request, &path, address));
    let (certificate, forwarded) = (request.extensions().get::<PeerCertificate>(), request.extensions().get());
    let brought = Brought { certificate, forwarded };
    let admitted = state.access.admit(request.headers(), request.uri(), brought, need);
    let admitted =
        admitted.and_then(|Admitted { who, tenant }| match who.is_ambient && !guard::tells_its_page(&request) {
            true => Err(Refusal::NoPage),
            false => Ok(Admitted { who, tenant }),
        });
    match admitted {
        Ok(Admitted { who, tenant }) => {
            let mut request = request;
            request.extensions_mut().insert(who.clone());
            let mut answer = front.answer(&tenant, &path, need == Role::Push, request, next).await;
            if let Some(asked) = asked {
                state.access.note(asked.deed(who.clone(), &tenant, answer.status().as_str())).await;
            }
            answer.extensions_mut().insert(who);
            answer.extensions_mut().insert(tenant);
            answer
        }
        Err(refusal) => {
            state.refused.note(refusal);
            let who = who_was_refused(refusal, &request);
            if let (Some(asked), Some(who)) = (asked, who.clone()) {
                let tenant = state.access.tenant_of(request.headers(), request.uri(), brought);
                state.access.note(asked.deed(who, &tenant, "refused")).await;
            }
            let wait = state.access.wait_after(refusal, address);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let mut answer = answer(refusal, &request);
            answer.extensions_mut().insert(refusal);
            if let Some(who) = who {
                answer.extensions_mut().insert(who);
            }
            answer
        }
    }
}

/// Somebody who is known, and may not do this.
fn who_was_refused(refusal: Refusal, request: &Request) -> Option<Who> {
    let by_proxy = request.extensions().get::<Forwarded>().filter(|_| !request.headers().contains_key(AUTHORIZATION));
    match (by_proxy.map(|forwarded| &forwarded.person), refusal) {
        (Some(Person::Known { name, .. }), _) => Some(Who::named(format!("person:{name}"))),
        (_, Refusal::Role { has, .. }) => Some(Who::named(format!("a token of role {}", has.as_str()))),
        _ => None,
    }
}

/// What an audited request asks for.
struct Asked {
    address: String,
    action: String,
    subject: String,
}

impl Asked {
    fn of(request: &Request, path: &str, address: Option<IpAddr>) -> Self {
        let uri = request.uri();
        let whole = match uri.query() {
            None => uri.path().to_owned(),
            Some(query) => format!("{}?{}", uri.path(), without_strange_values(query)),
        };
        let shown = |c: &char| label::is_printable(*c);
        Self {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            action: format!("{} {path}", request.method()),
            subject: whole.chars().filter(shown).take(SUBJECT_CHARS_MAX).collect(),
        }
    }

    fn deed(self, who: Who, tenant: &TenantName, outcome: &str) -> Deed {
        let Self { address, action, subject } = self;
        let (outcome, tenant) = (outcome.to_owned(), tenant.to_string());
        Deed { at_ms: now_ms(), who: who.name, address, action, subject, outcome, tenant }
    }
}

/// What a deed was done to is said by these; the values of others may be anybody's secrets.
const SAID: [&str; 4] = ["service", "from", "until", "build_id"];

/// A query in which only what a deed was done to has values.
fn without_strange_values(query: &str) -> String {
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if !SAID.contains(&name) => format!("{name}=…"),
        _ => pair.to_owned(),
    });
    shown.collect::<Vec<_>>().join("&")
}

/// Why it is not answered, in the caller's words.
fn tell(error: ApiError, request: &Request) -> Response {
    if guard::is_call(request.uri().path()) || guard::speaks_grpc(request.headers()) {
        return error.into_status().into_http();
    }
    error.into_response()
}

/// The refusal, in the caller's words: 401 asks a browser for the token, 403 does not.
fn answer(refusal: Refusal, request: &Request) -> Response {
    let kind = if refusal.asks_for_credentials() { ErrorKind::Unauthenticated } else { ErrorKind::Forbidden };
    let error = ApiError::new(kind, refusal.to_string(), refusal.hint());
    if guard::is_call(request.uri().path()) || guard::speaks_grpc(request.headers()) {
        return error.into_status().into_http();
    }
    let is_page = opens_a_page(request.method(), request.headers());
    let mut answer = match is_page {
        true => {
            let title = if refusal.asks_for_credentials() { "Who are you?" } else { "You may not do this" };
            let page = pages::refused(title, &refusal.to_string(), refusal.hint());
            (error.status(), page).into_response()
        }
        false => error.into_response(),
    };
    if refusal.asks_for_credentials() {
        let asks = if is_page {
            // The browser's own question: any name, and the token as the password.
            "Basic realm=\"tephra: any name, and a token as the password\", charset=\"UTF-8\""
        } else {
            "Bearer realm=\"tephra\""
        };
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(asks));
    }
    answer
}

/// Whether somebody opens it in a tab. What a page's script asks for must not make the browser ask.
fn opens_a_page(method: &Method, headers: &HeaderMap) -> bool {
    let says_page = headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    let by_script = headers.get("sec-fetch-mode").is_some_and(|mode| mode.as_bytes() != b"navigate");
    matches!(*method, Method::GET | Method::HEAD) && says_page && !by_script
}
