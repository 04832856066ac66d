//! A PostgreSQL server of the machine's own installation.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::clock::eventually;
use crate::process::free_port;

/// There is no PostgreSQL on this machine.
#[derive(Debug)]
pub struct Missing;

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "PostgreSQL is missing: install the package `postgresql`, or name the folder of `initdb` in POSTGRES_BIN",
        )
    }
}

impl std::error::Error for Missing {}

/// It refuses to run as root; everybody has this user, whom nothing belongs to.
const NOBODY: u32 = 65_534;

const USER: &str = "tephra";
const PASSWORD: &str = "pass word/@:?";
const PASSWORD_IN_URL: &str = "pass%20word%2F%40%3A%3F";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    server: Child,
    folder: TempDir,
}

impl Postgres {
    /// Starts one on an empty folder.
    ///
    /// # Errors
    /// When it is not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Result<Self, Missing> {
        let programs = programs().ok_or(Missing)?;
        let folder = tempfile::tempdir().expect("a folder");
        let password = folder.path().join("password");
        fs::write(&password, PASSWORD).expect("writes");
        if geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("a folder can be given away");
            chown(&password, Some(NOBODY), Some(NOBODY)).expect("a file can be given away");
        }
        let data = folder.path().join("data");
        let mut made = as_user(&programs.join("initdb"), folder.path());
        made.arg("--pgdata").arg(&data).arg("--username").arg(USER).arg("--pwfile").arg(&password);
        made.args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]).stdout(Stdio::null());
        assert!(made.status().expect("initdb runs").success(), "initdb failed");
        let port = free_port();
        let server = serve(&programs, folder.path(), port);
        let mut postgres = Self { programs, port, server, folder };
        postgres.wait();
        Ok(postgres)
    }

    /// Ends it, as if its machine had been switched off.
    pub fn stop(&mut self) {
        // "Immediate shutdown": its own children end with it.
        let pid = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::QUIT).is_ok());
        for _ in 0..100 {
            if !asked || !matches!(self.server.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it once more on what it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.server = serve(&self.programs, self.folder.path(), self.port);
        self.wait();
    }

    fn wait(&mut self) {
        eventually("PostgreSQL is ready", || {
            assert!(matches!(self.server.try_wait(), Ok(None)), "PostgreSQL ended before it was ready");
            self.sql("SELECT 1").then_some(())
        });
    }

    /// The URL of its first database.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database; answers its URL.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(&self, name: &str) -> String {
        assert!(self.sql(&format!("CREATE DATABASE \"{name}\"")), "database {name}");
        self.url_of(name)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    fn sql(&self, statement: &str) -> bool {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            USER,
            "-d",
            "postgres",
            "-q",
            "-c",
            statement,
        ]);
        let psql = psql.env("PGPASSWORD", PASSWORD).stdout(Stdio::null()).stderr(Stdio::null());
        psql.status().expect("psql runs").success()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(programs: &Path, folder: &Path, port: u16) -> Child {
    let mut server = as_user(&programs.join("postgres"), folder);
    server.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
    // The tests kill collectors, not the machine this runs on: it may leave its writes to the kernel.
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=300"] {
        server.args(["-c", setting]);
    }
    let log = fs::File::create(folder.join("log")).expect("a log");
    server.stdout(Stdio::null()).stderr(log).spawn().expect("postgres starts")
}

/// The newest installation's programs.
fn programs() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("POSTGRES_BIN") {
        return Some(named.into());
    }
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut debian: Vec<PathBuf> = debian.collect();
    debian.sort_by_key(version);
    let debian = debian.into_iter().rev().map(|version| version.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    debian.chain(on_path).find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// A command that is not run as root.
fn as_user(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home).stdin(Stdio::null()).env("LC_ALL", "C");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
