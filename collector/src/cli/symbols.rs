//! `tephra symbols upload`: names for builds whose agents have none to offer, such as stripped images.
#![expect(clippy::disallowed_methods, reason = "the file is named on the command line")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::client::Server;
use super::fail;
use crate::symbols::elf;

/// What `tephra symbols` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Send the names of builds: unstripped binaries, libraries, or their .debug files
    Upload(Upload),
}

#[derive(Debug, clap::Args)]
struct Upload {
    #[command(flatten)]
    server: Server,
    /// ELF files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Sends each; fails if one fails, after all were tried.
pub(super) fn run(args: &Args) -> ExitCode {
    let Command::Upload(Upload { server, files }) = &args.command;
    let mut worst = ExitCode::SUCCESS;
    for path in files {
        match upload(server, path) {
            Ok(said) => _ = writeln!(std::io::stdout(), "{}: {said}", path.display()),
            Err(problem) => worst = fail(1, &format!("{}: {problem}", path.display())),
        }
    }
    worst
}

fn upload(server: &Server, path: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let file = File::open(path)?;
    let id = elf::identify(&file)?.build_id();
    let answer = server.post_file(&format!("/api/v1/symbols?build_id={id}"), file)?;
    if let Some(note) = answer.get("note").and_then(serde_json::Value::as_str) {
        return Ok(format!("build {id} stays as it was: {note}"));
    }
    let says = |what| answer.get(what).and_then(serde_json::Value::as_bool).unwrap_or(false);
    let what = match (says("lines"), says("inlines")) {
        (true, _) => "functions, inlined frames and lines",
        (false, true) => "functions and inlined frames, without lines",
        (false, false) => "functions, without lines",
    };
    Ok(format!("build {id} has names now: {what}"))
}
