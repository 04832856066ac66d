//! Lets go of the symbols of builds that nothing stored can need: a service that is deployed every day leaves a table a day.
//!
//! A table is kept for the retention after the last window from its build, and as long as any window of that time is stored,
//! for example by a pin.

use std::sync::Arc;
use std::time::Duration;

use tephra_proto::ids::BuildId;
use tephra_proto::limits::WINDOW_AHEAD_MS_MAX;
use tracing::{info, warn};

use super::Symbols;
use crate::base::clock::now_ms;
use crate::store::{Store, StoreError};

/// How often uses are taken note of, and old tables looked for.
const EVERY: Duration = Duration::from_secs(3600);

/// Uses since the last note are lost when the process is killed, and so are those of the hours it may be down for.
const UNNOTED_MS_MAX: u64 = 24 * 3_600_000;

/// What one round let go of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Builds whose symbols were dropped.
    pub builds: u64,
    /// Size of their tables here.
    pub bytes: u64,
}

/// Runs until it is dropped.
pub async fn run(symbols: Symbols, store: Arc<Store>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let done = match store.retention_clock(now_ms()).await {
            Ok(clock_ms) => round(&symbols, &store, clock_ms).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(Forgotten { builds: 0, .. }) => {}
            Ok(Forgotten { builds, bytes }) => info!(builds, bytes, "symbols of builds not seen any more were removed"),
            Err(error) => warn!(%error, "old symbols could not be removed; the next round tries again"),
        }
    }
}

/// One round, as of `now_ms`: the time that retention goes by, see [`crate::store::expiry`]. Any number of collectors may do it at the same time.
///
/// # Errors
/// When catalog or disk fail; what was done stays done.
pub async fn round(symbols: &Symbols, store: &Store, now_ms: u64) -> Result<Forgotten, StoreError> {
    let catalog = store.catalog();
    let mut forgotten = Forgotten::default();
    // First, or they would be taken for news.
    if let Some(shelf) = &symbols.shared.shelf {
        for id in shelf.gone().await? {
            forgotten.add(discard(symbols, id, false).await?);
        }
    }
    let uses = catalog.symbol_uses().await?;
    let used = std::mem::take(&mut *symbols.used());
    // A build with symbols and without a use is a new one, or from a release that did not note uses.
    let is_news = |id: &BuildId| used.contains(id) || !uses.contains_key(&id.to_string());
    let known = symbols.shared.folder.known().into_iter().map(|(id, _)| id);
    let mut news: Vec<String> = known.filter(is_news).map(|id| id.to_string()).collect();
    // Collectors that note the same builds at the same time do so in one order, and wait for each other at most once.
    news.sort_unstable();
    if let Err(error) = catalog.use_symbols(&news, now_ms).await {
        symbols.used().extend(used);
        return Err(error.into());
    }
    let retention_ms = store.options().retention.as_millis() as u64;
    let oldest_ms = now_ms.saturating_sub(retention_ms).min(catalog.oldest_window().await?.unwrap_or(u64::MAX));
    let before_ms = oldest_ms.saturating_sub(UNNOTED_MS_MAX + WINDOW_AHEAD_MS_MAX);
    for (build_id, used_ms) in uses {
        let Ok(id) = BuildId::parse(&build_id) else { continue };
        if used_ms < before_ms && catalog.forget_symbols(&build_id, before_ms).await? {
            forgotten.add(discard(symbols, id, true).await?);
        }
    }
    Ok(forgotten)
}

impl Forgotten {
    fn add(&mut self, bytes: u64) {
        self.builds += 1;
        self.bytes += bytes;
    }
}

/// Removes what there is of a build here, and where all collectors have it if that is asked for.
async fn discard(symbols: &Symbols, id: BuildId, everywhere: bool) -> Result<u64, StoreError> {
    let (folder, shelf) = (symbols.shared.folder.clone(), symbols.shared.shelf.clone());
    let work = move || -> Result<u64, StoreError> {
        if let Some(shelf) = shelf {
            shelf.unsay(&id);
            if everywhere {
                shelf.remove(&id)?;
            }
        }
        folder.discard(&id).map_err(|error| {
            let problem = format!("cannot be removed: {error}");
            StoreError::Folder { path: folder.table(&id), problem }
        })
    };
    tokio::task::spawn_blocking(work).await?
}
