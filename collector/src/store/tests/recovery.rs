//! Catalogs that do not fit: missing, older, another store's. Nothing stored is ever destroyed for them, and a kill needs nobody.

mod cases;
mod repairs;
mod starts;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::now_ms;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::query::{QueryEngine, QueryError, QueryLimits, Selection};
use crate::store::testing::options;
use crate::store::{Options, Store, StoreError, compact};

const HOUR: u64 = 3_600_000;

/// A store in a folder, and an agent whose windows each count as a bit of their own.
pub(super) struct Shop {
    store: Arc<Store>,
    ingest: Ingest,
}

fn quick() -> Options {
    Options { batch_time: Duration::ZERO, ..options() }
}

/// A folder that goes with its test.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The one window with this number: of agent 1 or 2, in one of two hours.
fn window(number: u64) -> TestWindow {
    let start_ms = now_ms() / HOUR * HOUR - 3 * HOUR + (number % 2) * HOUR + number * 10_000;
    TestWindow::new("shop", 1 + (number % 2) as u8, 1 + number / 2, start_ms)
        .label("version", "v1")
        .cpu(&[row(&format!("main;w{number}"), 1 << number), traced("main;tax", 0, 1 + number as u8)])
}

impl Shop {
    async fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_with(data, quick()).await
    }

    async fn open_with(data: &Path, options: Options) -> Result<Self, StoreError> {
        let store = Arc::new(Store::open(data, options).await?);
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        Ok(Self { store, ingest })
    }

    /// Sends windows one by one, a commit each. True for each that was stored already.
    async fn send(&self, numbers: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let mut duplicates = Vec::new();
        for number in numbers {
            duplicates.push(self.ingest.push(window(number).request()).await.unwrap().duplicate);
        }
        duplicates
    }

    /// Some steps of compaction; `None`: all there are.
    async fn compact(&self, steps: Option<usize>) {
        for _ in 0..steps.unwrap_or(usize::MAX) {
            if !compact::step(&self.store, now_ms() + 40 * HOUR, 0, None).await.unwrap() {
                return;
            }
        }
    }

    /// The windows that count, as bits.
    async fn total(&self) -> u64 {
        total(&self.store).await
    }

    /// Ends in peace: the catalog is one file afterwards.
    async fn close(self) {
        drop(self.ingest);
        while Arc::strong_count(&self.store) > 1 {
            tokio::task::yield_now().await;
        }
        self.store.catalog().close().await;
    }
}

/// The windows that count, as bits.
async fn total(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    match QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await {
        Ok(merged) => merged.total(),
        Err(QueryError::UnknownService { .. }) => 0,
        Err(other) => panic!("{other}"),
    }
}

/// All of these numbers, as bits.
fn bits(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, |bits, number| bits | 1 << number)
}

/// The files of a folder, and of its folder of segments.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for sub in ["", "segments"] {
        for entry in fs::read_dir(from.join(sub)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(sub).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// The catalog's files of one folder in place of another's.
fn exchange_catalog(from: &Path, to: &Path) {
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// A folder whose catalog is the one that it had when these windows were stored; what was done since is in the segments alone. Also
/// answers the segments that were there before.
async fn with_older_catalog(
    numbers: impl IntoIterator<Item = u64>,
    since: impl AsyncFnOnce(&Shop),
) -> (tempfile::TempDir, Vec<(PathBuf, Vec<u8>)>) {
    let (dir, older) = (folder(), folder());
    let shop = Shop::open(dir.path()).await.unwrap();
    shop.send(numbers).await;
    shop.close().await;
    copy(dir.path(), older.path());
    let before = contents(dir.path());
    let shop = Shop::open(dir.path()).await.unwrap();
    since(&shop).await;
    shop.close().await;
    exchange_catalog(older.path(), dir.path());
    (dir, before)
}

/// Everything in the folder of segments, by name: what it holds.
fn contents(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(data.join("segments")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

/// What they hold, whatever it is called.
fn bytes(data: &Path) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = contents(data).into_iter().map(|(_, bytes)| bytes).collect();
    all.sort();
    all
}

/// How many are set aside.
fn aside(data: &Path) -> usize {
    contents(data).iter().filter(|(path, _)| path.to_str().unwrap().contains(".orphan-")).count()
}
