//! Rust files as the rules see them: comments, strings and characters blanked out, and the part that only tests use told apart.

use std::collections::BTreeSet;

/// A file of Rust.
#[derive(Debug)]
pub(super) struct RustFile {
    /// From the repository's root, with `/`.
    pub(super) path: String,
    /// The code, as long as the text and with the same lines; what is no code is blanks.
    pub(super) code: String,
    /// Modules without a body that are only there in tests: `#[cfg(test)] mod name;`.
    pub(super) test_modules: Vec<String>,
}

const TEST_ONLY: &str = "#[cfg(test)]";

impl RustFile {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        Self { path: path.to_owned(), test_modules: test_modules(&code), code }
    }

    /// Lines of code that are there outside tests too, with their numbers. An inline `mod tests` is taken to end the file, as everywhere
    /// here.
    pub(super) fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.code.lines().collect();
        let is_start = |pair: &[&str]| pair[0].trim() == TEST_ONLY && is_inline_module(pair[1]);
        let end = lines.windows(2).position(is_start).unwrap_or(lines.len());
        lines.into_iter().take(end).enumerate().map(|(index, line)| (index + 1, line))
    }
}

fn is_inline_module(line: &str) -> bool {
    line.trim_start().starts_with("mod ") && line.trim_end().ends_with('{')
}

fn test_modules(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let named = |pair: &[&str]| {
        let name = pair[1].strip_suffix(';')?.rsplit_once("mod ")?.1;
        (pair[0] == TEST_ONLY).then(|| name.to_owned())
    };
    lines.windows(2).filter_map(named).collect()
}

/// Paths, without `.rs`, of modules that are only there in tests.
pub(super) fn test_paths(files: &[RustFile]) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for file in files {
        let (folder, name) = file.path.trim_end_matches(".rs").rsplit_once('/').unwrap_or(("", &file.path));
        let home = if matches!(name, "mod" | "lib" | "main") { folder.to_owned() } else { format!("{folder}/{name}") };
        paths.extend(file.test_modules.iter().map(|module| format!("{home}/{module}")));
    }
    paths
}

/// Whether a file is, or is inside of, one of the modules that [`test_paths`] names.
pub(super) fn is_test_only(path: &str, tests: &BTreeSet<String>) -> bool {
    let whole = path.trim_end_matches(".rs");
    tests.iter().any(|test| whole.strip_prefix(test).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Replaces comments, strings and character literals by blanks; line breaks stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = literal(bytes, at);
        if length == 0 {
            code.push(bytes[at]);
            at += 1;
        } else {
            let end = (at + length).min(bytes.len());
            code.extend(bytes[at..end].iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    // Only whole characters outside literals were kept.
    String::from_utf8_lossy(&code).into_owned()
}

/// How many bytes from here on are a comment or a literal; 0 when it is code.
fn literal(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let before_is_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, b'"'),
        [b'b' | b'c', b'"', ..] if !before_is_word => 1 + quoted(&rest[1..], b'"'),
        [b'r', b'"' | b'#', ..] if !before_is_word => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !before_is_word => raw(rest, 2),
        // A character, not a lifetime: closed after one of them, or an escape.
        [b'\'', b'\\', ..] => quoted(rest, b'\''),
        [b'\'', ..] => {
            let width = rest.get(1).map_or(1, |&first| character_width(first));
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn character_width(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// A raw string whose prefix has `prefix` letters; 0 when it is a raw identifier.
fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let start = prefix + hashes + 1;
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let end = rest[start..].windows(close.len()).position(|part| part == close);
    end.map_or(rest.len(), |end| start + end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"zstd::x\"; // zstd::y\n/* zstd::z /* nested */ zstd:: */ b('\"', '\\'', 'ä', r#\"zstd::\"#, b\"zstd\");\nc::<'a>(r#type)";
        let code = blank(text);
        assert!(!code.contains("zstd"), "{code}");
        assert!(code.contains("let a =") && code.contains("c::<'a>(r#type)"), "{code}");
        assert_eq!(code.lines().count(), 3);
    }

    #[test]
    fn what_only_tests_use_is_told_apart() {
        let file = RustFile::new(
            "x.rs",
            "use a::b;\n#[cfg(test)]\nmod made_up;\nfn f() {}\n#[cfg(test)]\nmod tests {\n use c::d;\n}\n",
        );
        assert_eq!(file.test_modules, ["made_up"]);
        let lines: Vec<&str> = file.production_lines().map(|(_, line)| line).collect();
        assert!(lines.contains(&"fn f() {}") && !lines.iter().any(|line| line.contains("c::d")), "{lines:?}");
    }
}
