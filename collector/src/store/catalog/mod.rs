//! The SQL catalog: which segments there are, what was stored already, and the small things people make (events, pins).
//!
//! SQLite in WAL mode with `synchronous=FULL`: a commit is durable. Writes go through one connection, so they queue instead
//! of failing as busy; reads have their own connections and never wait for them.

mod agents;
mod events;
mod levels;
mod names;
mod pins;
mod segments;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqlitePool, Transaction};

pub use agents::{Accounting, AgentStatus, AgentUpdate, SEQUENCES_REMEMBERED, SequenceState, Verdict};
pub use events::{Event, EventKind, NewEvent};
pub use levels::{Horizons, Inputs, LevelSegment, NewSegment, ServicePart, Swap, TableObject};
pub use names::ServiceRow;
pub use pins::{NewPin, Pin, PinRange};
pub use segments::{CatalogTotals, Registration, SegmentRow, ServiceSpan};

use super::migrations::MIGRATIONS;

/// Why the catalog did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The database failed.
    #[error("catalog: {0}")]
    Database(#[from] sqlx::Error),
    /// Written by a later release.
    #[error("the data folder has catalog version {found}, this release knows up to {known}: use a newer tephra")]
    TooNew {
        /// Version in the file.
        found: i64,
        /// Newest this release can read.
        known: i64,
    },
    /// A stored value that this release does not understand.
    #[error("catalog: {what} holds {value:?}")]
    Corrupt {
        /// Table and column.
        what: &'static str,
        /// What stands there.
        value: String,
    },
}

/// The catalog of one data folder.
#[derive(Debug, Clone)]
pub struct Catalog {
    read: SqlitePool,
    write: SqlitePool,
}

type Tx<'a> = Transaction<'a, Sqlite>;

impl Catalog {
    /// Opens the catalog, creates it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened, is no catalog, or was written by a later release.
    pub async fn open(file: &Path) -> Result<Self, CatalogError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(10));
        let pool =
            |connections| SqlitePoolOptions::new().max_connections(connections).idle_timeout(None).max_lifetime(None);
        let write = pool(1).connect_with(options.clone()).await?;
        migrate(&write).await?;
        let read = pool(4).connect_with(options).await?;
        Ok(Self { read, write })
    }

    /// Closes all connections; what was committed is already safe.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

async fn migrate(pool: &SqlitePool) -> Result<(), CatalogError> {
    let mut tx = pool.begin().await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").execute(&mut *tx).await?;
    let found = sqlx::query("SELECT MAX(version) AS version FROM schema_version").fetch_one(&mut *tx).await?;
    let found: i64 = found.try_get::<Option<i64>, _>("version")?.unwrap_or(0);
    let known = MIGRATIONS.len() as i64;
    if found > known || found < 0 {
        return Err(CatalogError::TooNew { found, known });
    }
    for (i, step) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        for statement in *step {
            sqlx::query(*statement).execute(&mut *tx).await?;
        }
        let version = i as i64 + 1;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Unsigned to the signed integers SQL has. Everything stored is checked to fit at the edge; what does not is pinned to the
/// largest.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The way back: a negative number never was one of ours.
fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A short random id for things people link to: 80 bits, lower-case hexadecimal.
fn fresh_id() -> String {
    let bytes = crate::store::unique_bytes();
    bytes.iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}
