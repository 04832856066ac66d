//! Addresses of servers, and what of them may be shown: people put names, passwords and tokens into URLs.

use std::borrow::Cow;

/// What stands for something that is not shown.
const HIDDEN: &str = "…";

/// `url` without the user's name and password, the query and the fragment, for errors and logs. Where it is not certain what is which,
/// only the scheme is left.
///
/// ```
/// use tephra_proto::address::printable;
/// assert_eq!(printable("http://alice:secret@collector:4040/?token=abc"), "http://collector:4040/");
/// ```
#[must_use]
pub fn printable(url: &str) -> Cow<'_, str> {
    let scheme_end = url.find("://").filter(|end| url.get(..*end).is_some_and(is_scheme)).map_or(0, |end| end + 3);
    let (scheme, rest) = url.split_at(scheme_end);
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(authority_end);
    if after.contains('@') {
        return format!("{scheme}{HIDDEN}").into();
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = after.split(['?', '#']).next().unwrap_or_default();
    if host.len() == authority.len() && path.len() == after.len() {
        return url.into();
    }
    format!("{scheme}{host}{path}").into()
}

/// Whether there is anything in `url` that [`printable`] hides.
#[must_use]
pub fn has_secrets(url: &str) -> bool {
    printable(url) != url
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_secret_is_shown_as_it_is() {
        for url in [
            "http://collector:4040",
            "https://[::1]:4040/path",
            "s3://bucket/prefix",
            "collector:4040",
            "",
            "nonsense",
            "://",
        ] {
            assert_eq!(printable(url), url);
            assert!(!has_secrets(url));
        }
    }

    #[test]
    fn secrets_are_not_shown_wherever_people_put_them() {
        for (url, shown) in [
            ("http://alice:secret@host:4040", "http://host:4040"),
            ("http://secret@host", "http://host"),
            ("http://alice:se@cret@host/path", "http://host/path"),
            ("alice:secret@host:4040", "host:4040"),
            ("https://host/path?token=secret", "https://host/path"),
            ("https://host?secret#secret", "https://host"),
            ("https://host#secret", "https://host"),
            // Signs that should have been escaped.
            ("http://alice:sec/ret@host", "http://…"),
            ("http://alice:sec?ret@host", "http://…"),
            ("http://alice:sec#ret@host", "http://…"),
            ("http://alice:http://secret@host", "http://…"),
            ("alice:secret://secret@host", "…"),
            ("http://host/?mail=a@secret", "http://…"),
        ] {
            assert_eq!(printable(url), shown, "{url}");
            assert!(has_secrets(url), "{url}");
        }
    }
}
