//! What a request brings to say who sent it.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::token::Token;

/// Longer than any that is ours; what is longer is no token of ours.
const BYTES_MAX: usize = 1 << 10;

/// Names under which people put tokens into addresses, where logs, histories and referrers keep them.
const IN_ADDRESS: [&str; 5] = ["token", "access_token", "api_key", "apikey", "authorization"];

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    None,
    /// A token, as `Authorization: Bearer`, as gRPC metadata of that name, or as basic authentication's password.
    Token(Token),
    /// Something that is no token.
    Unreadable,
    /// One in the address, whatever it is.
    InAddress,
}

impl Credentials {
    /// Of a request.
    pub fn of(headers: &HeaderMap, uri: &Uri) -> Self {
        let names = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        if names.into_iter().any(|(name, _)| IN_ADDRESS.iter().any(|known| name.eq_ignore_ascii_case(known))) {
            return Self::InAddress;
        }
        let mut all = headers.get_all(AUTHORIZATION).iter();
        match (all.next(), all.next()) {
            (None, _) => Self::None,
            // Two proxies may disagree about which one counts.
            (Some(_), Some(_)) => Self::Unreadable,
            (Some(value), None) => {
                let text = value.to_str().ok().filter(|text| text.len() <= BYTES_MAX);
                text.and_then(read).map_or(Self::Unreadable, Self::Token)
            }
        }
    }
}

fn read(value: &str) -> Option<Token> {
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Token::parse(rest);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
    // The user's name may be anything: it is the token that says who it is.
    let (_, password) = decoded.split_once(':')?;
    Token::parse(password)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(values: &[&str], uri: &str) -> Credentials {
        let headers = values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        Credentials::of(&map, &uri.parse().unwrap())
    }

    #[test]
    fn a_token_is_found_wherever_clients_can_put_it() {
        let token = Token::draw().unwrap();
        let text = token.reveal();
        let basic = |user: &str| format!("Basic {}", STANDARD.encode(format!("{user}:{text}")));
        for value in [format!("Bearer {text}"), format!("bearer  {text}"), basic("anything"), basic("")] {
            assert_eq!(of(&[&value], "/"), Credentials::Token(token.clone()), "{value}");
        }
        assert_eq!(of(&[], "/?service=token"), Credentials::None);
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        let text = Token::draw().unwrap().reveal();
        let in_user = format!("Basic {}", STANDARD.encode(format!("{text}:")));
        let long = format!("Bearer {}", "x".repeat(10_000));
        for wrong in ["", "Bearer", "Bearer ", &text, "Basic !!!", "Basic eA==", "Digest x", &in_user, &long] {
            assert_eq!(of(&[wrong], "/"), Credentials::Unreadable, "{wrong:?}");
        }
        let both = format!("Bearer {text}");
        assert_eq!(of(&[&both, &both], "/"), Credentials::Unreadable, "said twice");
    }

    #[test]
    fn a_token_in_an_address_is_refused_even_beside_a_good_one() {
        let good = format!("Bearer {}", Token::draw().unwrap().reveal());
        for uri in ["/?token=x", "/api/v1/services?from=now-1h&ACCESS_TOKEN=", "/?%74oken=x"] {
            assert_eq!(of(&[&good], uri), Credentials::InAddress, "{uri}");
        }
    }
}
