//! Hostile input: every door that bytes from strangers come through is fed with thousands of damaged inputs, and with all that ever
//! broke it (`corpus/<door>/`). None may panic, hang, or take more memory than its limits say.
//!
//! `TEPHRA_FUZZ_ROUNDS=1000000 cargo test -p tephra-collector --test hostile` looks longer; `cargo xtask fuzz` attacks the same doors
//! with libFuzzer, which finds its way by coverage and starts from what is written to the folder `TEPHRA_FUZZ_SEEDS`.
#![allow(clippy::disallowed_methods, reason = "a test reads and writes its own files")]

mod memory;
mod mutate;
mod seeds;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mutate::{Random, mutate};

/// Damaged inputs per door: together a few seconds.
const ROUNDS: usize = 4_000;

/// The seed that runs differ by when they are made longer.
const SEED: u64 = 0x7465_7068_7261;

/// What an input of a few KiB may cost at one moment, whatever it claims. The largest tables of a window are counted before
/// they are built, see the target `window`.
const MEMORY_MAX: usize = 64 << 20;

/// Memory is counted for the whole program.
static TURN: Mutex<()> = Mutex::new(());

fn attack(name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, target) = targets::TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds::of(name);
    assert!(!seeds.is_empty());
    let corpus = corpus(name);
    if let Some(folder) = std::env::var_os("TEPHRA_FUZZ_SEEDS") {
        return write_seeds(&Path::new(&folder).join(name), seeds.iter().chain(corpus.iter().map(|(_, input)| input)));
    }
    let rounds = std::env::var("TEPHRA_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    for (path, input) in &corpus {
        run(target, input, || format!("{}", path.display()));
    }
    for (i, input) in seeds.iter().chain(&seeds::attacks(name)).enumerate() {
        run(target, input, || format!("seed or attack {i}"));
    }
    let inputs: Vec<&Vec<u8>> = seeds.iter().chain(corpus.iter().map(|(_, input)| input)).collect();
    for round in 0..rounds {
        let mut random = Random(SEED ^ (round as u64) << 20);
        let (one, other) = (random.below(inputs.len()), random.below(inputs.len()));
        let input = mutate(&mut random, inputs[one], inputs[other]);
        run(target, &input, || {
            let saved = std::env::temp_dir().join(format!("tephra-hostile-{name}-{round}"));
            std::fs::write(&saved, &input).ok();
            format!("round {round}, saved as {}: put it into collector/tests/hostile/corpus/{name}", saved.display())
        });
    }
}

/// For libFuzzer to start from.
fn write_seeds<'a>(folder: &Path, seeds: impl Iterator<Item = &'a Vec<u8>>) {
    std::fs::create_dir_all(folder).expect("a folder for seeds");
    for (i, seed) in seeds.enumerate() {
        std::fs::write(folder.join(format!("seed-{i}")), seed).expect("room for a seed");
    }
}

fn run(target: targets::Target, input: &[u8], name: impl Fn() -> String) {
    let before = memory::reset();
    let ended = catch_unwind(AssertUnwindSafe(|| target(input)));
    let taken = memory::peak().saturating_sub(before);
    assert!(ended.is_ok(), "panicked on {}", name());
    assert!(taken <= MEMORY_MAX, "took {taken} bytes for {}: {}", input.len(), name());
}

/// Inputs that broke something once.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus").join(name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut corpus: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(&path).expect("a readable file"))).collect();
    corpus.sort();
    corpus
}

macro_rules! doors {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            attack(stringify!($name));
        })*

        #[test]
        fn every_door_is_attacked() {
            let named = [$(stringify!($name)),*];
            assert_eq!(named, targets::TARGETS.map(|(name, _)| name));
        }
    };
}

doors!(window frame header pprof_body formats folded perf_script speedscope v8 gecko gperftools counts otlp since_start scrape_file segment_object names query binary);
