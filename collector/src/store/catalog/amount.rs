//! How much there is of something that people keep.

use sqlx::Row;

use super::{Catalog, CatalogError, from_sql};

/// Rows, and what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// How many rows.
    pub count: u64,
    /// Bytes of all of them, about.
    pub bytes: u64,
}

impl Amount {
    /// What any row takes beside its text: ids, times, indexes.
    pub(super) const ROW: u64 = 200;
}

impl Catalog {
    /// What a statement counts as `n` rows of `bytes`.
    pub(super) async fn amount(&self, sql: &'static str) -> Result<Amount, CatalogError> {
        let row = sqlx::query(sql).fetch_one(&self.read).await?;
        let count = from_sql(row.try_get("n")?);
        Ok(Amount { count, bytes: from_sql(row.try_get("bytes")?).saturating_add(count.saturating_mul(Amount::ROW)) })
    }
}
