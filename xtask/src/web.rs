//! Builds the view: `npm ci` when the lock file changed, then Vite.

use crate::tools::{need_node, npm, root, run_quietly, step};
use crate::{Result, tools};

/// Builds the view into `web/dist`, from where the collector's build takes it.
pub(crate) fn build() -> Result {
    install()?;
    step("building the view", || run_quietly(npm().args(["run", "--silent", "build"])).map(drop))
}

/// Fetches what the view is built with, unless that was done for this very lock file.
pub(crate) fn install() -> Result {
    need_node()?;
    let web = root().join("web");
    let lock = std::fs::read(web.join("package-lock.json"))?;
    // A copy inside the folder it vouches for: whoever deletes one deletes the other.
    let installed = web.join("node_modules/.installed-lock.json");
    if std::fs::read(&installed).is_ok_and(|copy| copy == lock) {
        return Ok(());
    }
    tools::step("fetching the view's packages", || {
        run_quietly(npm().args(["ci", "--no-audit", "--no-fund"]))?;
        Ok(std::fs::write(&installed, &lock)?)
    })
}
