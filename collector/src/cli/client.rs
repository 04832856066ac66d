//! The collector's API, as the tools use it: plain HTTP, bounded answers, errors that say what to do.

use std::fs::File;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tephra_proto::address::printable;

use crate::urls::encode;

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
    #[error("{server:?} is not an address: write http://HOST:PORT")]
    Address { server: String },
    /// No connection, or no answer in time.
    #[error("the collector at {server} does not answer ({problem}): is `tephra serve` running there?")]
    Unreachable { server: String, problem: String },
    /// It answered with a refusal.
    #[error("the collector refuses: {message} ({hint})")]
    Refused { message: String, hint: String },
    /// It said something else.
    #[error("the answer of {server} is not understood: is it a collector?")]
    NotUnderstood { server: String },
}

impl Server {
    /// Its address for people: without a password, and without a slash at the end.
    pub(super) fn address(&self) -> String {
        printable(self.url()).trim_end_matches('/').to_owned()
    }

    fn url(&self) -> &str {
        self.server.0.trim_end_matches('/')
    }

    /// Asks for the bytes of `path`.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        let request = self.agent()?.get(format!("{}{path}", self.url()));
        self.read(request.call())
    }

    /// Asks for the bytes of `path`; `true` beside them when some of what was stored is damaged and not in them.
    pub(super) fn get_part(&self, path: &str) -> Result<(Vec<u8>, bool), ClientError> {
        let request = self.agent()?.get(format!("{}{path}", self.url()));
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
        let request = self.agent()?.post(format!("{}{path}", self.url())).content_type("application/octet-stream");
        serde_json::from_slice(&self.read(request.send(content))?).map_err(|_| self.not_understood())
    }

    /// Deletes, answers JSON.
    pub(super) fn delete(&self, path: &str) -> Result<Value, ClientError> {
        let request = self.agent()?.delete(format!("{}{path}", self.url()));
        serde_json::from_slice(&self.read(request.call())?).map_err(|_| self.not_understood())
    }

    /// Posts a file, answers JSON. Gives it the time that a large one takes.
    pub(super) fn post_file(&self, path: &str, file: File) -> Result<Value, ClientError> {
        let bytes = file.metadata().map(|m| m.len()).unwrap_or_default();
        let request = self.agent()?.post(format!("{}{path}", self.url())).content_type("application/octet-stream");
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
        if !self.url().starts_with("http://") {
            return Err(self.no_address());
        }
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        Ok(config.build().into())
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

    #[test]
    fn errors_say_what_to_do() {
        let ask = |server: &str| Server { server: server.to_owned().into() }.get("/healthz").unwrap_err().to_string();
        assert!(ask("localhost:4040").contains("write http://HOST:PORT"));
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        drop(taken);
        assert!(ask(&format!("http://127.0.0.1:{port}")).contains("is `tephra serve` running there?"));
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
            "https://alice:hunter2@host".to_owned(),
        ] {
            let server = Server { server: url.clone().into() };
            let error = server.get("/healthz").unwrap_err();
            let shown = format!("{error} {error:?} {server:?} {} {}", server.address(), server.not_understood());
            assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{url}: {shown}");
        }
    }
}
