//! `cargo xtask fuzz`: every door that bytes from strangers come through, attacked by libFuzzer, which finds its way by the code
//! that an input reaches. Builds with the installed toolchain: coverage needs no nightly.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::tools::{self, TESTED, cargo, need_packages, root, step, target_dir};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What cargo-fuzz sets: counters at every edge, and what comparisons compare. One unit of code each, or counters are not laid out as
/// libFuzzer expects.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0 \
    -Ccodegen-units=1 --cfg fuzzing";

/// Takes more than 2 GiB, or 20 s for one input: found.
const LIMITS: [&str; 3] = ["-rss_limit_mb=2048", "-timeout=20", "-max_len=65536"];

/// Makes sure that libFuzzer, which is written in C++, can be built. `Err` says what to do.
pub(crate) fn need_compiler() -> std::result::Result<(), String> {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return Err(format!("the fuzzers are built for {TARGET} only"));
    }
    need_packages(&["c++"], &["g++"])
}

/// `--seconds N`: for each door.
pub(crate) fn run(args: &[&str]) -> Result {
    let &["--seconds", seconds] = args else { return Err("fuzz takes --seconds N".into()) };
    let seconds = seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
    need_compiler()?;
    attack(seconds)
}

/// How many doors there are: each is attacked for as long as it is told.
pub(crate) fn doors() -> Result<u32> {
    Ok(u32::try_from(std::fs::read_dir(root().join("collector/fuzz/fuzz_targets"))?.count())?)
}

/// Attacks every door for so long. What breaks one is left beside the corpus, and named.
pub(crate) fn attack(seconds: u32) -> Result {
    let folder = target_dir().join("fuzz");
    let (corpora, found) = (folder.join("corpus"), folder.join("found"));
    std::fs::create_dir_all(&found)?;
    step("undamaged inputs for fuzzing", || {
        let mut hostile = cargo();
        hostile.arg("test").args(TESTED).args(["--quiet", "--test", "hostile"]);
        tools::run(hostile.env("TEPHRA_FUZZ_SEEDS", &corpora))
    })?;
    let doors = build(&folder)?;
    for (name, program) in doors {
        step(&format!("fuzzing {name}"), || {
            let mut fuzzer = Command::new(&program);
            fuzzer.arg(corpora.join(&name)).args(LIMITS).arg(format!("-max_total_time={seconds}"));
            fuzzer.arg(format!("-artifact_prefix={}/{name}-", found.display()));
            tools::run_quietly(&mut fuzzer).map(drop).map_err(|why| {
                format!("{why}\nput what it found into collector/tests/hostile/corpus/{name}: it is tried there from then on").into()
            })
        })?;
    }
    Ok(())
}

/// Builds the fuzzers; answers names and programs.
fn build(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let manifest = root().join("collector/fuzz/Cargo.toml");
    step("fuzzers", || {
        let mut command = cargo();
        command.args(["build", "--locked", "--target", TARGET, "--manifest-path"]).arg(&manifest);
        tools::run(command.arg("--target-dir").arg(folder).env("RUSTFLAGS", COVERAGE))
    })?;
    let sources = std::fs::read_dir(root().join("collector/fuzz/fuzz_targets"))?;
    let mut doors = Vec::new();
    for source in sources {
        let name = source?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let program = folder.join(TARGET).join("debug").join(&name);
        doors.push((name, program));
    }
    doors.sort();
    Ok(doors)
}
