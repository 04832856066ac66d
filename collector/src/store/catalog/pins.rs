//! Pins: saved views, whose data retention cannot delete.

use sqlx::Row;

use super::{Catalog, CatalogError, fresh_id, from_sql, to_sql};

/// A view to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    /// Path and query of the view, such as `/diff?…`.
    pub url: String,
    /// A line for people, or empty.
    pub note: String,
    /// What was computed when it was made, as JSON; or empty.
    pub answer: String,
    /// Until when it is kept, unix milliseconds; `u64::MAX`: for ever.
    pub expires_ms: u64,
    /// The data it needs.
    pub ranges: Vec<PinRange>,
}

/// Data that a pin keeps from being dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRange {
    /// Of this service.
    pub service: String,
    /// From here, unix milliseconds.
    pub from_ms: u64,
    /// To here, exclusive.
    pub until_ms: u64,
}

/// A stored pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its id, as in `/p/{id}`.
    pub id: String,
    /// When it was made, unix milliseconds.
    pub created_ms: u64,
    /// What it keeps.
    pub pin: NewPin,
}

impl Catalog {
    /// Stores a pin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_pin(&self, pin: NewPin, now_ms: u64) -> Result<Pin, CatalogError> {
        let id = fresh_id();
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO pins (id, url, note, answer, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(&id)
            .bind(&pin.url)
            .bind(&pin.note)
            .bind(&pin.answer)
            .bind(to_sql(now_ms))
            .bind(to_sql(pin.expires_ms))
            .execute(&mut *tx)
            .await?;
        for range in &pin.ranges {
            sqlx::query("INSERT INTO pin_ranges (pin, service, from_ms, until_ms) VALUES ($1, $2, $3, $4)")
                .bind(&id)
                .bind(&range.service)
                .bind(to_sql(range.from_ms))
                .bind(to_sql(range.until_ms))
                .execute(&mut *tx)
                .await?;
            super::levels::pin_levels(&mut tx, &id, &range.service, range.from_ms, range.until_ms).await?;
        }
        tx.commit().await?;
        Ok(Pin { id, created_ms: now_ms, pin })
    }

    /// One pin by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pin(&self, id: &str) -> Result<Option<Pin>, CatalogError> {
        let row = sqlx::query("SELECT url, note, answer, created_ms, expires_ms FROM pins WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let ranges = sqlx::query("SELECT service, from_ms, until_ms FROM pin_ranges WHERE pin = $1 ORDER BY from_ms")
            .bind(id)
            .fetch_all(&self.read)
            .await?;
        let mut pin = NewPin {
            url: row.try_get("url")?,
            note: row.try_get("note")?,
            answer: row.try_get("answer")?,
            expires_ms: from_sql(row.try_get("expires_ms")?),
            ranges: Vec::with_capacity(ranges.len()),
        };
        for range in ranges {
            pin.ranges.push(PinRange {
                service: range.try_get("service")?,
                from_ms: from_sql(range.try_get("from_ms")?),
                until_ms: from_sql(range.try_get("until_ms")?),
            });
        }
        Ok(Some(Pin { id: id.to_owned(), created_ms: from_sql(row.try_get("created_ms")?), pin }))
    }

    /// Removes pins whose time is over: what they kept may then be dropped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn drop_expired_pins(&self, now_ms: u64) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM pin_levels WHERE pin IN (SELECT id FROM pins WHERE expires_ms < $1)")
            .bind(to_sql(now_ms))
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM pin_ranges WHERE pin IN (SELECT id FROM pins WHERE expires_ms < $1)")
            .bind(to_sql(now_ms))
            .execute(&mut *tx)
            .await?;
        let dropped =
            sqlx::query("DELETE FROM pins WHERE expires_ms < $1").bind(to_sql(now_ms)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(dropped.rows_affected())
    }
}
