//! An acked window is there for ever, once: through SIGKILL in mid-load, retries, reorders and duplicates.

use std::path::Path;
use std::time::Duration;

use tephra_tests::collector::Collector;
use tephra_tests::load::Load;
use tephra_tests::soak;

const AGENTS: u8 = 16;

/// Before the books are held against what is stored.
const KILLS: usize = 8;

/// Enough for `cargo xtask soak`.
const KILLS_MAX: usize = 1_000;

#[test]
fn acked_windows_survive_kills_and_are_counted_once() {
    let data = tempfile::tempdir().expect("a folder");
    let (mut kills, mut acked) = (0, 0);
    for round in 0.. {
        acked += a_few_kills(data.path(), &format!("checkout-{round}"));
        kills += KILLS;
        if kills >= KILLS_MAX || !soak::goes_on() {
            break;
        }
    }
    println!("{kills} kills, {acked} windows acked: none lost, none counted twice");
}

/// Kills a collector in mid-load again and again, on what the ones before it left; answers how many windows were acked.
fn a_few_kills(data: &Path, service: &str) -> usize {
    let mut load = Load::new(service, AGENTS);
    for kill in 0..KILLS {
        let collector = Collector::start_on(data);
        load.start(&[collector.endpoint()]);
        // Killed once enough was acked in this round, at a moment that differs from round to round.
        load.wait_for(10 + 7 * kill);
        std::thread::sleep(Duration::from_millis(37 * kill as u64 % 250));
        collector.kill();
        load.stop();
    }
    let acked = load.verify(&Collector::start_on(data).api);
    assert!(acked > 100, "too few acks to prove anything: {acked}");
    acked
}
