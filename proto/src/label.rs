//! The one grammar of labels, parsed once at each edge.

use crate::limits::{LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX};

/// Why a name was refused. The message names the value and the limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing there.
    #[error("{what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// Longer than the limit.
    #[error("{what} has {bytes} bytes, limit {limit}")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A character outside the grammar.
    #[error("{what} {value:?} has {found:?} at byte {at}: {allowed}")]
    BadCharacter {
        /// Which name.
        what: &'static str,
        /// The name itself, at most its first 64 characters.
        value: String,
        /// The offending character.
        found: char,
        /// Where it stands.
        at: usize,
        /// What may stand there.
        allowed: &'static str,
    },
    /// Bytes of the wrong number or not hexadecimal.
    #[error("{what} {value:?} is not {expected}")]
    Malformed {
        /// Which name.
        what: &'static str,
        /// The name itself, at most its first 64 characters.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
}

impl NameError {
    pub(crate) fn malformed(what: &'static str, value: &str, expected: &'static str) -> Self {
        Self::Malformed { what, value: value.chars().take(64).collect(), expected }
    }
}

/// Checks a label name: a lower-case letter, then letters, digits, `_` and `.`, as OpenTelemetry's attribute names are
/// written. Names that start with `__` belong to the collector and cannot be written by a client.
pub fn check_name(name: &str) -> Result<(), NameError> {
    const ALLOWED: &str = "a lower-case letter, then a-z, 0-9, '_' and '.'";
    check(name, "label name", LABEL_NAME_BYTES_MAX, ALLOWED, |i, c| {
        c.is_ascii_lowercase() || (i > 0 && (c.is_ascii_digit() || c == '_' || c == '.'))
    })
}

/// Checks a label value: printable text, which excludes control characters and the marks that reorder text.
pub fn check_value(value: &str) -> Result<(), NameError> {
    if value.is_empty() {
        return Ok(());
    }
    const ALLOWED: &str = "printable text";
    check(value, "label value", LABEL_VALUE_BYTES_MAX, ALLOWED, |_, c| is_printable(c))
}

/// True for characters that can be shown without changing what stands around them.
pub fn is_printable(c: char) -> bool {
    let reorders =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'))
}

pub(crate) fn check(
    value: &str,
    what: &'static str,
    limit: usize,
    allowed: &'static str,
    ok: impl Fn(usize, char) -> bool,
) -> Result<(), NameError> {
    if value.is_empty() {
        return Err(NameError::Empty { what });
    }
    if value.len() > limit {
        return Err(NameError::TooLong { what, bytes: value.len(), limit });
    }
    match value.char_indices().find(|&(i, c)| !ok(i, c)) {
        None => Ok(()),
        Some((at, found)) => {
            let value = value.chars().take(64).collect();
            Err(NameError::BadCharacter { what, value, found, at, allowed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["version", "service.namespace", "k8s.pod_name2"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "Version", "1st", "__reserved", "a-b", "a b", "é", "a\u{0}", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_are_printable() {
        for good in ["", "v1.2.3-rc1", "eu west", "größe", "日本"] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in ["a\nb", "\u{1b}[31m", "a\u{202e}b", "\u{0}", &"x".repeat(257)] {
            assert!(check_value(bad).is_err(), "{bad:?}");
        }
    }
}
