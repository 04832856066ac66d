//! Readers that share no code with us, for tests: a Python with pyarrow reads data folders, Go's pprof reads exported profiles.

use std::path::PathBuf;
use std::process::Command;

use crate::Result;
use crate::tools::{run_quietly, target_dir};

/// The interpreter of an environment below `target/`, set up from PyPI the first time.
pub(crate) fn need_pyarrow() -> Result<PathBuf> {
    let folder = target_dir().join("pyarrow");
    let python = folder.join("bin/python");
    let works = || run_quietly(Command::new(&python).args(["-c", "import pyarrow.parquet"])).is_ok();
    if works() {
        return Ok(python);
    }
    run_quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .map_err(|e| format!("python3 with its venv module is needed (Debian: apt-get install python3-venv): {e}"))?;
    run_quietly(Command::new(&python).args(["-m", "pip", "install", "--quiet", "pyarrow==26.*"]))
        .map_err(|e| format!("pyarrow could not be installed from PyPI: {e}"))?;
    if works() { Ok(python) } else { Err("pyarrow was installed, but cannot be imported".into()) }
}

/// The Go tool, where this machine has one with pprof in it.
pub(crate) fn need_go() -> Result<PathBuf> {
    let go = PathBuf::from("go");
    run_quietly(Command::new(&go).args(["tool", "-n", "pprof"]))
        .map_err(|e| format!("Go is needed (Debian: apt-get install golang-go): {e}"))?;
    Ok(go)
}
