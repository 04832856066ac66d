//! Files that a scrape configuration names: groups of targets, secrets, certificates. Read again whenever they are needed.
#![expect(clippy::disallowed_methods, reason = "an operator's files are no part of the store, and are only read")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::yaml::BYTES_MAX;

/// Files that one pattern may mean.
const FILES_MAX: usize = 1_000;

/// A file's text.
///
/// # Errors
/// In words, with the file's name.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let read = file.take(BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if read > BYTES_MAX {
        return Err(failed(format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The files that a pattern means: its last part may hold one `*`.
///
/// # Errors
/// In words, when the folder cannot be read, or holds too many.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((begin, end)) = name.split_once('*') else { return Ok(vec![pattern.to_owned()]) };
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).map_err(|error| format!("{}: {error}", here.display()))?;
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let file = entry.file_name();
        let fits = file.to_str().is_some_and(|file| {
            file.len() >= begin.len() + end.len() && file.starts_with(begin) && file.ends_with(end)
        });
        if fits {
            found.push(folder.join(file));
        }
        if found.len() > FILES_MAX {
            return Err(format!("{} means more than {FILES_MAX} files", pattern.display()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_the_files_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.yml", "b.yml", "b.json", ".yml"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let named = |pattern: &str| {
            let found = matching(&folder.path().join(pattern)).unwrap();
            found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(named("*.yml"), [".yml", "a.yml", "b.yml"]);
        assert_eq!(named("b*"), ["b.json", "b.yml"]);
        assert_eq!(named("c.yml"), ["c.yml"], "that it is not there is said when it is read");
        assert!(matching(&folder.path().join("none/*.yml")).unwrap_err().contains("none"));
        assert!(text(&folder.path().join("c.yml")).unwrap_err().contains("c.yml"));
    }
}
