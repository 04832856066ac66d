//! Which share of all traces services tell of, as it was announced; and how many requests ended lately, which it is chosen by.
//!
//! Whoever announces first for a window decides for all collectors: each reads what stands here, and an agent hears the same from any.

use sqlx::Row;

use super::{Catalog, CatalogError, from_sql, to_sql};

/// How many requests of a service ended in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestCount {
    /// Start of the window, unix milliseconds, on a whole multiple of ten seconds.
    pub(crate) window_ms: u64,
    /// The service.
    pub(crate) service: String,
    /// Requests that were not counted before.
    pub(crate) requests: u64,
}

impl Catalog {
    /// Adds what one collector counted to what all have, and forgets windows that start before `forget_ms`.
    ///
    /// # Errors
    /// When the database fails; then nothing was added.
    pub(crate) async fn add_request_counts(&self, counts: &[RequestCount], forget_ms: u64) -> Result<(), CatalogError> {
        let mut counts: Vec<&RequestCount> = counts.iter().collect();
        // In the same order by everybody, so that nobody waits in a circle.
        counts.sort_by_key(|count| (count.window_ms, count.service.as_str()));
        let mut tx = self.begin().await?;
        for count in counts {
            sqlx::query(
                "INSERT INTO request_counts (window_ms, service, requests) VALUES ($1, $2, $3)
                 ON CONFLICT (window_ms, service) DO UPDATE SET requests = request_counts.requests + excluded.requests",
            )
            .bind(to_sql(count.window_ms))
            .bind(&count.service)
            .bind(to_sql(count.requests))
            .execute(&mut *tx)
            .await?;
        }
        for statement in
            ["DELETE FROM request_counts WHERE window_ms < $1", "DELETE FROM trace_shares WHERE from_ms < $1"]
        {
            sqlx::query(statement).bind(to_sql(forget_ms)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Requests of the busiest service in windows that start in this range, unix milliseconds.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn busiest(&self, from_ms: u64, until_ms: u64) -> Result<u64, CatalogError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(MAX(n), 0) AS BIGINT) AS most FROM
             (SELECT SUM(requests) AS n FROM request_counts WHERE window_ms >= $1 AND window_ms < $2 GROUP BY service) t",
        )
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .fetch_one(&self.read)
        .await?;
        Ok(from_sql(row.try_get("most")?))
    }

    /// The halvings that were announced last for windows that start at `at_ms` or before.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn halvings_at(&self, at_ms: u64) -> Result<Option<u32>, CatalogError> {
        let sql = "SELECT halvings FROM trace_shares WHERE from_ms <= $1 ORDER BY from_ms DESC LIMIT 1";
        let row = sqlx::query(sql).bind(to_sql(at_ms)).fetch_optional(&self.read).await?;
        row.map(|row| Ok(from_sql(row.try_get("halvings")?) as u32)).transpose()
    }

    /// Announces halvings from a window on, unless somebody has; answers what is announced.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn announce_halvings(&self, from_ms: u64, halvings: u32) -> Result<u32, CatalogError> {
        sqlx::query("INSERT INTO trace_shares (from_ms, halvings) VALUES ($1, $2) ON CONFLICT (from_ms) DO NOTHING")
            .bind(to_sql(from_ms))
            .bind(i64::from(halvings))
            .execute(&self.write)
            .await?;
        let row = sqlx::query("SELECT halvings FROM trace_shares WHERE from_ms = $1").bind(to_sql(from_ms));
        Ok(from_sql(row.fetch_one(&self.write).await?.try_get("halvings")?) as u32)
    }
}
