//! `tephra delete`: a service or a trace, for good.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use tephra_proto::ids::{ServiceName, TraceId};

use super::client::{Server, query};
use super::fail;

/// What `tephra delete` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All that is stored of a service: profiles, traces, events, and pins that show it
    Service {
        /// Its name
        #[arg(value_parser = ServiceName::parse)]
        name: ServiceName,
    },
    /// What carries a trace id: its samples stay in the sums of their services, without it
    Trace {
        /// 32 hexadecimal digits
        #[arg(value_parser = TraceId::parse)]
        id: TraceId,
    },
}

/// Asks the collector to do it.
pub(super) fn run(args: &Args) -> ExitCode {
    let (path, what) = match &args.what {
        What::Service { name } => {
            let pairs = [("service".to_owned(), name.to_string())];
            (format!("/api/v1/services?{}", query(&pairs, "")), format!("service {name}"))
        }
        What::Trace { id } => (format!("/api/v1/traces/{id}"), format!("trace {id}")),
    };
    match args.server.delete(&path) {
        Ok(_) => {
            let _ = writeln!(std::io::stdout(), "{what} is deleted; its bytes go within half an hour");
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}
