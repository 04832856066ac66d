//! The tools around the repository: where they are, whether they are new enough, and how to run them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{Result, timings};

/// The view's build needs this much of Node.
const NODE_MAJOR_MIN: u32 = 20;

/// Selects the whole workspace with one set of features. Whoever selects a single package instead gets other features in what it shares
/// with the rest, and compiles all of that again.
pub(crate) const WORKSPACE: &[&str] = &["--workspace", "--locked", "--features", "tephra-tests/jemalloc"];

/// Programs of the workspace in release, which are to be named. With an example, because cargo leaves out the features that tests ask for
/// unless something is built that may use them, and then dependencies would be compiled once for programs and once for tests.
pub(crate) const RELEASED: &[&str] =
    &["--release", "--workspace", "--locked", "--features", "tephra-tests/jemalloc", "--example", "plain_threads"];

/// The workspace as tests and lints build it: dependencies are those of the release builds, and so compiled once.
pub(crate) const TESTED: &[&str] =
    &["--config", ".cargo/tests.toml", "--release", "--workspace", "--locked", "--features", "tephra-tests/jemalloc"];

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Asked now and not when this was compiled: checkouts may share a target folder.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or(here.clone(), Path::to_owned)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    // Cargo itself takes a relative path from where it was called, and calls us from there too.
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| std::path::absolute(&dir).unwrap_or_else(|_| dir.into()))
}

/// The cargo that called us.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// npm, in the view's folder.
pub(crate) fn npm() -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(root().join("web"));
    npm
}

/// Runs a command to its end, with its output on ours.
pub(crate) fn run(command: &mut Command) -> Result {
    let line = describe(command);
    let status = command.status().map_err(|e| format!("cannot run `{line}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed: {status}").into()) }
}

/// Runs a command to its end and shows its output only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output = command.output().map_err(|e| format!("cannot run `{line}`: {e}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{stdout}{stderr}\n`{line}` failed: {}", output.status).into())
}

/// Says what is done, does it, and says how long it took; on stderr, since stdout is for results.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("· {what}");
    let start = Instant::now();
    let done = work()?;
    let took = start.elapsed();
    timings::record(what, took);
    if took.as_secs() >= 1 {
        eprintln!("  {:.0} s", took.as_secs_f64());
    }
    Ok(done)
}

/// Fails with advice unless a new enough Node and npm are there.
pub(crate) fn need_node() -> Result {
    const ADVICE: &str = "install Node 20 or newer with npm: https://nodejs.org";
    let version =
        run_quietly(Command::new("node").arg("--version")).map_err(|_| format!("node is missing: {ADVICE}"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(format!("node is {}, the view needs {NODE_MAJOR_MIN} or newer: {ADVICE}", version.trim()).into());
    }
    run_quietly(npm().arg("--version")).map(drop).map_err(|_| format!("npm is missing: {ADVICE}").into())
}

/// A program on the path.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|file| file.is_file())
}

/// Makes sure that programs are there; where they are missing and we may, Debian's packages are installed. `Err` says what
/// to do.
pub(crate) fn need_packages(programs: &[&str], packages: &[&str]) -> std::result::Result<(), String> {
    let all_there = || programs.iter().all(|program| find(&[program]).is_some());
    if all_there() {
        return Ok(());
    }
    let advice = format!("install {}, as by the packages `{}`", programs.join(", "), packages.join(" "));
    if rustix::process::geteuid().is_root() && find(&["apt-get"]).is_some() {
        let installed = step(&format!("installing {}", packages.join(" ")), || {
            run_quietly(Command::new("apt-get").args(["-qq", "update"]))?;
            let mut install = Command::new("apt-get");
            install.args(["-qq", "install", "-y", "--no-install-recommends"]).args(packages);
            run_quietly(install.env("DEBIAN_FRONTEND", "noninteractive"))
        });
        installed.map_err(|error| format!("{advice}; installing failed: {error}"))?;
    }
    if all_there() { Ok(()) } else { Err(advice) }
}

/// A browser, if there is one: `CHROMIUM` names it, else the usual names are tried.
pub(crate) fn chromium() -> Option<PathBuf> {
    match std::env::var_os("CHROMIUM") {
        Some(named) => Some(named.into()),
        None => find(&["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]),
    }
}

/// A browser; where it is missing and we may, it is installed.
pub(crate) fn need_chromium() -> Result<PathBuf> {
    if let Some(found) = chromium() {
        return Ok(found);
    }
    if rustix::process::geteuid().is_root() && find(&["apt-get"]).is_some() {
        step("installing Chromium", || {
            run_quietly(Command::new("apt-get").args(["-qq", "update"]))?;
            run_quietly(Command::new("apt-get").args(["-qq", "install", "-y", "--no-install-recommends", "chromium"]))
        })?;
    }
    chromium().ok_or_else(|| "the browser tests need Chromium: install it, or name one in CHROMIUM=/path/to/it".into())
}

/// The command as one would type it.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
