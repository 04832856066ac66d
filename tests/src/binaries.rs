//! Where the programs under test are: release builds, as users run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The folder that `cargo xtask binaries` fills: `tephra`, `v1/shop-*`, `v2/shop-*`. `TEPHRA_BINARIES` names one that is
/// up to date; otherwise it is brought up to date first.
///
/// # Panics
/// When they cannot be built.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("TEPHRA_BINARIES") {
        Some(folder) => folder.into(),
        None => build(),
    })
}

/// The collector.
pub fn collector() -> PathBuf {
    folder().join("tephra")
}

/// One of the shop's programs, in one of its releases.
pub fn shop(version: &str, program: &str) -> PathBuf {
    folder().join(version).join(program)
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is inside the repository");
    let built = Command::new(env!("CARGO"))
        .args(["run", "--locked", "--quiet", "--package", "xtask", "--", "binaries"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "`cargo xtask binaries` failed: {}", built.status);
    String::from_utf8_lossy(&built.stdout).lines().last().expect("it prints a folder").into()
}
