//! The gRPC methods that a service has: `/package.Service/Method`.
//!
//! Such a path is the name that a framework gave the method, but anyone can send another. So it counts as one once the service has
//! answered it with anything but "there is no such method", and there are only so many.

use std::collections::HashSet;
use std::sync::RwLock;

use http::{HeaderMap, header};

/// More methods than a service has; further ones stay without a name.
const METHODS_MAX: usize = 256;
/// A longer path is no method's.
const PATH_BYTES_MAX: usize = 120;
/// `UNIMPLEMENTED`, in the words of gRPC.
const UNIMPLEMENTED: &str = "12";

/// The methods that have answered. Shared by the threads of a service, none of which ever waits for it.
#[derive(Debug, Default)]
pub(super) struct Methods(RwLock<HashSet<Box<str>>>);

impl Methods {
    /// Whether `path` is the name of a method that has answered.
    pub(super) fn know(&self, path: &str) -> bool {
        self.0.try_read().is_ok_and(|known| known.contains(path))
    }

    /// The service has answered the call of `path`, which [`may_be_one`], with these headers. Returns whether it is a method's name.
    pub(super) fn answered(&self, path: &str, answer: &HeaderMap) -> bool {
        if answer.get("grpc-status").is_some_and(|status| status == UNIMPLEMENTED) {
            return false;
        }
        if self.know(path) {
            return true;
        }
        // Whoever comes in between is known the next time.
        let Ok(mut known) = self.0.try_write() else { return false };
        known.len() < METHODS_MAX && known.insert(path.into())
    }
}

/// Whether a request calls what may be a method by the form of its name.
pub(super) fn may_be_one(headers: &HeaderMap, path: &str) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    content_type.is_some_and(|content| content.starts_with(b"application/grpc")) && has_form(path)
}

/// `/package.Service/Method`, all of it identifiers.
fn has_form(path: &str) -> bool {
    let is_identifier = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let parts = path.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    path.len() <= PATH_BYTES_MAX
        && parts.is_some_and(|(service, method)| service.split('.').all(is_identifier) && is_identifier(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), code.parse().unwrap())])
    }

    #[test]
    fn a_method_has_the_form_of_one() {
        for path in ["/tephra.v1.ProfileService/Push", "/Greeter/SayHello", "/a_b.C_1/_d"] {
            assert!(has_form(path), "{path}");
        }
        let long = format!("/a/{}", "b".repeat(200));
        for path in
            ["", "/", "/a", "/a/", "//b", "/a/b/c", "a/b", "/a..b/c", "/alice@example.com/x", "/1/2", "/a/b-c", &long]
        {
            assert!(!has_form(path), "{path}");
        }
    }

    #[test]
    fn only_grpc_has_methods() {
        let of = |content: &str| HeaderMap::from_iter([(header::CONTENT_TYPE, content.parse().unwrap())]);
        assert!(may_be_one(&of("application/grpc+proto"), "/a/b") && may_be_one(&of("application/grpc"), "/a/b"));
        assert!(!may_be_one(&of("application/json"), "/a/b") && !may_be_one(&HeaderMap::new(), "/a/b"));
    }

    #[test]
    fn a_method_is_known_once_it_has_answered_and_there_are_not_too_many() {
        let methods = Methods::default();
        assert!(!methods.know("/a/b"));
        assert!(!methods.answered("/a/b", &status("12")) && !methods.know("/a/b"), "there is no such method");
        assert!(methods.answered("/a/b", &status("5")) && methods.know("/a/b"), "an error is an answer too");
        for number in 0..10_000 {
            methods.answered(&format!("/a/c{number}"), &HeaderMap::new());
        }
        assert_eq!(methods.0.read().unwrap().len(), METHODS_MAX);
        assert!(methods.know("/a/b") && methods.answered("/a/b", &HeaderMap::new()));
        assert!(!methods.answered("/a/d", &HeaderMap::new()));
    }
}
