//! `tephra import`: a pprof file, sent to a collector.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::client::{Server, query, selection};
use super::fail;

/// What `tephra import` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    /// A pprof file, gzipped or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// As what to store it, such as service=checkout,version=v2
    #[arg(value_name = "SELECTION")]
    selection: String,
    /// When it was taken; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Sends it.
pub(super) fn run(args: &Args) -> ExitCode {
    let query = match selection(&args.selection) {
        Ok(pairs) => query(&pairs, ""),
        Err(problem) => return fail(2, &problem),
    };
    let content = match std::fs::read(&args.file) {
        Ok(content) => content,
        Err(error) => return fail(1, &format!("cannot read {}: {error}", args.file.display())),
    };
    let at = args.at.as_ref().map(|at| format!("&at={}", crate::alerts::link::encode(at))).unwrap_or_default();
    match args.server.post(&format!("/api/v1/profiles?{query}{at}"), &content) {
        Ok(answer) => {
            let samples = answer.get("stored_samples").and_then(serde_json::Value::as_u64).unwrap_or(0);
            let _ = writeln!(std::io::stdout(), "{samples} samples stored");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}
