//! Names for routes: the method, and what the program itself calls the place. A path is a client's own words, with names and secrets of
//! people in it, and never leaves the process.

use http::Method;

/// The route of whatever the program has no name for.
pub(super) const UNMATCHED: &str = "{unmatched}";

/// Longer routes are cut: names are for people.
const ROUTE_BYTES_MAX: usize = 128;

/// `GET /orders/{id}`: the method and the program's own name for the place, as far as it is one: a query is the client's.
pub(super) fn name(method: &Method, named: Option<&str>) -> String {
    let mut route = String::with_capacity(48);
    // Extension methods are free text from the client.
    route.push_str(if is_standard(method) { method.as_str() } else { "OTHER" });
    route.push(' ');
    let named = named.and_then(|named| named.split(['?', '#']).next()).filter(|named| !named.is_empty());
    push_cut(&mut route, named.unwrap_or(UNMATCHED));
    route
}

fn push_cut(route: &mut String, text: &str) {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && route.len() + text.len() <= ROUTE_BYTES_MAX {
        return route.push_str(text);
    }
    for c in text.chars() {
        if route.len() + c.len_utf8() > ROUTE_BYTES_MAX {
            return;
        }
        route.push(if tephra_proto::label::is_printable(c) { c } else { '\u{fffd}' });
    }
}

fn is_standard(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET
            | Method::POST
            | Method::PUT
            | Method::DELETE
            | Method::HEAD
            | Method::OPTIONS
            | Method::PATCH
            | Method::TRACE
            | Method::CONNECT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_the_programs_name_or_none() {
        assert_eq!(name(&Method::POST, Some("/orders/{order}")), "POST /orders/{order}");
        for nothing in [None, Some(""), Some("?token=abcdef"), Some("#fragment")] {
            assert_eq!(name(&Method::GET, nothing), "GET {unmatched}");
        }
    }

    #[test]
    fn a_query_is_no_part_of_a_name() {
        assert_eq!(name(&Method::GET, Some("/search?q=alice@example.com")), "GET /search");
        assert_eq!(name(&Method::GET, Some("/search#alice")), "GET /search");
    }

    #[test]
    fn names_are_short_and_printable_whoever_made_them() {
        let method = Method::from_bytes(b"PROPFIND").unwrap();
        assert_eq!(name(&method, Some("/x")), "OTHER /x");
        assert!(name(&Method::GET, Some(&"/ab".repeat(10_000))).len() <= ROUTE_BYTES_MAX);
        assert_eq!(name(&Method::GET, Some("/a\u{202e}b")), "GET /a\u{fffd}b");
    }
}
