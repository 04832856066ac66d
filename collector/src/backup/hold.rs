//! A lease that says a backup is being taken: until it ends, retention removes no object that was listed when it began.
//!
//! Whoever dies while holding it holds up nothing for long.

use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::warn;

use super::BackupError;
use crate::store::catalog::{Catalog, Lease};
use crate::store::retain::BACKUP_LEASE;

/// Without a sign of life it ends after this.
const TTL: Duration = Duration::from_secs(10 * 60);

/// The hold. Renewed until it is released or dropped.
#[derive(Debug)]
pub struct Hold {
    lease: Option<Lease>,
    beat: Option<JoinHandle<()>>,
}

impl Hold {
    /// Takes it. A store of an earlier release, which no collector of this one has opened, knows none.
    ///
    /// # Errors
    /// When somebody else has it, or the catalog fails.
    pub async fn take(catalog: &Catalog) -> Result<Self, BackupError> {
        if !catalog.is_current().await? {
            return Ok(Self { lease: None, beat: None });
        }
        let lease = catalog.lease(BACKUP_LEASE, TTL).await?.ok_or(BackupError::Busy)?;
        let held = lease.clone();
        let beat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(TTL / 5).await;
                // What is lost with it is found when it is copied.
                if let Err(error) = held.renew(TTL).await {
                    warn!(%error, "the hold on objects was not renewed");
                }
            }
        });
        Ok(Self { lease: Some(lease), beat: Some(beat) })
    }

    /// Gives it back.
    pub async fn release(mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(error) = lease.release().await
        {
            warn!(%error, "the hold on objects was not given back: it ends by itself");
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(beat) = self.beat.take() {
            beat.abort();
        }
    }
}
