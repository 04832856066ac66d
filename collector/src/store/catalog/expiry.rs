//! How far retention has come, and what is old enough to be asked about.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, from_sql, to_sql};

/// A live segment that retention may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aging {
    /// See [`super::SegmentRow::level`].
    pub level: u32,
    /// Its content is in the next level too.
    pub rolled: bool,
    /// End of its last window, unix milliseconds.
    pub max_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// The last moments that what is stored tells of, unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// End of the newest window.
    pub window_end_ms: u64,
    /// When the last segment was listed.
    pub commit_ms: u64,
}

/// Under this name the settings hold how far retention has come.
const PROGRESS: &str = "retention";

impl Catalog {
    /// Live segments that ended before `before_ms` and that no pin holds.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aging(&self, before_ms: u64) -> Result<Vec<Aging>, CatalogError> {
        let rows = sqlx::query(
            "SELECT level, rolled, max_ms, bytes FROM segments WHERE state = 'live' AND max_ms <= $1
             AND NOT EXISTS (SELECT 1 FROM segment_services p JOIN pin_ranges r ON r.service = p.service
                             WHERE p.segment = segments.id AND r.from_ms <= p.max_ms AND r.until_ms > p.min_ms)",
        )
        .bind(to_sql(before_ms))
        .fetch_all(&self.read)
        .await?;
        let read = |row: &AnyRow| -> Result<Aging, CatalogError> {
            Ok(Aging {
                level: from_sql(row.try_get("level")?) as u32,
                rolled: from_sql(row.try_get("rolled")?) != 0,
                max_ms: from_sql(row.try_get("max_ms")?),
                bytes: from_sql(row.try_get("bytes")?),
            })
        };
        rows.iter().map(read).collect()
    }

    /// The last moments that what is stored tells of. `None` when nothing is stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest(&self) -> Result<Option<Newest>, CatalogError> {
        let row = sqlx::query("SELECT MAX(max_ms) AS data, MAX(created_ms) AS made FROM segments WHERE state = 'live'")
            .fetch_one(&self.read)
            .await?;
        let (data, made): (Option<i64>, Option<i64>) = (row.try_get("data")?, row.try_get("made")?);
        Ok(data.zip(made).map(|(data, made)| Newest { window_end_ms: from_sql(data), commit_ms: from_sql(made) }))
    }

    /// How far retention has come, as [`Catalog::save_retention`] was told last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retention(&self) -> Result<Option<String>, CatalogError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(PROGRESS);
        let row = row.fetch_optional(&self.read).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// Remembers how far retention has come, unless something else is remembered by now than `before`, which [`Self::retention`] answered.
    /// Answers whether it did.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save_retention(&self, progress: &str, before: Option<&str>) -> Result<bool, CatalogError> {
        let saved = match before {
            Some(before) => sqlx::query("UPDATE settings SET value = $2 WHERE name = $1 AND value = $3")
                .bind(PROGRESS)
                .bind(progress)
                .bind(before),
            None => sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(PROGRESS)
                .bind(progress),
        };
        Ok(saved.execute(&self.write).await?.rows_affected() > 0)
    }
}
