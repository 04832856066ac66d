//! What a client has already and what it takes: entity tags and content encodings.

use axum::http::{HeaderMap, header};

/// The first tag of `If-None-Match` that `is_ours`, as it was sent. Weak and strong tags compare alike, as RFC 9110 (13.1.2) wants it; `*` is
/// never ours, because whether there is anything at all has to be computed.
pub(super) fn known_tag(asked: &HeaderMap, is_ours: impl Fn(&str) -> bool) -> Option<&str> {
    listed(asked, header::IF_NONE_MATCH).find(|tag| is_ours(tag.strip_prefix("W/").unwrap_or(tag)))
}

/// True when a client takes this content encoding. `br;q=0` is a refusal.
pub(super) fn accepts(asked: &HeaderMap, encoding: &str) -> bool {
    listed(asked, header::ACCEPT_ENCODING).any(|one| {
        let (name, quality) = one.split_once(';').unwrap_or((one, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

/// The parts of a header that is a list.
fn listed(asked: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let lines = asked.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn encodings_are_read_by_their_rules() {
        let cases = [
            ("br", true),
            ("gzip, deflate, br", true),
            ("gzip;q=1, BR;q=0.5", true),
            ("br;q=0", false),
            ("brx", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            assert_eq!(accepts(&asked(header::ACCEPT_ENCODING, accept), "br"), expected, "{accept}");
        }
    }

    #[test]
    fn a_known_tag_is_found_among_others() {
        for (tags, found) in [("\"ab12\"", "\"ab12\""), ("\"x\", \"ab12\"", "\"ab12\""), ("W/\"ab12\"", "W/\"ab12\"")] {
            let headers = asked(header::IF_NONE_MATCH, tags);
            assert_eq!(known_tag(&headers, |tag| tag == "\"ab12\""), Some(found), "{tags}");
        }
        for tags in ["\"ab13\"", "ab12", "*", "\"ab12", ""] {
            let headers = asked(header::IF_NONE_MATCH, tags);
            assert_eq!(known_tag(&headers, |tag| tag == "\"ab12\""), None, "{tags}");
        }
    }
}
