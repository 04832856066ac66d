//! PostgreSQL and an S3 server for the tests that need them; where PostgreSQL is missing and we may, it is installed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::tools::{find, run_quietly, step};

/// Both, running. They end with their standard input, so also when we are killed.
#[derive(Debug)]
pub(crate) struct Servers {
    process: Child,
    /// What a test is told by its environment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Servers {
    /// Starts them: `program` is `store-servers` of the whole-system tests.
    pub(crate) fn start(mut program: Command) -> Result<Self> {
        let mut process = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut environment = Vec::new();
        let lines = process.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) else {
                continue;
            };
            environment.push((name.to_owned(), value.trim_matches('\'').to_owned()));
            if name == LAST {
                return Ok(Self { process, environment });
            }
        }
        Err(format!("the test servers did not start: {}", process.wait()?).into())
    }
}

/// What they print last.
const LAST: &str = "TEPHRA_TEST_S3_FILES";

impl Drop for Servers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Makes sure that there is a PostgreSQL. `Err` says what to do.
pub(crate) fn need_postgres() -> std::result::Result<(), String> {
    if has_postgres() {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() && find(&["apt-get"]).is_some() {
        let installed = step("installing PostgreSQL", || {
            run_quietly(Command::new("apt-get").args(["-qq", "update"]))?;
            let mut install = Command::new("apt-get");
            install.args(["-qq", "install", "-y", "--no-install-recommends", "postgresql"]);
            run_quietly(install.env("DEBIAN_FRONTEND", "noninteractive"))
        });
        installed.map_err(|error| format!("PostgreSQL cannot be installed: {error}"))?;
    }
    if has_postgres() { Ok(()) } else { Err("PostgreSQL is missing: install the package `postgresql`".to_owned()) }
}

fn has_postgres() -> bool {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = |folder: PathBuf| folder.join("initdb").is_file();
    std::env::var_os("POSTGRES_BIN").is_some()
        || debian.map(|version| version.path().join("bin")).any(installed)
        || find(&["initdb"]).is_some()
}
