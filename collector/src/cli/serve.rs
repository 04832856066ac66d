//! `tephra serve`: one collector, one folder, one port.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::fail;
use crate::alerts::time::{format_duration, parse_duration};
use crate::http::{self, AppState};
use crate::serve::{Collector, ServeOptions, serve};
use crate::store::Options;

/// Below an hour a query over the default range would miss data that just arrived.
const RETENTION_MS_MIN: u64 = 3_600_000;

/// What `tephra serve` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder for everything that is kept; made if it is not there
    #[arg(long, env = "TEPHRA_DATA", value_name = "DIR", default_value = "./tephra-data")]
    data: PathBuf,
    /// Address for agents, API and web view
    #[arg(long, env = "TEPHRA_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4040", value_parser = address)]
    listen: SocketAddr,
    /// How long profiles are kept, such as 36h or 14d
    #[arg(long, env = "TEPHRA_RETENTION", value_name = "DURATION", default_value = "14d", value_parser = retention)]
    retention: Duration,
    /// Public host name under which people open the view; may be repeated
    #[arg(long, env = "TEPHRA_HOST", value_name = "NAME", value_delimiter = ',')]
    host: Vec<String>,
}

/// Runs until it is told to stop.
pub(super) fn run(args: Args) -> ExitCode {
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    let Args { data, listen, retention, host } = args;
    if !listen.ip().is_loopback() {
        warn!(%listen, "everybody who reaches this address can read the profiles: put it behind a proxy that knows its users");
    }
    let kept = format_duration(retention.as_millis() as u64);
    let folder = data.display().to_string();
    let options = ServeOptions { data, listen, store: Options { retention, ..Options::default() } };
    let http = |collector: &Collector| {
        let Collector { store, query, ingest, symbols, .. } = collector.clone();
        http::router(AppState::new(store, query, symbols, ingest, host))
    };
    let ready = |bound: SocketAddr| {
        let url = url(bound);
        // Whoever started it may have stopped reading.
        let mut out = std::io::stdout();
        let _ = writeln!(
            out,
            "tephra is ready: {url}  (agents send to the same address; data in {folder}, kept for {kept})"
        );
        let _ = out.flush();
    };
    match runtime.block_on(serve(options, http, ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// Warnings and news, or what `TEPHRA_LOG` says, in the grammar of `RUST_LOG`.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TEPHRA_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// The address a person can open.
fn url(bound: SocketAddr) -> String {
    match bound.ip() {
        ip if ip.is_unspecified() => format!("http://localhost:{}", bound.port()),
        IpAddr::V4(ip) => format!("http://{ip}:{}", bound.port()),
        IpAddr::V6(ip) => format!("http://[{ip}]:{}", bound.port()),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let everywhere = text.strip_prefix(':').map(|port| format!("0.0.0.0:{port}"));
    let local = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let text = everywhere.or(local).unwrap_or_else(|| text.to_owned());
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:4040, or 0.0.0.0:4040 for every network".to_owned()
    })
}

fn retention(text: &str) -> Result<Duration, String> {
    let ms = parse_duration(text).map_err(|error| format!("{error}; {}", error.hint()))?;
    if ms < RETENTION_MS_MIN {
        return Err(format!("{} is too short: at least 1h", format_duration(ms)));
    }
    Ok(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_what_people_write() {
        for (text, expected) in [
            ("127.0.0.1:4040", "127.0.0.1:4040"),
            (":80", "0.0.0.0:80"),
            ("localhost:1", "127.0.0.1:1"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for bad in ["", "4040", "127.0.0.1", "example.com:4040", "127.0.0.1:99999", "http://127.0.0.1:4040"] {
            assert!(address(bad).unwrap_err().contains("such as 127.0.0.1:4040"), "{bad}");
        }
    }

    #[test]
    fn the_printed_url_can_be_opened() {
        for (bound, expected) in
            [("0.0.0.0:4040", "http://localhost:4040"), ("[::]:1", "http://localhost:1"), ("[::1]:1", "http://[::1]:1")]
        {
            assert_eq!(url(bound.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_retention_is_long_enough_to_be_of_use() {
        assert_eq!(retention("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert!(retention("5m").unwrap_err().contains("at least 1h"));
        assert!(retention("soon").unwrap_err().contains("14d") || retention("soon").unwrap_err().contains("1d"));
    }
}
