//! Who asked for what cannot be undone, for the log.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use tephra_proto::label;

use crate::access::Who;
use crate::ingest::Peer;

/// A tool's name and version fit; what is longer was made up.
const TOOL_CHARS_MAX: usize = 80;

/// The token that a request came with, if one was asked for, the address that it came from, and the tool that it says it was sent by: `127.0.0.1 (tephra/0.1.0)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<Peer>().map_or_else(|| "unknown".to_owned(), |peer| peer.0.to_string());
        let tool = parts.headers.get(USER_AGENT).and_then(|tool| tool.to_str().ok()).unwrap_or_default();
        let tool: String = tool.chars().filter(|c| label::is_printable(*c)).take(TOOL_CHARS_MAX).collect();
        let who = parts.extensions.get::<Who>().filter(|who| **who != Who::anyone());
        let peer = who.map_or_else(|| peer.clone(), |who| format!("{} at {peer}", who.name));
        Ok(Self(if tool.is_empty() { peer } else { format!("{peer} ({tool})") }))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[tokio::test]
    async fn an_asker_is_an_address_and_a_tool_of_bounded_length() {
        for (tool, shown) in [("", "127.0.0.1"), ("curl/8", "127.0.0.1 (curl/8)")] {
            let request = Request::delete("/").header(USER_AGENT, tool).extension(Peer([127, 0, 0, 1].into()));
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Asker::from_request_parts(&mut parts, &()).await, Ok(Asker(shown.to_owned())));
        }
        let (mut parts, ()) = Request::delete("/").header(USER_AGENT, "x".repeat(9_000)).body(()).unwrap().into_parts();
        let Asker(asker) = Asker::from_request_parts(&mut parts, &()).await.unwrap();
        assert!(asker.starts_with("unknown (xxx") && asker.len() < 120, "{asker}");
    }
}
