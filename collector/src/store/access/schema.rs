//! The tables of the access catalog, as the steps that lead to them: see [`crate::store::migrations`] for what a step may be.

use crate::store::catalog::{self, Catalog, CatalogError};

const STEPS: &[&[&str]] = &[FIRST, TENANTS];

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

const TENANTS: &[&str] = &[
    // Numbers that are 0 are not set.
    "CREATE TABLE access_tenants (
        name TEXT PRIMARY KEY,
        created_ms BIGINT NOT NULL,
        deleted_ms BIGINT NOT NULL,
        retention_ms BIGINT NOT NULL,
        bytes_per_s BIGINT NOT NULL,
        series BIGINT NOT NULL
    )",
    "ALTER TABLE access_tokens ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE access_audit ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default'",
];

/// Brings the tables up to date.
pub(super) async fn migrate(database: &Catalog) -> Result<(), CatalogError> {
    catalog::migrate(database, "access_schema_version", STEPS).await
}
