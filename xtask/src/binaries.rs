//! Release builds of all that the demo and the whole-system tests run: the collector, and two releases of the shop.
//!
//! As a user would build them: `cargo build --release`, with the stock profile. They are selected from the whole workspace, so that tests
//! and benchmarks stand on the same dependencies.

use std::path::{Path, PathBuf};

use crate::tools::{RELEASED, cargo, run, step, target_dir};
use crate::{Result, web};

/// Where the copies are: cargo's own folder holds one release of the shop at a time.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    /// Holds `tephra`, `v1/shop-*` and `v2/shop-*`.
    pub(crate) folder: PathBuf,
}

impl Binaries {
    /// The collector.
    pub(crate) fn collector(&self) -> PathBuf {
        self.folder.join("tephra")
    }

    /// One of the shop's programs, in one of its releases.
    pub(crate) fn shop(&self, version: &str, program: &str) -> PathBuf {
        self.folder.join(version).join(program)
    }
}

/// Builds what is not up to date.
pub(crate) fn release() -> Result<Binaries> {
    web::build()?;
    let folder = target_dir().join("tephra-binaries");
    let built = target_dir().join("release");
    step("building the collector and the shop, v1", || build(&[]))?;
    place(&built.join("tephra"), &folder.join("tephra"))?;
    place_shop(&built, &folder.join("v1"))?;
    step("building the shop, v2", || build(&["--features", "tephra-shop/v2"]))?;
    place_shop(&built, &folder.join("v2"))?;
    Ok(Binaries { folder })
}

const SHOP: [&str; 3] = ["shop-gateway", "shop-checkout", "shop-load"];

fn build(more: &[&str]) -> Result {
    let programs = SHOP.iter().chain(&["tephra"]).flat_map(|program| ["--bin", program]);
    run(cargo().arg("build").args(RELEASED).arg("--quiet").args(programs).args(more))
}

fn place_shop(built: &Path, folder: &Path) -> Result {
    SHOP.iter().try_for_each(|program| place(&built.join(program), &folder.join(program)))
}

/// Replaces rather than overwrites: the old one may be running.
fn place(from: &Path, to: &Path) -> Result {
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder)?;
    let fresh = to.with_extension("new");
    std::fs::copy(from, &fresh).map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), fresh.display()))?;
    Ok(std::fs::rename(&fresh, to)?)
}
