//! `cargo xtask soak --minutes N`: the tests that can go on for ever, in release, for as long as they are given. `soak demo=N`: the demo,
//! N times.

mod demo;

use std::process::{Command, Stdio};

use crate::tools::{self, WORKSPACE, cargo, step};
use crate::{Result, fuzz};

/// What is shown, and the arguments that name the tests. Each gets an equal share of the time.
const SOAKS: &[(&str, &[&str])] = &[
    ("labels hold in a storm of signals", &["--test", "labels", "storm"]),
    ("the agent does its process no harm", &["--test", "hazards"]),
    ("collectors are killed", &["--test", "durability"]),
    ("one of two collectors is killed", &["--test", "scale_out", "in_mid_load"]),
];

/// Runs all of them, one after the other; the first that fails ends it.
pub(crate) fn run(args: &[&str]) -> Result {
    if let &[one] = args
        && let Some(times) = one.strip_prefix("demo=")
    {
        return demo::run(times.parse().map_err(|_| format!("{times:?} is no number of runs"))?);
    }
    let &["--minutes", minutes] = args else { return Err("soak takes --minutes N or demo=N".into()) };
    let minutes: u64 = minutes.parse().map_err(|_| format!("{minutes:?} is no number of minutes"))?;
    // The fuzzers take one share more.
    let share = minutes * 60 / (SOAKS.len() as u64 + 1);
    fuzz::need_compiler()?;
    for (what, tests) in SOAKS {
        step(what, || {
            let seconds = share / count(tests)?.max(1);
            // One test that takes its time at a time; what each found is shown.
            let mut command = test(tests);
            command.args(["--test-threads=1", "--nocapture"]).env("TEPHRA_SOAK_SECONDS", seconds.to_string());
            tools::run(&mut command)
        })?;
    }
    fuzz::attack(u32::try_from(share)? / fuzz::doors()?)
}

fn test(tests: &[&str]) -> Command {
    let mut command = cargo();
    command.arg("test").args(WORKSPACE).args(["--release", "--quiet"]).args(tests).arg("--");
    command
}

/// How many tests there are: each takes the time it is given.
fn count(tests: &[&str]) -> Result<u64> {
    let listed = test(tests).args(["--list"]).stderr(Stdio::inherit()).output()?;
    if !listed.status.success() {
        return Err(format!("the tests cannot be listed: {}", listed.status).into());
    }
    Ok(String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.ends_with(": test")).count() as u64)
}
