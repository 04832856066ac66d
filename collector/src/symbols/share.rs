//! Symbols of collectors that share a store: tables lie in the bucket, the catalog says which there are, and the folder is a cache.
//!
//! Every few seconds each collector says what it has, and hears what others have. A table is fetched when somebody looks at it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tephra_proto::ids::BuildId;
use tracing::warn;

use super::Symbols;
use super::failure::Failure;
use super::folder::{Folder, State};
use super::table::{Detail, Richness};
use crate::base::clock::now_ms;
use crate::conditions::Conditions;
use crate::store::bucket::Bucket;
use crate::store::bulk::{Bulk, BulkError};
use crate::store::catalog::{Catalog, FailedSymbols, SharedSymbols, SymbolRow};
use crate::store::{Store, StoreError};

/// How long a build may be asked for by one collector when another has it already.
const EVERY: Duration = Duration::from_secs(3);

/// Collectors' clocks differ, and a transaction that began earlier may end later.
const OVERLAP_MS: u64 = 10 * 60_000;

/// The bucket's and the catalog's side of one collector's symbols.
#[derive(Debug)]
pub(super) struct Shelf {
    catalog: Catalog,
    bucket: Bucket,
    /// What others know to be so.
    said: Mutex<HashMap<BuildId, State>>,
    heard_until_ms: Mutex<u64>,
}

impl Shelf {
    /// `None` for a store that is not shared.
    pub(super) fn of(store: &Store) -> Option<Arc<Self>> {
        let bucket = store.bucket()?.beside("symbols");
        let catalog = store.catalog().clone();
        Some(Arc::new(Self { catalog, bucket, said: Mutex::default(), heard_until_ms: Mutex::default() }))
    }

    /// The table of a build that others symbolized. Blocks.
    pub(super) fn fetch(&self, id: &BuildId, detail: Detail) -> Result<Vec<u8>, BulkError> {
        self.bucket.get(&object(id, detail))
    }

    /// Takes a build off the shelf that the catalog does not know any more. Blocks.
    pub(super) fn remove(&self, id: &BuildId) -> Result<(), BulkError> {
        DETAILS.into_iter().try_for_each(|detail| self.bucket.delete(&object(id, detail)))
    }

    /// What was said of a build does not hold any more: it is said again when there is news.
    pub(super) fn unsay(&self, id: &BuildId) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Builds that the catalog knew and does not know any more: another collector has let go of them.
    pub(super) async fn gone(&self) -> Result<Vec<BuildId>, StoreError> {
        let said: Vec<BuildId> = self.said.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        // Asked for afterwards: what is said meanwhile is known.
        let rows: HashSet<String> = self.catalog.symbols(0).await?.into_iter().map(|row| row.build_id).collect();
        Ok(said.into_iter().filter(|id| !rows.contains(&id.to_string())).collect())
    }

    fn said(&self, id: BuildId, state: State) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(id, state);
    }
}

const DETAILS: [Detail; 3] = [Detail::Names, Detail::Inlines, Detail::Lines];

/// Tables with lines and without are two objects: one is never changed into the other.
fn object(id: &BuildId, detail: Detail) -> String {
    let kind = match detail {
        Detail::Names => "names",
        Detail::Inlines => "inlines",
        Detail::Lines => "lines",
    };
    format!("{id}.{kind}")
}

/// Runs until it is dropped; ends at once where nothing is shared.
pub async fn run(symbols: Symbols) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while symbols.is_shared() {
        ticks.tick().await;
        if let Err(error) = exchange(&symbols).await {
            warn!(%error, "symbols could not be shared; the next round tries again");
        }
    }
}

/// Hears what others have, and says what this collector has.
///
/// # Errors
/// When the catalog or the bucket fail.
pub async fn exchange(symbols: &Symbols) -> Result<(), StoreError> {
    let Some(shelf) = symbols.shared.shelf.clone() else { return Ok(()) };
    let folder = symbols.shared.folder.clone();
    hear(&shelf, &folder).await?;
    let news = {
        let said = shelf.said.lock().unwrap_or_else(PoisonError::into_inner);
        folder.known().into_iter().filter(|(id, state)| said.get(id) != Some(state)).collect::<Vec<_>>()
    };
    for (id, state) in news {
        say(&shelf, &folder, id, state).await?;
    }
    Ok(())
}

async fn hear(shelf: &Shelf, folder: &Folder) -> Result<(), StoreError> {
    let until = *shelf.heard_until_ms.lock().unwrap_or_else(PoisonError::into_inner);
    for row in shelf.catalog.symbols(until.saturating_sub(OVERLAP_MS)).await? {
        let Ok(id) = BuildId::parse(&row.build_id) else { continue };
        let state = match row.symbols {
            SharedSymbols::Ready { bytes, richness, .. } => State::Ready { richness: read_richness(richness), bytes },
            SharedSymbols::Failed(FailedSymbols { reason, of_file, file_bytes, attempts, again_ms }) => {
                State::Failed(Failure { reason, of_file, file_bytes, attempts, again_ms })
            }
        };
        if shelf.said.lock().unwrap_or_else(PoisonError::into_inner).get(&id) != Some(&state) {
            folder.hear(id, &state);
            shelf.said(id, state);
        }
        let mut until = shelf.heard_until_ms.lock().unwrap_or_else(PoisonError::into_inner);
        *until = row.changed_ms.max(*until);
    }
    Ok(())
}

/// Puts the symbols of a folder store into a bucket, and says so in a catalog. Answers how many tables there are.
///
/// # Errors
/// When the folder cannot be read, or the catalog or the bucket fail; the same again goes on from there.
pub async fn publish(data: &Path, catalog: &Catalog, bucket: &Bucket) -> Result<u64, StoreError> {
    let unreadable = |error: io::Error| StoreError::Folder {
        path: data.join("symbols"),
        problem: format!("cannot be read: {error}"),
    };
    let folder = Arc::new(Folder::open(data, Conditions::default()).map_err(unreadable)?);
    let shelf = Arc::new(Shelf {
        catalog: catalog.clone(),
        bucket: bucket.beside("symbols"),
        said: Mutex::default(),
        heard_until_ms: Mutex::default(),
    });
    for (id, state) in folder.known() {
        say(&shelf, &folder, id, state).await?;
    }
    Ok(folder.stats().builds)
}

async fn say(shelf: &Arc<Shelf>, folder: &Arc<Folder>, id: BuildId, state: State) -> Result<(), StoreError> {
    let symbols = match &state {
        State::Busy => return Ok(()),
        State::Failed(Failure { reason, of_file, file_bytes, attempts, again_ms }) => {
            let (of_file, file_bytes, attempts, again_ms) = (*of_file, *file_bytes, *attempts, *again_ms);
            SharedSymbols::Failed(FailedSymbols { reason: reason.clone(), of_file, file_bytes, attempts, again_ms })
        }
        State::Ready { richness, bytes } => {
            let (name, shelf, folder) = (object(&id, richness.detail), shelf.clone(), folder.clone());
            let object = name.clone();
            let put = tokio::task::spawn_blocking(move || -> Result<(), PutError> {
                Ok(shelf.bucket.put(&name, &folder.read(&id)?)?)
            });
            match put.await? {
                Ok(()) => {}
                Err(PutError::Bulk(error)) => return Err(error.into()),
                // It was replaced or removed this moment: the next round sees what is there then.
                Err(PutError::Read(_)) => return Ok(()),
            }
            SharedSymbols::Ready { object, bytes: *bytes, richness: (richness.detail as u8, richness.records) }
        }
    };
    shelf.catalog.save_symbols(&SymbolRow { build_id: id.to_string(), symbols, changed_ms: now_ms() }).await?;
    shelf.said(id, state);
    Ok(())
}

fn read_richness((detail, records): (u8, u32)) -> Richness {
    // A detail that is not known yet is that of a later release, which knows more.
    Richness { detail: DETAILS.get(usize::from(detail)).copied().unwrap_or(Detail::Lines), records }
}

#[derive(Debug, thiserror::Error)]
enum PutError {
    #[error(transparent)]
    Bulk(#[from] BulkError),
    #[error(transparent)]
    Read(#[from] io::Error),
}
