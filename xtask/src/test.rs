//! `cargo xtask test`: every test there is, after setting up what they need.
//!
//! Everything is built once and then runs side by side; what needs the machine to itself runs by itself.

mod programs;
mod side_by_side;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use programs::Programs;
use side_by_side::Job;

use crate::binaries::{self, Binaries};
use crate::servers::{self, Servers};
use crate::tools::{self, TESTED, cargo, need_chromium, npm, step, target_dir};
use crate::{Result, aarch64, open_data, tidy, web};

/// Tests that weigh CPU time against samples of it: they need the machine to themselves, other tests beside them make them
/// see a sampler that is always late.
const ACCURACY: &str = "sampler::tests::accuracy::";

/// Jobs side by side. Each runs two tests at a time on a machine with two cores.
const PLACES: usize = 2;

/// Test programs that take longest, from the longest on: begun first, so that none is left over at the end.
const LONG: &[&str] = &["tephra-collector lib"];

const AGENT: &str = "tephra-agent lib";
const COLLECTOR: &str = "tephra-collector lib";

/// Modules of the collector that work on a store wherever it is.
const ON_SERVERS: &[&str] = &["store::", "backup::", "ingest::", "query::", "http::", "symbols::"];

/// Tells tests what they must not go without: what they are given.
const REQUIRED: &str = "TEPHRA_TEST_REQUIRED";

/// What this machine has for tests that need more than Rust; `Err` says why they cannot run and what to do.
struct Means {
    chromium: PathBuf,
    postgres: std::result::Result<(), String>,
    aarch64: std::result::Result<(), String>,
    pyarrow: Result<PathBuf>,
    go: Result<PathBuf>,
}

impl Means {
    /// Sets up what is missing, where that is possible.
    fn gather() -> Result<Self> {
        web::install()?;
        Ok(Self {
            chromium: need_chromium()?,
            postgres: servers::need_postgres(),
            aarch64: aarch64::need_compiler(),
            pyarrow: open_data::need_pyarrow(),
            go: open_data::need_go(),
        })
    }

    /// Names what cannot run here.
    fn tell_skipped(&self) {
        let missing = [
            ("everything about several collectors that share a store", self.postgres.as_ref().err().cloned()),
            ("the agent on AArch64", self.aarch64.as_ref().err().cloned()),
            ("the data folder read by pyarrow", self.pyarrow.as_ref().err().map(ToString::to_string)),
            ("exported profiles opened by go tool pprof", self.go.as_ref().err().map(ToString::to_string)),
        ];
        for (what, why) in missing {
            if let Some(why) = why {
                eprintln!("skipped: {what}. {why}");
            }
        }
    }
}

/// All that tests need, there and built.
pub(crate) struct Prepared {
    means: Means,
    binaries: Binaries,
    programs: Programs,
}

/// `cargo xtask test`.
pub(crate) fn run() -> Result {
    step("the structure", || tidy::run(&[]))?;
    prepare(binaries::release()?)?.run()
}

/// Sets up what tests of these binaries need, and builds all tests.
pub(crate) fn prepare(binaries: Binaries) -> Result<Prepared> {
    // What is missing comes over the network, which leaves the processors to the build.
    let (means, programs) = std::thread::scope(|scope| {
        let means = scope.spawn(Means::gather);
        let programs = step("building every test", || Programs::build(&[TESTED]));
        (means.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)), programs)
    });
    Ok(Prepared { means: means?, binaries, programs: programs? })
}

impl Prepared {
    /// Runs everything and fails at the end, naming what failed. What this machine cannot run is named too.
    pub(crate) fn run(&self) -> Result {
        let Self { means, binaries, programs } = self;
        step("the sampler's accuracy", || tools::run(programs.test(AGENT)?.args([ACCURACY, "--test-threads=1"])))?;
        let servers = means.postgres.is_ok().then(|| Servers::start(programs.other("store-servers")?)).transpose()?;
        let mut jobs = rust_tests(programs, means, &binaries.folder, servers.as_ref())?;
        jobs.push(by_cargo(means));
        jobs.push(other_peoples_clients(binaries)?);
        jobs.push(view());
        let outcome = step("all tests", || side_by_side::run(jobs, PLACES));
        means.tell_skipped();
        outcome
    }
}

/// Each test program of the workspace, those that take long first.
fn rust_tests(programs: &Programs, means: &Means, binaries: &Path, servers: Option<&Servers>) -> Result<Vec<Job>> {
    let mut names: Vec<String> = programs.names().collect();
    names.sort_by_key(|name| LONG.iter().position(|long| long == name).unwrap_or(LONG.len()));
    let job = |name: String| {
        let mut command = programs.test(&name)?;
        command.env("TEPHRA_BINARIES", binaries).env("CHROMIUM", &means.chromium);
        let mut required = Vec::new();
        for (variable, found) in [("TEPHRA_TEST_PYARROW", &means.pyarrow), ("TEPHRA_TEST_GO", &means.go)] {
            if let Ok(found) = found {
                command.env(variable, found);
                required.push(variable);
            }
        }
        if servers.is_some() {
            required.push("postgres");
        }
        command.env(REQUIRED, required.join(","));
        if name == AGENT {
            command.args(["--skip", ACCURACY]);
        }
        match servers {
            Some(servers) if name == COLLECTOR => on_servers_too(programs, command, servers),
            _ => Ok(Job::new(name, command)),
        }
    };
    names.into_iter().map(job).collect()
}

/// The collector's unit tests; then those of them that opened a store once more, on PostgreSQL and a bucket.
fn on_servers_too(programs: &Programs, mut first: Command, servers: &Servers) -> Result<Job> {
    let opened = target_dir().join("tests-that-open-a-store");
    let _ = std::fs::remove_file(&opened);
    first.env("TEPHRA_TEST_STORES", &opened);
    let mut again = programs.test(COLLECTOR)?;
    again.envs(servers.environment.iter().map(|(name, value)| (name, value))).arg("--exact");
    again.env(REQUIRED, "TEPHRA_TEST_POSTGRES");
    let job = Job::new("tephra-collector lib; again on PostgreSQL and a bucket", first);
    Ok(job.then_make(move || {
        let opened = std::fs::read_to_string(&opened).map_err(|e| format!("no test has opened a store: {e}"))?;
        let names: BTreeSet<&str> =
            opened.lines().filter(|name| ON_SERVERS.iter().any(|module| name.starts_with(module))).collect();
        // Without a name, all tests would run.
        if names.is_empty() {
            return Err("no test has opened a store, at least none that was noted".into());
        }
        again.args(names);
        Ok(again)
    }))
}

/// What cargo itself must run, one after the other since it locks the folder it builds in: examples in the documentation, and what is built on
/// its own elsewhere: the agent with other features and for another processor, and the collector without the rest of the workspace, whose
/// features would hide one that it forgot to ask for.
fn by_cargo(means: &Means) -> Job {
    let run = |args: &[&[&str]]| {
        let mut command = cargo();
        command.args(args.concat());
        command
    };
    let agent = &["clippy", "--release", "--locked", "--package", "tephra-agent", "--lib"][..];
    let deny = &["--", "--deny", "warnings"][..];
    let job = Job::new("examples in the documentation; packages on their own", run(&[&["test"], TESTED, &["--doc"]]))
        .then(run(&[agent, &["--no-default-features"], deny]))
        .then(run(&[agent, &["--features", "pprof-fallback"], deny]))
        .then(run(&[agent, &["--features", "tls-no-provider"], deny]))
        .then(run(&[&["check", "--release", "--locked", "--package", "tephra-collector"]]));
    if means.aarch64.is_ok() { job.then(aarch64::lints()) } else { job }
}

/// Their programs come from their registries; what cannot be made here is named in what it prints.
fn other_peoples_clients(binaries: &Binaries) -> Result<Job> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["interop", "--built"]).arg(&binaries.folder);
    Ok(Job::new("other people's clients", command))
}

fn view() -> Job {
    let npm = |args: &[&str]| {
        let mut command = npm();
        command.args(args);
        command
    };
    Job::new("the view: types, lints and unit tests", npm(&["run", "--silent", "check"]))
        .then(npm(&["test", "--silent"]))
}
