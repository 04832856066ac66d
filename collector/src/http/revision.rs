//! Answers about closed ranges of time may be kept: they carry an `ETag`, and whoever has the newest one gets a 304 without anything
//! being merged again.
//!
//! The tag names everything an answer is made of: what was asked, the segments that hold it, the symbols, and this program.
//! Late windows, deletions, retention and new symbols change the tag. Nobody may use a kept answer without asking (`no-cache`): what was
//! deleted must not come back from somebody's cache.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;

use super::AppState;
use super::negotiate::known_tag;
use crate::query::Prepared;

/// What one answer is made of, as a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision(String);

/// Answers that may be kept, but not used without asking.
const ASK_AGAIN: &str = "private, no-cache";

impl Revision {
    /// The revision of an answer that is made of what is prepared; `None` while one of the ranges is still open. `more` is whatever
    /// else the answer holds.
    pub(super) fn of(state: &AppState, uri: &Uri, prepared: &[&Prepared], more: &str, now_ms: u64) -> Option<Self> {
        if prepared.iter().any(|prepared| prepared.selection().until_ms > now_ms) {
            return None;
        }
        let mut hash = blake3::Hasher::new();
        let mut part = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        part(env!("CARGO_PKG_VERSION"));
        part(uri.path());
        // Relative times say something else every time: what they came to is part of the selections.
        part(uri.query().unwrap_or_default());
        part(more);
        part(&state.symbols.revision().to_string());
        for prepared in prepared {
            let selection = prepared.selection();
            part(&format!("{} {}", selection.from_ms, selection.until_ms));
            for (id, version) in prepared.inputs() {
                part(&format!("{id} {version}"));
            }
        }
        Some(Self(hash.finalize().to_hex().chars().take(32).collect()))
    }

    /// What names it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The answer to a client that has this revision already.
    pub(super) fn unchanged(&self, asked: &HeaderMap) -> Option<Response> {
        let known = known_tag(asked, |tag| tag == self.tag(false) || tag == self.tag(true))?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(known).ok()?);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        Some(response)
    }

    /// Marks an answer as being of this revision.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        let tag = self.tag(headers.contains_key(header::CONTENT_ENCODING));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
        }
        response
    }

    /// A strong tag names bytes, and compressed they are others.
    fn tag(&self, encoded: bool) -> String {
        format!("\"{}{}\"", self.0, if encoded { "-gzip" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tags: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap());
        headers
    }

    #[test]
    fn a_known_tag_is_found_among_others_in_any_encoding() {
        let revision = Revision("ab12".to_owned());
        for tags in ["\"ab12\"", "\"x\", \"ab12-gzip\"", "W/\"ab12\""] {
            let response = revision.unchanged(&asked(tags)).unwrap_or_else(|| panic!("{tags}"));
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert!(tags.contains(response.headers()[header::ETAG].to_str().unwrap()));
        }
        // `*` asks whether there is anything at all: that must be computed.
        for tags in ["\"ab13\"", "ab12", "*", "\"ab12", ""] {
            assert!(revision.unchanged(&asked(tags)).is_none(), "{tags}");
        }
    }
}
