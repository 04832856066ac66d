//! `cargo xtask tidy`: what the documentation promises about the code's structure, checked. Part of `cargo xtask test`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`code`] | Rust files without their comments and strings, so that words are found only where they are code |
//! | [`imports`] | which module of the collector may name which, and which package may depend on which |
//! | [`circles`] | files that need each other, against the few that are meant to; [`paths`] finds what a file names |
//! | [`places`] | where `unsafe` may stand, who may name zstd, what the pure model of profiles may not name |
//! | [`openings`] | every file opens with what it is for |
//! | [`documents`] | documents name files that exist |
//! | [`guest`] | what is linked into every service with the agent |
//! | [`licences`] | licences and sources of everything that is linked in, against `deny.toml`; `THIRD-PARTY.md` is up to date |

mod circles;
mod code;
mod documents;
mod guest;
mod imports;
mod licences;
mod openings;
mod paths;
mod places;

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use code::RustFile;

use crate::Result;
use crate::tools::{root, run_quietly};

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    /// From the repository's root.
    file: String,
    /// Counted from 1; 0 where no line is meant.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

impl Breach {
    fn new(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// Checks all rules; fails when one is broken, after naming each place. With `--write`, brings `THIRD-PARTY.md` up to date first.
pub(crate) fn run(args: &[&str]) -> Result {
    let metadata = licences::metadata()?;
    match args {
        [] => {}
        ["--write"] => licences::write_list(&metadata)?,
        _ => return Err("tidy takes nothing, or --write to bring THIRD-PARTY.md up to date".into()),
    }
    let texts = tracked(&["*.rs", "*.ts", "*.tsx", "*.mjs"])?;
    let rust: Vec<RustFile> = texts
        .iter()
        .filter(|(path, _)| path.ends_with(".rs") && !path.contains("/generated/"))
        .map(|(path, text)| RustFile::new(path, text))
        .collect();
    let mut breaches = openings::check(&texts);
    breaches.extend(documents::check(&tracked(&["*.md"])?, &names(&[])?));
    breaches.extend(imports::check_modules(&rust));
    breaches.extend(imports::check_packages(&metadata));
    breaches.extend(circles::check(&rust));
    breaches.extend(places::check(&rust));
    breaches.extend(guest::check()?);
    breaches.extend(licences::check(&metadata)?);
    for breach in &breaches {
        println!("{breach}");
    }
    match breaches.len() {
        0 => Ok(()),
        count => Err(format!("{count} places are not as the rules of ARCHITECTURE.md want them").into()),
    }
}

/// Files that git tracks, with their text.
fn tracked(patterns: &[&str]) -> Result<Vec<(String, String)>> {
    let read = |path: String| -> Result<(String, String)> {
        let text = std::fs::read(root().join(&path)).map_err(|e| format!("{path}: {e}"))?;
        Ok((path, String::from_utf8_lossy(&text).into_owned()))
    };
    names(patterns)?.into_iter().map(read).collect()
}

/// Paths, from the repository's root, of files that git tracks and that are still there.
fn names(patterns: &[&str]) -> Result<BTreeSet<String>> {
    let listed = run_quietly(Command::new("git").arg("ls-files").args(patterns).current_dir(root()))?;
    Ok(listed.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect())
}
