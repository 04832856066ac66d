//! `cargo xtask sanitize`: the heap profiler under tools that see what tests cannot. What the toolchain does not allow is named.

use std::process::Command;

use crate::Result;
use crate::tools::{self, cargo, root, run_quietly, step, target_dir};

const NIGHTLY: &str = "rustup toolchain install nightly --component rust-src --component miri";

/// The heap profiler's unit tests.
const HEAP: &[&str] = &["-p", "tephra-agent", "--lib", "--", "heap::"];
/// The allocator as a process's own: forks, threads that end, code before `main` and after `exit`.
const WHOLE_LIFE: &[&str] = &["-p", "tephra-agent", "--test", "heap"];

/// Runs those named, or all: `address`, `thread`, `miri`.
pub(crate) fn run(args: &[&str]) -> Result {
    let all: [(&str, Sanitizer); 3] = [("address", address), ("thread", thread), ("miri", miri)];
    if let Some(unknown) = args.iter().find(|arg| !all.iter().any(|(name, _)| name == *arg)) {
        return Err(format!("no sanitizer {unknown}: there are address, thread and miri").into());
    }
    let mut skipped = Vec::new();
    for (name, sanitizer) in all.iter().filter(|(name, _)| args.is_empty() || args.contains(name)) {
        if let Outcome::Skipped(why) = sanitizer()? {
            skipped.push(format!("skipped: {name}. {why}"));
        }
    }
    skipped.iter().for_each(|line| eprintln!("{line}"));
    Ok(())
}

type Sanitizer = fn() -> Result<Outcome>;

enum Outcome {
    Ran,
    Skipped(String),
}

/// Memory that is used after it was freed, beyond its end, freed twice or never. The stable toolchain has all it takes. The
/// standard library's own code is not instrumented: what it allocates and frees is followed, what it reads and writes is not.
fn address() -> Result<Outcome> {
    step("AddressSanitizer and LeakSanitizer", || {
        for tests in [HEAP, WHOLE_LIFE] {
            let mut command = instrumented(cargo(), "address", &[])?;
            tools::run(command.args(tests).env("RUSTC_BOOTSTRAP", "1"))?;
        }
        Ok(Outcome::Ran)
    })
}

/// Data races. The standard library must be built anew for it, with its synchronization in sight: without, every channel and
/// every lock would look like a race. Signals come late under it, so nothing that depends on them is run.
fn thread() -> Result<Outcome> {
    if !has_library_source() {
        return Ok(Outcome::Skipped(format!("It needs the standard library's source: {NIGHTLY}")));
    }
    step("ThreadSanitizer", || {
        let mut command = instrumented(nightly(), "thread", &["-Zbuild-std"])?;
        tools::run(command.args(HEAP).env("TSAN_OPTIONS", "halt_on_error=1"))?;
        Ok(Outcome::Ran)
    })
}

/// Undefined behaviour, leaks, and loads that see old values, in an interpreter: the table, the countdown and the allocator
/// over others. The stack's walk is machine code, and noted instead.
fn miri() -> Result<Outcome> {
    if run_quietly(nightly().args(["miri", "--version"])).is_err() || !has_library_source() {
        return Ok(Outcome::Skipped(format!("It is not installed: {NIGHTLY}")));
    }
    step("Miri", || {
        let mut command = nightly();
        command.args(["miri", "test", "--locked"]).arg("--target-dir").arg(target_dir().join("miri"));
        tools::run(command.args(HEAP).env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-permissive-provenance"))?;
        Ok(Outcome::Ran)
    })
}

/// `cargo test` with everything instrumented, in a folder of its own.
fn instrumented(mut cargo: Command, sanitizer: &str, more: &[&str]) -> Result<Command> {
    cargo.args(["test", "--locked", "--target", &host()?]).args(more);
    cargo.arg("--target-dir").arg(target_dir().join(sanitizer));
    cargo.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    Ok(cargo)
}

/// The nightly toolchain's cargo, whether it is there or not.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).current_dir(root());
    // What the cargo that called us left there is its own.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

fn has_library_source() -> bool {
    let sysroot = run_quietly(Command::new("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]));
    sysroot
        .is_ok_and(|path| std::path::Path::new(path.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
}

/// The platform we run on, as the compiler names it.
fn host() -> Result<String> {
    let version = run_quietly(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say what its host is".into())
}
