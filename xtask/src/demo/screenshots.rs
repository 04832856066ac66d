//! `cargo xtask screenshots`: the pictures in `.github/screenshots`, taken of the demo's pages, so that they show what there is.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::demo::links::Links;
use crate::tools::{root, run, step};
use crate::{Result, web};

/// Takes all of them.
pub(super) fn take(browser: &Path, base: &str, links: &Links) -> Result {
    // The browser's driver is among the view's packages.
    web::install()?;
    let folder = root().join(".github/screenshots");
    let wide = |name: &str, path: &str, theme: &str| json!({ "name": name, "path": path, "theme": theme, "width": 1440, "height": 900 });
    let phone =
        |name: &str, path: &str| json!({ "name": name, "path": path, "theme": "light", "width": 390, "height": 844 });
    let order = json!({
        "base": base,
        "chromium": browser,
        "folder": folder,
        "pictures": [
            wide("diff", &links.diff, "light"),
            wide("diff-dark", &links.diff, "dark"),
            wide("service", &links.service, "light"),
            wide("trace", &links.trace, "light"),
            phone("alert-phone", &links.alert),
        ],
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), order.to_string())?;
    let script = root().join("tests/browser/screenshots.mjs");
    step("taking the pictures", || run(Command::new("node").arg(script).arg(file.path())))?;
    println!("\nthe pictures are in {}: look at them before they are committed", folder.display());
    Ok(())
}
