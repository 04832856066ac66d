//! Objects that this process has written for nothing: they are removed, unless they are listed after all.

use std::collections::HashSet;
use std::sync::PoisonError;

use super::{Store, StoreError};

impl Store {
    /// Notes objects that this process has written and that nobody will refer to.
    pub(super) fn give_up(&self, objects: Vec<String>) {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).extend(objects);
    }

    /// Removes them, unless they are listed after all: of a commit, nobody may have been told that it was done.
    pub(super) async fn remove_given_up(&self) -> Result<(), StoreError> {
        let objects = std::mem::take(&mut *self.given_up.lock().unwrap_or_else(PoisonError::into_inner));
        if objects.is_empty() {
            return Ok(());
        }
        let remove = async {
            let listed: HashSet<String> =
                self.catalog.objects().await?.into_iter().map(|stored| stored.object).collect();
            let (bulk, objects) = (self.bulk.clone(), objects.clone());
            let unlisted =
                move || objects.iter().filter(|name| !listed.contains(*name)).try_for_each(|name| bulk.delete(name));
            Ok::<(), StoreError>(tokio::task::spawn_blocking(unlisted).await??)
        };
        let removed = remove.await;
        if removed.is_err() {
            self.give_up(objects);
        }
        removed
    }
}
