//! Every file opens with what it is for: a newcomer who opens one need not guess.

use super::Breach;

/// Files whose first lines are somebody else's.
const EXEMPT: &[&str] = &["/generated/", "collector/fuzz/fuzz_targets/"];

pub(super) fn check(texts: &[(String, String)]) -> Vec<Breach> {
    let is_ours = |path: &str| !EXEMPT.iter().any(|part| path.contains(part));
    texts.iter().filter(|(path, _)| is_ours(path)).filter_map(|(path, text)| check_one(path, text)).collect()
}

fn check_one(path: &str, text: &str) -> Option<Breach> {
    let mut lines = text.lines();
    // A block comment may begin its sentence in the next line.
    let first = match lines.next().unwrap_or_default() {
        "/**" => format!("/** {}", lines.next().unwrap_or_default().trim_start_matches(" *")),
        first => first.to_owned(),
    };
    let (opening, opens): (&str, &[&str]) =
        if path.ends_with(".rs") { ("//!", &["//! "]) } else { ("/**", &["/** ", "// "]) };
    let says = opens.iter().find_map(|open| first.strip_prefix(open)).map_or(0, |rest| rest.split_whitespace().count());
    (says < 2).then(|| Breach::new(path, 1, format!("open the file with {opening} and a sentence on what it is for")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_named() {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let good = [
            file("a.rs", "//! What it is for.\n"),
            file("b.ts", "/** What it is for. */\n"),
            file("b.tsx", "/**\n * What it is for.\n */\n"),
            file("c.mjs", "// Walks through.\n"),
            file("collector/fuzz/fuzz_targets/x.rs", "#![no_main]\n"),
        ];
        assert_eq!(check(&good), []);
        let bad = [file("a.rs", "use a;\n"), file("b.rs", "//!\n"), file("c.ts", "import x\n"), file("d.rs", "")];
        let named: Vec<String> = check(&bad).into_iter().map(|breach| breach.file).collect();
        assert_eq!(named, ["a.rs", "b.rs", "c.ts", "d.rs"]);
    }
}
