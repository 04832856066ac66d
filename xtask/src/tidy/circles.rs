//! Circles between files: a file that needs another which needs the first can be understood, tested and moved only together with it.
//! Computed from the paths that production code names, and compared with the few circles that are meant.

use std::collections::{BTreeMap, BTreeSet};

use super::Breach;
use super::code::{RustFile, is_test_only, test_paths};
use super::paths::{Path, named_paths};

/// Files that need each other on purpose, and why. There are none now.
const MEANT: &[(&[&str], &str)] = &[];

/// Where production code is: each a crate with its root beside its modules.
const CRATES: &[&str] = &["agent/src/", "collector/src/", "proto/src/", "web/src/", "xtask/src/"];

/// Names circles that are not meant, and meant ones that are no more.
pub(super) fn check(files: &[RustFile]) -> Vec<Breach> {
    check_against(files, MEANT)
}

fn check_against(files: &[RustFile], meant: &[(&[&str], &str)]) -> Vec<Breach> {
    let needs = needs(files);
    let circles = circles(&needs);
    let is_meant =
        |circle: &BTreeSet<&str>| meant.iter().any(|(files, _)| circle.iter().all(|file| files.contains(file)));
    let mut breaches: Vec<Breach> =
        circles.iter().filter(|circle| !is_meant(circle)).map(|circle| tell(circle, &needs)).collect();
    for (files, _) in meant {
        if !circles.iter().any(|circle| circle.iter().all(|file| files.contains(file))) {
            let message = "is no part of a circle any more: take it off the list in xtask/src/tidy/circles.rs";
            breaches.extend(files.first().map(|file| Breach::new(file, 0, message)));
        }
    }
    breaches
}

fn tell(circle: &BTreeSet<&str>, needs: &Needs<'_>) -> Breach {
    let first = circle.first().copied().unwrap_or_default();
    let mut ties = Vec::new();
    for file in circle {
        for (other, names) in needs.get(file).into_iter().flatten().filter(|(other, _)| circle.contains(*other)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            ties.push(format!("\n    {file} needs {} of {other}", names.join(", ")));
        }
    }
    let message = format!(
        "{} files need each other: let one of them need less, or say why in xtask/src/tidy/circles.rs{}",
        circle.len(),
        ties.concat()
    );
    Breach::new(first, 0, message)
}

/// What each file takes from which other.
type Needs<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

/// A file's module: its crate, and the path of the module in it.
type Module<'a> = (&'a str, Vec<&'a str>);

/// All modules of all crates: the file of each, and the names that it hands on from elsewhere.
struct Modules<'a> {
    files: BTreeMap<Module<'a>, &'a str>,
    imports: BTreeMap<Module<'a>, BTreeMap<String, Path>>,
}

fn needs(files: &[RustFile]) -> Needs<'_> {
    let tests = test_paths(files);
    let mut modules = Modules { files: BTreeMap::new(), imports: BTreeMap::new() };
    let mut paths = Vec::new();
    for file in files.iter().filter(|file| !is_test_only(&file.path, &tests)) {
        let Some(module) = module_of(&file.path) else { continue };
        let code: String = file.production_lines().flat_map(|(_, line)| [line, "\n"]).collect();
        let named = named_paths(&code);
        let imports = named
            .iter()
            .filter(|path| path.is_import)
            .filter_map(|path| Some((path.known_as()?.to_owned(), path.clone())));
        modules.imports.insert(module.clone(), imports.collect());
        modules.files.insert(module.clone(), &file.path);
        paths.push((&file.path, module, named));
    }
    let mut needs: Needs<'_> = BTreeMap::new();
    for (file, module, named) in paths {
        for path in named {
            if let Some((other, name)) = modules.find(&module, &path.segments, 0)
                && other != file
                && !is_inside(other, file)
            {
                needs.entry(file).or_default().entry(other).or_default().insert(name);
            }
        }
    }
    needs
}

/// Whether a file's module is inside of another's. That a module knows what is inside of it ties nothing: there it is declared.
fn is_inside(file: &str, of: &str) -> bool {
    module_of(of).is_some_and(|(home, outer)| {
        module_of(file)
            .is_some_and(|(same, inner)| same == home && inner.len() > outer.len() && inner.starts_with(&outer))
    })
}

/// `None` for files that are no module of a crate's one tree, such as programs of their own.
fn module_of(path: &str) -> Option<Module<'_>> {
    let home = CRATES.iter().find(|home| path.starts_with(**home))?;
    let inside = path[home.len()..].strip_suffix(".rs")?;
    if inside.starts_with("bin/") || (*home != "xtask/src/" && inside == "main") {
        return None;
    }
    let mut module: Vec<&str> = inside.split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
        module.pop();
    }
    Some((home, module))
}

impl<'a> Modules<'a> {
    /// The file that defines what a path means in a module, and what it calls it. `None` where that is outside the crate.
    fn find(&self, from: &Module<'a>, path: &[String], depth: usize) -> Option<(&'a str, String)> {
        /// Names handed on more often than that go round in a circle of their own.
        const DEPTH_MAX: usize = 8;
        let (first, mut rest) = path.split_first()?;
        let (home, mut at) = from.clone();
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            // A module beside or a name imported here; the import itself is another path of this file.
            _ => rest = path,
        }
        if rest.len() == path.len() && !self.has_child(&(home, at.clone()), first) {
            return None;
        }
        while let Some((segment, others)) = rest.split_first() {
            if segment == "super" {
                at.pop();
            } else if let Some((known, _)) = self.child(&(home, at.clone()), segment) {
                at.push(known);
            } else {
                let here = (home, at.clone());
                return match self.imports.get(&here).and_then(|imports| imports.get(segment)) {
                    Some(import) if depth < DEPTH_MAX && &here != from => {
                        let whole: Vec<String> = import.segments.iter().chain(others).cloned().collect();
                        self.find(&here, &whole, depth + 1)
                    }
                    _ => Some((self.files.get(&here)?, segment.clone())),
                };
            }
            rest = others;
        }
        let name = at.last().copied().unwrap_or("crate").to_owned();
        Some((self.files.get(&(home, at))?, name))
    }

    fn has_child(&self, module: &Module<'a>, name: &str) -> bool {
        self.child(module, name).is_some()
    }

    fn child(&self, (home, at): &Module<'a>, name: &str) -> Option<(&'a str, &'a str)> {
        let is_child = |(of, path): &&Module<'a>| of == home && path.len() == at.len() + 1 && path.starts_with(at);
        let found = self.files.iter().find(|(module, _)| is_child(module) && module.1.last() == Some(&name))?;
        Some((found.0.1.last()?, found.1))
    }
}

/// Groups of two or more files each of which needs, over others, all the rest (strongly connected components; files are few enough to
/// ask for each what it reaches).
fn circles<'a>(needs: &Needs<'a>) -> Vec<BTreeSet<&'a str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = needs.keys().map(|file| (*file, reached_from(file, needs))).collect();
    let mut circles: Vec<BTreeSet<&str>> = Vec::new();
    for (file, reached) in &reach {
        let mutual = reached.iter().filter(|other| reach.get(*other).is_some_and(|back| back.contains(file)));
        let circle: BTreeSet<&str> = mutual.copied().collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reached_from<'a>(file: &str, needs: &Needs<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = needs.get(file).into_iter().flat_map(BTreeMap::keys).copied().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(needs.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(files: &[(&str, &str)], meant: &[(&[&str], &str)]) -> Vec<Breach> {
        let files: Vec<RustFile> = files.iter().map(|(path, text)| RustFile::new(path, text)).collect();
        check_against(&files, meant)
    }

    const A: &str = "collector/src/query/a.rs";
    const B: &str = "collector/src/query/b.rs";
    const MOD: (&str, &str) = ("collector/src/query/mod.rs", "mod a;\nmod b;\npub use b::Handed;\n");

    #[test]
    fn files_that_need_each_other_are_named() {
        let both = [
            ["use super::b::B;\n", "use crate::query::a::{self, A};\n"],
            ["fn f() { super::b::g() }\n", "use super::{\n    a::{C, D},\n};\n"],
            ["use crate::query::Handed;\n", "use super::a;\n"],
        ];
        for [a, b] in both {
            let breaches = named(&[MOD, (A, a), (B, b)], &[]);
            assert_eq!(breaches.len(), 1, "{a}{b}: {breaches:?}");
            let Breach { file, message, .. } = &breaches[0];
            assert!(file == A && message.contains(&format!("{B} needs ")), "{message}");
            assert_eq!(named(&[MOD, (A, a), (B, b)], &[(&[A, B], "they are one idea")]), []);
        }
    }

    #[test]
    fn a_longer_way_round_is_a_circle_too() {
        let c = "collector/src/query/c.rs";
        let files = [MOD, (A, "use super::b::B;\n"), (B, "use super::c::C;\n"), (c, "use super::a::A;\n")];
        assert!(named(&files, &[])[0].message.starts_with("3 files"));
    }

    #[test]
    fn one_way_is_no_circle_and_neither_are_tests() {
        assert_eq!(named(&[MOD, (A, "use super::b::B;\n"), (B, "use std::a::A;\n")], &[]), []);
        let test = "fn f() {}\n#[cfg(test)]\nmod tests {\n use super::super::a::A;\n}\n";
        assert_eq!(named(&[MOD, (A, "use super::b::B;\n"), (B, test)], &[]), []);
    }

    #[test]
    fn a_meant_circle_that_was_opened_leaves_the_list() {
        let breaches = named(&[MOD, (A, "use super::b::B;\n"), (B, "")], &[(&[A, B], "they were one idea")]);
        assert!(breaches.len() == 1 && breaches[0].message.contains("no part of a circle"), "{breaches:?}");
    }
}
