//! What stands in URLs that the collector writes, and which of others' it hands on.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tephra_proto::label;

/// What a URL's query may hold as it is.
const IN_QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b':');

/// As long as browsers take.
const LINK_BYTES_MAX: usize = 2_048;

/// Writes text as the value of a URL parameter.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, IN_QUERY).to_string()
}

/// True for what may be put behind a link on a page: `javascript:` and its like are not.
pub fn is_web_link(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty())
        && url.len() <= LINK_BYTES_MAX
        && url.chars().all(|c| label::is_printable(c) && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_links_are_kept() {
        for good in ["https://x", "http://grafana:3000/a?b=c#d"] {
            assert!(is_web_link(good), "{good}");
        }
        for bad in [
            "",
            "https://",
            "javascript:alert(1)",
            "//x",
            "data:text/html,x",
            "HTTPS://x",
            "https://a b",
            "https://a\nb",
        ] {
            assert!(!is_web_link(bad), "{bad}");
        }
    }

    #[test]
    fn a_written_link_cannot_leave_the_collector() {
        let hostile = ["//evil.com", "\" onclick=\"x", "a&at=0", "a#b", "a\u{202e}b", "a\\b", "'<>"];
        for value in hostile {
            let url = format!("/alert?service=a&label.x={}", encode(value));
            let text = url.strip_prefix("/alert?service=a&label.x=").unwrap();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%/:".contains(&b)), "{url}");
        }
    }
}
