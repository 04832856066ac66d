//! Words that may stand in few places: `unsafe`, and the name of the zstd crate.

use super::Breach;
use super::code::RustFile;

/// A word with the only places where production code may have it.
struct Rule {
    word: &'static str,
    /// Beginnings of paths.
    within: &'static [&'static str],
    allowed: &'static [&'static str],
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        word: "unsafe",
        within: &["agent/", "collector/", "proto/", "web/", "xtask/"],
        allowed: &["agent/src/sampler/", "agent/src/heap/", "agent/tests/", "collector/tests/"],
        why: "all unsafe code of the project lives in the agent's sampler and heap profiler: give them a safe function to call",
    },
    Rule {
        word: "zstd",
        within: &["agent/src/", "collector/src/", "proto/src/", "web/src/"],
        allowed: &["proto/src/codec.rs"],
        why: "only the codec may name zstd, so that nothing is inflated without a cap: call tephra_proto::codec",
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
    let lines = file.production_lines().filter(|(_, line)| has_word(line, rule.word));
    lines.map(|(line, _)| Breach::new(&file.path, line, format!("`{}` here: {}", rule.word, rule.why))).collect()
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
    fn whoever_inflates_by_himself_is_named() {
        assert_eq!(named("collector/src/ingest/mod.rs", "use zstd::stream;\n"), 1);
        assert_eq!(named("proto/src/codec.rs", "use zstd::stream;\n"), 0);
        assert_eq!(named("collector/src/ingest/mod.rs", "#[cfg(test)]\nmod tests {\n use zstd::x;\n}\n"), 0);
    }
}
