//! Names that nobody has given before, and bytes as people write them.
#![expect(clippy::disallowed_methods, reason = "this is where names are drawn")]

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The way back; `None` where it is not hexadecimal.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// When the operating system gives none.
pub fn secret_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
    Ok(bytes)
}

/// 16 bytes that nobody has drawn before: for names, not for secrets.
pub fn unique_bytes() -> [u8; 16] {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    // The standard library seeds each state from the operating system.
    let half = |salt: u64| {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(DRAWN.fetch_add(1, Ordering::Relaxed));
        hasher.write_u64(salt);
        hasher.finish()
    };
    let both = (u128::from(half(1)) << 64) | u128::from(half(2));
    both.to_be_bytes()
}
