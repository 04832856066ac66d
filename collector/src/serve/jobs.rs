//! What is done for a store in the background, as long as it is open.

use tokio::task::JoinSet;

use super::Collector;
use crate::store::{compact, retain, writes};
use crate::symbols::{self, share};

/// The jobs of one store. They end when this is dropped.
#[derive(Debug)]
pub(super) struct Jobs(JoinSet<()>);

impl Jobs {
    pub(super) fn start(collector: &Collector) -> Self {
        let Collector { store, symbols, compacting, .. } = collector;
        let mut jobs = JoinSet::new();
        jobs.spawn(retain::run(store.clone()));
        jobs.spawn(compact::run(store.clone(), compacting.clone()));
        jobs.spawn(writes::run(store.clone()));
        jobs.spawn(share::run(symbols.clone()));
        jobs.spawn(symbols::retain::run(symbols.clone(), store.clone()));
        Self(jobs)
    }

    /// Ends them, and waits until they have ended.
    pub(super) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}
