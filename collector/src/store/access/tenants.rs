//! Tenants, by name: which there are, and how much each may use. What a name may be is for the floor above.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::AccessCatalog;
use crate::store::catalog::{CatalogError, from_sql, to_sql};

/// Tenants that a collector may have, beside the one that has no row.
pub const TENANTS_MAX: u64 = 1_000;

/// How much a tenant may use; `None`: what the collector's options say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// How long its profiles are kept, milliseconds. Never longer than the collector's own.
    pub retention_ms: Option<u64>,
    /// Bytes a second that it may send, in the long run.
    pub bytes_per_s: Option<u64>,
    /// Instances and label sets of one service that are kept apart.
    pub series: Option<u64>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// When it was created, unix milliseconds.
    pub created_ms: u64,
    /// When it was deleted, if it was: then what is left of it is its folder.
    pub deleted_ms: Option<u64>,
    /// How much it may use.
    pub limits: TenantLimits,
}

/// Why a tenant is not created, or not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// The database failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There are enough.
    #[error(
        "there are {TENANTS_MAX} tenants, and there may be no more: delete those that nobody uses (`tephra tenant list`)"
    )]
    Full,
    /// There is one.
    #[error("there is a tenant {0:?} already")]
    Exists(String),
    /// There was one, and its data is still there.
    #[error(
        "the tenant {0:?} is being deleted: its name is free once its data is gone, which a running `tephra serve --auth` sees to"
    )]
    Leaving(String),
    /// There is none.
    #[error("there is no tenant {0:?}: `tephra tenant list` shows those there are")]
    Unknown(String),
}

impl AccessCatalog {
    /// Creates a tenant, without limits of its own.
    ///
    /// # Errors
    /// When there is one of this name, there are too many, or the database fails.
    pub async fn create_tenant(&self, name: &str, now_ms: u64) -> Result<(), TenantError> {
        let done = sqlx::query(
            "INSERT INTO access_tenants (name, created_ms, deleted_ms, retention_ms, bytes_per_s, series)
             SELECT $1, $2, 0, 0, 0, 0
             WHERE (SELECT COUNT(*) FROM access_tenants) < $3
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(to_sql(now_ms))
        .bind(to_sql(TENANTS_MAX))
        .execute(&self.write)
        .await
        .map_err(CatalogError::from)?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        match self.tenants().await?.into_iter().find(|tenant| tenant.name == name) {
            Some(Tenant { deleted_ms: None, .. }) => Err(TenantError::Exists(name.to_owned())),
            Some(_) => Err(TenantError::Leaving(name.to_owned())),
            None => Err(TenantError::Full),
        }
    }

    /// All tenants by name, also those that are being deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, CatalogError> {
        let query =
            "SELECT name, created_ms, deleted_ms, retention_ms, bytes_per_s, series FROM access_tenants ORDER BY name";
        let rows = sqlx::query(query).fetch_all(&self.read).await?;
        rows.iter().map(read).collect()
    }

    /// Sets all limits of a tenant.
    ///
    /// # Errors
    /// When there is none of this name, or the database fails.
    pub async fn limit_tenant(&self, name: &str, limits: TenantLimits) -> Result<(), TenantError> {
        let TenantLimits { retention_ms, bytes_per_s, series } = limits;
        let done = sqlx::query(
            "UPDATE access_tenants SET retention_ms = $1, bytes_per_s = $2, series = $3 WHERE name = $4 AND deleted_ms = 0",
        )
        .bind(to_sql(retention_ms.unwrap_or(0)))
        .bind(to_sql(bytes_per_s.unwrap_or(0)))
        .bind(to_sql(series.unwrap_or(0)))
        .bind(name)
        .execute(&self.write)
        .await
        .map_err(CatalogError::from)?;
        if done.rows_affected() > 0 { Ok(()) } else { Err(TenantError::Unknown(name.to_owned())) }
    }

    /// Deletes a tenant: its tokens are revoked, and nobody is let in any more. Its data is for whoever has its store.
    ///
    /// # Errors
    /// When there is none of this name, or the database fails.
    pub async fn delete_tenant(&self, name: &str, now_ms: u64) -> Result<(), TenantError> {
        let mut tx = self.write.begin().await.map_err(CatalogError::from)?;
        let mark = sqlx::query("UPDATE access_tenants SET deleted_ms = $1 WHERE name = $2 AND deleted_ms = 0");
        let marked = mark.bind(to_sql(now_ms)).bind(name).execute(&mut *tx).await.map_err(CatalogError::from)?;
        if marked.rows_affected() == 0 {
            return Err(TenantError::Unknown(name.to_owned()));
        }
        let revoke = sqlx::query("UPDATE access_tokens SET revoked_ms = $1 WHERE tenant = $2 AND revoked_ms = 0");
        revoke.bind(to_sql(now_ms)).bind(name).execute(&mut *tx).await.map_err(CatalogError::from)?;
        tx.commit().await.map_err(CatalogError::from)?;
        Ok(())
    }

    /// Forgets a deleted tenant whose data is gone: its name is free.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_tenant(&self, name: &str) -> Result<(), CatalogError> {
        sqlx::query("DELETE FROM access_tenants WHERE name = $1 AND deleted_ms > 0")
            .bind(name)
            .execute(&self.write)
            .await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<Tenant, CatalogError> {
    let number = |name: &str| -> Result<Option<u64>, CatalogError> {
        Ok(Some(from_sql(row.try_get(name)?)).filter(|number| *number > 0))
    };
    Ok(Tenant {
        name: row.try_get("name")?,
        created_ms: from_sql(row.try_get("created_ms")?),
        deleted_ms: number("deleted_ms")?,
        limits: TenantLimits {
            retention_ms: number("retention_ms")?,
            bytes_per_s: number("bytes_per_s")?,
            series: number("series")?,
        },
    })
}
