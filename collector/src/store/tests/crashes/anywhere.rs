//! A whole store through faults: objects and catalog are on one disk, which fails at every operation of either.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::ERRORS;
use super::life::{ALL, Life, WINDOWS, quick, total, window};
use super::model::{Fault, ModelDisk, Operation};
use crate::ingest::Ingest;
use crate::store::Store;

/// What comes between a fault and the power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// The process ends in peace: SQLite tidies up.
    End,
    /// Another process starts, which sees what the kernel still knows, and is sent all windows again.
    Restart,
}

/// A disk at the moment of its power cut.
struct Cut {
    disk: ModelDisk,
    /// Windows acked until then, as bits.
    acked: u64,
    /// Before any restart.
    operations: Vec<Operation>,
}

/// A store on a copy of a disk takes windows until the power is cut.
async fn live(data: &Path, before: &ModelDisk, fault: Option<(usize, Fault)>, then: Then) -> Cut {
    let mut disk = before.after_restart();
    if let Some((at, fault)) = fault {
        disk.fail(at, fault);
    }
    let mut acked = 0;
    match Life::start(data, &disk).await {
        Ok(life) => {
            life.checkpoint_often().await;
            acked = life.send().await;
            // What is to fail while SQLite tidies up has not failed yet.
            if then == Then::Nothing && disk.has_failed() {
                let cut = Cut { disk: disk.after_restart(), acked, operations: disk.operations() };
                life.end().await;
                return cut;
            }
            life.end().await;
        }
        Err(error) => assert!(fault.is_some(), "{error}"),
    }
    assert!(disk.has_failed(), "{fault:?}: the same operations come again until one fails");
    let operations = disk.operations();
    if then == Then::Restart {
        disk = disk.after_restart();
        let life = Life::start(data, &disk).await.unwrap();
        acked = life.send().await;
        assert_eq!(acked, ALL, "{fault:?}: nothing is refused once the disk works again");
        disk = disk.after_restart();
        life.end().await;
    }
    Cut { disk, acked, operations }
}

/// The machine starts again, on what the disk has kept, and the agent sends all windows once more.
async fn check(data: &Path, disk: &ModelDisk, acked: u64, case: &str) {
    let life = Life::start(data, disk).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(life.is_whole().await, "{case}: the catalog is torn");
    let found = total(&life.store).await;
    assert_eq!(found & acked, acked, "{case}: an acked window is lost");
    let quarantined = life.store.catalog().totals().await.unwrap().quarantined;
    assert_eq!(quarantined, 0, "{case}: the catalog counted what was not durable");
    for sequence in 1..=WINDOWS {
        let duplicate = life.ingest.push(window(sequence).request()).await.unwrap().duplicate;
        assert_eq!(duplicate, found & (1 << sequence) != 0, "{case}: window {sequence}");
    }
    assert_eq!(total(&life.store).await, ALL, "{case}: each window counts once");
    life.end().await;
}

/// Runs a store on copies of a disk that holds some acked windows, with faults at every operation. Answers how many operations that are.
async fn live_through(before: &ModelDisk, acked: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let all = live(dir.path(), before, None, Then::End).await.operations;
    let checkpoints = all.iter().filter(|what| **what == Operation::Truncate).count();
    assert!(checkpoints >= 2, "SQLite brings its log into the database, and starts it again from its beginning");
    let cases = all.iter().enumerate().flat_map(|(at, what)| faults(at, *what).into_iter().map(move |f| (at, f)));
    // Most of a life is waiting for SQLite's threads.
    let lives = stream::iter(cases.enumerate()).for_each_concurrent(4, async |(seed, (at, fault))| {
        let then = match fault {
            Fault::PowerCut => Then::Nothing,
            Fault::Kill => Then::Restart,
            _ => [Then::Nothing, Then::End, Then::Restart][seed % 3],
        };
        let case = format!("{fault:?} at operation {at}, {:?}, then {then:?}, outcome {seed}", all[at]);
        let dir = tempfile::tempdir().unwrap();
        let cut = live(dir.path(), before, Some((at, fault)), then).await;
        check(dir.path(), &cut.disk.after_power_cut(seed as u64), acked | cut.acked, &case).await;
    });
    lives.await;
    all.len()
}

/// Writes are many, one like the other: each meets one fault, its neighbours meet the others. Everything else meets all that differ.
fn faults(at: usize, what: Operation) -> Vec<Fault> {
    let error = ERRORS[at % ERRORS.len()];
    match (what, at % 6) {
        (Operation::Write, 0) => vec![Fault::Kill],
        (Operation::Write, 3) => vec![Fault::PowerCut],
        (Operation::Write, _) => vec![error],
        _ => vec![error, Fault::Kill, Fault::PowerCut],
    }
}

/// A store with one acked window; its process was killed before SQLite brought the log into the database.
async fn killed() -> ModelDisk {
    let dir = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    Life::start(dir.path(), &disk).await.unwrap().end().await;
    let life = Life::start(dir.path(), &disk).await.unwrap();
    life.ingest.push(window(1).request()).await.unwrap();
    let killed = disk.after_restart();
    life.end().await;
    killed
}

#[tokio::test]
async fn acked_windows_survive_a_fault_at_any_operation_and_a_power_cut_after_it() {
    let all = live_through(&killed().await, 1 << 1).await;
    assert!(all >= 80, "{all}");
}

#[tokio::test]
async fn a_fault_while_the_store_is_made_loses_nothing_either() {
    let all = live_through(&ModelDisk::default(), 0).await;
    assert!(all >= 200, "{all}");
}

/// A failed sync may have lost what was written, silently: from then on nothing is acked, although the disk seems to work again.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_acked_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    let life = Life::start(dir.path(), &disk).await.unwrap();
    life.ingest.push(window(1).request()).await.unwrap();
    // create, write, sync
    disk.fail(2, Fault::Error(ErrorKind::Other));
    for sequence in [2, 3, 2, 3] {
        assert!(life.ingest.push(window(sequence).request()).await.is_err(), "window {sequence}");
    }
    assert!(life.ingest.ready().unwrap_err().contains("restart"));
    life.end().await;
    let life = Life::start(dir.path(), &disk.after_power_cut(1)).await.unwrap();
    for sequence in [2, 3] {
        assert!(!life.ingest.push(window(sequence).request()).await.unwrap().duplicate);
    }
    assert_eq!(total(&life.store).await, ALL);
}

/// The catalog's own log, torn at every sector of a commit: it shows the commit or not, and every one before it. Where the commit's
/// segment is there, it is committed again.
#[tokio::test]
async fn a_catalog_torn_in_the_middle_of_a_commit_keeps_every_commit_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), quick()).await.unwrap());
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let log = dir.path().join("catalog.sqlite-wal");
    ingest.push(window(1).request()).await.unwrap();
    let before = fs::metadata(&log).unwrap().len() as usize;
    let objects = || fs::read_dir(dir.path().join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let first: Vec<_> = objects().collect();
    ingest.push(window(2).request()).await.unwrap();
    let whole = fs::read(&log).unwrap();
    assert!(whole.len() > before, "the second commit was appended");
    for cut in (before..=whole.len()).step_by(512).chain([whole.len()]) {
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("segments")).unwrap();
        fs::copy(dir.path().join("catalog.sqlite"), copy.path().join("catalog.sqlite")).unwrap();
        // What the tail held before is anything at all.
        let torn: Vec<u8> = whole[..cut].iter().copied().chain((cut..whole.len()).map(|i| i as u8)).collect();
        fs::write(copy.path().join("catalog.sqlite-wal"), torn).unwrap();
        let with_segment = cut == whole.len() || (cut / 512).is_multiple_of(2);
        for entry in fs::read_dir(dir.path().join("segments")).unwrap() {
            let path = entry.unwrap().path();
            if !with_segment && !first.contains(&path) {
                continue;
            }
            fs::copy(&path, copy.path().join("segments").join(path.file_name().unwrap())).unwrap();
        }
        let store = Arc::new(Store::open(copy.path(), quick()).await.unwrap());
        let found = total(&store).await;
        assert!(found == 2 || found == 2 + 4, "cut at {cut} of {}: {found}", whole.len());
        assert_eq!(found == 6, with_segment, "cut at {cut} of {}", whole.len());
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        assert_eq!(ingest.push(window(2).request()).await.unwrap().duplicate, found == 6);
        assert!(ingest.push(window(1).request()).await.unwrap().duplicate);
        assert_eq!(total(&store).await, 6);
    }
}
