//! `tephra view`: one file in the web view. A collector of its own shows it, for this machine and for as long as it runs; nothing is kept.
#![expect(clippy::disallowed_methods, reason = "the collector's folder lasts as long as the command")]

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use super::client::{Server, query};
use super::comparison::{bytes_of, name};
use super::fail;
use crate::access::AccessOptions;
use crate::base::clock::now_ms;
use crate::base::ids::{hex, unique_bytes};
use crate::http::AppState;
use crate::profile::fit::fit;
use crate::profile::formats::decode;
use crate::serve::{Collector, Limits, PRIVATE, ServeOptions, serve};
use crate::store::Options;
use crate::store::place::Place;

/// What `tephra view` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A profile, gzipped or not: pprof, folded stacks, an output of perf script, speedscope, V8, Firefox or samply, gperftools
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Port of this machine; a free one if left out
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
}

/// Files that do not say how long they took are taken to have taken this long.
const LENGTH_MS: u64 = 10_000;

/// Shows the file until it is told to stop.
pub(super) fn run(args: &Args) -> ExitCode {
    let shown = match Shown::read(&args.file) {
        Ok(shown) => shown,
        Err(problem) => return fail(1, &problem),
    };
    let folder = Folder::new();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start threads: {error}")),
    };
    let options = ServeOptions {
        place: Place::Folder(folder.0.clone()),
        listen: SocketAddr::from(([127, 0, 0, 1], args.port)),
        tls: None,
        store: Options::default(),
        limits: Limits::default(),
        shutdown_delay: std::time::Duration::ZERO,
        umask: PRIVATE,
        access: AccessOptions::default(),
    };
    let state = |collector: &Collector| {
        let Collector { store, query, ingest, symbols, access, .. } = collector.clone();
        AppState::new(store, query, symbols, ingest, [], access)
    };
    let ready = |bound: SocketAddr| {
        // Requests are answered only once this returns.
        std::thread::spawn(move || shown.send(bound));
    };
    match runtime.block_on(serve(options, state, ready)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// A folder that is gone when the command ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("tephra-view-{}", hex(&unique_bytes()))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file that was read and is a profile.
struct Shown {
    content: Vec<u8>,
    /// What it is called in the view.
    service: String,
    /// How long it took, as far as it says so.
    length_ms: u64,
}

impl Shown {
    fn read(file: &Path) -> Result<Self, String> {
        let content = bytes_of(file)?;
        let imported = decode(&content).map_err(|error| format!("{}: {error}: {}", file.display(), error.hint()))?;
        let length_ms = (imported.duration_nanos / 1_000_000).max(LENGTH_MS);
        Ok(Self { content, service: fit(&name(file)).into_owned(), length_ms })
    }

    /// Hands it to the collector, and says where to look.
    fn send(&self, bound: SocketAddr) {
        let server = Server::at(format!("http://{bound}"));
        // It ends now: when a file says it was taken may be beyond what is kept.
        let start = now_ms().saturating_sub(self.length_ms);
        let path = format!("/api/v1/profiles?service={}&at={start}", self.service);
        match server.post(&path, &self.content) {
            Ok(answer) => {
                let mut out = std::io::stdout();
                let page = page(&self.service, &answer);
                let _ = writeln!(out, "open http://{bound}{page}\nCtrl-C ends it; nothing of it is kept");
                let _ = out.flush();
            }
            Err(error) => drop(fail(1, &format!("the file cannot be shown: {error}"))),
        }
    }
}

/// Where a stored profile is seen: CPU first, or its first type.
fn page(service: &str, answer: &Value) -> String {
    let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or_default();
    let types = answer.get("types").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut names = types.iter().filter_map(|one| one.get("name").and_then(Value::as_str));
    let first = names.next().unwrap_or("cpu");
    let shown = if names.any(|name| name == "cpu") { "cpu" } else { first };
    let pairs =
        [("type", shown.to_owned()), ("from", number("from").to_string()), ("until", number("until").to_string())];
    format!("/s/{service}?{}", query(&pairs.map(|(name, value)| (name.to_owned(), value)), ""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_shows_the_file_by_cpu_or_its_first_type() {
        let answer = |types: &[&str]| {
            let types: Vec<Value> = types.iter().map(|name| json!({ "name": name })).collect();
            json!({ "from": 1_000, "until": 11_000, "types": types })
        };
        assert_eq!(page("heap_pb", &answer(&["samples", "cpu"])), "/s/heap_pb?type=cpu&from=1000&until=11000");
        assert_eq!(page("heap_pb", &answer(&["space"])), "/s/heap_pb?type=space&from=1000&until=11000");
    }

    #[test]
    fn what_is_no_profile_is_not_shown_and_the_folder_goes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Heap 1.folded");
        std::fs::write(&file, "main;serve 12\n").unwrap();
        let shown = Shown::read(&file).unwrap();
        assert_eq!((shown.service.as_str(), shown.length_ms), ("heap_1.folded", LENGTH_MS));
        std::fs::write(&file, [0, 1, 2]).unwrap();
        assert!(Shown::read(&file).err().unwrap().contains("Heap 1.folded: "));
        let Folder(path) = &Folder::new();
        std::fs::create_dir(path).unwrap();
        drop(Folder(path.clone()));
        assert!(!path.exists());
    }
}
