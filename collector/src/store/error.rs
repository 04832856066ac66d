//! Why the store cannot be opened or does not answer.

use std::path::PathBuf;

use super::bulk::BulkError;
use super::catalog::CatalogError;

/// Why the store cannot be opened or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data folder is not usable.
    #[error("data folder {}: {problem}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The database or the bucket is not usable.
    #[error("{place}: {problem}")]
    Place {
        /// Which, without secrets.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The objects failed.
    #[error(transparent)]
    Bulk(#[from] BulkError),
    /// A worker thread died.
    #[error("a store task failed: {0}")]
    Task(String),
}

impl From<tokio::task::JoinError> for StoreError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error.to_string())
    }
}
