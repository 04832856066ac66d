//! The access catalog: which tenants and tokens there are, and what was done with them. In a folder a database of its own beside the store's; with PostgreSQL
//! tables of the same database, through the same connections.
//!
//! It knows nothing of what a token grants: that is for the floor above.

mod audit;
mod file;
mod schema;
mod tenants;
#[cfg(test)]
mod tests;
mod tokens;

use std::path::Path;

use sqlx::AnyPool;

use super::catalog::{Catalog, CatalogError};
use super::folder;
use super::place::Place;
pub use audit::Deed;
pub use file::token_in;
pub use tenants::{TENANTS_MAX, Tenant, TenantError, TenantLimits};
pub use tokens::{GrantedToken, NewToken, TOKENS_MAX, TokenError};

/// Its file in a data folder.
const FILE: &str = "access.sqlite";

/// The access catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AccessCatalog {
    read: AnyPool,
    write: AnyPool,
}

impl AccessCatalog {
    /// That of a store which is open already.
    ///
    /// # Errors
    /// When the database cannot be used, or was written by a later release.
    pub async fn beside(place: &Place, catalog: &Catalog) -> Result<Self, CatalogError> {
        match place {
            Place::Folder(data) => Self::in_folder(data).await,
            Place::Shared { .. } => Self::within(catalog.clone()).await,
        }
    }

    /// That of a store which need not be open. A folder is made if it is not there.
    ///
    /// # Errors
    /// When the database cannot be used, or was written by a later release.
    pub async fn open(place: &Place) -> Result<Self, CatalogError> {
        match place {
            Place::Folder(data) => {
                folder::prepare(data).map_err(|error| CatalogError::Location(error.to_string()))?;
                Self::in_folder(data).await
            }
            Place::Shared { catalog, .. } => Self::within(Catalog::attach_unchecked(&catalog.location()).await?).await,
        }
    }

    async fn in_folder(data: &Path) -> Result<Self, CatalogError> {
        Self::within(Catalog::open_or_make(&data.join(FILE)).await?).await
    }

    /// Its tables where `database` has its own, if it has any.
    async fn within(database: Catalog) -> Result<Self, CatalogError> {
        schema::migrate(&database).await?;
        let (read, write) = database.into_pools();
        Ok(Self { read, write })
    }

    /// Closes its connections. Not with PostgreSQL while the store is used: they are the same.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}
