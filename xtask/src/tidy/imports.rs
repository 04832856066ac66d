//! Directions of imports: which module of the collector may name which, and which package may depend on which. Nothing points back up.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Breach;
use super::code::{RustFile, is_test_only, test_paths};

/// The collector's modules from the bottom to the top: each may name those in the rows above its own, and its own.
const FLOORS: &[&[&str]] = &[
    &["base"],
    &["conditions", "profile", "urls", "work"],
    &["cards", "store"],
    &["symbols", "query", "access"],
    &["analysis", "backup"],
    &["alerts"],
    &["pins", "webhooks"],
    &["ingest"],
    &["http"],
    &["serve"],
    &["cli"],
];

/// Neighbours that may not name each other's insides although their floors would let them.
const APART: &[(&str, &str, &str)] = &[
    ("http", "serve", "the edges are wired by serve, not the other way round"),
    ("ingest", "query", "what arrives is stored without asking questions"),
    ("ingest", "alerts", "what arrives is stored without asking questions"),
    ("ingest", "webhooks", "what arrives is stored without asking questions"),
    ("ingest", "pins", "what arrives is stored without asking questions"),
    ("ingest", "analysis", "what arrives is stored without asking questions"),
    ("ingest", "symbols", "ingest is told by a function which builds are wanted"),
];

const COLLECTOR: &str = "collector/src/";

/// Packages of this workspace that each may depend on, outside its tests.
const PACKAGES: &[(&str, &[&str])] = &[
    ("tephra-proto", &[]),
    ("tephra-agent", &["tephra-proto"]),
    ("tephra-web", &[]),
    ("tephra-collector", &["tephra-proto", "tephra-web"]),
    ("xtask", &[]),
];

/// Names modules of the collector that import upwards.
pub(super) fn check_modules(files: &[RustFile]) -> Vec<Breach> {
    let tests = test_paths(files);
    let ours = files.iter().filter(|file| file.path.starts_with(COLLECTOR) && !is_test_only(&file.path, &tests));
    ours.flat_map(check_file).collect()
}

fn check_file(file: &RustFile) -> Vec<Breach> {
    let inside = &file.path[COLLECTOR.len()..];
    let Some(own) = inside.split(['/', '.']).next().and_then(|name| floor(name).map(|floor| (name, floor))) else {
        // `lib.rs` and `main.rs` stand above all.
        return Vec::new();
    };
    let mut breaches = Vec::new();
    for (number, line) in file.production_lines() {
        for named in named_modules(line) {
            if named == own.0 {
                continue;
            }
            if floor(named).is_some_and(|of| of >= own.1) {
                let message =
                    format!("{} may not import {named}: see the order of modules in collector/src/lib.rs", own.0);
                breaches.push(Breach::new(&file.path, number, message));
            }
            if let Some((_, _, why)) = APART.iter().find(|(from, to, _)| *from == own.0 && *to == named) {
                breaches.push(Breach::new(&file.path, number, format!("{} may not import {named}: {why}", own.0)));
            }
        }
    }
    breaches
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// `crate::name` in a line; imports that name several modules at once are written out here, as rustfmt does with one `use` a module.
fn named_modules(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

/// Names packages that depend on one of ours which they should not know. `metadata` is `cargo metadata`'s answer.
pub(super) fn check_packages(metadata: &Value) -> Vec<Breach> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours: BTreeSet<&str> = (packages.iter().filter(|package| package["source"].is_null()))
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut breaches = Vec::new();
    for (name, allowed) in PACKAGES {
        let Some(package) = packages.iter().find(|package| package["name"] == *name) else { continue };
        let needs = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
        let needs = needs.iter().filter(|needed| needed["kind"] != "dev").filter_map(|needed| needed["name"].as_str());
        for needed in needs.filter(|needed| ours.contains(needed) && !allowed.contains(needed)) {
            let message = format!("{name} may not depend on {needed}");
            breaches.push(Breach::new(&format!("{name}/Cargo.toml"), 0, message));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<RustFile> = files.iter().map(|(path, text)| RustFile::new(path, text)).collect();
        check_modules(&files).into_iter().map(|breach| breach.message).collect()
    }

    #[test]
    fn an_import_that_points_up_is_named() {
        let up = named(&[("collector/src/store/mod.rs", "use crate::query::QueryEngine;\n")]);
        assert!(up.len() == 1 && up[0].contains("store may not import query"), "{up:?}");
        let beside = named(&[("collector/src/query/mod.rs", "use crate::symbols::Symbols;\n")]);
        assert_eq!(beside.len(), 1, "neighbours on one floor do not know each other");
        let apart = named(&[("collector/src/ingest/mod.rs", "fn f() { crate::query::g() }\n")]);
        assert!(apart.len() == 1 && apart[0].contains("without asking"), "{apart:?}");
        assert_eq!(named(&[("collector/src/http/mod.rs", "use crate::query::QueryEngine;\n")]), Vec::<String>::new());
    }

    #[test]
    fn tests_may_import_what_they_like() {
        let files = [
            ("collector/src/store/mod.rs", "#[cfg(test)]\nmod upgrade;\n"),
            ("collector/src/store/upgrade.rs", "use crate::query::QueryEngine;\n"),
            ("collector/src/store/upgrade/more.rs", "use crate::query::QueryEngine;\n"),
            ("collector/src/store/retain.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\nuse crate::ingest::Ingest;\n}\n"),
        ];
        assert_eq!(named(&files), Vec::<String>::new());
    }

    #[test]
    fn a_package_that_knows_too_much_is_named() {
        let package = |name: &str, needs: &[(&str, Option<&str>)]| {
            let needs: Vec<Value> = needs.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
            json!({"name": name, "source": null, "dependencies": needs})
        };
        let with = |agent: &[(&str, Option<&str>)]| {
            json!({"packages": [
                package("tephra-agent", agent), package("tephra-proto", &[]), package("tephra-collector", &[]),
            ]})
        };
        assert_eq!(check_packages(&with(&[("tephra-proto", None), ("tephra-collector", Some("dev"))])), []);
        assert_eq!(check_packages(&with(&[("tephra-collector", None)])).len(), 1);
    }
}
