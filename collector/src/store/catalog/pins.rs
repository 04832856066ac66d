//! Pins: saved views, whose data retention cannot delete.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Amount, Catalog, CatalogError, fresh_id, from_sql, to_sql};

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
    /// The service whose windows are kept.
    pub service: String,
    /// From here, unix milliseconds.
    pub from_ms: u64,
    /// To here, exclusive.
    pub until_ms: u64,
}

impl NewPin {
    /// What it takes in the catalog, about.
    pub fn bytes(&self) -> u64 {
        (self.url.len() + self.note.len() + self.answer.len()) as u64 + Amount::ROW
    }
}

/// A stored pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Its id, as in `/p/{id}`.
    pub id: String,
    /// When it was made, unix milliseconds.
    pub created_ms: u64,
    /// The ranges of windows that retention leaves alone for it.
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
            super::partition::pin_levels(&mut tx, &id, &range.service, range.from_ms, range.until_ms).await?;
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

    /// The newest pins that were made from `from_ms` (inclusive) to `until_ms` (exclusive), without their ranges and answers; at most 1000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pins(&self, from_ms: u64, until_ms: u64) -> Result<Vec<Pin>, CatalogError> {
        let rows = sqlx::query(
            "SELECT id, url, note, created_ms, expires_ms FROM pins
             WHERE created_ms >= $1 AND created_ms < $2 ORDER BY created_ms DESC, id LIMIT 1000",
        )
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .fetch_all(&self.read)
        .await?;
        let read = |row: &AnyRow| {
            let pin = NewPin {
                url: row.try_get("url")?,
                note: row.try_get("note")?,
                answer: String::new(),
                expires_ms: from_sql(row.try_get("expires_ms")?),
                ranges: Vec::new(),
            };
            Ok(Pin { id: row.try_get("id")?, created_ms: from_sql(row.try_get("created_ms")?), pin })
        };
        rows.iter().map(read).collect()
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn amount_of_pins(&self) -> Result<Amount, CatalogError> {
        self.amount(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(LENGTH(url) + LENGTH(note) + LENGTH(answer)), 0) AS BIGINT) AS bytes
             FROM pins",
        )
        .await
    }

    /// Deletes a pin; false when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_pin(&self, id: &str) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        for sql in ["DELETE FROM pin_levels WHERE pin = $1", "DELETE FROM pin_ranges WHERE pin = $1"] {
            sqlx::query(sql).bind(id).execute(&mut *tx).await?;
        }
        let deleted = sqlx::query("DELETE FROM pins WHERE id = $1").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(deleted.rows_affected() > 0)
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
