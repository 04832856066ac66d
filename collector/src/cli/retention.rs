//! `tephra retention`: says yes where the collector asks before it lets go of much.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

use super::client::Server;
use super::fail;

/// What `tephra retention` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Let go of all that is past its time by the collector's clock and options now, however much it is. Look at both first: what
    /// goes does not come back
    Confirm,
}

/// Tells the collector.
pub(super) fn run(args: &Args) -> ExitCode {
    let What::Confirm = args.what;
    match args.server.post("/api/v1/retention/confirm", &[]) {
        Ok(answer) => {
            let _ = writeln!(
                std::io::stdout(),
                "{} segments with {} bytes go within a minute, and their bytes ten minutes later",
                answer["segments"],
                answer["bytes"]
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}
