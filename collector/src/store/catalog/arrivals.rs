//! What came lately by doors whose senders number nothing: a body that comes again is known by its content.
//!
//! An agent says by its sequence numbers what is a repeat. Other clients send the same bytes again after an answer that was lost. So a key of
//! each window that came from them, made of its service, labels, time and content, is kept for ten minutes, and is written in the commit
//! of the window itself.

use std::collections::HashSet;

use sqlx::Row;

use super::{Catalog, CatalogError, Tx, to_sql};
use crate::base::ids::hex;

/// Names a window by its content.
pub type ContentKey = [u8; 16];

/// How long a repeat is known as one, milliseconds.
pub const ARRIVALS_REMEMBERED_MS: u64 = 600_000;

/// Keys of one statement: what every database takes as parameters.
const KEYS_PER_STATEMENT: usize = 256;

/// The keys of windows that are committed, and since when keys count.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    /// No key twice; each with its service, with which it is deleted.
    pub keys: Vec<(ContentKey, String)>,
    /// Unix milliseconds.
    pub since_ms: u64,
}

impl Catalog {
    /// Which of these came since `since_ms`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn arrived(&self, keys: &[ContentKey], since_ms: u64) -> Result<HashSet<ContentKey>, CatalogError> {
        let mut known = HashSet::new();
        for chunk in keys.chunks(KEYS_PER_STATEMENT) {
            let places: Vec<String> = (2..chunk.len() + 2).map(|i| format!("${i}")).collect();
            let sql = format!("SELECT key FROM arrivals WHERE at_ms >= $1 AND key IN ({})", places.join(", "));
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(to_sql(since_ms));
            let query = chunk.iter().fold(query, |query, key| query.bind(hex(key)));
            let rows = query.fetch_all(&self.write).await?;
            let found = rows.iter().map(|row| row.try_get("key")).collect::<Result<HashSet<String>, _>>()?;
            known.extend(chunk.iter().filter(|key| found.contains(&hex(*key))));
        }
        Ok(known)
    }
}

/// Writes keys down, and forgets those of before. `false`: somebody else has written one of them meanwhile.
pub(super) async fn save(tx: &mut Tx, arrivals: &Arrivals, now_ms: u64) -> Result<bool, CatalogError> {
    if arrivals.keys.is_empty() {
        return Ok(true);
    }
    let forget = "DELETE FROM arrivals WHERE at_ms < $1";
    sqlx::query(forget).bind(to_sql(arrivals.since_ms)).execute(&mut **tx).await?;
    let mut keys = arrivals.keys.clone();
    // In the same order by everybody, so that nobody waits in a circle.
    keys.sort_unstable();
    for chunk in keys.chunks(KEYS_PER_STATEMENT) {
        let places: Vec<String> = (1..=chunk.len()).map(|i| format!("(${}, ${}, $1)", 2 * i, 2 * i + 1)).collect();
        let rows = places.join(", ");
        let sql = format!("INSERT INTO arrivals (key, service, at_ms) VALUES {rows} ON CONFLICT DO NOTHING");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(to_sql(now_ms));
        let query = chunk.iter().fold(query, |query, (key, service)| query.bind(hex(key)).bind(service));
        if query.execute(&mut **tx).await?.rows_affected() != chunk.len() as u64 {
            return Ok(false);
        }
    }
    Ok(true)
}
