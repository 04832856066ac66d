//! The view with hot reload: Vite's own server, which passes the API on to a collector.

use crate::tools::{npm, run as run_command};
use crate::{Result, web};

/// Runs until Ctrl-C.
pub(crate) fn run() -> Result {
    web::install()?;
    println!("needs a collector on port 4040, such as `cargo xtask demo`");
    run_command(npm().args(["run", "dev"]))
}
