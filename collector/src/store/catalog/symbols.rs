//! Which builds have symbols, for collectors that share them; and when each was last used.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, from_sql, to_sql};

/// What is known of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolRow {
    /// Hexadecimal.
    pub build_id: String,
    /// Its table, or why it has none.
    pub symbols: SharedSymbols,
    /// When that was said last, unix milliseconds.
    pub changed_ms: u64,
}

/// What became of a build's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SharedSymbols {
    /// There is a table.
    Ready {
        /// Name of its table in the object store.
        object: String,
        /// Size of its table, bytes.
        bytes: u64,
        /// How much it tells: what is known of functions (0 names, 1 inlines, 2 lines), then of how many.
        richness: (u8, u32),
    },
    /// There is none yet.
    Failed(FailedSymbols),
}

/// Why there is no table, and when the file is asked for again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailedSymbols {
    /// Why, in words.
    pub reason: String,
    /// It was read, and is of no use.
    pub of_file: bool,
    /// Size of the file, bytes; 0: not known.
    pub file_bytes: u64,
    /// Failures in a row.
    pub attempts: u32,
    /// From when on it is asked for again, unix milliseconds.
    pub again_ms: u64,
}

impl Catalog {
    /// Says what became of a build's file. A table is never replaced by one that tells less, nor by a failure.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_symbols(&self, row: &SymbolRow) -> Result<(), CatalogError> {
        let none = FailedSymbols::default();
        let (state, object, bytes, richness, failed) = match &row.symbols {
            SharedSymbols::Ready { object, bytes, richness } => ("ready", object.as_str(), *bytes, *richness, &none),
            SharedSymbols::Failed(failed) => ("failed", "", failed.file_bytes, (0, 0), failed),
        };
        sqlx::query(
            "INSERT INTO symbols
                 (build_id, state, object, bytes, has_lines, reason, changed_ms, richness, of_file, attempts, again_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             ON CONFLICT (build_id) DO UPDATE SET state = excluded.state, object = excluded.object, bytes = excluded.bytes,
                 has_lines = excluded.has_lines, reason = excluded.reason, changed_ms = excluded.changed_ms,
                 richness = excluded.richness, of_file = excluded.of_file, attempts = excluded.attempts,
                 again_ms = excluded.again_ms
             WHERE (symbols.state <> 'ready' AND (excluded.state = 'ready' OR excluded.again_ms >= symbols.again_ms))
                 OR (excluded.state = 'ready' AND excluded.richness >= symbols.richness)",
        )
        .bind(&row.build_id)
        .bind(state)
        .bind(object)
        .bind(to_sql(bytes))
        .bind(i64::from(richness.0 >= 2))
        .bind(&failed.reason)
        .bind(to_sql(row.changed_ms))
        .bind(i64::from(richness.0) << 32 | i64::from(richness.1))
        .bind(i64::from(failed.of_file))
        .bind(i64::from(failed.attempts))
        .bind(to_sql(failed.again_ms))
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Builds of which something was said since `since_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn symbols(&self, since_ms: u64) -> Result<Vec<SymbolRow>, CatalogError> {
        let rows = sqlx::query(
            "SELECT build_id, state, object, bytes, richness, reason, of_file, attempts, again_ms, changed_ms
             FROM symbols WHERE changed_ms >= $1",
        )
        .bind(to_sql(since_ms))
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Takes note that builds were used at a time, unix milliseconds.
    ///
    /// # Errors
    /// When the database fails; then none was noted.
    pub async fn use_symbols(&self, build_ids: &[String], now_ms: u64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for build_id in build_ids {
            sqlx::query(
                "INSERT INTO symbol_uses (build_id, used_ms) VALUES ($1, $2)
                 ON CONFLICT (build_id) DO UPDATE SET used_ms = excluded.used_ms
                 WHERE symbol_uses.used_ms < excluded.used_ms",
            )
            .bind(build_id)
            .bind(to_sql(now_ms))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// When each build was last used, unix milliseconds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn symbol_uses(&self) -> Result<HashMap<String, u64>, CatalogError> {
        let rows = sqlx::query("SELECT build_id, used_ms FROM symbol_uses").fetch_all(&self.read).await?;
        rows.iter().map(|row| Ok((row.try_get("build_id")?, from_sql(row.try_get("used_ms")?)))).collect()
    }

    /// Forgets a build that was not used since `before_ms`, and answers whether it did: to one collector of several, and not when
    /// the build was used again in the meantime.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_symbols(&self, build_id: &str, before_ms: u64) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        let forgotten = sqlx::query("DELETE FROM symbol_uses WHERE build_id = $1 AND used_ms < $2")
            .bind(build_id)
            .bind(to_sql(before_ms))
            .execute(&mut *tx)
            .await?
            .rows_affected()
            > 0;
        if forgotten {
            sqlx::query("DELETE FROM symbols WHERE build_id = $1").bind(build_id).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(forgotten)
    }

    /// Start of the oldest window that is stored, unix milliseconds; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_window(&self) -> Result<Option<u64>, CatalogError> {
        let row = sqlx::query("SELECT MIN(min_ms) AS oldest FROM segments WHERE state = 'live'");
        let oldest: Option<i64> = row.fetch_one(&self.read).await?.try_get("oldest")?;
        Ok(oldest.map(from_sql))
    }
}

fn read(row: &AnyRow) -> Result<SymbolRow, CatalogError> {
    let state: String = row.try_get("state")?;
    let symbols = match state.as_str() {
        "ready" => SharedSymbols::Ready {
            object: row.try_get("object")?,
            bytes: from_sql(row.try_get("bytes")?),
            richness: richness(from_sql(row.try_get("richness")?)),
        },
        "failed" => SharedSymbols::Failed(FailedSymbols {
            reason: row.try_get("reason")?,
            of_file: row.try_get::<i64, _>("of_file")? != 0,
            file_bytes: from_sql(row.try_get("bytes")?),
            attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
            again_ms: from_sql(row.try_get("again_ms")?),
        }),
        _ => return Err(CatalogError::Corrupt { what: "symbols.state", value: state }),
    };
    Ok(SymbolRow { build_id: row.try_get("build_id")?, symbols, changed_ms: from_sql(row.try_get("changed_ms")?) })
}

fn richness(stored: u64) -> (u8, u32) {
    (u8::try_from(stored >> 32).unwrap_or(u8::MAX), stored as u32)
}
