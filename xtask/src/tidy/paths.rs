//! Paths that code names, `a::b::c`, with those that a `use` writes as a tree spelled out.

/// A path, and what it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    /// Brought in by `use`, so that its last name stands for it in the whole file.
    pub(super) is_import: bool,
    renamed: Option<String>,
}

impl Path {
    /// The name by which the file knows it; `None` for all names of a module.
    pub(super) fn known_as(&self) -> Option<&str> {
        self.renamed.as_deref().or(self.segments.last().map(String::as_str)).filter(|name| *name != "*")
    }
}

/// All paths of at least two names in code without comments and literals.
pub(super) fn named_paths(code: &str) -> Vec<Path> {
    let words = words(code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let is_import = words[at] == "use";
        if is_import {
            at += 1;
        }
        let mut reader = Reader { words: &words, at, is_import, paths: &mut paths };
        reader.tree(&mut Vec::new());
        at = reader.at.max(at + 1);
    }
    paths
}

/// Names, `::`, and everything else one character at a time.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            ':' if rest.starts_with("::") => 2,
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    is_import: bool,
    paths: &'a mut Vec<Path>,
}

impl Reader<'_> {
    fn next_is(&self, word: &str) -> bool {
        self.words.get(self.at) == Some(&word)
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.next_is(word);
        self.at += usize::from(is_next);
        is_next
    }

    /// One path, or a tree of them, below what was read so far.
    fn tree(&mut self, above: &mut Vec<String>) {
        let depth = above.len();
        loop {
            match self.words.get(self.at) {
                Some(&"{") if self.is_import => {
                    self.at += 1;
                    while self.at < self.words.len() && !self.take("}") {
                        let before = self.at;
                        self.tree(above);
                        // Whatever this is, it is not a tree of names.
                        self.at = if self.take(",") {
                            self.at
                        } else {
                            self.at.max(before + usize::from(!self.next_is("}")))
                        };
                    }
                    break;
                }
                Some(&"*") if self.is_import => above.push("*".to_owned()),
                // `a::{self}` is `a`.
                Some(&"self") if depth > 0 && self.is_import => {}
                Some(word) if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    above.push((*word).to_owned())
                }
                // The types of a generic function: `a::b::<T>`.
                _ if above.len() > 1 && !self.is_import => {
                    self.paths.push(Path { segments: above.clone(), is_import: false, renamed: None });
                    break;
                }
                _ => break,
            }
            self.at += 1;
            if !self.next_is("::") {
                let renamed = (self.is_import && self.take("as"))
                    .then(|| self.words.get(self.at).map(|&name| name.to_owned()))
                    .flatten();
                self.at += usize::from(renamed.is_some());
                if above.len() > 1 || (self.is_import && depth > 0) {
                    self.paths.push(Path { segments: above.clone(), is_import: self.is_import, renamed });
                }
                break;
            }
            self.at += 1;
        }
        above.truncate(depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(code: &str) -> Vec<String> {
        let spelled = |path: &Path| {
            let known = path.known_as().filter(|name| path.segments.last().is_some_and(|last| last != name));
            path.segments.join("::") + &known.map_or(String::new(), |name| format!(" as {name}"))
        };
        named_paths(code).iter().map(spelled).collect()
    }

    #[test]
    fn trees_of_imports_are_spelled_out() {
        assert_eq!(
            paths("pub(crate) use a::b;\nuse c::{d, e::{self, f as g}, h::*};\nfn i() {}\n"),
            ["a::b", "c::d", "c::e", "c::e::f as g", "c::h::*"]
        );
    }

    #[test]
    fn paths_in_code_are_found() {
        assert_eq!(
            paths("fn f(x: a::B<'_, c::D>) -> E { if g { h::i::<j::K>(l) } }"),
            ["a::B", "c::D", "h::i", "j::K"]
        );
    }
}
