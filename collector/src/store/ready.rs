//! Whether the store answers, and has room for more.

use std::time::Duration;

use super::{Store, StoreError, folder, place};

/// Load balancers ask often, and do not wait long.
const READY_WITHIN: Duration = Duration::from_secs(2);

impl Store {
    /// Free bytes for this user on the disk that windows go to; `None` when they go to a bucket.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        if self.is_shared() {
            return Ok(None);
        }
        folder::free_bytes(self.data_dir()).map(Some)
    }

    /// Says whether there is room for more windows.
    ///
    /// # Errors
    /// Why not, as a sentence.
    pub fn check_room(&self) -> Result<(), String> {
        let Some(free) = self.free_bytes().map_err(|e| e.to_string())? else { return Ok(()) };
        let needed = self.options.free_bytes_min;
        if free < needed {
            let folder = self.data_dir().display();
            return Err(format!("the disk of {folder} has {free} bytes left, {needed} are needed: free some space"));
        }
        Ok(())
    }

    /// Says whether database and bucket answer.
    ///
    /// # Errors
    /// Which of them does not, as a sentence.
    pub async fn ready(&self) -> Result<(), String> {
        let silent = |what| format!("{what} does not answer within {} s", READY_WITHIN.as_secs());
        let catalog = tokio::time::timeout(READY_WITHIN, self.catalog.ping()).await;
        catalog.map_err(|_| silent("the catalog"))?.map_err(|e| e.to_string())?;
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let bucket = bucket.beside("");
        let ping = tokio::task::spawn_blocking(move || bucket.ping(place::MARKER));
        let ping = tokio::time::timeout(READY_WITHIN, ping).await.map_err(|_| silent("the bucket"))?;
        ping.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
    }
}
