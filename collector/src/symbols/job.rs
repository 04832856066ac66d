//! Runs the child process on one uploaded file and files what comes of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::folder::{Claim, Filed};
use super::{elf, worker};
use crate::profile::names;

/// How the child process is started.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The program: this one again.
    pub program: PathBuf,
    /// What comes before the two paths.
    pub args: Vec<OsString>,
    /// After this long it is killed. More than its CPU limit: it may share the machine.
    pub deadline: Duration,
}

impl Worker {
    /// The running program with its hidden subcommand.
    ///
    /// # Errors
    /// When the operating system does not say where the program is.
    pub fn this_program() -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self { program, args: vec![worker::SUBCOMMAND.into()], deadline: Duration::from_secs(300) })
    }
}

const STDERR_BYTES_MAX: u64 = 1_000;

/// Symbolizes an uploaded file. Blocks for as long as the child runs.
pub(super) fn run(worker: &Worker, claim: Claim, elf: &Path, out: &Path) -> Option<Filed> {
    let id = claim.id;
    let filed = match symbolize(worker, elf, out) {
        Ok(()) => claim.succeed(out).map(Some),
        Err(Failure::OfFile(reason)) => {
            tracing::warn!(build_id = %id, reason, "symbols refused");
            claim.fail(&reason).map(|()| None)
        }
        // Dropping the claim leaves the build wanted.
        Err(Failure::OfSystem(error)) => Err(error),
    };
    filed.unwrap_or_else(|error| {
        tracing::error!(build_id = %id, %error, "symbols cannot be stored");
        None
    })
}

enum Failure {
    /// The file cannot be used: remembered.
    OfFile(String),
    /// Nobody looked at the file: it may be tried again.
    OfSystem(std::io::Error),
}

fn symbolize(worker: &Worker, elf: &Path, out: &Path) -> Result<(), Failure> {
    let spawned = Command::new(&worker.program)
        .args(&worker.args)
        .args([elf, out])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(Failure::OfSystem)?;
    let status = wait(&mut child, worker.deadline);
    match status {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(Failure::OfFile(match last_words(&mut child) {
            said if said.is_empty() => format!("the symbolizer gave up on the file ({status})"),
            said => said,
        })),
        Some(Err(error)) => Err(Failure::OfSystem(error)),
        None => {
            let seconds = worker.deadline.as_secs();
            Err(Failure::OfFile(format!("the file took longer than {seconds} s to symbolize")))
        }
    }
}

/// What a child that has ended wrote to stderr.
fn last_words(child: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What cannot be read was not said.
        stderr.take(STDERR_BYTES_MAX).read_to_end(&mut said).ok();
    }
    names::printable(String::from_utf8_lossy(&said).trim())
}

/// Waits until the child ends, or kills it at the deadline.
fn wait(child: &mut Child, deadline: Duration) -> Option<std::io::Result<ExitStatus>> {
    let end = Instant::now() + deadline;
    // Most files take a fraction of a second, the largest a minute: look often, then seldom.
    let mut pause = Duration::from_millis(2);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
            Ok(None) if Instant::now() >= end => {
                child.kill().ok();
                child.wait().ok();
                return None;
            }
            Ok(None) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Checks that an uploaded file is the build it claims to be.
pub(super) fn check_identity(file: &File, claimed: &tephra_proto::ids::BuildId) -> Result<(), String> {
    let identity = elf::identify(file).map_err(|e| e.to_string())?;
    if identity.is(claimed) {
        return Ok(());
    }
    Err(format!("the file is build {}, not {claimed} as announced", identity.build_id()))
}
