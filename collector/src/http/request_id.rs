//! The name of a request, by which its lines in the logs of everybody on the way are found: the caller's own where it has one that is well
//! formed, else one that is drawn.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::ids::{hex, unique_bytes};

/// Where it comes and goes.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// W3C trace context: `00-` trace `-` span `-` flags.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Characters of one that is taken from a caller.
const CHARS_MAX: usize = 64;

/// The name of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl RequestId {
    /// That of a request. What is not well formed is not repeated anywhere.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let one = |name: HeaderName| {
            let mut all = headers.get_all(name).iter();
            all.next().filter(|_| all.next().is_none()).and_then(|value| value.to_str().ok())
        };
        let own = one(X_REQUEST_ID).filter(|id| is_well_formed(id));
        let found = own.or_else(|| one(TRACEPARENT).and_then(trace_of));
        Self(found.map_or_else(|| hex(&unique_bytes()), str::to_owned))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// For the answer.
    pub(super) fn to_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.0).ok()
    }
}

fn is_well_formed(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    (1..=CHARS_MAX).contains(&id.len()) && id.bytes().all(plain)
}

/// The trace, if there is one; later versions may say more behind it.
fn trace_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_trace = is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && trace.bytes().any(|b| b != b'0');
    is_trace.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(said: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestId::of(&headers).0
    }

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_caller_s_own_is_taken_then_its_trace_and_else_one_is_drawn() {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(of(&[("x-request-id", "a.B-1_2:3"), ("traceparent", &parent)]), "a.B-1_2:3");
        assert_eq!(of(&[("traceparent", &parent)]), TRACE);
        let (one, other) = (of(&[]), of(&[]));
        assert!(one != other && one.len() == 32 && is_well_formed(&one), "{one} {other}");
    }

    #[test]
    fn what_is_not_well_formed_is_not_repeated() {
        let long = "x".repeat(CHARS_MAX + 1);
        for bad in ["", "a b", "a\"b", "{}", "a\u{e9}", "a=1", "\t", &long] {
            assert_eq!(of(&[("x-request-id", bad)]).len(), 32, "{bad:?}");
        }
        assert_eq!(of(&[("x-request-id", "a"), ("x-request-id", "b")]).len(), 32, "two of them");
        for bad in ["", "00", TRACE, "00-short-1-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-1-01"] {
            assert_ne!(of(&[("traceparent", bad)]), TRACE, "{bad}");
        }
        assert_ne!(of(&[("traceparent", "00-00000000000000000000000000000000-1-01")]), "0".repeat(32));
    }
}
