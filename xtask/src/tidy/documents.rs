//! Documents name files that exist: a promise whose test has moved or gone is no promise.

use std::collections::BTreeSet;

use super::Breach;

/// Where the paths that a document names may begin; each document may also begin beside itself.
const HOMES: &[&str] = &["", "agent/", "agent/src/", "collector/", "collector/src/", "tests/", "web/view/"];

/// What files of this repository end with; other words with a dot are something else.
const ENDINGS: &[&str] = &[".md", ".mjs", ".proto", ".rs", ".toml", ".ts", ".tsx"];

/// Names paths in documents at which nothing is. `tracked` are the paths of all files.
pub(super) fn check(documents: &[(String, String)], tracked: &BTreeSet<String>) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (document, text) in documents {
        let (folder, _) = document.rsplit_once('/').unwrap_or(("", document));
        let beside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        for (index, line) in text.lines().enumerate() {
            // Between the first backtick and the second, the third and the fourth, …
            for word in line.split('`').skip(1).step_by(2).filter(|word| is_path(word)) {
                let homes = HOMES.iter().copied().chain([beside.as_str()]);
                if !homes.clone().any(|home| exists(&format!("{home}{word}"), tracked)) {
                    let message = format!("names `{word}`, which is not there: say where it is now");
                    breaches.push(Breach::new(document, index + 1, message));
                }
            }
        }
    }
    breaches
}

fn is_path(word: &str) -> bool {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./*".contains(&byte));
    is_plain && word.contains('/') && !word.contains("..") && ENDINGS.iter().any(|ending| word.ends_with(ending))
}

/// Whether there is such a file; one `*` stands for anything.
fn exists(path: &str, tracked: &BTreeSet<String>) -> bool {
    match path.split_once('*') {
        None => tracked.contains(path),
        Some((before, after)) => tracked.iter().any(|file| {
            file.strip_prefix(before).is_some_and(|rest| rest.len() >= after.len() && rest.ends_with(after))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let tracked =
            ["agent/tests/heap.rs", "collector/src/query/fit.rs", "collector/API.md", "tests/tests/heap_system.rs"];
        let tracked = tracked.iter().map(|&path| path.to_owned()).collect();
        check(&[("README.md".to_owned(), text.to_owned())], &tracked).into_iter().map(|breach| breach.message).collect()
    }

    #[test]
    fn a_path_at_which_nothing_is_is_named() {
        let gone = named(
            "| promise | `agent/tests/heap.rs`, `agent/tests/gone.rs` |\n`query/gone.rs`\n`tests/tests/hoop_*.rs`\n",
        );
        assert!(gone.len() == 3 && gone[0].contains("agent/tests/gone.rs"), "{gone:?}");
    }

    #[test]
    fn what_is_there_or_is_no_path_is_not() {
        let there = "`query/fit.rs`, `tests/tests/heap_*.rs`, `collector/API.md`; `GET /api/v1/x.rs?y`, `a.rs`, `cargo xtask test`\n";
        assert_eq!(named(there), Vec::<String>::new());
    }
}
