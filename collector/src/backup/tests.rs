//! A backup is whole whatever goes on meanwhile, comes up to date cheaply, touches nothing that is not its own, and comes back.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::query::{QueryEngine, QueryLimits, Selection};
use crate::store::testing::{TestPlace, options};
use crate::store::{Store, compact, retain};
use restore::restore;

const HOUR_MS: u64 = 3_600_000;

fn start(store: &Arc<Store>) -> Ingest {
    Ingest::start(store.clone(), Arc::new(|_| Vec::new()))
}

/// Window number `i`, with a stack that only it has.
fn window(i: u64) -> TestWindow {
    TestWindow::new("shop", 1, i, recent_ms()).cpu(&[row(&format!("main;window-{i}"), 1)])
}

async fn push(store: &Arc<Store>, numbers: std::ops::Range<u64>) {
    let ingest = start(store);
    for i in numbers {
        ingest.push(window(i).request()).await.unwrap();
    }
}

/// How many windows are answered; each of them once.
async fn answered(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    let merged = QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap();
    assert!(merged.rows.iter().all(|row| row.value == 1), "a window counts twice");
    merged.total()
}

async fn compact_all(store: &Arc<Store>) {
    while compact::step(store, now_ms() + 40 * HOUR_MS, 0, None).await.unwrap() {}
}

async fn restored(dir: &Path) -> (TestPlace, Arc<Store>) {
    let place = TestPlace::new().await;
    restore(dir, &place.place()).await.unwrap();
    let store = place.open().await;
    (place, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_taken_while_windows_come_in_and_are_compacted_holds_all_that_was_acked_once() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let (acked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let running = |stop: &Arc<AtomicBool>| {
        let stop = stop.clone();
        move || !stop.load(Ordering::Relaxed)
    };
    let pushing = tokio::spawn({
        let (ingest, acked, running) = (start(&store), acked.clone(), running(&stop));
        async move {
            for i in (1..).take_while(|_| running()) {
                ingest.push(window(i).request()).await.unwrap();
                acked.store(i, Ordering::Relaxed);
            }
        }
    });
    let tidying = tokio::spawn({
        let (store, running) = (store.clone(), running(&stop));
        async move {
            while running() {
                compact::step(&store, now_ms() + 40 * HOUR_MS, 0, None).await.unwrap();
                // As if the grace of what was unlisted just now were over.
                retain::round(&store, now_ms() + 11 * 60_000).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..4 {
        let want = acked.load(Ordering::Relaxed) + 10;
        while acked.load(Ordering::Relaxed) < want {
            tokio::task::yield_now().await;
        }
        let before = acked.load(Ordering::Relaxed);
        let report = backup(&place.place(), dir.path(), false).await.unwrap();
        let after = acked.load(Ordering::Relaxed);
        assert_eq!(report.lost, 0);
        let (_kept, copy) = restored(dir.path()).await;
        let found = answered(&copy).await;
        // One may be stored and not acked yet.
        assert!((before..=after + 1).contains(&found), "{before} acked before it, {after} after it, {found} in it");
        assert_eq!(copy.catalog().totals().await.unwrap().quarantined, 0);
    }
    stop.store(true, Ordering::Relaxed);
    pushing.await.unwrap();
    tidying.await.unwrap();
}

#[tokio::test]
async fn a_later_backup_copies_what_is_new_and_drops_what_is_gone() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..6).await;
    let first = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((first.windows, first.segments, first.objects, first.copied), (5, 5, 5, 5));
    push(&store, 6..8).await;
    let second = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((second.windows, second.copied, second.removed), (7, 2, 0));
    let again = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((again.windows, again.copied, again.removed), (7, 0, 0));
    compact_all(&store).await;
    let compacted = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((compacted.windows, compacted.removed), (7, 7));
    let mut files: Vec<_> = fs::read_dir(dir.path().join("segments")).unwrap().map(|f| f.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    assert_eq!(files.len() as u64, compacted.objects, "nothing else lies there");
    assert!(!dir.path().join("backup.incoming").exists() && !dir.path().join("catalog.sqlite-wal").exists());
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!(answered(&copy).await, 7);
}

#[tokio::test]
async fn a_backup_is_served_as_it_is_and_then_no_backup_is_added_to_it() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..4).await;
    for link in [false, true] {
        backup(&place.place(), dir.path(), link).await.unwrap();
    }
    let served = Arc::new(Store::open(dir.path(), options()).await.unwrap());
    assert_eq!(answered(&served).await, 3);
    // What it stores by itself is nobody else's.
    push(&served, 4..5).await;
    let error = backup(&place.place(), dir.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("one that was served since: name an empty folder"), "{error}");
    assert_eq!(answered(&served).await, 4);
    assert_eq!(answered(&store).await, 3, "and the store knows nothing of it");
}

#[tokio::test]
async fn a_folder_that_holds_something_else_is_not_touched() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..2).await;
    let names = |dir: &Path| -> Vec<_> { fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name()).collect() };
    fs::write(dir.path().join("thesis.tex"), "mine").unwrap();
    let error = backup(&place.place(), dir.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("something else (\"thesis.tex\")"), "{error}");
    assert_eq!(names(dir.path()), ["thesis.tex"]);

    let (other, others_dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let other_store = other.open().await;
    push(&other_store, 1..3).await;
    backup(&other.place(), others_dir.path(), false).await.unwrap();
    let before = names(others_dir.path());
    let error = backup(&place.place(), others_dir.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("a backup of another store"), "{error}");
    assert_eq!(names(others_dir.path()).len(), before.len());

    if place.beside().is_none() {
        let error = backup(&place.place(), place.data(), false).await.unwrap_err().to_string();
        assert!(error.contains("this is the store itself"), "{error}");
    }
    let nowhere = Place::Folder(dir.path().join("nowhere"));
    let error = backup(&nowhere, others_dir.path(), false).await.unwrap_err().to_string();
    assert!(error.contains("there is no store here"), "{error}");
    assert!(!dir.path().join("nowhere").exists());
}

#[tokio::test]
async fn a_backup_that_was_interrupted_changes_nothing_and_is_gone_on_with() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..4).await;
    backup(&place.place(), dir.path(), false).await.unwrap();
    push(&store, 4..6).await;
    // As a kill leaves it: a catalog, an object that is whole, one that is not, and one that is half written.
    let incoming = dir.path().join("backup.incoming");
    fs::create_dir_all(incoming.join("segments")).unwrap();
    fs::write(incoming.join("catalog.sqlite"), "half").unwrap();
    fs::write(incoming.join("catalog.sqlite-wal"), "half").unwrap();
    let there = |path: &PathBuf| dir.path().join("segments").join(path.file_name().unwrap()).exists();
    let new: Vec<_> = place.segments().into_iter().filter(|path| !there(path)).collect();
    let [whole, torn] = &new[..] else { panic!("two are new: {new:?}") };
    let to = |path: &PathBuf| incoming.join("segments").join(path.file_name().unwrap());
    fs::copy(whole, to(whole)).unwrap();
    fs::write(to(torn), "half").unwrap();
    fs::write(to(torn).with_extension("tmp"), "half").unwrap();
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!(answered(&copy).await, 3, "the earlier backup is whole");

    let report = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((report.windows, report.copied), (5, 1));
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!(answered(&copy).await, 5);
}

#[tokio::test]
async fn what_the_store_itself_has_lost_is_told_and_the_rest_is_backed_up() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..4).await;
    fs::remove_file(&place.segments()[1]).unwrap();
    let report = backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!((report.lost, report.windows, report.copied), (1, 2, 2));
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!((answered(&copy).await, copy.catalog().totals().await.unwrap().quarantined), (2, 1));
}

#[tokio::test]
async fn what_was_listed_stays_as_long_as_a_backup_is_taken() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    push(&store, 1..4).await;
    let arrived = place.segments();
    let source = Source::open(&place.place()).await.unwrap();
    let hold = Hold::take(source.catalog()).await.unwrap();
    assert!(matches!(Hold::take(source.catalog()).await, Err(BackupError::Busy)));
    compact_all(&store).await;
    let later = now_ms() + HOUR_MS;
    retain::round(&store, later).await.unwrap();
    assert!(arrived.iter().all(|object| object.exists()), "it was listed when the backup began");
    hold.release().await;
    retain::round(&store, later).await.unwrap();
    assert!(arrived.iter().all(|object| !object.exists()));
    assert_eq!(answered(&store).await, 3);
}

#[tokio::test]
async fn a_restored_older_catalog_loses_nothing_that_it_listed() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..6).await;
    backup(&place.place(), dir.path(), false).await.unwrap();
    push(&store, 6..9).await;
    compact_all(&store).await;
    retain::round(&store, now_ms() + HOUR_MS).await.unwrap();
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!(answered(&copy).await, 5);
    compact_all(&copy).await;
    retain::round(&copy, now_ms() + HOUR_MS).await.unwrap();
    // Sequence numbers came along: what is sent again is known, what was not in it is new.
    push(&copy, 1..9).await;
    assert_eq!(answered(&copy).await, 8);
}

#[tokio::test]
async fn a_store_comes_back_only_where_there_is_nothing() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..4).await;
    backup(&place.place(), dir.path(), false).await.unwrap();
    let other = TestPlace::new().await;
    let others = other.open().await;
    push(&others, 1..2).await;
    let error = restore(dir.path(), &other.place()).await.unwrap_err().to_string();
    assert!(error.contains("holds a store already: name an empty"), "{error}");
    assert_eq!(answered(&others).await, 1);
    let (_kept, copy) = restored(dir.path()).await;
    assert_eq!(answered(&copy).await, 3);
    // The backup is as it was.
    assert_eq!(backup(&place.place(), dir.path(), false).await.unwrap().copied, 0);
}

/// Also where the segment holds it still, and the catalog that knew better is lost.
#[tokio::test]
async fn what_was_deleted_stays_deleted_in_what_a_backup_becomes() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..4).await;
    let other = TestWindow::new("pay", 2, 1, recent_ms()).cpu(&[row("main", 1)]);
    start(&store).push(other.request()).await.unwrap();
    // Both services are in one segment.
    compact_all(&store).await;
    backup(&place.place(), dir.path(), false).await.unwrap();
    assert!(store.delete_service("shop", now_ms()).await.unwrap());
    push(&store, 4..6).await;
    backup(&place.place(), dir.path(), false).await.unwrap();
    // Deleted after it was taken: the backup knows nothing of it.
    assert!(store.delete_service("pay", now_ms()).await.unwrap());

    let mut copy = TestPlace::new().await;
    restore(dir.path(), &copy.place()).await.unwrap();
    copy.lose_catalog().await;
    let report = crate::store::repair::repair(&copy.place()).await.unwrap();
    assert_eq!((report.deletions, report.windows), (1, 3));
    let restored = copy.open().await;
    assert_eq!(answered(&restored).await, 2);
    // Nor does it come back by being sent again.
    push(&restored, 1..6).await;
    assert_eq!(answered(&restored).await, 2);

    // Once the store forgets the deletion, so does the backup.
    for note in store.bulk().tombstones().unwrap() {
        store.bulk().delete_tombstone(&note.0).unwrap();
    }
    let notes = || fs::read_dir(dir.path().join("segments")).unwrap().map(|f| f.unwrap().path());
    assert_eq!(notes().filter(|path| path.extension().is_some()).count(), 1);
    backup(&place.place(), dir.path(), false).await.unwrap();
    assert_eq!(notes().filter(|path| path.extension().is_some()).count(), 0);
}

#[tokio::test]
async fn symbols_come_along_and_go_when_they_are_gone() {
    let (place, dir) = (TestPlace::new().await, tempfile::tempdir().unwrap());
    let store = place.open().await;
    push(&store, 1..2).await;
    let id = "ab".repeat(20);
    let file = place.data().join("symbols").join(format!("{id}.failed"));
    if place.beside().is_some() {
        let symbols = crate::store::catalog::SharedSymbols::Failed(crate::store::catalog::FailedSymbols {
            reason: "stripped".to_owned(),
            ..crate::store::catalog::FailedSymbols::default()
        });
        let row = crate::store::catalog::SymbolRow { build_id: id.clone(), symbols, changed_ms: 7 };
        store.catalog().save_symbols(&row).await.unwrap();
    } else {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "stripped").unwrap();
    }
    assert_eq!(backup(&place.place(), dir.path(), false).await.unwrap().symbols, 1);
    let kept = dir.path().join("symbols").join(format!("{id}.failed"));
    assert_eq!(fs::read_to_string(&kept).unwrap(), "stripped");
    let to = TestPlace::new().await;
    restore(dir.path(), &to.place()).await.unwrap();
    if let Place::Folder(data) = to.place() {
        assert_eq!(fs::read_to_string(data.join("symbols").join(format!("{id}.failed"))).unwrap(), "stripped");
        fs::remove_file(&file).unwrap();
        backup(&place.place(), dir.path(), false).await.unwrap();
        assert!(!kept.exists());
    } else {
        assert_eq!(to.open().await.catalog().symbols(0).await.unwrap().len(), 1);
    }
}
