//! `cargo xtask check`: the inner loop. Formatting, structure, lints, and the unit tests of what changed since the main branch, in the
//! debug builds that editors and `cargo test` keep warm.

use std::collections::BTreeSet;
use std::process::Command;

use crate::Result;
use crate::test::Programs;
use crate::tools::{self, WORKSPACE, cargo, npm, root, run_quietly, step};
use crate::{tidy, web};

/// Packages by their folders; each is tested by its one program of unit tests.
const PACKAGES: &[(&str, &str)] = &[
    ("agent/", "tephra-agent lib"),
    ("collector/", COLLECTOR),
    ("proto/", "tephra-proto lib"),
    ("tests/models/", "tephra-models lib"),
    ("tests/shop/", "tephra-shop lib"),
    ("xtask/", "xtask xtask"),
];

/// The one package that is large enough to be tested by module.
const COLLECTOR: &str = "tephra-collector lib";
const COLLECTOR_SOURCES: &str = "collector/src/";

/// Fails at the first step that does.
pub(crate) fn run() -> Result {
    let changed = changed_files()?;
    step("formatting", || tools::run(cargo().args(["fmt", "--all", "--check"])))?;
    step("the structure", || tidy::run(&[]))?;
    step("lints", || tools::run(&mut lints(WORKSPACE)))?;
    let tests = unit_tests(&changed);
    if !tests.is_empty() {
        let programs = step("building the unit tests", || Programs::build(&[WORKSPACE, &["--lib", "--bin", "xtask"]]))?;
        for (program, modules) in tests {
            step(&format!("{program} {}", modules.join(" ")), || tools::run(programs.test(program)?.args(&modules)))?;
        }
    }
    if changed.iter().any(|path| path.starts_with("web/")) {
        web::install()?;
        step("the view: types and lints", || tools::run(npm().args(["run", "--silent", "check"])))?;
        step("the view: unit tests", || tools::run(npm().args(["test", "--silent"])))?;
    }
    Ok(())
}

/// Lints everything that `selection` names to cargo.
pub(crate) fn lints(selection: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("clippy").args(selection).args(["--all-targets", "--", "--deny", "warnings"]);
    command
}

/// Files that differ from where this branch left the main one, committed or not. On the main branch: from the last commit.
fn changed_files() -> Result<Vec<String>> {
    let git = |args: &[&str]| run_quietly(Command::new("git").args(args).current_dir(root()));
    let fork = git(&["merge-base", "HEAD", "main"]).unwrap_or_else(|_| "HEAD".to_owned());
    let mut changed: Vec<String> = git(&["diff", "--name-only", fork.trim()])?.lines().map(str::to_owned).collect();
    changed.extend(git(&["ls-files", "--others", "--exclude-standard"])?.lines().map(str::to_owned));
    Ok(changed)
}

/// Test programs to run, each with the modules to which it may be confined; none stands for all.
fn unit_tests(changed: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let mut tests = Vec::new();
    for (folder, program) in PACKAGES {
        let files: Vec<&str> =
            changed.iter().filter_map(|path| path.strip_prefix(folder).map(|_| path.as_str())).collect();
        if !files.is_empty() {
            tests.push((*program, if *program == COLLECTOR { modules(&files) } else { Vec::new() }));
        }
    }
    tests
}

/// The collector's top modules that files are in; none if one of them is in none.
fn modules(files: &[&str]) -> Vec<String> {
    let module = |path: &&str| {
        let inside = path.strip_prefix(COLLECTOR_SOURCES)?;
        let name = inside.split(['/', '.']).next().filter(|name| !matches!(*name, "lib" | "main"))?;
        Some(format!("{name}::"))
    };
    let modules: Option<BTreeSet<String>> = files.iter().map(module).collect();
    modules.unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(changed: &[&str]) -> Vec<(&'static str, Vec<String>)> {
        unit_tests(&changed.iter().map(|&path| path.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_changed_says_what_to_test() {
        assert_eq!(tests(&["README.md", "web/view/main.tsx"]), []);
        assert_eq!(tests(&["agent/src/worker.rs", "agent/tests/heap.rs"]), [("tephra-agent lib", vec![])]);
        let of_collector = |modules: &[&str]| (COLLECTOR, modules.iter().map(|&m| m.to_owned()).collect::<Vec<_>>());
        let two = tests(&["collector/src/query/plan.rs", "collector/src/conditions.rs", "collector/src/query/mod.rs"]);
        assert_eq!(two, [of_collector(&["conditions::", "query::"])]);
    }

    #[test]
    fn a_file_in_no_module_means_all_of_them() {
        for path in ["collector/src/lib.rs", "collector/Cargo.toml", "collector/testdata/store/v1/catalog.sqlite"] {
            assert_eq!(tests(&["collector/src/query/plan.rs", path]), [(COLLECTOR, vec![])], "{path}");
        }
    }
}
