//! Other people's protocols, as their clients write them.

mod datadog;
mod debug_pprof;
mod mcp;
mod otlp;
mod pyroscope;

use std::io::Write;

use axum::body::Body;
use axum::http::Request;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Got, Lab, turn_ms};

/// Sends a body with headers.
async fn send(lab: &Lab, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
    let mut request = Request::post(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    lab.send(request.body(body.into()).unwrap()).await
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// One gRPC message.
fn framed(message: &[u8], compressed: bool) -> Vec<u8> {
    [&[u8::from(compressed)][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// The sums of a type, by the stack that they were seen in.
async fn folded(lab: &Lab, selection: &str) -> Vec<String> {
    let (from, until) = (turn_ms() - 3_600_000, turn_ms() + 3_600_000);
    let got = lab.get(&format!("/api/v1/flamegraph?{selection}&from={from}&until={until}&format=folded")).await;
    let mut lines: Vec<String> = got.text().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A serialized message, field by field.
#[derive(Debug, Default, Clone)]
struct Draft(Vec<u8>);

impl Draft {
    fn new() -> Self {
        Self::default()
    }

    fn bytes(self, number: u64, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut this = self.varint(number << 3 | 2).varint(content.len() as u64);
        this.0.extend_from_slice(content);
        this
    }

    fn message(self, number: u64, message: Self) -> Self {
        self.bytes(number, message.0)
    }

    fn number(self, number: u64, value: u64) -> Self {
        self.varint(number << 3).varint(value)
    }

    fn packed(self, number: u64, values: &[u64]) -> Self {
        let packed = values.iter().fold(Self::new(), |draft, value| draft.varint(*value));
        self.bytes(number, packed.0)
    }

    fn fixed(self, number: u64, value: u64) -> Self {
        let mut this = self.varint(number << 3 | 1);
        this.0.extend_from_slice(&value.to_le_bytes());
        this
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }
}
