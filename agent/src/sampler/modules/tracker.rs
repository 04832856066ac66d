//! Follows what the loader maps and unmaps.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::loader::{self, Loaded, LoaderGeneration};
use super::map::ModuleMap;
use crate::sampler::counters::COUNTERS;

/// Longer than a window with its jitter, so that samples of a module that was unloaded can still be named.
const KEEP_UNLOADED: Duration = Duration::from_secs(30);
/// More unloaded modules than this are forgotten early: a plugin host must not make the agent grow.
const UNLOADED_MAX: usize = 256;

/// Follows the loader; used by the agent thread only.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    generation: Option<LoaderGeneration>,
    loaded: Vec<Arc<Loaded>>,
    unloaded: Vec<(Instant, Arc<Loaded>)>,
    map: Arc<ModuleMap>,
}

impl Tracker {
    /// The module mapped from `path` now.
    pub(crate) fn find(&self, path: &Path) -> Option<Arc<Loaded>> {
        self.loaded.iter().find(|loaded| loaded.path == path).cloned()
    }

    /// Reads the modules again if the loader changed anything; `true` if it did.
    pub(crate) fn refresh(&mut self) -> bool {
        let generation = loader::generation();
        if self.generation == Some(generation) {
            return false;
        }
        let now = Instant::now();
        let loaded = loader::read_all(&self.loaded);
        let gone = self.loaded.iter().filter(|old| !loaded.iter().any(|new| Arc::ptr_eq(new, old)));
        let gone: Vec<_> = gone.map(|old| (now, Arc::new(old.without_tables()))).collect();
        self.unloaded.retain(|(since, _)| now.duration_since(*since) < KEEP_UNLOADED);
        self.unloaded.splice(0..0, gone);
        self.unloaded.truncate(UNLOADED_MAX);
        self.map = Arc::new(ModuleMap::new(loaded.iter().chain(self.unloaded.iter().map(|(_, old)| old))));
        let left_out = loaded.iter().filter(|module| module.left_out).count();
        COUNTERS.modules_without_tables.store(left_out as u64, Ordering::Relaxed);
        self.loaded = loaded;
        self.generation = Some(generation);
        true
    }

    /// What is mapped now.
    pub(crate) fn loaded(&self) -> &[Arc<Loaded>] {
        &self.loaded
    }

    /// The current map.
    pub(crate) fn map(&self) -> Arc<ModuleMap> {
        Arc::clone(&self.map)
    }
}
