//! What every answer carries, and which requests are turned away before any route sees them.
//!
//! A browser must never be a way in: another site's page can neither read an answer (no CORS, same-origin resources), nor
//! send a request (`Sec-Fetch-Site`, `Origin`), nor pretend to be this site by pointing its own name here (`Host`), nor frame a page. All it
//! can do is to link to one. The same holds of gRPC, whose calls have a content type that no page can send to another site unasked.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tephra_proto::v1::{profile_service_server, symbol_service_server};

use super::error::{ApiError, ErrorKind};
use super::refused_hosts::RefusedHosts;
use crate::base::certificate::Encrypted;
use crate::conditions::Conditions;
use crate::ingest::Crowded;

/// Which page a browser sends a request for: its own, another of the same site, another site's, or none.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The gRPC services, as they appear in paths.
const SERVICES: [&str; 2] = [profile_service_server::SERVICE_NAME, symbol_service_server::SERVICE_NAME];

/// Nothing but this server's own scripts and styles, nothing inline, no string that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

/// For documents made of profile data: whoever opens one opens it without script, network or origin.
pub const SANDBOX_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";

/// Names under which this collector may be asked for, beside addresses and names that cannot be registered publicly.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    names: Vec<String>,
    /// Whether private names must be among them too.
    only_those: bool,
    refused: RefusedHosts,
}

impl AllowedHosts {
    /// Host names without port, as the operator lists them; others that are asked for are a condition.
    pub fn new(names: impl IntoIterator<Item = String>, conditions: Conditions) -> Self {
        let names = names.into_iter().map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
        Self { names: names.collect(), only_those: false, refused: RefusedHosts::new(conditions) }
    }

    /// Without private names that the operator did not list: in somebody else's network they may be somebody else's. This machine's own
    /// stay.
    #[must_use]
    pub fn only_those(self) -> Self {
        Self { only_those: true, ..self }
    }

    /// Whether this collector answers to a host; one that it does not is told to the operator, if it is a name at all.
    fn admits(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let Some(name) = without_port(&host) else { return false };
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_allowed = self.allows(name);
        if !is_allowed && !name.is_empty() {
            self.refused.note(name);
        }
        is_allowed
    }

    /// True when a page under this name can only be ours. DNS rebinding needs a name that an attacker can register, so
    /// addresses, names without a dot and private suffixes are always ours.
    fn allows(&self, name: &str) -> bool {
        const PRIVATE: [&str; 6] = [".localhost", ".local", ".internal", ".svc", ".home.arpa", ".test"];
        let is_private = || (!name.is_empty() && !name.contains('.')) || PRIVATE.iter().any(|end| name.ends_with(end));
        name.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || (!self.only_those && is_private())
            || self.names.iter().any(|allowed| allowed == name)
    }
}

/// The name or address in a `Host` header; `None` when it is not one.
fn without_port(host: &str) -> Option<&str> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(address);
    }
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    (plain && is_port(port)).then_some(name)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.parse::<u16>().is_ok()
}

/// Whether a path is that of a gRPC service, whose every request must be a gRPC call.
pub(super) fn is_call(path: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.split('/').next()).is_some_and(|service| SERVICES.contains(&service))
}

/// The middleware around everything on the port.
pub async fn guard(State(hosts): State<AllowedHosts>, request: Request, next: Next) -> Response {
    let is_call = is_call(request.uri().path());
    let refusal = check(&hosts, &request, is_call).err();
    let mut response = match refusal {
        // What speaks gRPC wants gRPC's errors, and shows nothing to anybody: it needs no other headers.
        None if is_call => return next.run(request).await,
        Some(refusal) if speaks_grpc(request.headers()) => {
            return refusal.into_status().into_http();
        }
        None => next.run(request).await,
        Some(refusal) => refusal.into_response(),
    };
    add_headers(response.headers_mut());
    response
}

fn check(hosts: &AllowedHosts, request: &Request, is_call: bool) -> Result<(), ApiError> {
    let headers = request.headers();
    // HTTP/2 carries the name in the URI.
    let host = request.uri().authority().map(|a| a.as_str()).or_else(|| text(headers, header::HOST));
    // Health checks come from load balancers that write any name, and tell nothing.
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if !is_probe && request.extensions().get::<Crowded>().is_some() {
        return Err(ApiError::new(
            ErrorKind::Overloaded,
            "there is no room for another connection",
            "come again in a few seconds; GET /api/v1/status says what fills it",
        ));
    }
    if !is_probe && !host.is_some_and(|host| hosts.admits(host)) {
        let shown: String = host.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(64).collect();
        return Err(ApiError::new(
            ErrorKind::Forbidden,
            format!("this collector does not answer for the host {shown:?}"),
            "name it with `tephra serve --host NAME` (or TEPHRA_HOST), or use the collector's address",
        ));
    }
    let is_read = is_read(request);
    let is_encrypted = request.extensions().get::<Encrypted>().is_some();
    let is_welcome = is_own_page(headers, host, is_encrypted) || (is_read && is_link(headers));
    if !is_welcome {
        return Err(ApiError::new(
            ErrorKind::Forbidden,
            if is_read {
                "a page of another site may only link to this one"
            } else {
                "a page of another site may not write here"
            },
            "send the request from a tool, or from this collector's own pages",
        ));
    }
    if is_call && !speaks_grpc(headers) {
        let content_type: String = text(headers, header::CONTENT_TYPE).unwrap_or_default().chars().take(64).collect();
        return Err(ApiError::new(
            ErrorKind::MediaType,
            format!("the content type is {content_type:?}, and this path takes application/grpc"),
            "call it with a gRPC client; the API for others lives below /api/v1",
        ));
    }
    Ok(())
}

/// True when a request only reads, or says which page sent it, which must be ours to get here. What says nothing may come from a tool, but
/// also from a browser.
pub(super) fn tells_its_page(request: &Request) -> bool {
    let says = |name: &HeaderName| request.headers().contains_key(name);
    is_read(request) || says(&SEC_FETCH_SITE) || says(&header::ORIGIN)
}

fn is_read(request: &Request) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// True when a request comes from our own page or from something that is not a browser. Over an encrypted connection, the page must have come
/// over one too: anybody on the way could have written another.
fn is_own_page(headers: &HeaderMap, host: Option<&str>, is_encrypted: bool) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(scheme, authority)| {
                Some(authority) == host && (!is_encrypted || scheme.eq_ignore_ascii_case("https"))
            })
        }
    }
}

/// True when somebody follows a link, in a tab of its own.
fn is_link(headers: &HeaderMap) -> bool {
    let says = |name, value: &str| headers.get(name).is_some_and(|said| said.as_bytes() == value.as_bytes());
    says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document")
}

/// True for `application/grpc` and its kinds, such as `application/grpc+proto`.
pub(super) fn speaks_grpc(headers: &HeaderMap) -> bool {
    let kind = text(headers, header::CONTENT_TYPE).and_then(|value| value.strip_prefix("application/grpc"));
    kind.is_some_and(|kind| kind.is_empty() || kind.starts_with(['+', ';']))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn add_headers(headers: &mut HeaderMap) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A route may be stricter: attachments are sandboxed, assets are cached.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{any, get};
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: &str, headers: &[(&str, &str)]) -> Response {
        let hosts = AllowedHosts::new(["Tephra.example.com ".to_owned()], Conditions::default());
        let app = Router::new()
            .route("/x", any(async || "fine"))
            .route("/healthz", get(async || "ok"))
            .layer(from_fn_with_state(hosts, guard));
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn only_names_that_can_be_ours_are_answered() {
        let good = [
            "localhost:4040",
            "127.0.0.1",
            "127.0.0.1:4040",
            "[::1]:4040",
            "10.1.2.3:80",
            "tephra:4040",
            "LOCALHOST",
            "tephra.example.com",
            "tephra.example.com.:4040",
            "tephra.monitoring.svc",
            "x.internal:1",
        ];
        for host in good {
            assert_eq!(ask("GET", &[("host", host)]).await.status(), StatusCode::OK, "{host}");
        }
        let bad = [
            "evil.com",
            "evil.com:4040",
            "tephra.example.com.evil.com",
            "127.0.0.1.evil.com",
            "",
            "localhost:x",
            "a:1:2",
            "[::1",
            "[::1]evil.com",
            "localhost:99999",
            "evil.com/localhost",
            "user@localhost",
            "localhost:",
        ];
        for host in bad {
            assert_eq!(ask("GET", &[("host", host)]).await.status(), StatusCode::FORBIDDEN, "{host}");
        }
        assert_eq!(ask("GET", &[]).await.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn private_names_must_be_listed_where_people_are_asked_who_they_are() {
        let hosts = AllowedHosts::new(["tephra.monitoring.svc".to_owned()], Conditions::default()).only_those();
        for ours in ["localhost", "x.localhost", "127.0.0.1", "::1", "10.1.2.3", "tephra.monitoring.svc"] {
            assert!(hosts.allows(ours), "{ours}");
        }
        for others in ["tephra", "printer.local", "x.internal", "other.monitoring.svc", "x.home.arpa", "x.test", ""] {
            assert!(!hosts.allows(others), "{others}");
        }
    }

    #[tokio::test]
    async fn another_site_cannot_write() {
        let host = ("host", "localhost:4040");
        let good: [&[(&str, &str)]; 4] = [
            &[],
            &[("sec-fetch-site", "same-origin"), ("origin", "http://localhost:4040")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://localhost:4040")],
        ];
        for headers in good {
            let headers = [&[host], headers].concat();
            assert_eq!(ask("POST", &headers).await.status(), StatusCode::OK, "{headers:?}");
        }
        let bad: [&[(&str, &str)]; 5] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "http://evil.com")],
            &[("origin", "null")],
            &[("origin", "http://localhost:8080")],
        ];
        for headers in bad {
            let headers = [&[host], headers].concat();
            assert_eq!(ask("POST", &headers).await.status(), StatusCode::FORBIDDEN, "{headers:?}");
            assert_eq!(ask("DELETE", &headers).await.status(), StatusCode::FORBIDDEN, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn over_an_encrypted_connection_a_page_must_have_come_over_one() {
        let check = |origin: &str, is_encrypted: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            is_own_page(&headers, Some("tephra.example.com"), is_encrypted)
        };
        assert!(check("https://tephra.example.com", true) && check("https://tephra.example.com", false));
        assert!(!check("http://tephra.example.com", true), "somebody on the way wrote this page");
        assert!(check("http://tephra.example.com", false), "what a proxy that is not known does is not known");
    }

    #[tokio::test]
    async fn another_site_can_link_here_and_no_more() {
        let host = ("host", "localhost:4040");
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for site in ["cross-site", "same-site"] {
            let from = [host, ("sec-fetch-site", site)];
            let followed = [&from[..], &link].concat();
            assert_eq!(ask("GET", &followed).await.status(), StatusCode::OK, "{site}");
            assert_eq!(ask("POST", &followed).await.status(), StatusCode::FORBIDDEN, "{site}: a form");
            for (mode, dest) in [("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")]
            {
                let shown = [&from[..], &[("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]].concat();
                assert_eq!(ask("GET", &shown).await.status(), StatusCode::FORBIDDEN, "{site} {mode} {dest}");
            }
        }
        let strange = [host, ("origin", "http://evil.com")];
        assert_eq!(ask("GET", &strange).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(ask("GET", &[host, ("origin", "http://localhost:4040")]).await.status(), StatusCode::OK);
    }

    #[test]
    fn only_grpc_speaks_grpc() {
        let speaks = |value: &'static str| {
            speaks_grpc(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
            assert!(speaks(good), "{good}");
        }
        for bad in ["", "text/plain", "application/grpc-web", "application/grpcx", "text/plain;application/grpc"] {
            assert!(!speaks(bad), "{bad}");
        }
        assert!(!speaks_grpc(&HeaderMap::new()), "a page that sends bytes sends no content type");
    }

    #[tokio::test]
    async fn refusals_carry_the_headers_too() {
        for response in [ask("GET", &[("host", "evil.com")]).await, ask("GET", &[("host", "localhost")]).await] {
            let headers = response.headers();
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
    }
}
