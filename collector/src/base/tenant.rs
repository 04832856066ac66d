//! The name of a tenant: what it is built of is so little that it can be a path, a value of SQL and a word in a log as it is.

use std::fmt;
use std::sync::Arc;

/// Characters of a name.
const CHARS_MAX: usize = 63;

/// The tenant of everybody who has no other: its store is the data folder itself.
const DEFAULT: &str = "default";

/// The name of a tenant. There is no other way to one than [`TenantName::parse`]. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Arc<str>);

/// Why something is no name of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shown:?} is no name of a tenant: write 1 to {CHARS_MAX} of a-z, 0-9 and -, and begin with a letter or a digit"
)]
pub struct NoTenantName {
    /// Its beginning.
    shown: String,
}

impl TenantName {
    /// Reads a name: `[a-z0-9][a-z0-9-]{0,62}`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, NoTenantName> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_name = text.len() <= CHARS_MAX
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(|b| is_plain(b) || b == b'-');
        if is_name { Ok(Self(text.into())) } else { Err(NoTenantName { shown: text.chars().take(80).collect() }) }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that of everybody who has no other.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }
}

impl Default for TenantName {
    fn default() -> Self {
        Self(DEFAULT.into())
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_but_letters_digits_and_hyphens() {
        for name in ["acme", "0", "a-b-", "default", &"x".repeat(63)] {
            assert_eq!(TenantName::parse(name).unwrap().to_string(), name);
        }
        for no_name in [
            "",
            "-a",
            "A",
            "a_b",
            "a.b",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a b",
            " a",
            "a\n",
            "a\0",
            "é",
            "a'--",
            "a|b",
            "%2e",
            "a\"",
            &"x".repeat(64),
        ] {
            let error = TenantName::parse(no_name).unwrap_err().to_string();
            assert!(error.contains("a-z, 0-9 and -"), "{error}");
        }
        assert!(TenantName::parse(&"é".repeat(10_000)).unwrap_err().to_string().len() < 400);
        assert!(TenantName::default().is_default() && !TenantName::parse("acme").unwrap().is_default());
    }
}
