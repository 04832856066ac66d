//! Who sent something before this process started, as the catalog knows it: each keeps its place, whatever is invented meanwhile.

use std::cmp::Reverse;
use std::hash::BuildHasher;

use super::{Cardinality, IDLE_MS, SERIES_IDLE_MS};
use crate::profile::model::OWN_TYPES;
use crate::store::catalog::{Catalog, CatalogError};

impl Cardinality {
    /// Gives those that the catalog has heard of lately their places.
    ///
    /// # Errors
    /// When the catalog fails.
    pub(in crate::ingest) async fn remember(&self, catalog: &Catalog, now_ms: u64) -> Result<(), CatalogError> {
        let (day, hour) = (now_ms.saturating_sub(IDLE_MS), now_ms.saturating_sub(SERIES_IDLE_MS));
        // The newest first: where there is no room for all, those have it.
        let mut services = catalog.services().await?;
        services.retain(|service| service.last_seen_ms >= day);
        services.sort_by_key(|service| Reverse(service.last_seen_ms));
        let types = catalog.types_since(day).await?;
        let agents = catalog.agents_since(day).await?;
        let labels = catalog.labels_since(hour).await?;
        let (caps, mut known) = (&self.caps, self.lock());
        for service in services {
            known.known(service.name, caps.services_max, service.last_seen_ms);
        }
        for sent in types.into_iter().filter(|sent| !OWN_TYPES.contains(&sent.name.as_str())) {
            if let Some(service) = known.get_mut(&sent.service) {
                service.types.known(sent.name, caps.types_max, sent.last_ms);
            }
        }
        for sent in agents {
            if let Some(service) = known.get_mut(&sent.service) {
                let agent = self.hasher.hash_one((sent.agent, sent.boot));
                service.agents.known(agent, caps.agents_max, sent.last_ms);
            }
        }
        for sent in labels {
            let Some(service) = known.get_mut(&sent.service) else { continue };
            if sent.of_samples {
                let label = self.hasher.hash_one((sent.name.as_str(), sent.value.as_str()));
                service.sample_labels.known(label, caps.sample_labels_max, sent.last_ms);
            } else if service.expected.len() < caps.series_max {
                service.expected.insert(self.hasher.hash_one(sent.value.as_str()), sent.last_ms);
            }
        }
        Ok(())
    }
}
