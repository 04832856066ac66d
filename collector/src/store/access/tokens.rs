//! Tokens, by id. A revoked one stays, so that its name in the audit trail means something.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::AccessCatalog;
use crate::base::ids::{hex, unhex};
use crate::store::catalog::{CatalogError, from_sql, to_sql};

/// Tokens in force that a store may have.
pub const TOKENS_MAX: u64 = 10_000;

/// Characters of a note.
const NOTE_CHARS_MAX: usize = 120;

/// One to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Which one it is.
    pub id: String,
    /// SHA-256 of its secret.
    pub digest: [u8; 32],
    /// What it grants, in a word.
    pub role: String,
    /// Whose it is: the name of a tenant.
    pub tenant: String,
    /// What it is for; may be empty.
    pub note: String,
    /// Unix milliseconds; `None`: it does not expire.
    pub expires_ms: Option<u64>,
}

/// One that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedToken {
    /// Which one it is.
    pub id: String,
    /// SHA-256 of its secret.
    pub digest: [u8; 32],
    /// What it grants, in a word.
    pub role: String,
    /// Whose it is: the name of a tenant.
    pub tenant: String,
    /// What it is for; may be empty.
    pub note: String,
    /// When it was created, unix milliseconds.
    pub created_ms: u64,
    /// When it expires; `None`: it does not.
    pub expires_ms: Option<u64>,
    /// When it was revoked, if it was.
    pub revoked_ms: Option<u64>,
}

/// Why a token is not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The database failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There are enough.
    #[error(
        "there are {TOKENS_MAX} tokens, and there may be no more: revoke those that nobody uses (`tephra token list`)"
    )]
    Full,
    /// The note does not fit.
    #[error("the note has {0} characters, and may have {NOTE_CHARS_MAX}")]
    Note(usize),
    /// Nobody to give it to.
    #[error("there is no tenant {0:?}: `tephra tenant list` shows those there are, `tephra tenant create` makes one")]
    NoTenant(String),
}

const COLUMNS: &str = "id, digest, role, tenant, note, created_ms, expires_ms, revoked_ms";

impl AccessCatalog {
    /// Creates a token.
    ///
    /// # Errors
    /// When there are too many, there is no such tenant, the note is too long, or the database fails.
    pub async fn create_token(&self, token: &NewToken, now_ms: u64) -> Result<(), TokenError> {
        let chars = token.note.chars().count();
        if chars > NOTE_CHARS_MAX {
            return Err(TokenError::Note(chars));
        }
        let NewToken { id, digest, role, tenant, note, expires_ms } = token;
        let done = sqlx::query(
            "INSERT INTO access_tokens (id, digest, role, note, created_ms, expires_ms, revoked_ms, tenant)
             SELECT $1, $2, $3, $4, $5, $6, 0, $8
             WHERE (SELECT COUNT(*) FROM access_tokens WHERE revoked_ms = 0) < $7
               AND ($8 = 'default' OR EXISTS (SELECT 1 FROM access_tenants WHERE name = $8 AND deleted_ms = 0))",
        )
        .bind(id)
        .bind(hex(digest))
        .bind(role)
        .bind(note)
        .bind(to_sql(now_ms))
        .bind(to_sql(expires_ms.unwrap_or(0)))
        .bind(to_sql(TOKENS_MAX))
        .bind(tenant)
        .execute(&self.write)
        .await
        .map_err(CatalogError::from)?;
        if done.rows_affected() > 0 {
            return Ok(());
        }
        let there_is = self.tenants().await?.iter().any(|known| known.name == *tenant && known.deleted_ms.is_none());
        if there_is || tenant == "default" { Err(TokenError::Full) } else { Err(TokenError::NoTenant(tenant.clone())) }
    }

    /// All tokens, revoked ones too, the newest first.
    ///
    /// # Errors
    /// When the database fails, or holds what this release does not understand.
    pub async fn tokens(&self) -> Result<Vec<GrantedToken>, CatalogError> {
        let query = format!("SELECT {COLUMNS} FROM access_tokens ORDER BY created_ms DESC, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&self.read).await?;
        rows.iter().map(read).collect()
    }

    /// Those that were not revoked; some may have expired.
    ///
    /// # Errors
    /// When the database fails, or holds what this release does not understand.
    pub async fn tokens_in_force(&self) -> Result<Vec<GrantedToken>, CatalogError> {
        let query = format!("SELECT {COLUMNS} FROM access_tokens WHERE revoked_ms = 0 LIMIT {TOKENS_MAX}");
        let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&self.read).await?;
        rows.iter().map(read).collect()
    }

    /// Revokes a token; `false` where none of this id is in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(&self, id: &str, now_ms: u64) -> Result<bool, CatalogError> {
        let query = sqlx::query("UPDATE access_tokens SET revoked_ms = $1 WHERE id = $2 AND revoked_ms = 0");
        let done = query.bind(to_sql(now_ms)).bind(id).execute(&self.write).await?;
        Ok(done.rows_affected() > 0)
    }
}

fn read(row: &AnyRow) -> Result<GrantedToken, CatalogError> {
    let digest: String = row.try_get("digest")?;
    let bytes = unhex(&digest).and_then(|bytes| bytes.try_into().ok());
    let time = |name: &str| -> Result<Option<u64>, CatalogError> {
        Ok(Some(from_sql(row.try_get(name)?)).filter(|ms| *ms > 0))
    };
    Ok(GrantedToken {
        id: row.try_get("id")?,
        digest: bytes.ok_or(CatalogError::Corrupt { what: "access_tokens.digest", value: digest })?,
        role: row.try_get("role")?,
        tenant: row.try_get("tenant")?,
        note: row.try_get("note")?,
        created_ms: from_sql(row.try_get("created_ms")?),
        expires_ms: time("expires_ms")?,
        revoked_ms: time("revoked_ms")?,
    })
}
