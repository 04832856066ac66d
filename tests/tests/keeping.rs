//! A store that is backed up, lost, repaired and put back, by the commands that an operator types, while agents keep books.

use std::fs;
use std::path::Path;
use std::process::Output;

use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::{Collector, command, tephra};
use tephra_tests::load::Load;
use tephra_tests::process::free_port;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, CPU_PERIOD, Window, aligned};

const DAY_MS: u64 = 24 * 3_600_000;

/// Runs a command; whether it went well, and what it said.
fn run(words: &[&str], folders: &[&Path]) -> (bool, String) {
    let Output { status, stdout, stderr } = tephra().args(words).args(folders).output().expect("it starts");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!said.contains("panicked"), "{said}");
    (status.success(), said)
}

/// Runs a command that must go well.
fn done(words: &[&str], folders: &[&Path]) -> String {
    let (is_done, said) = run(words, folders);
    assert!(is_done, "{words:?}: {said}");
    said
}

#[test]
fn what_agents_were_acked_outlives_the_catalog_and_comes_back_from_a_backup_once() {
    let place = tempfile::tempdir().expect("a folder");
    let [data, saved, restored] = ["data", "backup", "restored"].map(|name| place.path().join(name));
    let mut load = Load::new("checkout", 4);
    let collector = Collector::start_on(&data);
    load.start(&[collector.endpoint()]);
    load.wait_for(100);
    done(&["backup", "--data"], &[&data, &saved]);
    load.wait_for(50);
    let before = load.acked_now();
    let said = done(&["backup", "--data"], &[&data, &saved]);
    assert!(said.contains("is a backup as of") && said.contains("tephra restore"), "{said}");
    load.wait_for(50);
    load.stop();
    assert!(collector.terminate().success());

    // What was acked when the backup began is in it. Elsewhere it is a store again, and only where there is none.
    done(&["restore", "--data"], &[&restored, &saved]);
    let copy = Collector::start_on(&restored);
    assert!(load.verify_these(&before, &copy.api) >= 150);
    assert!(copy.terminate().success());
    let (is_done, said) = run(&["restore", "--data"], &[&data, &saved]);
    assert!(!is_done && said.contains("holds a store already"), "{said}");

    // The catalog is lost. A start says what can be done, and changes nothing; a repair does it.
    fs::remove_file(data.join("catalog.sqlite")).expect("it is there");
    let refused = command(&data, free_port()).output().expect("it starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    for way in ["catalog.sqlite is missing", "Put the catalog", "`tephra repair`", "--set-unknown-aside"] {
        assert!(said.contains(way), "{way:?} is not in {said}");
    }
    let said = done(&["repair", "--data"], &[&data]);
    assert!(said.contains("windows of 1 services count") && said.contains("not known:"), "{said}");
    let collector = Collector::start_on(&data);
    load.verify(&collector.api);
    // Agents come again, also with what was acked before.
    load.start(&[collector.endpoint()]);
    load.wait_for(50);
    load.stop();
    assert!(load.verify(&collector.api) >= 250);
}

#[test]
fn nothing_is_repaired_or_backed_up_where_there_is_nothing_or_somebody_else() {
    let place = tempfile::tempdir().expect("a folder");
    let [data, nowhere, saved] = ["data", "nowhere", "backup"].map(|name| place.path().join(name));
    for words in
        [&["repair", "--data"][..], &["backup", "/nonexistent", "--data"], &["restore", "/nonexistent", "--data"]]
    {
        let (is_done, said) = run(words, &[&nowhere]);
        assert!(!is_done && (said.contains("is not there") || said.contains("there is no store here")), "{said}");
        assert!(!nowhere.exists(), "{words:?} makes nothing");
    }
    let _collector = Collector::start_on(&data);
    let (is_done, said) = run(&["repair", "--data"], &[&data]);
    assert!(!is_done && said.contains("another tephra is using it"), "{said}");
    fs::create_dir(&saved).expect("a folder");
    fs::write(saved.join("thesis.tex"), "mine").expect("writes");
    let (is_done, said) = run(&["backup", "--data"], &[&data, &saved]);
    assert!(!is_done && said.contains("something else (\"thesis.tex\")"), "{said}");
}

/// All CPU time that is answered, nanoseconds.
fn stored(collector: &Collector) -> u64 {
    let answer = collector.api.get("/api/v1/flamegraph?service=checkout&from=now-12d&format=folded");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[test]
fn a_shorter_retention_takes_much_only_once_somebody_confirms_it() {
    let data = tempfile::tempdir().expect("a folder");
    let start = |retention| Collector::start_with_environment(data.path(), &["--retention", retention], &[]);
    let collector = start("90d");
    let (pusher, mut agent) = (Pusher::new(&collector.endpoint()), Agent::new("checkout", 1));
    let now = aligned(now_ms(), 60_000);
    // Segments go as a whole, and one spans up to eight days: those of the two moments must never be merged.
    let past = format!("/api/v1/profiles?service=checkout&type=cpu&unit=nanoseconds&at={}", now - 9 * DAY_MS);
    let imported = collector.api.post(&past, "text/plain", format!("main;past {}", 3 * CPU_PERIOD).as_bytes());
    assert_eq!(imported.status, 200, "{}", imported.text());
    pusher.accept(agent.seal(now, &Window::new().cpu(&["main"], 4)));
    assert!(collector.terminate().success());

    let collector = start("1h");
    let message = eventually("the collector asks", || {
        let conditions = collector.api.json("/api/v1/status")["conditions"].clone();
        let waits = conditions.as_array()?.iter().find(|condition| condition["kind"] == "retention_waits")?;
        waits["message"].as_str().map(str::to_owned)
    });
    assert!(message.contains("`tephra retention confirm`"), "{message}");
    assert_eq!((collector.windows(), stored(&collector)), (2, 7 * CPU_PERIOD));
    let said = done(&["retention", "--server", &collector.endpoint(), "confirm"], &[]);
    assert!(said.contains("segments with") && !said.starts_with("0 segments"), "{said}");
    // Also after a restart: it looks at once then, else within a minute.
    assert!(collector.terminate().success());
    let collector = start("1h");
    eventually("what is past its time is gone", || (collector.windows() == 1).then_some(()));
    assert_eq!(stored(&collector), 4 * CPU_PERIOD);
    assert!(!collector.api.json("/api/v1/status").to_string().contains("retention_waits"));
}
