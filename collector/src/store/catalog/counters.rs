//! Numbers that only grow: of commits, and of deletions. Segments carry them, so that a catalog which is older than its segments is told.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, Tx, from_sql, to_sql};

/// How far the store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// The last commit of arrived windows.
    pub commits: u64,
    /// The last deletion.
    pub deletions: u64,
}

impl Catalog {
    /// How far the store has come.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counters(&self) -> Result<Counters, CatalogError> {
        let mut counters = Counters::default();
        for row in sqlx::query("SELECT name, value FROM counters").fetch_all(&self.read).await? {
            counters.take(&row)?;
        }
        Ok(counters)
    }

    /// The number for the next commit. One collector alone takes it for good by committing; where there are others, nobody gets it again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_commit(&self) -> Result<u64, CatalogError> {
        let sql = match self.shared {
            true => "UPDATE counters SET value = value + 1 WHERE name = 'commits' RETURNING value",
            false => "SELECT value + 1 AS value FROM counters WHERE name = 'commits'",
        };
        Ok(from_sql(sqlx::query(sql).fetch_one(&self.write).await?.try_get("value")?))
    }

    /// Leaves out all numbers up to these: something that is not in the catalog has them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn skip_to(&self, counters: Counters) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        raise(&mut tx, "commits", counters.commits).await?;
        raise(&mut tx, "deletions", counters.deletions).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Makes a counter at least this.
pub(super) async fn raise(tx: &mut Tx, name: &str, value: u64) -> Result<(), CatalogError> {
    sqlx::query("UPDATE counters SET value = $2 WHERE name = $1 AND value < $2")
        .bind(name)
        .bind(to_sql(value))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Counts one more deletion. Answers how far the store has come with it.
pub(super) async fn count_deletion(tx: &mut Tx) -> Result<Counters, CatalogError> {
    sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'deletions'").execute(&mut **tx).await?;
    let mut counters = Counters::default();
    for row in sqlx::query("SELECT name, value FROM counters").fetch_all(&mut **tx).await? {
        counters.take(&row)?;
    }
    Ok(counters)
}

impl Counters {
    fn take(&mut self, row: &AnyRow) -> Result<(), CatalogError> {
        let value = from_sql(row.try_get("value")?);
        match row.try_get::<String, _>("name")?.as_str() {
            "commits" => self.commits = value,
            "deletions" => self.deletions = value,
            _ => {}
        }
        Ok(())
    }
}
