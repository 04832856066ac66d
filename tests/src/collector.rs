//! A real collector in a process of its own.

use std::path::Path;
use std::process::{Command, ExitStatus};

use tempfile::TempDir;

use crate::api::Api;
use crate::binaries;
use crate::clock::eventually;
use crate::process::{Running, Signal, free_port};

/// A running collector. Its data folder goes with it, unless it was given one.
#[derive(Debug)]
pub struct Collector {
    running: Running,
    port: u16,
    /// Its HTTP side.
    pub api: Api,
    _data: Option<TempDir>,
}

impl Collector {
    /// Starts one on an empty folder and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start() -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut collector = Self::start_on(data.path());
        collector._data = Some(data);
        collector
    }

    /// Starts one on an empty folder, with more options.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_with(options: &[&str]) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut collector = Self::start_on_with(data.path(), options);
        collector._data = Some(data);
        collector
    }

    /// Starts one on a folder that outlives it.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_on(data: &Path) -> Self {
        Self::start_on_with(data, &[])
    }

    fn start_on_with(data: &Path, options: &[&str]) -> Self {
        Self::start_with_environment(data, options, &[])
    }

    /// Starts one on a folder that outlives it, with more options and environment.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_with_environment(data: &Path, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let mut command = command(data, port);
        command.args(options).envs(environment.iter().copied());
        Self::start_command(command, port)
    }

    /// Starts one as somebody else would, on a port, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_command(command: Command, port: u16) -> Self {
        let api = Api::new(port);
        Self::start_until(command, port, || api.is_ready())
    }

    /// The same for one that is not asked over plain HTTP, so that its `api` is of no use.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_until(mut command: Command, port: u16, is_ready: impl Fn() -> bool) -> Self {
        let mut running = Running::start(&mut command);
        eventually("the collector is ready", || {
            assert!(running.is_alive(), "the collector ended before it was ready");
            is_ready().then_some(())
        });
        Self { running, port, api: Api::new(port), _data: None }
    }

    /// Where agents send to.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The most memory that was resident at one moment since it started, bytes.
    ///
    /// # Panics
    /// When the operating system does not say.
    pub fn peak_memory(&self) -> u64 {
        self.process_bytes("VmHWM:")
    }

    /// The memory that is resident now, bytes.
    ///
    /// # Panics
    /// When the operating system does not say.
    pub fn memory(&self) -> u64 {
        self.process_bytes("VmRSS:")
    }

    fn process_bytes(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id())).expect("a process status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line of the process status");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") << 10
    }

    /// The CPU time it has used, all threads, seconds.
    ///
    /// # Panics
    /// When the operating system does not say.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.running.id())).expect("a process status");
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks = |n: usize| fields.split_whitespace().nth(n).and_then(|t| t.parse::<f64>().ok()).expect("ticks");
        // User and system time, in hundredths on every Linux there is.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL.
    pub fn kill(self) {
        self.running.kill();
    }

    /// SIGTERM, and what it left with.
    pub fn terminate(self) -> ExitStatus {
        self.running.terminate()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.running.is_alive()
    }

    /// The windows it says it stores.
    pub fn windows(&self) -> u64 {
        self.status("/store/windows")
    }

    /// The samples it says it stores.
    pub fn samples(&self) -> u64 {
        self.status("/store/samples")
    }

    /// How many windows it refused, by reason.
    pub fn refused(&self) -> serde_json::Map<String, serde_json::Value> {
        self.api
            .json("/api/v1/status")
            .pointer("/ingest/refused")
            .and_then(|v| v.as_object())
            .cloned()
            .unwrap_or_default()
    }

    fn status(&self, pointer: &str) -> u64 {
        let status = self.api.json("/api/v1/status");
        status
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("no {pointer} in {status}"))
    }
}

/// `tephra`, not yet started.
pub fn tephra() -> Command {
    Command::new(binaries::collector())
}

/// `tephra serve`, not yet started.
pub fn command(data: &Path, port: u16) -> Command {
    let mut command = tephra();
    command.arg("serve").arg("--data").arg(data).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command
}
