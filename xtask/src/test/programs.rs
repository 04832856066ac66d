//! Every test program of the workspace, built by one call of cargo: with one set of features, no crate is compiled twice for another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;
use crate::tools::{cargo, describe};

/// What was built.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    tests: Vec<Program>,
    /// Ordinary programs, by name: the tests' own servers are among them.
    others: BTreeMap<String, PathBuf>,
}

/// A program that holds tests.
#[derive(Debug, Clone)]
struct Program {
    package: String,
    /// `lib`, or the name of a program or of a file in `tests/`.
    target: String,
    path: PathBuf,
    /// The package's folder: tests are run in it.
    folder: PathBuf,
}

impl Programs {
    /// Builds the test programs that `selection` names to cargo where they are not up to date.
    pub(crate) fn build(selection: &[&[&str]]) -> Result<Self> {
        let mut command = cargo();
        command.arg("test").args(selection.concat());
        command.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let line = describe(&command);
        let output = command.stderr(Stdio::inherit()).output().map_err(|e| format!("cannot run `{line}`: {e}"))?;
        if !output.status.success() {
            return Err(format!("`{line}` failed: {}", output.status).into());
        }
        let mut programs = Self::default();
        for message in String::from_utf8_lossy(&output.stdout).lines() {
            programs.note(&serde_json::from_str(message)?);
        }
        Ok(programs)
    }

    /// Takes one of cargo's messages; those about a program count. Their form: "External tools" in the Cargo book.
    fn note(&mut self, message: &Value) {
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else { return };
        let name = message["target"]["name"].as_str().unwrap_or_default();
        if message["profile"]["test"] != true {
            self.others.insert(name.to_owned(), path);
            return;
        }
        let folder =
            Path::new(message["manifest_path"].as_str().unwrap_or_default()).parent().unwrap_or(Path::new("."));
        let kinds = message["target"]["kind"].as_array().map(Vec::as_slice).unwrap_or_default();
        let target = if kinds.iter().any(|kind| kind == "lib") { "lib" } else { name };
        // `path+file:///…/agent#tephra-agent@0.1.0`, or without the name where the folder is called the same.
        let id = message["package_id"].as_str().unwrap_or_default();
        let (source, version) = id.rsplit_once('#').unwrap_or((id, ""));
        let package =
            version.split_once('@').map_or_else(|| source.rsplit('/').next().unwrap_or(source), |(name, _)| name);
        self.tests.push(Program {
            package: package.to_owned(),
            target: target.to_owned(),
            path,
            folder: folder.to_owned(),
        });
    }

    /// Names of all test programs: `package target`.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.tests.iter().map(Program::name)
    }

    /// Runs the test program of that name, as `cargo test` would.
    pub(crate) fn test(&self, name: &str) -> Result<Command> {
        let program = self.tests.iter().find(|program| program.name() == name);
        let Program { path, folder, .. } = program.ok_or_else(|| format!("there is no test program {name:?}"))?;
        let mut command = Command::new(path);
        command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder);
        Ok(command)
    }

    /// Runs the ordinary program of that name.
    pub(crate) fn other(&self, name: &str) -> Result<Command> {
        self.others.get(name).map(Command::new).ok_or_else(|| format!("there is no program {name:?}").into())
    }
}

impl Program {
    fn name(&self) -> String {
        format!("{} {}", self.package, self.target)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(id: &str, kind: &str, name: &str, is_test: bool, executable: Option<&str>) -> Value {
        json!({
            "reason": "compiler-artifact", "package_id": id, "manifest_path": "/x/agent/Cargo.toml",
            "target": {"kind": [kind], "name": name}, "profile": {"test": is_test}, "executable": executable,
        })
    }

    #[test]
    fn cargos_messages_name_the_programs() {
        let mut programs = Programs::default();
        let agent = "path+file:///x/agent#tephra-agent@0.1.0";
        programs.note(&message(agent, "lib", "tephra_agent", true, Some("/t/a")));
        programs.note(&message(agent, "lib", "tephra_agent", false, None));
        programs.note(&message(agent, "test", "hazards", true, Some("/t/b")));
        programs.note(&message("path+file:///x/xtask#0.1.0", "bin", "xtask", true, Some("/t/c")));
        programs.note(&message("path+file:///x/tests#tephra-tests@0.1.0", "bin", "store-servers", false, Some("/t/d")));
        programs.note(&json!({"reason": "build-finished", "success": true}));
        let names: Vec<String> = programs.names().collect();
        assert_eq!(names, ["tephra-agent lib", "tephra-agent hazards", "xtask xtask"]);
        let hazards = programs.test("tephra-agent hazards").unwrap();
        assert_eq!((hazards.get_program(), hazards.get_current_dir()), ("/t/b".as_ref(), Some(Path::new("/x/agent"))));
        assert_eq!(programs.other("store-servers").unwrap().get_program(), "/t/d");
        assert!(programs.test("tephra-agent hazard").is_err());
    }
}
