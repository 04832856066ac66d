//! The agent on AArch64, from whatever machine this is: checked, its tests run under an emulator, and walks of the stack
//! recorded there for tests that run everywhere.

mod record;

use std::process::Command;

use crate::Result;
use crate::tools::{self, cargo, find, need_packages, run_quietly, step};

pub(crate) use self::record::all as record;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
/// Where distributions put the C library for another processor.
const SYSROOT: &str = "/usr/aarch64-linux-gnu";

/// Tests that are not about the processor and that an emulator cannot pass.
const UNFIT: &[&str] = &[
    // Weigh CPU time, of which the emulator uses most.
    "sampler::tests::accuracy::",
    // Look at the first samples of a thread, whose stack is copied by a call that the emulator does not have.
    "deeper_stacks_than_asked_for",
    "stacks_begin_at_the_allocators_caller",
    // Asks the kernel's list for the CPU time of the process, which the emulator shows as zero.
    "work_shows_in_both_clocks",
    // Millions of signals, each of which costs a thousand times more here.
    "late_and_foreign_signals",
];

/// Makes sure that there are a compiler and a standard library. `Err` says what to do.
pub(crate) fn need_compiler() -> std::result::Result<(), String> {
    if !has_standard_library() && find(&["rustup"]).is_some() {
        // Fails where there is no network.
        let _ = run_quietly(Command::new("rustup").args(["target", "add", TARGET]));
    }
    if !has_standard_library() {
        return Err(format!("Rust's standard library for it is missing: rustup target add {TARGET}"));
    }
    need_packages(&[COMPILER], &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"])
}

fn has_standard_library() -> bool {
    let found = run_quietly(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    found.is_ok_and(|folder| std::fs::read_dir(folder.trim()).is_ok_and(|mut files| files.next().is_some()))
}

/// Makes sure that there is an emulator. `Err` says what to do.
pub(crate) fn need_emulator() -> std::result::Result<(), String> {
    need_packages(&[EMULATOR], &["qemu-user"])
}

/// Lints the agent and all its tests.
pub(crate) fn lints() -> Command {
    let mut command = cargo();
    command.args(["clippy", "--release", "--locked", "--package", "tephra-agent", "--all-targets", "--target", TARGET]);
    for_target(command.args(["--", "--deny", "warnings"]));
    command
}

/// `cargo xtask aarch64`: lints, and then the agent's unit tests under the emulator, threads, timers and signals included.
pub(crate) fn run() -> Result {
    need_compiler()?;
    need_emulator()?;
    step("the agent on AArch64: lints", || tools::run(&mut lints()))?;
    step("the agent on AArch64: unit tests, emulated", || {
        let agent = ["test", "--locked", "--package", "tephra-agent", "--lib", "--target", TARGET, "--"];
        let skipped = UNFIT.iter().flat_map(|name| ["--skip", name]);
        // One at a time: emulated signals take long, and some tests look at how many there are.
        tools::run(for_target(cargo().args(agent).args(["--test-threads=1"]).args(skipped)))
    })
}

/// Builds for the target find its compiler, and run under the emulator.
fn for_target(command: &mut Command) -> &mut Command {
    command
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", COMPILER)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", format!("{EMULATOR} -L {SYSROOT}"))
}
