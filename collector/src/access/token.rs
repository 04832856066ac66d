//! A token: `id.secret`, of which the collector keeps the id and a digest.
//!
//! The secret has 256 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing to guess.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::base::ids::{hex, secret_bytes};

/// Hexadecimal digits of an id.
const ID_CHARS: usize = 16;

/// Characters of 32 bytes in Base64.
const SECRET_CHARS: usize = 43;

/// SHA-256 of a secret.
pub type SecretDigest = [u8; 32];

/// No secret has this digest, as far as anybody knows.
const NOBODYS: SecretDigest = [0; 32];

/// A token as its holder has it. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn draw() -> std::io::Result<Self> {
        let (id, secret) = (secret_bytes::<{ ID_CHARS / 2 }>()?, secret_bytes::<32>()?);
        Ok(Self { id: hex(&id), secret: URL_SAFE_NO_PAD.encode(secret) })
    }

    /// Reads `id.secret`; `None` where it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let is_id = id.len() == ID_CHARS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let is_secret = secret.len() == SECRET_CHARS && secret.bytes().all(is_plain);
        (is_id && is_secret).then(|| Self { id: id.to_owned(), secret: secret.to_owned() })
    }

    /// Which one it is: no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of the secret.
    pub fn digest(&self) -> SecretDigest {
        digest(&self.secret)
    }

    /// The whole of it, for the one time that it is shown.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// Whether its secret is the one that is known by its digest, if one is. It takes the same steps in either case, and wherever two
    /// digests differ, so that the time of an answer says nothing about which ids there are.
    pub fn is_known_by(&self, known: Option<&SecretDigest>) -> bool {
        self.is_known_with(known, digest, |a, b| a.ct_eq(b).into())
    }

    fn is_known_with(
        &self,
        known: Option<&SecretDigest>,
        digest: impl FnOnce(&str) -> SecretDigest,
        equal: impl FnOnce(&SecretDigest, &SecretDigest) -> bool,
    ) -> bool {
        let is_equal = equal(&digest(&self.secret), known.unwrap_or(&NOBODYS));
        is_equal & known.is_some()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.…", self.id)
    }
}

fn digest(secret: &str) -> SecretDigest {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_shown_and_never_by_accident() {
        let token = Token::draw().unwrap();
        assert_eq!(Token::parse(&token.reveal()), Some(token.clone()));
        assert_ne!(Token::draw().unwrap(), token);
        let (id, secret) = (token.id.clone(), token.secret.clone());
        assert!(!format!("{token:?}").contains(&secret));
        for wrong in [
            String::new(),
            ".".to_owned(),
            id.clone(),
            format!("{id}."),
            format!("{id}.{secret}x"),
            format!("{}.{secret}", id.to_uppercase() + "0"),
            format!("../../../../e.{secret}"),
            format!("{id}.{}'", &secret[1..]),
            format!("{id}.{}é", &secret[2..]),
            format!(" {id}.{secret}"),
        ] {
            assert_eq!(Token::parse(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_digest_is_sha_256() {
        let token = Token { id: String::new(), secret: "abc".to_owned() };
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&token.digest()), expected, "of FIPS 180-2's first example");
    }

    #[test]
    fn every_answer_takes_the_same_steps() {
        let token = Token::draw().unwrap();
        let (right, wrong) = (token.digest(), Token::draw().unwrap().digest());
        for (known, expected) in [(Some(&right), true), (Some(&wrong), false), (None, false), (Some(&NOBODYS), false)] {
            let (digests, comparisons) = (Cell::new(0), Cell::new(0));
            let digest = |secret: &str| {
                digests.set(digests.get() + 1);
                digest(secret)
            };
            let equal = |a: &SecretDigest, b: &SecretDigest| {
                comparisons.set(comparisons.get() + 1);
                a == b
            };
            assert_eq!(token.is_known_with(known, digest, equal), expected);
            assert_eq!((digests.get(), comparisons.get()), (1, 1), "{known:?}");
            assert_eq!(token.is_known_by(known), expected);
        }
    }
}
