//! Names for routes, few enough to group by: method and path, with ids replaced.

use http::Method;

/// Longer routes are cut: names are for people.
const ROUTE_BYTES_MAX: usize = 128;

/// `GET /orders/{id}`: the framework's name for the path when there is one, else the path with whatever looks like an id
/// replaced.
pub(super) fn name(method: &Method, path: &str, named: Option<&str>) -> String {
    let mut route = String::with_capacity(48);
    // Extension methods are free text from the client.
    route.push_str(if is_standard(method) { method.as_str() } else { "OTHER" });
    route.push(' ');
    match named {
        Some(named) => push_cut(&mut route, named),
        None => {
            for segment in path.split('/').skip(1) {
                route.push('/');
                push_cut(&mut route, if is_id(segment) { "{id}" } else { segment });
                if route.len() >= ROUTE_BYTES_MAX {
                    break;
                }
            }
        }
    }
    route
}

/// Numbers, UUIDs, hashes and tokens: all digits, or long with digits, or so long that no person chose it.
fn is_id(segment: &str) -> bool {
    let has_digit = segment.bytes().any(|byte| byte.is_ascii_digit());
    let only = |allowed: fn(u8) -> bool| segment.bytes().all(allowed);
    let number = has_digit && only(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b',' | b'_'));
    let hash = has_digit && segment.len() >= 8 && only(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let token = digits >= 2 && segment.len() >= 16 && !segment.contains('.');
    number || hash || token || segment.len() > 40
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
    fn ids_are_replaced_and_words_are_kept() {
        for (path, expected) in [
            ("/", "GET /"),
            ("/checkout", "GET /checkout"),
            ("/orders/42", "GET /orders/{id}"),
            ("/orders/42/items/7", "GET /orders/{id}/items/{id}"),
            ("/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301/cart", "GET /users/{id}/cart"),
            ("/objects/da39a3ee5e6b4b0d3255bfef95601890", "GET /objects/{id}"),
            ("/api/v1/services", "GET /api/v1/services"),
            ("/prices/19.99", "GET /prices/{id}"),
            ("/t/eyJhbGciOiJIUzI1NiJ9", "GET /t/{id}"),
            ("/tephra.v1.ProfileService/Push", "GET /tephra.v1.ProfileService/Push"),
        ] {
            assert_eq!(name(&Method::GET, path, None), expected);
        }
    }

    #[test]
    fn the_frameworks_name_wins() {
        assert_eq!(name(&Method::POST, "/orders/42", Some("/orders/{order}")), "POST /orders/{order}");
    }

    #[test]
    fn hostile_requests_get_short_printable_names() {
        let method = Method::from_bytes(b"PROPFIND").unwrap();
        assert_eq!(name(&method, "/x", None), "OTHER /x");
        assert!(name(&Method::GET, &"/ab".repeat(10_000), None).len() <= ROUTE_BYTES_MAX + 1);
        assert_eq!(name(&Method::GET, "/a\u{202e}b", None), "GET /a\u{fffd}b");
    }
}
