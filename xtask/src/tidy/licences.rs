//! Licences and sources of everything that is linked in, against the lists in `deny.toml`; and `THIRD-PARTY.md`, which names them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::Breach;
use crate::Result;
use crate::tools::{cargo, root, run_quietly};

const DENY: &str = "deny.toml";
const LIST: &str = "THIRD-PARTY.md";

/// The part of `deny.toml` that is checked here; the file is cargo-deny's, which may check more.
#[derive(Debug)]
struct Deny {
    licences: BTreeSet<String>,
    /// Licences of single packages, by name.
    exceptions: BTreeMap<String, BTreeSet<String>>,
    registries: BTreeSet<String>,
}

impl Deny {
    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|e| format!("{DENY}: {e}"))?;
        let names = |value: Option<&toml::Value>| -> BTreeSet<String> {
            let list = value.and_then(toml::Value::as_array).into_iter().flatten();
            list.filter_map(toml::Value::as_str).map(str::to_owned).collect()
        };
        let within = |part: &str, name: &str| table.get(part).and_then(|part| part.get(name));
        let exceptions = within("licenses", "exceptions").and_then(toml::Value::as_array).into_iter().flatten();
        let exceptions =
            exceptions.filter_map(|one| Some((one.get("crate")?.as_str()?.to_owned(), names(one.get("allow")))));
        Ok(Self {
            licences: names(within("licenses", "allow")),
            exceptions: exceptions.collect(),
            registries: names(within("sources", "allow-registry")),
        })
    }
}

/// What cargo knows of all packages for the platform that this is built on.
pub(super) fn metadata() -> Result<Value> {
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", &host()?]);
    Ok(serde_json::from_str(&run_quietly(&mut command)?)?)
}

fn host() -> Result<String> {
    let said = run_quietly(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not say for which host it is")?.to_owned())
}

/// Names packages whose licence or source is on no list, exceptions that nothing needs any more, and a list that is out of date.
pub(super) fn check(metadata: &Value) -> Result<Vec<Breach>> {
    let text = fs::read_to_string(root().join(DENY)).map_err(|e| format!("{DENY}: {e}"))?;
    let mut breaches = check_against(metadata, &Deny::parse(&text)?);
    let list = fs::read_to_string(root().join(LIST)).unwrap_or_default();
    if list != third_party(metadata) {
        breaches.push(Breach::new(LIST, 0, "is not up to date: run `cargo xtask tidy --write`"));
    }
    Ok(breaches)
}

pub(super) fn write_list(metadata: &Value) -> Result {
    Ok(fs::write(root().join(LIST), third_party(metadata))?)
}

/// Packages that are not ours.
fn strangers(metadata: &Value) -> impl Iterator<Item = (&str, &str, &str, &str)> {
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages.iter().filter(|package| !package["source"].is_null()).map(|package| {
        let text = |field: &str| package[field].as_str().unwrap_or_default();
        (text("name"), text("version"), text("license"), text("source"))
    })
}

fn check_against(metadata: &Value, deny: &Deny) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut idle: BTreeSet<&str> = deny.exceptions.keys().map(String::as_str).collect();
    for (name, version, licence, source) in strangers(metadata) {
        idle.remove(name);
        let is_allowed = |id: &str| {
            deny.licences.contains(id) || deny.exceptions.get(name).is_some_and(|exception| exception.contains(id))
        };
        if !is_satisfied(licence, &is_allowed) {
            let message = format!(
                "the licence of {name} {version}, {licence:?}, is on no list: do without, or add it with a reason"
            );
            breaches.push(Breach::new(DENY, 0, message));
        }
        if !deny.registries.contains(source.strip_prefix("registry+").unwrap_or(source)) {
            breaches.push(Breach::new(DENY, 0, format!("{name} {version} comes from {source:?}, which is on no list")));
        }
    }
    breaches.extend(
        idle.iter().map(|name| Breach::new(DENY, 0, format!("nothing needs the exception for {name} any more"))),
    );
    breaches
}

/// Evaluates an SPDX expression (annex D of the specification): `AND` binds closer than `OR`; `/` is how old manifests wrote `OR`.
fn is_satisfied(expression: &str, is_allowed: &impl Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Spdx { words: &words, is_allowed };
    let satisfied = parser.any();
    satisfied && parser.words.is_empty()
}

struct Spdx<'a, F> {
    words: &'a [&'a str],
    is_allowed: &'a F,
}

impl<F: Fn(&str) -> bool> Spdx<'_, F> {
    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.first().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if is_next {
            self.words = &self.words[1..];
        }
        is_next
    }

    fn any(&mut self) -> bool {
        let mut satisfied = self.all();
        while self.take("OR") {
            satisfied |= self.all();
        }
        satisfied
    }

    fn all(&mut self) -> bool {
        let mut satisfied = self.one();
        while self.take("AND") {
            satisfied &= self.one();
        }
        satisfied
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let inner = self.any();
            return self.take(")") && inner;
        }
        let Some((id, rest)) = self.words.split_first() else { return false };
        self.words = rest;
        if self.take("WITH") {
            let Some((exception, rest)) = self.words.split_first() else { return false };
            self.words = rest;
            return (self.is_allowed)(&format!("{id} WITH {exception}"));
        }
        (self.is_allowed)(id)
    }
}

/// The text of `THIRD-PARTY.md`.
fn third_party(metadata: &Value) -> String {
    let mut by_licence: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, version, licence, _) in strangers(metadata) {
        by_licence.entry(licence).or_default().insert(format!("{name} {version}"));
    }
    let mut text = "# Third-party packages\n\n\
        What `Cargo.lock` holds for the platform that Tephra is built on: the agent's and the collector's dependencies, and those of tests and\n\
        tools. Made by `cargo xtask tidy --write`; `deny.toml` says which licences may be among them and why. The letters in pictures of\n\
        pages are of DejaVu Sans (`collector/src/cards/font-LICENSE.txt`).\n"
        .to_owned();
    for (licence, packages) in by_licence {
        let packages: Vec<String> = packages.into_iter().collect();
        let _ = write!(text, "\n## {licence}\n\n{}\n", packages.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deny() -> Deny {
        Deny::parse(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0", "Unicode-3.0"]
            exceptions = [{ crate = "inferno", allow = ["CDDL-1.0"] }]
            [sources]
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap()
    }

    fn breaches(name: &str, licence: &str, source: &str) -> Vec<String> {
        let inferno = json!({"name": "inferno", "version": "1", "license": "CDDL-1.0", "source": CRATES});
        let other = json!({"name": name, "version": "1", "license": licence, "source": source});
        let metadata = json!({"packages": [inferno, other, {"name": "ours", "source": null}]});
        check_against(&metadata, &deny()).into_iter().map(|breach| breach.message).collect()
    }

    const CRATES: &str = "registry+https://github.com/rust-lang/crates.io-index";

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let good = ["MIT", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Unicode-3.0", "MIT/GPL-3.0", "Apache-2.0 / MIT"];
        for licence in good {
            assert_eq!(breaches("x", licence, CRATES), Vec::<String>::new(), "{licence}");
        }
        let bad =
            ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0 WITH LLVM-exception", "", "(MIT", "MIT)", "CDDL-1.0", "MIT MIT"];
        for licence in bad {
            assert_eq!(breaches("x", licence, CRATES).len(), 1, "{licence}");
        }
    }

    #[test]
    fn a_package_from_elsewhere_and_an_idle_exception_are_named() {
        assert_eq!(breaches("x", "MIT", "git+https://example.org/x").len(), 1);
        let metadata = json!({"packages": [{"name": "x", "version": "1", "license": "MIT", "source": CRATES}]});
        let idle = check_against(&metadata, &deny());
        assert!(idle.len() == 1 && idle[0].message.contains("inferno"), "{idle:?}");
    }

    #[test]
    fn the_list_names_every_package_with_its_licence() {
        let metadata = json!({"packages": [
            {"name": "b", "version": "2", "license": "MIT", "source": CRATES},
            {"name": "a", "version": "1", "license": "MIT", "source": CRATES},
        ]});
        assert!(third_party(&metadata).ends_with("\n## MIT\n\na 1, b 2\n"));
    }
}
