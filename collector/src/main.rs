//! `tephra`: the collector and its tools.

use std::process::ExitCode;

fn main() -> ExitCode {
    tephra_collector::cli::main()
}
