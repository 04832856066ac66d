//! The collector's HTTP API, as a script would use it.

use std::time::Duration;

use serde_json::Value;

const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// One collector's HTTP side.
#[derive(Debug, Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
}

/// Whatever came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type, empty if there was none.
    pub content_type: String,
    /// Where the time went, by step, in milliseconds: what `Server-Timing` says.
    pub timing: Vec<(String, f64)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Api {
    /// For a collector on this machine.
    pub fn new(port: u16) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build();
        Self { base: format!("http://127.0.0.1:{port}"), agent: config.into() }
    }

    /// Such as `http://127.0.0.1:4040`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the collector takes windows and questions.
    pub fn is_ready(&self) -> bool {
        self.agent.get(format!("{}/readyz", self.base)).call().is_ok_and(|answer| answer.status() == 200)
    }

    /// Asks.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Answer {
        read(self.agent.get(format!("{}{path}", self.base)).call().unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    /// Asks for JSON.
    ///
    /// # Panics
    /// When the answer is an error.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Posts bytes.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let request = self.agent.post(format!("{}{path}", self.base)).content_type(content_type);
        read(request.send(body).unwrap_or_else(|e| panic!("{path}: {e}")))
    }

    /// Posts JSON and expects success.
    ///
    /// # Panics
    /// When the answer is an error.
    pub fn post_json(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, "application/json", body.to_string().as_bytes());
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Answer {
    let status = answer.status().as_u16();
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (content_type, timing) = (header("content-type"), steps(&header("server-timing")));
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().expect("a whole answer");
    Answer { status, content_type, timing, body }
}

/// `name;dur=1.5, …`
fn steps(timing: &str) -> Vec<(String, f64)> {
    let steps = timing.split(", ").filter_map(|step| step.split_once(";dur="));
    steps.filter_map(|(name, ms)| Some((name.to_owned(), ms.parse().ok()?))).collect()
}
