//! What is damaged: segments that were set aside, and single windows. It stays on record, so that answers over its time can say so.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, from_sql, to_sql};

/// A stretch of time in which something of a service is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The level of the segment.
    pub level: u32,
    /// Its content is in the next level too.
    pub rolled: bool,
    /// Start of its first window, unix milliseconds.
    pub min_ms: u64,
    /// Start of its last window.
    pub max_ms: u64,
}

/// One damaged window in a segment that is otherwise good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedWindow {
    /// The segment.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// Whose window.
    pub service: String,
    /// When it starts, unix milliseconds.
    pub start_ms: u64,
}

/// All that is damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DamageTotals {
    /// Whole segments.
    pub segments: u64,
    /// Single windows.
    pub windows: u64,
}

impl Catalog {
    /// What is damaged of a service, or of all, among windows that start in the range.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn damage(
        &self,
        service: Option<&str>,
        from_ms: u64,
        until_ms: u64,
    ) -> Result<Vec<Damage>, CatalogError> {
        let rows = sqlx::query(
            "SELECT s.level AS level, s.rolled AS rolled, p.min_ms AS min_ms, p.max_ms AS max_ms
             FROM segments s JOIN segment_services p ON p.segment = s.id
             WHERE s.state = 'quarantined' AND (p.service = $1 OR $1 = '') AND p.max_ms >= $2 AND p.min_ms < $3
             UNION
             SELECT 0 AS level, 0 AS rolled, start_ms AS min_ms, start_ms AS max_ms FROM damaged_windows
             WHERE (service = $1 OR $1 = '') AND start_ms >= $2 AND start_ms < $3",
        )
        // No service has an empty name.
        .bind(service.unwrap_or_default())
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .fetch_all(&self.read)
        .await?;
        let read = |row: &AnyRow| -> Result<Damage, CatalogError> {
            let number = |column| -> Result<u64, CatalogError> { Ok(from_sql(row.try_get::<i64, _>(column)?)) };
            Ok(Damage {
                level: number("level")? as u32,
                rolled: number("rolled")? != 0,
                min_ms: number("min_ms")?,
                max_ms: number("max_ms")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Puts damaged windows on record; those that are there already are fine.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_damage(&self, windows: &[DamagedWindow]) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for window in windows {
            sqlx::query(
                "INSERT INTO damaged_windows (segment, at_byte, service, start_ms) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (segment, at_byte) DO NOTHING",
            )
            .bind(&window.segment)
            .bind(to_sql(window.offset))
            .bind(&window.service)
            .bind(to_sql(window.start_ms))
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// How much is damaged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn damage_totals(&self) -> Result<DamageTotals, CatalogError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM segments WHERE state = 'quarantined') AS segments,
                    (SELECT COUNT(*) FROM damaged_windows) AS windows",
        )
        .fetch_one(&self.read)
        .await?;
        Ok(DamageTotals { segments: from_sql(row.try_get("segments")?), windows: from_sql(row.try_get("windows")?) })
    }

    /// Forgets damage that ended before `before_ms`: had it been good, retention would have let go of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_damage(&self, before_ms: u64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for sql in [
            "DELETE FROM damaged_windows WHERE start_ms < $1",
            "DELETE FROM segment_services WHERE segment IN
             (SELECT id FROM segments WHERE state = 'quarantined' AND max_ms <= $1)",
            "DELETE FROM segment_tables WHERE segment IN
             (SELECT id FROM segments WHERE state = 'quarantined' AND max_ms <= $1)",
            "DELETE FROM segments WHERE state = 'quarantined' AND max_ms <= $1",
        ] {
            sqlx::query(sql).bind(to_sql(before_ms)).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
