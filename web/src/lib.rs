//! The web view's built files (`web/dist`), inside the binary: the collector serves them without a folder beside it.
//!
//! Without a built view this crate is empty and still compiles; the collector then says how to build it.

use std::borrow::Cow;

#[derive(rust_embed::RustEmbed)]
#[folder = "dist"]
#[allow_missing = true]
struct Dist;

/// One built file.
pub struct File {
    /// Its content.
    pub content: Cow<'static, [u8]>,
    /// SHA-256 of the content: names this version of the file.
    pub sha256: [u8; 32],
}

/// The file at `path` below `web/dist`, such as `index.html` or `assets/main-3f9a.js`.
pub fn file(path: &str) -> Option<File> {
    let embedded = Dist::get(path)?;
    Some(File { sha256: embedded.metadata.sha256_hash(), content: embedded.data })
}

/// True when the view was built before this binary was.
pub fn is_built() -> bool {
    Dist::get("index.html").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_folder_names_no_file() {
        for path in ["", "/", "..", "../Cargo.toml", "assets/../../Cargo.toml", "/etc/passwd", "index.html\0"] {
            assert!(file(path).is_none(), "{path:?}");
        }
    }

    #[test]
    fn built_means_that_there_is_an_index() {
        assert_eq!(is_built(), file("index.html").is_some());
    }
}
