//! The tables of the access catalog, as the steps that lead to them: see [`crate::store::migrations`] for what a step may be.

use sqlx::Row;

use crate::store::catalog::{Catalog, CatalogError, LOCK_SCHEMA};

const STEPS: &[&[&str]] = &[FIRST];

const FIRST: &[&str] = &[
    // `digest` is SHA-256 of the secret, in hexadecimal. Times are unix milliseconds, 0: never.
    "CREATE TABLE access_tokens (
        id TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        role TEXT NOT NULL,
        note TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        expires_ms BIGINT NOT NULL,
        revoked_ms BIGINT NOT NULL
    )",
    "CREATE TABLE access_audit (
        id TEXT PRIMARY KEY,
        at_ms BIGINT NOT NULL,
        who TEXT NOT NULL,
        address TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        outcome TEXT NOT NULL
    )",
    "CREATE INDEX access_audit_by_time ON access_audit (at_ms)",
];

/// Brings the tables up to date.
pub(super) async fn migrate(database: &Catalog) -> Result<(), CatalogError> {
    let mut tx = database.begin().await?;
    if database.is_shared() {
        sqlx::query(LOCK_SCHEMA).execute(&mut *tx).await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS access_schema_version (version BIGINT NOT NULL)").execute(&mut *tx).await?;
    let found = sqlx::query("SELECT MAX(version) AS version FROM access_schema_version").fetch_one(&mut *tx).await?;
    let found: i64 = found.try_get::<Option<i64>, _>("version")?.unwrap_or(0);
    let known = STEPS.len() as i64;
    if found > known || found < 0 {
        return Err(CatalogError::TooNew { found, known });
    }
    for (i, step) in STEPS.iter().enumerate().skip(found as usize) {
        for statement in *step {
            sqlx::query(*statement).execute(&mut *tx).await?;
        }
        let version = i as i64 + 1;
        sqlx::query("INSERT INTO access_schema_version (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
