//! Who sent something lately: what a collector that starts must know of those who send to it.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, from_sql, to_sql};

/// More than one collector keeps apart: what is older than so many rows is left out.
const ROWS_MAX: i64 = 200_000;

/// A name, whose it is, and when it was sent last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentName {
    /// The service whose windows carried it.
    pub service: String,
    /// The name of a profile type or a label.
    pub name: String,
    /// The label's value.
    pub value: String,
    /// Single samples had the label, not the whole window.
    pub of_samples: bool,
    /// Start of the last window it was in, unix milliseconds.
    pub last_ms: u64,
}

/// An agent and when it was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAgent {
    /// Its service.
    pub service: String,
    /// The agent.
    pub agent: [u8; 16],
    /// When it started, unix nanoseconds.
    pub boot: u64,
    /// When its last window was stored, unix milliseconds.
    pub last_ms: u64,
}

impl Catalog {
    /// Profile types seen since `since_ms`, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn types_since(&self, since_ms: u64) -> Result<Vec<SentName>, CatalogError> {
        let sql = "SELECT service, name, '' AS value, CAST(0 AS BIGINT) AS of_samples, last_seen_ms FROM profile_types
                   WHERE last_seen_ms >= $1 ORDER BY last_seen_ms DESC LIMIT $2";
        self.sent_names(sql, since_ms).await
    }

    /// Labels seen since `since_ms`, the newest first; `instance` is one of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn labels_since(&self, since_ms: u64) -> Result<Vec<SentName>, CatalogError> {
        let sql = "SELECT service, name, value, of_samples, last_seen_ms FROM labels
                   WHERE last_seen_ms >= $1 AND (of_samples = 1 OR name = 'instance') ORDER BY last_seen_ms DESC LIMIT $2";
        self.sent_names(sql, since_ms).await
    }

    /// Agents heard of since `since_ms`, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn agents_since(&self, since_ms: u64) -> Result<Vec<SentAgent>, CatalogError> {
        let sql = "SELECT service, agent_id, boot_id, last_seen_ms FROM agents WHERE last_seen_ms >= $1
                   ORDER BY last_seen_ms DESC LIMIT $2";
        let rows = sqlx::query(sql).bind(to_sql(since_ms)).bind(ROWS_MAX).fetch_all(&self.read).await?;
        let read = |row: &AnyRow| -> Result<SentAgent, CatalogError> {
            let text: String = row.try_get("agent_id")?;
            let agent = u128::from_str_radix(&text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes);
            Ok(SentAgent {
                service: row.try_get("service")?,
                agent: agent.ok_or(CatalogError::Corrupt { what: "agents.agent_id", value: text })?,
                boot: from_sql(row.try_get("boot_id")?),
                last_ms: from_sql(row.try_get("last_seen_ms")?),
            })
        };
        rows.iter().map(read).collect()
    }

    async fn sent_names(&self, sql: &'static str, since_ms: u64) -> Result<Vec<SentName>, CatalogError> {
        let rows = sqlx::query(sql).bind(to_sql(since_ms)).bind(ROWS_MAX).fetch_all(&self.read).await?;
        let read = |row: &AnyRow| -> Result<SentName, CatalogError> {
            Ok(SentName {
                service: row.try_get("service")?,
                name: row.try_get("name")?,
                value: row.try_get("value")?,
                of_samples: row.try_get::<i64, _>("of_samples")? != 0,
                last_ms: from_sql(row.try_get("last_seen_ms")?),
            })
        };
        rows.iter().map(read).collect()
    }
}
