//! `cargo xtask test`: every test there is, after setting up what they need.

use crate::servers::{self, Servers};
use crate::tools::{self, cargo, need_chromium, npm, step};
use crate::{Result, aarch64, binaries, fuzz, open_data, tidy, web};

/// Tests that weigh CPU time against samples of it: they need the machine to themselves, other tests beside them make them
/// see a sampler that is always late.
const ACCURACY: &str = "sampler::tests::accuracy::";

/// For each fuzzer: enough to find what any change of a decoder breaks at once.
const FUZZ_SECONDS: u32 = 5;

/// Fails at the first group of tests that does. What this machine cannot run is named at the end.
pub(crate) fn run() -> Result {
    step("the structure", || tidy::run(&[]))?;
    web::install()?;
    let chromium = need_chromium()?;
    let no_postgres = servers::need_postgres().err();
    let no_aarch64 = aarch64::need_compiler().err();
    let no_fuzzers = fuzz::need_compiler().err();
    let pyarrow = open_data::need_pyarrow();
    let go = open_data::need_go();
    let binaries = binaries::release()?;
    step("the view: types and lints", || tools::run(npm().args(["run", "--silent", "check"])))?;
    step("the view: unit tests", || tools::run(npm().args(["test", "--silent"])))?;
    step("the sampler's accuracy", || {
        let accuracy = ["-p", "tephra-agent", "--lib", ACCURACY, "--", "--test-threads=1"];
        tools::run(cargo().args(["test", "--locked"]).args(accuracy))
    })?;
    step("Rust, whole system and browser", || {
        let mut command = cargo();
        command.args([
            "test",
            "--workspace",
            "--locked",
            "--features",
            "tephra-tests/jemalloc",
            "--",
            "--skip",
            ACCURACY,
        ]);
        if let Ok(python) = &pyarrow {
            command.env("TEPHRA_TEST_PYARROW", python);
        }
        if let Ok(go) = &go {
            command.env("TEPHRA_TEST_GO", go);
        }
        tools::run(command.env("TEPHRA_BINARIES", &binaries.folder).env("CHROMIUM", &chromium))
    })?;
    step("the agent with other features: lints", || {
        for features in [&["--no-default-features"][..], &["--features", "pprof-fallback"]] {
            let agent = ["clippy", "--locked", "--package", "tephra-agent", "--lib"];
            tools::run(cargo().args(agent).args(features).args(["--", "--deny", "warnings"]))?;
        }
        Ok(())
    })?;
    match no_aarch64 {
        None => aarch64::check()?,
        Some(why) => eprintln!("skipped: the agent on AArch64. {why}"),
    }
    match no_fuzzers {
        None => fuzz::attack(FUZZ_SECONDS)?,
        Some(why) => eprintln!("skipped: decoders under libFuzzer. {why}"),
    }
    if let Err(why) = pyarrow {
        eprintln!("skipped: the data folder read by pyarrow. {why}");
    }
    if let Err(why) = go {
        eprintln!("skipped: exported profiles opened by go tool pprof. {why}");
    }
    match no_postgres {
        None => step("the collector again, on PostgreSQL and a bucket", shared_store),
        Some(why) => {
            eprintln!("skipped: everything about several collectors that share a store. {why}");
            Ok(())
        }
    }
}

/// The tests that open a store.
fn shared_store() -> Result {
    let servers = Servers::start()?;
    let mut command = cargo();
    command.args(["test", "--locked", "--package", "tephra-collector", "--lib", "--"]);
    command.args(["store::", "ingest::", "query::", "http::", "symbols::"]);
    tools::run(command.envs(servers.environment.iter().map(|(name, value)| (name, value))))
}
