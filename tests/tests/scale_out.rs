//! Several collectors on one database and one bucket: one dies, the other takes over, and nothing is lost or counted twice.

use std::path::Path;
use std::time::Duration;

use tephra_tests::clock::eventually;
use tephra_tests::collector::Collector;
use tephra_tests::load::Load;
use tephra_tests::servers::{Servers, Shared};
use tephra_tests::soak;

/// Before the books are held against what is stored.
const KILLS: u64 = 4;

fn start(store: &Shared, data: &Path) -> Collector {
    Collector::start_with_environment(data, &["--flush", "200ms"], &store.environment())
}

#[test]
fn a_collector_dies_in_mid_load_and_the_other_takes_its_windows_over() {
    let Some(servers) = Servers::start_or_skip() else { return };
    let store = servers.store("kills");
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let survivor = start(&store, folders[0].path());
    let (mut kills, mut acked) = (0, 0);
    for round in 0.. {
        let mut load = Load::new(&format!("checkout-{round}"), 4);
        for kill in 0..KILLS {
            let victim = start(&store, folders[1].path());
            load.start(&[survivor.endpoint(), victim.endpoint()]);
            load.wait_for(20 + 10 * kill as usize);
            std::thread::sleep(Duration::from_millis(61 * kill));
            victim.kill();
            // The agents that were its own go on.
            load.wait_for(20);
            load.stop();
            kills += 1;
        }
        let now_acked = load.verify(&survivor.api);
        assert!(now_acked > 150, "too few acks to prove anything: {now_acked}");
        let returned = start(&store, folders[1].path());
        assert_eq!(load.verify(&returned.api), now_acked, "one that comes back sees the same");
        acked += now_acked;
        if !soak::goes_on() {
            break;
        }
    }
    println!("{kills} kills of one of two collectors, {acked} windows acked: none lost, none counted twice");
}

#[test]
fn what_one_collector_acked_the_other_shows_at_once() {
    let Some(servers) = Servers::start_or_skip() else { return };
    let store = servers.store("visible");
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let (writer, reader) = (start(&store, folders[0].path()), start(&store, folders[1].path()));
    let mut load = Load::new("checkout", 2);
    load.start(&[writer.endpoint()]);
    load.wait_for(10);
    load.stop();
    load.verify(&reader.api);
    assert_eq!(reader.windows(), writer.windows());
}

#[test]
fn a_collector_whose_database_is_gone_says_so_and_takes_nothing() {
    let Some(mut servers) = Servers::start_or_skip() else { return };
    let store = servers.store("gone");
    let folder = tempfile::tempdir().expect("a folder");
    let collector = start(&store, folder.path());
    let mut load = Load::new("checkout", 1);
    load.start(&[collector.endpoint()]);
    load.wait_for(3);
    servers.postgres.stop();
    eventually("the collector is no longer ready", || (!collector.api.is_ready()).then_some(()));
    load.stop();
    let acked = load.acked();
    let answer = collector.api.get("/readyz");
    assert_eq!(answer.status, 503);
    assert!(!answer.text().contains("pass"), "{}", answer.text());
    servers.postgres.start_again();
    eventually("the collector is ready again by itself", || collector.api.is_ready().then_some(()));
    load.start(&[collector.endpoint()]);
    load.wait_for(3);
    load.stop();
    assert!(load.verify(&collector.api) >= acked + 3);
}
