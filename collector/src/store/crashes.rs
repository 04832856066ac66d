//! Power cuts, full disks and failing ones, at every single operation: what was acked is there afterwards, once, and nothing is torn.

mod model;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::bulk::{Bulk, BulkError, Folder};
use super::testing::options;
use super::{Options, Store};
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::ingest::{Ingest, PushError};
use crate::query::{QueryEngine, QueryError, QueryLimits, Selection};
use model::{Fault, ModelDisk};

const FAULTS: [Fault; 5] = [
    Fault::Error(ErrorKind::Other),
    Fault::Half(ErrorKind::Other),
    Fault::Error(ErrorKind::StorageFull),
    Fault::Half(ErrorKind::StorageFull),
    Fault::PowerCut,
];

/// Different outcomes of one power cut.
const SEEDS: u64 = 8;

fn name(number: u8) -> String {
    format!("{number:032x}")
}

/// Some sectors, that tell by themselves whether they are whole.
fn content(number: u8) -> Vec<u8> {
    vec![number; 500 + usize::from(number)]
}

/// Three objects are written, one of them is removed, one set aside. Answers what became of each put.
fn write_some(folder: &Folder) -> BTreeMap<u8, Result<(), BulkError>> {
    let mut done = BTreeMap::new();
    for number in [1, 2, 3] {
        done.insert(number, folder.put(&name(number), &content(number)));
    }
    if folder.delete(&name(2)).is_ok() && folder.quarantine(&name(3)).is_ok() {
        done.insert(4, folder.put(&name(4), &content(4)));
    }
    done
}

#[test]
fn an_object_is_whole_or_not_there_whatever_fails_wherever() {
    let path = Path::new("/segments");
    let all = {
        let disk = ModelDisk::default();
        write_some(&Folder::open_on(Arc::new(disk.clone()), path).unwrap());
        disk.operations()
    };
    assert!(all > 20, "{all}");
    for (at, fault) in (0..all).flat_map(|at| FAULTS.map(|fault| (at, fault))) {
        let disk = ModelDisk::default();
        let folder = Folder::open_on(Arc::new(disk.clone()), path).unwrap();
        disk.fail(at, fault);
        let done = write_some(&folder);
        for seed in 0..SEEDS {
            let case = format!("{fault:?} at operation {at}, outcome {seed}");
            let after = Folder::open_on(Arc::new(disk.after_power_cut(seed)), path).unwrap();
            for object in after.list().unwrap() {
                let number = u8::from_str_radix(&object.name, 16).unwrap();
                assert_eq!(after.get_range(&object.name, 0, 10_000).unwrap(), content(number), "{case}: torn");
            }
            // The others were taken away again, so a power cut may bring them back, whole, or not.
            for number in [1, 4] {
                if done.get(&number).is_some_and(Result::is_ok) {
                    let found = after.get_range(&name(number), 0, 10_000);
                    assert_eq!(found.ok(), Some(content(number)), "{case}: {number} is lost");
                }
            }
        }
    }
}

fn quick() -> Options {
    Options { batch_time: Duration::from_millis(1), ..options() }
}

async fn open(data: &Path, disk: &ModelDisk) -> Arc<Store> {
    let folder = Folder::open_on(Arc::new(disk.clone()), &data.join("segments")).unwrap();
    Arc::new(Store::open_with(data, quick(), Arc::new(folder)).await.unwrap())
}

async fn close(store: Arc<Store>, ingest: Ingest) {
    drop(ingest);
    // The writer lets go of the store once its last sender is gone.
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
    store.catalog().close().await;
}

fn window(sequence: u64) -> TestWindow {
    TestWindow::new("shop", 1, sequence, recent_ms()).cpu(&[row(&format!("main;w{sequence}"), 1 << sequence)])
}

async fn total(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    match QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await {
        Ok(merged) => merged.total(),
        Err(QueryError::UnknownService { .. }) => 0,
        Err(other) => panic!("{other}"),
    }
}

const WINDOWS: u64 = 3;

/// An agent sends three windows, each until it is acked or the disk is given up; then the machine starts again, on what the disk has
/// kept, and the agent sends all of them once more. Answers how many operations that took before.
async fn live_through(fault: Option<(usize, Fault)>, seed: u64) -> usize {
    let case = format!("{fault:?}, outcome {seed}");
    let dir = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    let store = open(dir.path(), &disk).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    if let Some((at, fault)) = fault {
        disk.fail(at, fault);
    }
    let mut acked = 0;
    for sequence in 1..=WINDOWS {
        for _ in 0..2 {
            match ingest.push(window(sequence).request()).await {
                Ok(_) => acked |= 1 << sequence,
                Err(PushError::Unavailable(_)) => continue,
                Err(other) => panic!("{case}: {other}"),
            }
        }
    }
    let operations = disk.operations();
    close(store, ingest).await;

    let store = open(dir.path(), &disk.after_power_cut(seed)).await;
    let found = total(&store).await;
    assert_eq!(found & acked, acked, "{case}: an acked window is lost");
    assert_eq!(
        store.catalog().totals().await.unwrap().quarantined,
        0,
        "{case}: the catalog counted what was not durable"
    );
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    for sequence in 1..=WINDOWS {
        let duplicate = ingest.push(window(sequence).request()).await.unwrap().duplicate;
        assert_eq!(duplicate, found & (1 << sequence) != 0, "{case}: window {sequence}");
    }
    assert_eq!(total(&store).await, (1 << (WINDOWS + 1)) - 2, "{case}: each window counts once");
    close(store, ingest).await;
    operations
}

#[tokio::test]
async fn acked_windows_survive_a_fault_at_any_operation_and_a_power_cut_after_it() {
    let all = live_through(None, 0).await;
    assert!(all >= 15, "{all}");
    for at in 0..all {
        for (seed, fault) in (at as u64..).zip(FAULTS) {
            live_through(Some((at, fault)), seed).await;
        }
    }
}

/// A failed sync may have lost what was written, silently: from then on nothing is acked, although the disk seems to work again.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_acked_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = ModelDisk::default();
    let store = open(dir.path(), &disk).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    ingest.push(window(1).request()).await.unwrap();
    // create, write, sync
    disk.fail(2, Fault::Error(ErrorKind::Other));
    for sequence in [2, 3, 2, 3] {
        assert!(ingest.push(window(sequence).request()).await.is_err(), "window {sequence}");
    }
    assert!(ingest.ready().unwrap_err().contains("restart"));
    close(store, ingest).await;
    let store = open(dir.path(), &disk.after_power_cut(1)).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    for sequence in [2, 3] {
        assert!(!ingest.push(window(sequence).request()).await.unwrap().duplicate);
    }
    assert_eq!(total(&store).await, 2 + 4 + 8);
}

/// The catalog's own log, torn at every sector of a commit: it shows the commit or not, and every one before it.
#[tokio::test]
async fn a_catalog_torn_in_the_middle_of_a_commit_keeps_every_commit_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), quick()).await.unwrap());
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let log = dir.path().join("catalog.sqlite-wal");
    ingest.push(window(1).request()).await.unwrap();
    let before = fs::metadata(&log).unwrap().len() as usize;
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
        for entry in fs::read_dir(dir.path().join("segments")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join("segments").join(path.file_name().unwrap())).unwrap();
        }
        let store = Arc::new(Store::open(copy.path(), quick()).await.unwrap());
        let found = total(&store).await;
        assert!(found == 2 || found == 2 + 4, "cut at {cut} of {}: {found}", whole.len());
        assert_eq!(found == 6, cut == whole.len(), "cut at {cut} of {}", whole.len());
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        assert_eq!(ingest.push(window(2).request()).await.unwrap().duplicate, found == 6);
        assert!(ingest.push(window(1).request()).await.unwrap().duplicate);
        assert_eq!(total(&store).await, 6);
    }
}
