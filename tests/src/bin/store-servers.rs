//! PostgreSQL and an S3 server on loopback, for a look at several collectors on one machine and for tests. Prints what to put into the
//! environment of each `tephra serve`, and ends when its standard input does.

use std::io::{Read, Write};
use std::process::ExitCode;

use tephra_tests::servers::Servers;

fn main() -> ExitCode {
    let servers = match Servers::start() {
        Ok(servers) => servers,
        Err(missing) => {
            eprintln!("{missing}");
            return ExitCode::from(2);
        }
    };
    let mut out = std::io::stdout();
    for (name, value) in servers.store("tephra").environment() {
        let _ = writeln!(out, "export {name}='{value}'");
    }
    let _ = writeln!(out, "export TEPHRA_TEST_POSTGRES='{}'", servers.postgres.url());
    let _ = writeln!(out, "export TEPHRA_TEST_S3_FILES='{}'", servers.s3.files().display());
    let _ = out.flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}
