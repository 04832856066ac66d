//! `cargo xtask soak demo=N`: the demo judging itself N times in a row, every other time beside a compiler on all cores, as on a newcomer's
//! machine that still builds something else.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::tools::{self, cargo, step};
use crate::{Result, binaries};

/// Plays all runs, also after one that failed; fails unless all held.
pub(super) fn run(times: u32) -> Result {
    binaries::release()?;
    let mut failed = Vec::new();
    for number in 1..=times {
        let compiler = if number % 2 == 0 { Some(Compiler::start()?) } else { None };
        let beside = if compiler.is_some() { ", beside a compiler" } else { "" };
        let start = Instant::now();
        let outcome = step(&format!("demo --check, run {number} of {times}{beside}"), || {
            tools::run(Command::new(std::env::current_exe()?).args(["demo", "--check"]))
        });
        let result = if outcome.is_ok() { "held" } else { "failed" };
        println!("soak: run {number} of {times}{beside} {result} after {} s", start.elapsed().as_secs());
        if outcome.is_err() {
            failed.push(number);
        }
    }
    println!("soak: {} of {times} runs of the demo held", times as usize - failed.len());
    if failed.is_empty() { Ok(()) } else { Err(format!("the demo did not hold in runs {failed:?}").into()) }
}

/// Checks the whole workspace from nothing again and again, on as many cores as there are, until it is dropped.
struct Compiler {
    shell: Child,
    _scratch: tempfile::TempDir,
}

impl Compiler {
    fn start() -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("tephra-soak-").tempdir()?;
        let cargo = cargo();
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"while :; do "$CARGO" check --locked --workspace; rm -rf "$CARGO_TARGET_DIR"; done"#]);
        shell.env("CARGO", cargo.get_program()).env("CARGO_TARGET_DIR", scratch.path().join("target"));
        shell.current_dir(tools::root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: cargo's compilers end with it.
        let shell = shell.process_group(0).spawn().map_err(|e| format!("cannot start a compiler: {e}"))?;
        Ok(Self { shell, _scratch: scratch })
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.shell.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.shell.wait();
    }
}
