//! `cargo xtask ci`: everything a change must pass, and where the time went.

use std::time::{Duration, Instant};

use crate::tools::{self, TESTED, cargo, step};
use crate::{Result, check, demo, test, timings};

/// What all of it may take on two idle cores with nothing built: what would take longer belongs into `cargo xtask soak`.
const BUDGET: Duration = Duration::from_secs(20 * 60);

/// Runs it all; the first step that fails ends it. The table is printed either way.
pub(crate) fn run() -> Result {
    let start = Instant::now();
    let outcome = steps();
    let whole = start.elapsed();
    println!("\nwhere the time went (some of it side by side)\n{}", timings::table(whole));
    println!("budget: {} min on two idle cores with nothing built", BUDGET.as_secs() / 60);
    outcome
}

fn steps() -> Result {
    step("formatting", || tools::run(cargo().args(["fmt", "--all", "--check"])))?;
    step("lints", || tools::run(&mut check::lints(TESTED)))?;
    step("the demo, judging itself", || demo::run(&["--check"]))?;
    step("every test", test::run)
}
