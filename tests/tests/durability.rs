//! An acked window is there for ever, once: through SIGKILL in mid-load, retries, reorders and duplicates.

use std::time::Duration;

use tephra_tests::collector::Collector;
use tephra_tests::load::Load;

const AGENTS: u8 = 4;
const KILLS: usize = 8;

#[test]
fn acked_windows_survive_kills_and_are_counted_once() {
    let data = tempfile::tempdir().expect("a folder");
    let mut load = Load::new("checkout", AGENTS);
    for kill in 0..KILLS {
        let collector = Collector::start_on(data.path());
        load.start(&[collector.endpoint()]);
        // Killed once enough was acked in this round, at a moment that differs from round to round.
        load.wait_for(10 + 7 * kill);
        std::thread::sleep(Duration::from_millis(37 * kill as u64 % 250));
        collector.kill();
        load.stop();
    }
    let acked = load.verify(&Collector::start_on(data.path()).api);
    assert!(acked > 100, "too few acks to prove anything: {acked}");
}
