//! A client of the collector's HTTP API, as far as the demo needs it.

use std::time::Duration;

use serde_json::Value;

use crate::Result;

/// Answers are at most this large; the demo's are far smaller.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// One collector.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// Such as `http://127.0.0.1:4040`.
    pub(crate) base: String,
    agent: ureq::Agent,
}

impl Api {
    pub(crate) fn new(port: u16) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .build();
        Self { base: format!("http://127.0.0.1:{port}"), agent: config.into() }
    }

    /// Status and body of whatever is at `path`.
    pub(crate) fn fetch(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let mut answer = self.agent.get(format!("{}{path}", self.base)).call()?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok((answer.status().as_u16(), body))
    }

    /// The bytes at `path`.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>> {
        let (status, body) = self.fetch(path)?;
        accept(path, status, body)
    }

    /// The JSON at `path`.
    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&self.bytes(path)?)?)
    }

    /// Posts JSON and returns the answer's.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base)).content_type("application/json");
        let mut answer = request.send(serde_json::to_vec(body)?)?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(serde_json::from_slice(&accept(path, status, body)?)?)
    }
}

fn accept(path: &str, status: u16, body: Vec<u8>) -> Result<Vec<u8>> {
    if (200..300).contains(&status) {
        return Ok(body);
    }
    Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&body)).into())
}
