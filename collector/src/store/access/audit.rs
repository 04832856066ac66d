//! The audit trail: who did what, from where, and how it ended. The latest [`DEEDS_MAX`] are kept.

use sqlx::Row;

use super::AccessCatalog;
use crate::base::ids::{hex, unique_bytes};
use crate::store::catalog::{CatalogError, from_sql, to_sql};

/// Deeds that are kept: at one a minute, seventy days. The log has them all.
const DEEDS_MAX: u64 = 100_000;

/// Old ones are looked for once in so many.
const TRIM_EVERY: u8 = 64;

/// Something somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Deed {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// Who, such as `token 0f3c… (ci)`.
    pub who: String,
    /// From where.
    pub address: String,
    /// What, such as `DELETE /api/v1/services`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// How it ended: an HTTP status, or `done`.
    pub outcome: String,
    /// In which tenant.
    pub tenant: String,
}

impl AccessCatalog {
    /// Writes a deed down.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note(&self, deed: &Deed) -> Result<(), CatalogError> {
        let drawn = unique_bytes();
        let Deed { at_ms, who, address, action, subject, outcome, tenant } = deed;
        sqlx::query(
            "INSERT INTO access_audit (id, at_ms, who, address, action, subject, outcome, tenant) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(hex(&drawn))
        .bind(to_sql(*at_ms))
        .bind(who)
        .bind(address)
        .bind(action)
        .bind(subject)
        .bind(outcome)
        .bind(tenant)
        .execute(&self.write)
        .await?;
        if drawn[0].is_multiple_of(TRIM_EVERY) {
            self.trim_deeds(DEEDS_MAX).await?;
        }
        Ok(())
    }

    /// Forgets all but the latest `keep`.
    pub(super) async fn trim_deeds(&self, keep: u64) -> Result<(), CatalogError> {
        let query = "DELETE FROM access_audit WHERE at_ms < (SELECT at_ms FROM access_audit ORDER BY at_ms DESC LIMIT 1 OFFSET $1)";
        sqlx::query(query).bind(to_sql(keep.saturating_sub(1))).execute(&self.write).await?;
        Ok(())
    }

    /// The latest deeds, latest first: those in `tenant`, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deeds(&self, tenant: Option<&str>, limit: u32) -> Result<Vec<Deed>, CatalogError> {
        let query = "SELECT at_ms, who, address, action, subject, outcome, tenant FROM access_audit
             WHERE $2 = '' OR tenant = $2 ORDER BY at_ms DESC, id LIMIT $1";
        let query = sqlx::query(query).bind(i64::from(limit)).bind(tenant.unwrap_or_default());
        let rows = query.fetch_all(&self.read).await?;
        let read = |row: &sqlx::any::AnyRow| -> Result<Deed, CatalogError> {
            Ok(Deed {
                at_ms: from_sql(row.try_get("at_ms")?),
                who: row.try_get("who")?,
                address: row.try_get("address")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
                outcome: row.try_get("outcome")?,
                tenant: row.try_get("tenant")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
