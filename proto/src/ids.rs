//! Names and ids. Holding one means that it was checked: the only constructors are fallible.

use std::fmt;

use crate::label::{self, NameError};
use crate::limits::{BUILD_ID_BYTES_MAX, BUILD_ID_BYTES_MIN, INSTANCE_BYTES_MAX, SERVICE_BYTES_MAX};
use crate::sha256::sha256;

/// A service's name: letters, digits and `.` `_` `-` `/` `:`, starting with a letter or digit, at most 128 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(String);

impl ServiceName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character outside the grammar.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        const ALLOWED: &str = "a letter or digit, then letters, digits and . _ - / :";
        label::check(name, "service name", SERVICE_BYTES_MAX, ALLOWED, |i, c| {
            c.is_ascii_alphanumeric() || (i > 0 && matches!(c, '.' | '_' | '-' | '/' | ':'))
        })?;
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which process of a service, for people: printable, at most 256 bytes, may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceName(String);

impl InstanceName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is too long or not printable.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        if !name.is_empty() {
            label::check(name, "instance name", INSTANCE_BYTES_MAX, "printable text", |_, c| label::is_printable(c))?;
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A W3C trace id: 16 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// A W3C span id: 8 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId([u8; 8]);

macro_rules! w3c_id {
    ($name:ident, $bytes:literal, $what:literal, $expected:literal) => {
        impl $name {
            /// Takes the bytes, unless they are all zero: W3C reserves that for "none".
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// Reads lower- or upper-case hexadecimal.
            ///
            /// # Errors
            /// When it has another length, another digit, or is all zero.
            pub fn parse(hex: &str) -> Result<Self, NameError> {
                let mut bytes = [0; $bytes];
                decode_hex(hex, &mut bytes)
                    .then(|| Self::from_bytes(bytes))
                    .flatten()
                    .ok_or_else(|| NameError::malformed($what, hex, $expected))
            }

            /// The bytes, as on the wire.
            pub fn to_bytes(self) -> [u8; $bytes] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }
    };
}

w3c_id!(TraceId, 16, "trace id", "32 hexadecimal digits, not all zero");
w3c_id!(SpanId, 8, "span id", "16 hexadecimal digits, not all zero");

/// Names one build of a binary: the GNU build id, or a hash of the file where it has none. Written as hexadecimal, so it
/// is safe in a file name and in a URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId {
    len: u8,
    bytes: [u8; BUILD_ID_BYTES_MAX],
}

impl BuildId {
    /// Takes 8 to 32 bytes.
    ///
    /// # Errors
    /// When there are fewer or more.
    pub fn from_bytes(id: &[u8]) -> Result<Self, NameError> {
        let mut bytes = [0; BUILD_ID_BYTES_MAX];
        match bytes.get_mut(..id.len()) {
            Some(room) if id.len() >= BUILD_ID_BYTES_MIN => room.copy_from_slice(id),
            _ => {
                let hex: String = id.iter().take(33).map(|b| format!("{b:02x}")).collect();
                return Err(NameError::malformed("build id", &hex, "8 to 32 bytes"));
            }
        }
        Ok(Self { len: id.len() as u8, bytes })
    }

    /// Names whatever has no id of its own: the first 16 bytes of the SHA-256 of `content`.
    pub fn hash(content: &[u8]) -> Self {
        let mut bytes = [0; BUILD_ID_BYTES_MAX];
        bytes[..16].copy_from_slice(&sha256(content)[..16]);
        Self { len: 16, bytes }
    }

    /// Names a file as the OpenTelemetry eBPF profiler does (`htlhash`): the [hash](Self::hash) of its first 4 KiB, its last 4 KiB and
    /// its length, big-endian. Of a shorter file both ends are the whole file.
    pub fn htlhash(head: &[u8], tail: &[u8], length: u64) -> Self {
        Self::hash(&[head, tail, &length.to_be_bytes()].concat())
    }

    /// Reads hexadecimal.
    ///
    /// # Errors
    /// When it is not an even number of hexadecimal digits, 16 to 64 of them.
    pub fn parse(hex: &str) -> Result<Self, NameError> {
        let malformed = || NameError::malformed("build id", hex, "16 to 64 hexadecimal digits");
        let mut bytes = [0; BUILD_ID_BYTES_MAX];
        let room = bytes.get_mut(..hex.len() / 2).ok_or_else(malformed)?;
        if !decode_hex(hex, room) {
            return Err(malformed());
        }
        let id = room.to_vec();
        Self::from_bytes(&id).map_err(|_| malformed())
    }

    /// The bytes, as on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.as_bytes(), f)
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.as_bytes(), f)
    }
}

/// Fills `out` from exactly twice as many hexadecimal digits; false when `hex` is anything else.
fn decode_hex(hex: &str, out: &mut [u8]) -> bool {
    let digits = hex.as_bytes();
    if digits.len() != out.len() * 2 {
        return false;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        let (Some(high), Some(low)) = (pair.first().and_then(|d| value(*d)), pair.get(1).and_then(|d| value(*d)))
        else {
            return false;
        };
        *byte = (high * 16 + low) as u8;
    }
    true
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_ends_and_its_length() {
        let id = BuildId::htlhash(b"ab", b"c", 3);
        assert_eq!(id, BuildId::hash(b"abc\0\0\0\0\0\0\0\x03"));
        assert_eq!(BuildId::hash(b"abc"), BuildId::parse("ba7816bf8f01cfea414140de5dae2223").unwrap());
    }

    #[test]
    fn ids_round_trip_through_text() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(TraceId::parse(text).unwrap().to_string(), text);
        assert_eq!(SpanId::parse("00f067aa0ba902b7").unwrap().to_string(), "00f067aa0ba902b7");
        let build = "9f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f60718293";
        assert_eq!(BuildId::parse(build).unwrap().to_string(), build);
    }

    #[test]
    fn malformed_ids_are_refused_by_name() {
        for bad in ["", "00000000000000000000000000000000", "4bf9", "zz", &"a".repeat(33), "é"] {
            assert!(TraceId::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "ab", "abc", &"a".repeat(66), "../../../../etc/passwd"] {
            assert!(BuildId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(BuildId::from_bytes(&[1; 7]).is_err());
        assert!(BuildId::from_bytes(&[1; 33]).is_err());
    }

    #[test]
    fn service_names_follow_the_grammar() {
        for good in ["checkout", "shop/checkout:v2", "9lives"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "a\n", "<img>", "..", &"x".repeat(129)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
