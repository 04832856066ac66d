//! `cargo xtask test`: every test there is, after setting up what they need.

use crate::tools::{self, cargo, need_chromium, npm, step};
use crate::{Result, binaries, web};

/// Fails at the first group of tests that does.
pub(crate) fn run() -> Result {
    web::install()?;
    let chromium = need_chromium()?;
    let binaries = binaries::release()?;
    step("the view: types and lints", || tools::run(npm().args(["run", "--silent", "check"])))?;
    step("the view: unit tests", || tools::run(npm().args(["test", "--silent"])))?;
    step("Rust, whole system and browser", || {
        let mut command = cargo();
        command.args(["test", "--workspace", "--locked"]);
        tools::run(command.env("TEPHRA_BINARIES", &binaries.folder).env("CHROMIUM", &chromium))
    })
}
