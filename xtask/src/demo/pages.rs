//! Opens pages in a headless browser and reads what a person would.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::demo::links::Links;
use crate::demo::tail;
use crate::tools::run_quietly;

/// What each page must show: a claim, its path, and words on it.
pub(crate) fn expectations(links: &Links) -> [(&'static str, &str, &'static [&'static str]); 8] {
    [
        ("the overview lists both services", &links.overview, &["gateway", "checkout"]),
        ("the service page opens", &links.service, &["checkout", "cpu"]),
        ("the diff page names the slow function", &links.diff, &["rate_for"]),
        ("the diff page of allocations names the wasteful one", &links.allocations, &["receipt::render"]),
        ("the page of what grew names the leak", &links.growth, &["sessions::"]),
        ("the trace page shows both services", &links.trace, &["gateway", "checkout"]),
        ("the page of the slowest 1 % names function and tenant", &links.why, tail::NAMED),
        ("the alert page says it in words", &links.alert, &["rate_for"]),
    ]
}

/// Fails unless the page, once its scripts have run, shows all of `expected`.
pub(crate) fn look(browser: &Path, base: &str, path: &str, expected: &[&str]) -> Result<String> {
    let profile = tempfile::tempdir()?;
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ]);
    if rustix::process::geteuid().is_root() {
        // Chromium refuses to sandbox itself for root, which is what containers run as.
        command.arg("--no-sandbox");
    }
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.args(["--virtual-time-budget=20000", "--dump-dom"]).arg(format!("{base}{path}"));
    let dom = run_quietly(&mut command)?;
    let missing: Vec<&&str> = expected.iter().filter(|word| !dom.contains(**word)).collect();
    if missing.is_empty() {
        Ok(format!("shows {}", expected.join(", ")))
    } else {
        Err(format!("{path} lacks {missing:?}").into())
    }
}
