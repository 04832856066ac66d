//! Words that may stand in few places: `unsafe`, the name of the zstd crate, and, in the pure part of the collector, whatever is not pure.

use super::Breach;
use super::code::RustFile;

/// Words with the only places where production code may have them.
struct Rule {
    words: &'static [&'static str],
    /// Beginnings of paths.
    within: &'static [&'static str],
    allowed: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        words: &["unsafe"],
        within: &["agent/", "collector/", "proto/", "web/", "xtask/"],
        allowed: &["agent/src/sampler/", "agent/src/heap/", "agent/src/waits/", "agent/tests/", "collector/tests/"],
        why: "all unsafe code of the project lives in the agent's sampler, its heap profiler and its wakers: give them a safe function to call",
    },
    Rule {
        words: &["zstd"],
        within: &["agent/src/", "collector/src/", "proto/src/", "web/src/"],
        allowed: &["proto/src/codec.rs"],
        why: "only the codec may name zstd, so that nothing is inflated without a cap: call tephra_proto::codec",
    },
    Rule {
        words: &["Instant", "SystemTime", "async", "await", "clock", "fs", "net", "thread", "tokio"],
        within: &["collector/src/profile/"],
        allowed: &[],
        why: "the model of profiles is pure: no I/O, no clock, not async: let whoever calls it do that",
    },
    Rule {
        words: &["fs"],
        within: &["collector/src/"],
        allowed: &[
            "collector/src/backup/",
            "collector/src/cli/",
            "collector/src/http/doors/scrape/files.rs",
            "collector/src/serve/process.rs",
            "collector/src/serve/tls/files.rs",
            "collector/src/store/",
            "collector/src/symbols/",
        ],
        why: "only the store, symbols, backups and commands touch files: ask one of them",
    },
];

pub(super) fn check(files: &[RustFile]) -> Vec<Breach> {
    RULES.iter().flat_map(|rule| files.iter().flat_map(|file| breaches_of(rule, file))).collect()
}

fn breaches_of(rule: &Rule, file: &RustFile) -> Vec<Breach> {
    let begins = |places: &[&str]| places.iter().any(|place| file.path.starts_with(place));
    if !begins(rule.within) || begins(rule.allowed) || file.path.contains("/tests") {
        return Vec::new();
    }
    let found = file.production_lines().filter_map(|(number, line)| {
        let word = rule.words.iter().find(|word| has_word(line, word))?;
        Some(Breach::new(&file.path, number, format!("`{word}` here: {}", rule.why)))
    });
    found.collect()
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, text: &str) -> usize {
        check(&[RustFile::new(path, text)]).len()
    }

    #[test]
    fn unsafe_code_outside_its_rooms_is_named() {
        assert_eq!(named("collector/src/store/mod.rs", "//! x\nfn f() { unsafe { g() } }\n"), 1);
        assert_eq!(named("agent/src/worker.rs", "unsafe impl Send for X {}\n"), 1);
        assert_eq!(named("agent/src/sampler/signal.rs", "unsafe { g() }\n"), 0);
        assert_eq!(named("collector/src/http/guard.rs", "const A: &str = \"unsafe-inline\"; // unsafe\n"), 0);
    }

    #[test]
    fn what_is_not_pure_in_the_model_of_profiles_is_named() {
        assert_eq!(named("collector/src/profile/tree.rs", "let now = Instant::now();\nuse std::net;\n"), 2);
        assert_eq!(named("collector/src/profile/tree.rs", "fn merge(tree: &Tree) -> Tree {}\n"), 0);
        assert_eq!(named("collector/src/query/mod.rs", "let now = Instant::now();\n"), 0);
    }

    #[test]
    fn files_are_touched_in_few_rooms() {
        assert_eq!(named("collector/src/http/pages.rs", "use std::fs;\n"), 1);
        assert_eq!(named("collector/src/store/disk.rs", "use std::fs;\n"), 0);
    }

    #[test]
    fn whoever_inflates_by_himself_is_named() {
        assert_eq!(named("collector/src/ingest/mod.rs", "use zstd::stream;\n"), 1);
        assert_eq!(named("proto/src/codec.rs", "use zstd::stream;\n"), 0);
        assert_eq!(named("collector/src/ingest/mod.rs", "#[cfg(test)]\nmod tests {\n use zstd::x;\n}\n"), 0);
    }
}
