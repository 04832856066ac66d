//! A token in a file, as operators and commands are given one.
#![expect(clippy::disallowed_methods, reason = "this is where such a file is read")]

use std::path::Path;

/// Longer than any token, with what editors add.
const BYTES_MAX: u64 = 4 << 10;

/// What is in a file that should hold a token.
///
/// # Errors
/// In words, when it cannot be read.
pub fn token_in(file: &Path) -> Result<String, String> {
    let about = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if about.len() > BYTES_MAX {
        return Err(format!("{} bytes are no token", about.len()));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}
