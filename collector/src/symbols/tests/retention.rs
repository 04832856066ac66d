//! Tables go when nothing stored can need them, and not before.

use std::sync::Arc;

use super::*;
use crate::base::clock::now_ms;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, row};
use crate::store::testing::options;
use crate::store::{Options, Store, retain as windows};
use crate::symbols::retain::{Forgotten, round};

const DAY_MS: u64 = 24 * 3_600_000;
const MINUTE_MS: u64 = 60_000;

fn a_month() -> Options {
    Options { retention: Duration::from_millis(30 * DAY_MS), ..options() }
}

/// A table of names, one of lines, and one that could not be made.
fn paths() -> [&'static PathBuf; 3] {
    [&BINARIES.names_only, &BINARIES.with_lines, &BINARIES.stripped]
}

fn ids() -> [BuildId; 3] {
    paths().map(|path| identity(path).build_id())
}

async fn with_three_builds(store: &Store) -> Symbols {
    let symbols = Symbols::beside(store, test_worker()).unwrap();
    let uploading = symbols.clone();
    let sent = tokio::task::spawn_blocking(move || {
        paths().into_iter().zip(ids()).for_each(|(path, id)| upload(&uploading, path, id).unwrap());
    });
    sent.await.unwrap();
    share::exchange(&symbols).await.unwrap();
    symbols
}

fn known(symbols: &Symbols) -> [bool; 3] {
    ids().map(|id| symbols.shared.folder.state(&id).is_some())
}

async fn forgotten(symbols: &Symbols, store: &Store, at_ms: u64) -> u64 {
    round(symbols, store, at_ms).await.unwrap().builds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_goes_when_its_build_was_not_seen_for_the_retention() {
    let place = TestPlace::new().await;
    let store = place.open_with(a_month()).await;
    let symbols = with_three_builds(&store).await;
    let start = now_ms();
    assert_eq!(round(&symbols, &store, start).await.unwrap(), Forgotten::default(), "all of them are news");
    assert!(symbols.wanted(&[module(ids()[0], "basket")]).is_empty());
    assert_eq!(forgotten(&symbols, &store, start + 20 * DAY_MS).await, 0);
    // A day may pass before a use is noted, and a window may be some minutes ahead.
    let end = start + 31 * DAY_MS + 10 * MINUTE_MS;
    assert_eq!(forgotten(&symbols, &store, end).await, 0);
    let bytes = symbols.stats().bytes;
    let gone = round(&symbols, &store, end + 1).await.unwrap();
    assert_eq!((gone.builds, gone.bytes), (2, bytes - symbols.stats().bytes));
    assert!(gone.bytes > 0);
    assert_eq!(known(&symbols), [true, false, false]);
    let wanted = symbols.wanted(&ids().map(|id| module(id, "basket")));
    assert_eq!(wanted.len(), 2, "should it come back, its file is asked for");
    let again = Symbols::beside(&store, test_worker()).unwrap();
    share::exchange(&again).await.unwrap();
    assert_eq!(known(&again), [true, false, false], "after a restart too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_stays_as_long_as_a_window_that_may_need_it() {
    let place = TestPlace::new().await;
    let store = place.open_with(a_month()).await;
    let symbols = with_three_builds(&store).await;
    let start = now_ms();
    round(&symbols, &store, start).await.unwrap();
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    ingest.push(TestWindow::new("shop", 1, 1, start).cpu(&[row("main", 1)]).request()).await.unwrap();
    let later = start + 100 * DAY_MS;
    assert_eq!(forgotten(&symbols, &store, later).await, 0, "as if it were pinned");
    windows::round(&store, later).await.unwrap();
    assert_eq!(forgotten(&symbols, &store, later).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_collector_lets_go_of_the_others_do_too() {
    let Some(place) = TestPlace::shared().await else { return };
    let store = place.open_with(a_month()).await;
    let first = with_three_builds(&store).await;
    let beside = place.beside().unwrap();
    let other = beside.open_with(a_month()).await;
    let second = Symbols::beside(&other, test_worker()).unwrap();
    share::exchange(&second).await.unwrap();
    let start = now_ms();
    round(&first, &store, start).await.unwrap();
    // Windows of one build go to the other collector.
    assert!(second.wanted(&[module(ids()[1], "basket")]).is_empty());
    let later = start + 32 * DAY_MS;
    assert_eq!(forgotten(&second, &other, later).await, 2);
    assert_eq!((known(&second), known(&first)), ([false, true, false], [true; 3]));
    assert_eq!(forgotten(&first, &store, later).await, 2);
    assert_eq!(known(&first), [false, true, false]);
    assert_eq!(store.catalog().symbol_uses().await.unwrap().len(), 1, "nothing is left of the others");
    let bucket = store.bucket().unwrap().beside("symbols");
    let there =
        || [("names", ids()[0]), ("lines", ids()[1])].map(|(what, id)| bucket.get(&format!("{id}.{what}")).is_ok());
    assert_eq!(there(), [false, true]);

    // One of them comes back, and is known to both again.
    let uploading = first.clone();
    let sent = tokio::task::spawn_blocking(move || upload(&uploading, paths()[0], ids()[0]).unwrap());
    sent.await.unwrap();
    share::exchange(&first).await.unwrap();
    share::exchange(&second).await.unwrap();
    assert_eq!((known(&second), known(&first)), ([true, true, false], [true, true, false]));
    assert_eq!(there(), [true, true]);
}
