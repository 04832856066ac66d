//! The SQL catalog: which segments there are, what was stored already, and the small things people make (events, pins).
//!
//! SQLite for one collector, PostgreSQL for several; the statements are the same. On either a commit is durable. Two collectors may
//! change the same rows at the same moment, so whatever is decided from what was read is checked again by the write itself.

mod agents;
mod amount;
mod arrivals;
mod connect;
mod copy;
mod counters;
mod damage;
mod deletions;
mod events;
mod expiry;
mod leases;
mod names;
mod partition;
mod pins;
mod rebuild;
mod register;
mod segments;
mod senders;
mod symbols;
mod trace_shares;
mod written;

use sqlx::{Any, AnyPool, Row, Transaction};

pub use agents::{
    Accounting, AgentBefore, AgentStatus, AgentUpdate, SEQUENCES_REMEMBERED, SEQUENCES_REMEMBERED_MS, SequenceState,
    Verdict,
};
pub use amount::Amount;
pub use arrivals::{ARRIVALS_REMEMBERED_MS, Arrivals, ContentKey};
pub use connect::Location;
pub use counters::Counters;
pub use damage::{Damage, DamageTotals, DamagedWindow};
pub use events::{Event, EventKind, NewEvent};
pub use expiry::{Aging, Newest};
pub use leases::Lease;
pub use names::{LABEL_VALUES_MAX, ServiceRow, ServiceSpan};
pub use partition::{Horizons, Inputs, LevelSegment, NewSegment, Swap, TableObject};
pub use pins::{NewPin, Pin, PinRange};
pub(crate) use rebuild::Contents;
pub use register::{Outcome, Registration};
pub(crate) use segments::FOOTER;
pub use segments::{CatalogTotals, SegmentRow, ServicePart, StoredObject, Waiting};
pub use senders::{SentAgent, SentName};
pub use symbols::{FailedSymbols, SharedSymbols, SymbolRow};
pub(crate) use trace_shares::RequestCount;

use crate::base::clock::now_ms;
use crate::base::ids::{hex, unique_bytes};
use written::Written;

/// Why the catalog did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The database failed.
    #[error("catalog: {0}")]
    Database(#[from] sqlx::Error),
    /// Written by a later release.
    #[error("the store has catalog version {found}, this release knows up to {known}: use a newer tephra")]
    TooNew {
        /// Version in the catalog.
        found: i64,
        /// Newest this release can read.
        known: i64,
    },
    /// The transaction was sent and no answer came back: it may have been committed, or not.
    #[error("catalog: nobody knows whether a commit was done: {0}")]
    Unsure(sqlx::Error),
    /// The place makes no sense.
    #[error("catalog: {0}")]
    Location(String),
    /// Somebody else holds the lease by now: what was prepared under it must not be done.
    #[error("catalog: the lease {name:?} was taken over by another collector")]
    LeaseLost {
        /// Its name.
        name: String,
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

impl CatalogError {
    /// True when the file system could not say that what SQLite wrote is on the disk: see [`crate::store::bulk::BulkError::Sync`].
    pub fn is_failed_sync(&self) -> bool {
        let (Self::Database(error) | Self::Unsure(error)) = self else { return false };
        // SQLITE_IOERR_FSYNC and SQLITE_IOERR_DIR_FSYNC. PostgreSQL looks after its own disk.
        let code = error.as_database_error().and_then(|e| e.code());
        code.is_some_and(|code| code == "1034" || code == "1290")
    }

    /// True when there is no room for what was to be written: SQLITE_FULL, and PostgreSQL's disk_full.
    pub fn is_full(&self) -> bool {
        let (Self::Database(error) | Self::Unsure(error)) = self else { return false };
        let code = error.as_database_error().and_then(|e| e.code());
        code.is_some_and(|code| code == "13" || code == "53100")
    }
}

/// The catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    read: AnyPool,
    write: AnyPool,
    shared: bool,
    written: Written,
}

/// A transaction that may write.
pub type Tx = Transaction<'static, Any>;

impl Catalog {
    /// True when other collectors may be using it too.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Its connections, for tables that are no business of this catalog: for reading, and for writing.
    pub(in crate::store) fn into_pools(self) -> (AnyPool, AnyPool) {
        (self.read, self.write)
    }

    /// Starts a transaction that may write. It is rolled back unless it is committed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self) -> Result<Tx, CatalogError> {
        Ok(self.write.begin().await?)
    }

    /// Says whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), CatalogError> {
        sqlx::query("SELECT version FROM schema_version LIMIT 1").fetch_optional(&self.read).await?;
        Ok(())
    }

    /// Writes a little, durably: to find out whether writes work.
    ///
    /// # Errors
    /// When they do not.
    pub async fn try_write(&self) -> Result<(), CatalogError> {
        let now = now_ms().to_string();
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('written_ms', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(now)
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// The id of the store, drawn when it was made: what belongs to it elsewhere carries it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn store_id(&self) -> Result<String, CatalogError> {
        sqlx::query("INSERT INTO settings (name, value) VALUES ('store_id', $1) ON CONFLICT (name) DO NOTHING")
            .bind(hex(&unique_bytes()))
            .execute(&self.write)
            .await?;
        let row = sqlx::query("SELECT value FROM settings WHERE name = 'store_id'").fetch_one(&self.write).await?;
        Ok(row.try_get("value")?)
    }

    /// From when on, unix milliseconds, whatever is compacted says how many requests ended: since this store was first opened by a
    /// release that counts them. Before it, spans stand for requests.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn requests_since(&self) -> Result<u64, CatalogError> {
        let known = sqlx::query("SELECT value FROM settings WHERE name = 'requests_since_ms'");
        let row = known.fetch_optional(&self.read).await?;
        let value: Option<String> = row.map(|row| row.try_get("value")).transpose()?;
        Ok(value.and_then(|value| value.parse().ok()).unwrap_or(u64::MAX))
    }

    /// Remembers that this release opened the store, the first time.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn note_requests_since(&self, now_ms: u64) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('requests_since_ms', $1) ON CONFLICT (name) DO NOTHING",
        )
        .bind(now_ms.to_string())
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// All windows that start at this time or later were counted, however old they were when they came: those of benchmarks are.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn count_requests_since(&self, from_ms: u64) -> Result<(), CatalogError> {
        let since_ms = self.requests_since().await?.min(from_ms);
        sqlx::query("UPDATE settings SET value = $1 WHERE name = 'requests_since_ms'")
            .bind(since_ms.to_string())
            .execute(&self.write)
            .await?;
        Ok(())
    }

    /// Closes all connections; what was committed is already safe.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// Nobody else takes this number on purpose; it keeps two collectors from bringing one schema up to date together.
const LOCK_SCHEMA: &str = "SELECT pg_advisory_xact_lock(84727455)";

/// Does the steps that a schema lacks. `versions` names the table that says which were done.
pub(in crate::store) async fn migrate(
    catalog: &Catalog,
    versions: &'static str,
    steps: &[&[&'static str]],
) -> Result<(), CatalogError> {
    let statement = |sql: String| sqlx::query(sqlx::AssertSqlSafe(sql));
    let mut tx = catalog.begin().await?;
    if catalog.shared {
        sqlx::query(LOCK_SCHEMA).execute(&mut *tx).await?;
    }
    statement(format!("CREATE TABLE IF NOT EXISTS {versions} (version BIGINT NOT NULL)")).execute(&mut *tx).await?;
    let found = statement(format!("SELECT MAX(version) AS version FROM {versions}")).fetch_one(&mut *tx).await?;
    let found: i64 = found.try_get::<Option<i64>, _>("version")?.unwrap_or(0);
    let known = steps.len() as i64;
    if found > known || found < 0 {
        return Err(CatalogError::TooNew { found, known });
    }
    for (i, step) in steps.iter().enumerate().skip(found as usize) {
        for sql in *step {
            sqlx::query(*sql).execute(&mut *tx).await?;
        }
        let version = i as i64 + 1;
        let done = statement(format!("INSERT INTO {versions} (version) VALUES ($1)"));
        done.bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Unsigned to the signed integers SQL has. Everything stored is checked to fit at the edge; what does not is pinned to the
/// largest.
pub(in crate::store) fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The way back: a negative number never was one of ours.
pub(in crate::store) fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A short random id for things people link to: 80 bits, lower-case hexadecimal.
fn fresh_id() -> String {
    let [id @ .., _, _, _, _, _, _] = unique_bytes();
    hex(&id)
}

/// True when the database gave up this transaction in favour of another one: the same again may well succeed.
fn is_conflict(error: &sqlx::Error) -> bool {
    // Serialization failure and deadlock.
    let code = error.as_database_error().and_then(|e| e.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
}
