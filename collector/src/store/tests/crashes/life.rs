//! A collector that runs on a model disk, and an agent that sends to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::model::ModelDisk;
use super::vfs::{Mount, VFS};
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::ingest::{Ingest, PushError};
use crate::query::{QueryEngine, QueryError, QueryLimits, Selection};
use crate::store::testing::options;
use crate::store::{Options, Store, StoreError};

pub(super) fn quick() -> Options {
    Options { batch_time: Duration::ZERO, ..options() }
}

/// A collector that runs on a model disk.
pub(super) struct Life {
    pub(super) store: Arc<Store>,
    pub(super) ingest: Ingest,
    mount: Mount,
}

impl Life {
    /// The store's folder exists on this machine's disk too, and holds nothing but the lock.
    pub(super) async fn start(data: &Path, disk: &ModelDisk) -> Result<Self, StoreError> {
        let disk = disk.mounted_on(data);
        let mount = Mount::new(data, &disk);
        let store = match Store::open_on(data, quick(), Arc::new(disk), VFS).await {
            Ok(store) => Arc::new(store),
            Err(error) => {
                mount.idle().await;
                return Err(error);
            }
        };
        let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
        Ok(Self { store, ingest, mount })
    }

    /// Brings the log into the database after every commit of some pages, not only after a thousand.
    pub(super) async fn checkpoint_often(&self) {
        let mut tx = self.store.catalog().begin().await.unwrap();
        sqlx::query("PRAGMA wal_autocheckpoint = 4").execute(&mut *tx).await.unwrap();
        tx.rollback().await.unwrap();
    }

    /// An agent sends its windows, each twice at most. Answers which were acked, as bits.
    pub(super) async fn send(&self) -> u64 {
        let mut acked = 0;
        for sequence in 1..=WINDOWS {
            for _ in 0..2 {
                match self.ingest.push(window(sequence).request()).await {
                    Ok(_) => {
                        acked |= 1 << sequence;
                        break;
                    }
                    Err(PushError::Unavailable(_)) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
        acked
    }

    /// SQLite's own opinion of its file.
    pub(super) async fn is_whole(&self) -> bool {
        let mut tx = self.store.catalog().begin().await.unwrap();
        let said: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut *tx).await.unwrap();
        said == "ok"
    }

    /// Lets go of everything.
    pub(super) async fn end(self) {
        drop(self.ingest);
        // The writer lets go of the store once its last sender is gone.
        while Arc::strong_count(&self.store) > 1 {
            tokio::task::yield_now().await;
        }
        self.store.catalog().close().await;
        self.mount.idle().await;
    }
}

/// One of the windows that the agent sends; it counts as the bit of its number.
pub(super) fn window(sequence: u64) -> TestWindow {
    TestWindow::new("shop", 1, sequence, recent_ms()).cpu(&[row(&format!("main;w{sequence}"), 1 << sequence)])
}

/// The windows that count, as bits.
pub(super) async fn total(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    match QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await {
        Ok(merged) => merged.total(),
        Err(QueryError::UnknownService { .. }) => 0,
        Err(other) => panic!("{other}"),
    }
}

/// How many there are.
pub(super) const WINDOWS: u64 = 3;

/// All of them, as bits.
pub(super) const ALL: u64 = (1 << (WINDOWS + 1)) - 2;
