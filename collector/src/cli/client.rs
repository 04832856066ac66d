//! The collector's API, as the tools use it: HTTP, over TLS where the address says so, bounded answers, errors that say what to do.
#![expect(clippy::disallowed_methods, reason = "the authorities' file is named on the command line")]

use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tephra_proto::address::printable;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::access::token::Token;
use crate::store::access::token_in;
use crate::urls::encode;

/// The token that the collector asks for. No option: command lines are seen by everybody.
const TOKEN: &str = "TEPHRA_TOKEN";

/// A large pprof export.
const ANSWER_BYTES_MAX: u64 = 512 << 20;

/// Longer than the collector's own deadline.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A gigabyte of debug info, sent and symbolized.
const FILE_TIMEOUT: Duration = Duration::from_secs(1800);

/// Which collector to ask.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// The collector; http://USER:PASSWORD@HOST:PORT if a proxy before it asks for them
    #[arg(
        long,
        env = "TEPHRA_ENDPOINT",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:4040"
    )]
    server: Address,
    /// File with the token that the collector asks for; or the token itself in TEPHRA_TOKEN. Sent over plain http to this machine alone
    #[arg(long, env = "TEPHRA_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorities in PEM, one of which has signed the collector's certificate, for https:// [default: those of this system]
    #[arg(long, env = "TEPHRA_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// A URL that is never shown with the password it may hold.
#[derive(Clone)]
struct Address(String);

impl From<String> for Address {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", printable(&self.0))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Not an address it can talk to.
    #[error("{server:?} is not an address: write http://HOST:PORT or https://HOST:PORT")]
    Address { server: String },
    /// Nobody to believe.
    #[error("--ca-file {}: {problem}", path.display())]
    Authorities { path: PathBuf, problem: String },
    /// No connection, or no answer in time.
    #[error("the collector at {server} does not answer ({problem}): is `tephra serve` running there?")]
    Unreachable { server: String, problem: String },
    /// There is a token, and it cannot be sent.
    #[error("{0}")]
    Token(String),
    /// It answered with a refusal.
    #[error("the collector refuses: {message} ({hint})")]
    Refused { message: String, hint: String },
    /// It said something else.
    #[error("the answer of {server} is not understood: is it a collector?")]
    NotUnderstood { server: String },
}

impl Server {
    /// One that asks for no token.
    pub(super) fn at(url: String) -> Self {
        Self { server: url.into(), token_file: None, ca_file: None }
    }

    /// Its address for people: without a password, and without a slash at the end.
    pub(super) fn address(&self) -> String {
        printable(self.url()).trim_end_matches('/').to_owned()
    }

    fn url(&self) -> &str {
        self.server.0.trim_end_matches('/')
    }

    /// Asks for the bytes of `path`.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.authorized(self.agent()?.get(format!("{}{path}", self.url())))?;
        self.read(request.call())
    }

    /// Asks for the bytes of `path`; `true` beside them when some of what was stored is damaged and not in them.
    pub(super) fn get_part(&self, path: &str) -> Result<(Vec<u8>, bool), ClientError> {
        let request = self.authorized(self.agent()?.get(format!("{}{path}", self.url())))?;
        let answer = request.call();
        let partial = answer.as_ref().ok().and_then(|answer| answer.headers().get("tephra-partial"));
        let is_damaged = partial.is_some_and(|reason| reason == "damaged");
        Ok((self.read(answer)?, is_damaged))
    }

    /// Asks for JSON.
    pub(super) fn json(&self, path: &str) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.get(path)?).map_err(|_| self.not_understood())
    }

    /// Posts bytes, answers JSON.
    pub(super) fn post(&self, path: &str, content: &[u8]) -> Result<Value, ClientError> {
        let request = self.authorized(self.agent()?.post(format!("{}{path}", self.url())))?;
        let request = request.content_type("application/octet-stream");
        serde_json::from_slice(&self.read(request.send(content))?).map_err(|_| self.not_understood())
    }

    /// Deletes, answers JSON.
    pub(super) fn delete(&self, path: &str) -> Result<Value, ClientError> {
        let request = self.authorized(self.agent()?.delete(format!("{}{path}", self.url())))?;
        serde_json::from_slice(&self.read(request.call())?).map_err(|_| self.not_understood())
    }

    /// Posts a file, answers JSON. Gives it the time that a large one takes.
    pub(super) fn post_file(&self, path: &str, file: File) -> Result<Value, ClientError> {
        let bytes = file.metadata().map(|m| m.len()).unwrap_or_default();
        let request = self.authorized(self.agent()?.post(format!("{}{path}", self.url())))?;
        let request = request.content_type("application/octet-stream");
        let request = request.header("content-length", bytes).config().timeout_global(Some(FILE_TIMEOUT)).build();
        serde_json::from_slice(&self.read(request.send(file))?).map_err(|_| self.not_understood())
    }

    pub(super) fn not_understood(&self) -> ClientError {
        ClientError::NotUnderstood { server: self.address() }
    }

    fn no_address(&self) -> ClientError {
        ClientError::Address { server: self.address() }
    }

    fn agent(&self) -> Result<ureq::Agent, ClientError> {
        if !["http://", "https://"].iter().any(|scheme| self.url().starts_with(scheme)) {
            return Err(self.no_address());
        }
        // For http:// too: who is there may send on to https://.
        let trusted = match &self.ca_file {
            Some(path) => authorities(path)?,
            None => {
                let found = rustls_native_certs::load_native_certs().certs;
                found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
            }
        };
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(trusted)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Ok(config.tls_config(tls).build().into())
    }

    /// With the token, if there is one.
    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> Result<ureq::RequestBuilder<B>, ClientError> {
        let Some(token) = self.token(std::env::var(TOKEN).ok())? else { return Ok(request) };
        Ok(request.header("authorization", format!("Bearer {token}")))
    }

    /// The token of the file or of the environment, where it may be sent.
    fn token(&self, from_environment: Option<String>) -> Result<Option<String>, ClientError> {
        let (text, of) = match (&self.token_file, from_environment) {
            (Some(file), _) => {
                let of = file.display().to_string();
                let text = token_in(file);
                (text.map_err(|error| ClientError::Token(format!("the token in {of} cannot be read: {error}")))?, of)
            }
            (None, Some(text)) if !text.trim().is_empty() => (text, TOKEN.to_owned()),
            (None, _) => return Ok(None),
        };
        let token = Token::parse(text.trim())
            .ok_or_else(|| ClientError::Token(format!("{of} holds no token: `tephra token create` makes one")))?;
        if !self.url().starts_with("https://") && !self.is_this_machine() {
            return Err(ClientError::Token(format!(
                "the token of {of} is not sent over plain http to {}, where anybody on the way can read it: use https, or a tunnel to this \
                 machine",
                self.address()
            )));
        }
        Ok(Some(token.reveal()))
    }

    /// By the same reading of the address as that of what sends.
    fn is_this_machine(&self) -> bool {
        let Ok(address) = self.url().parse::<ureq::http::Uri>() else { return false };
        let host = address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, ClientError> {
        let unreachable = |error: ureq::Error| match error {
            // Such an error repeats the whole URL.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => self.no_address(),
            error => ClientError::Unreachable { server: self.address(), problem: error.to_string() },
        };
        let mut answer = answer.map_err(unreachable)?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
        if answer.status().is_success() {
            return Ok(body);
        }
        let error: Value = serde_json::from_slice(&body).map_err(|_| self.not_understood())?;
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let message = text("message").ok_or_else(|| self.not_understood())?;
        Err(ClientError::Refused { message, hint: text("hint").unwrap_or_default() })
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, ClientError> {
    let refused = |problem: String| ClientError::Authorities { path: path.to_owned(), problem };
    let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| refused(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(refused("holds no certificate in PEM".to_owned())) } else { Ok(found) }
}

/// A selection as a person writes it: `service=checkout,label.version=v2,from=now-1h`, as names and values.
pub(super) fn selection(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for part in text.split([',', '&']).map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            return Err(format!(
                "{part:?} is not name=value; write such as service=checkout,from=now-1h,label.version=v2"
            ));
        };
        // A bare label name is what people type first.
        let known = ["service", "type", "from", "until", "trace"].contains(&name) || name.starts_with("label.");
        let name = if known { name.to_owned() } else { format!("label.{name}") };
        pairs.push((name, value.to_owned()));
    }
    if pairs.is_empty() { Err("the selection is empty: write such as service=checkout".to_owned()) } else { Ok(pairs) }
}

/// Names and values as a query, each name with `prefix`.
pub(super) fn query(pairs: &[(String, String)], prefix: &str) -> String {
    let parts: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{prefix}{}={}", encode(name), encode(value))).collect();
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_becomes_parameters() {
        assert_eq!(
            query(&selection("service=checkout, version=v1+2,label.zone=eu 1,from=now-1h").unwrap(), "a."),
            "a.service=checkout&a.label.version=v1%2B2&a.label.zone=eu%201&a.from=now-1h"
        );
        assert!(selection("checkout").unwrap_err().contains("service=checkout"));
        assert!(selection(" , ").is_err());
    }

    fn server_at(url: &str) -> Server {
        Server { server: url.to_owned().into(), token_file: None, ca_file: None }
    }

    #[test]
    fn a_token_is_sent_to_this_machine_and_over_plain_http_nowhere_else() {
        let text = Token::draw().unwrap().reveal();
        let sent = |url: &str, text: &str| server_at(url).token(Some(text.to_owned()));
        for here in ["http://127.0.0.1:4040", "http://localhost", "http://[::1]:4040/", "http://u:p@127.0.0.1:1/x"] {
            assert_eq!(sent(here, &format!(" {text}\n")).unwrap(), Some(text.clone()), "{here}");
        }
        for there in [
            "http://tephra:4040",
            "http://10.0.0.1",
            "http://127.0.0.1.evil.com",
            "http://localhost@evil.com",
            "http://evil.com\\@127.0.0.1",
            "http://",
        ] {
            let error = sent(there, &text).unwrap_err().to_string();
            assert!(error.contains("not sent over plain http") && !error.contains(&text), "{error}");
        }
        assert!(sent("http://localhost", "hunter2").unwrap_err().to_string().contains("TEPHRA_TOKEN holds no token"));
        assert_eq!(sent("http://tephra:4040", " ").unwrap(), None);
        let nowhere = Server { token_file: Some("/nowhere/token".into()), ..server_at("http://localhost") };
        assert!(nowhere.token(None).unwrap_err().to_string().contains("/nowhere/token cannot be read"));
    }

    #[test]
    fn errors_say_what_to_do() {
        let ask = |server: &str| server_at(server).get("/healthz").unwrap_err().to_string();
        assert!(ask("localhost:4040").contains("write http://HOST:PORT"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        for scheme in ["http", "https"] {
            assert!(ask(&format!("{scheme}://127.0.0.1:{port}")).contains("is `tephra serve` running there?"));
        }
        for (file, problem) in [("/no/such/ca.pem", "No such file"), ("/proc/self/cmdline", "holds no certificate")] {
            let server = Server { ca_file: Some(file.into()), ..server_at("https://localhost") };
            let error = server.get("/healthz").unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        for url in [
            format!("http://alice:hunter2@127.0.0.1:{port}"),
            format!("http://alice:hun/hunter2@127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}/?token=hunter2"),
            format!("http://alice:hunter2@[::1:{port}"),
            "http://alice:hunter2 @host".to_owned(),
            "alice:hunter2@host".to_owned(),
            format!("https://alice:hunter2@127.0.0.1:{port}"),
        ] {
            let server = server_at(&url);
            let error = server.get("/healthz").unwrap_err();
            let shown = format!("{error} {error:?} {server:?} {} {}", server.address(), server.not_understood());
            assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{url}: {shown}");
        }
    }
}
