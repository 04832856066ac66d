//! `tephra export`: a flame graph as a file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{Server, query, selection};
use super::fail;

/// What `tephra export` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    /// What to save, such as service=checkout,type=cpu,from=now-1h,version=v2
    #[arg(value_name = "SELECTION")]
    selection: String,
    /// json, flame, folded, svg, pprof or speedscope
    #[arg(long, default_value = "pprof")]
    format: String,
    /// Where to; standard output if left out
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Saves it.
pub(super) fn run(args: &Args) -> ExitCode {
    let query = match selection(&args.selection) {
        Ok(pairs) => query(&pairs, ""),
        Err(problem) => return fail(2, &problem),
    };
    let path = format!("/api/v1/flamegraph?{query}&format={}", crate::alerts::link::encode(&args.format));
    let content = match args.server.get(&path) {
        Ok(content) => content,
        Err(error) => return fail(1, &error),
    };
    let written = match &args.output {
        Some(file) => std::fs::write(file, &content),
        None => std::io::stdout().write_all(&content),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("cannot write the file: {error}")),
    }
}
