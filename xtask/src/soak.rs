//! `cargo xtask soak --minutes N`: the tests that can go on for ever, in release, for as long as they are given.

use crate::Result;
use crate::tools::{self, cargo, step};

/// Package, and the arguments that name the tests. Each gets an equal share of the time.
const SOAKS: &[(&str, &[&str])] = &[
    ("labels hold in a storm of signals", &["-p", "tephra-agent", "--test", "labels", "storm"]),
    ("the agent does its process no harm", &["-p", "tephra-agent", "--test", "hazards"]),
    ("collectors are killed", &["-p", "tephra-tests", "--test", "durability"]),
    ("one of two collectors is killed", &["-p", "tephra-tests", "--test", "scale_out", "in_mid_load"]),
];

/// Runs all of them, one after the other; the first that fails ends it.
pub(crate) fn run(args: &[&str]) -> Result {
    let &["--minutes", minutes] = args else { return Err("soak takes --minutes N".into()) };
    let minutes: u64 = minutes.parse().map_err(|_| format!("{minutes:?} is no number of minutes"))?;
    let seconds = minutes * 60 / SOAKS.len() as u64;
    for (what, tests) in SOAKS {
        step(what, || {
            let mut command = cargo();
            command.args(["test", "--release", "--locked"]).args(*tests);
            // One test that takes its time at a time; what each found is shown.
            command.args(["--", "--test-threads=1", "--nocapture"]);
            tools::run(command.env("TEPHRA_SOAK_SECONDS", seconds.to_string()))
        })?;
    }
    Ok(())
}
