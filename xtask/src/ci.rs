//! `cargo xtask ci`: everything a change must pass, and where the time went.

use std::time::{Duration, Instant};

use crate::tools::{self, TESTED, cargo, need_chromium, step};
use crate::{Result, binaries, check, demo, test, tidy, timings};

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
    step("the structure", || tidy::run(&[]))?;
    step("lints", || tools::run(&mut check::lints(TESTED)))?;
    let browser = need_chromium()?;
    let binaries = binaries::release()?;
    let for_tests = binaries.clone();
    // The demo waits more than it works, and holds beside a compiler: tests are built meanwhile, with what it leaves.
    let (played, prepared) = std::thread::scope(|scope| {
        let prepared = scope.spawn(|| {
            // Of this thread and all that it starts.
            let _ = rustix::process::nice(19);
            test::prepare(for_tests)
        });
        let played = step("the demo, judging itself", || demo::check(browser, binaries));
        (played, prepared.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)))
    });
    played?;
    prepared?.run()
}
