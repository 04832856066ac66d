//! Builds the view: `npm ci` when the lock file changed, then Vite when a source did.

use std::path::Path;
use std::time::SystemTime;

use crate::tools::{need_node, npm, root, run_quietly, step};
use crate::{Result, tools};

/// Builds the view into `web/dist`, from where the collector's build takes it.
pub(crate) fn build() -> Result {
    install()?;
    if is_built()? {
        // The collector holds these files: writing them again would mean compiling it again.
        return Ok(());
    }
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

/// True when no source is newer than what was made of them.
fn is_built() -> Result<bool> {
    let web = root().join("web");
    let Ok(built) = std::fs::metadata(web.join("dist/index.html")).and_then(|file| file.modified()) else {
        return Ok(false);
    };
    let sources = ["view", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];
    for source in sources {
        if newest(&web.join(source))? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When a file, or anything in a folder, last changed. Folders count themselves: that is where a removed file shows.
fn newest(path: &Path) -> Result<SystemTime> {
    let itself = std::fs::metadata(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let mut newest_here = itself.modified()?;
    if itself.is_dir() {
        for entry in std::fs::read_dir(path)? {
            newest_here = newest_here.max(newest(&entry?.path())?);
        }
    }
    Ok(newest_here)
}
