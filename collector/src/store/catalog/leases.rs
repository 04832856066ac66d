//! Leases: which collector does a background job, with a fencing token, so that one that was slow cannot spoil the work of the next.
//!
//! Time only decides who may try: clocks may differ, and a process may sleep for an hour between two instructions. What keeps
//! a job right is [`Lease::guard`], inside the very transaction that changes something.

use std::time::Duration;

use sqlx::Row;

use super::{Catalog, CatalogError, Tx, fresh_id, from_sql, to_sql};
use crate::base::clock::now_ms;

/// The right to do one job, until it is given back, runs out, or is taken over after that.
#[derive(Debug, Clone)]
pub struct Lease {
    catalog: Catalog,
    name: String,
    token: u64,
}

impl Catalog {
    /// Takes the job `name` for `ttl`; `None` while another has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease(&self, name: &str, ttl: Duration) -> Result<Option<Lease>, CatalogError> {
        self.lease_at(name, ttl, now_ms()).await
    }

    pub(super) async fn lease_at(&self, name: &str, ttl: Duration, now_ms: u64) -> Result<Option<Lease>, CatalogError> {
        // The owner is for people who look at the table; the token is what counts.
        let owner = format!("{}-{}", std::process::id(), fresh_id());
        let taken = sqlx::query(
            "INSERT INTO leases (name, owner, token, until_ms) VALUES ($1, $2, 1, $3)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, token = leases.token + 1, until_ms = excluded.until_ms
             WHERE leases.until_ms <= $4 RETURNING token",
        )
        .bind(name)
        .bind(owner)
        .bind(to_sql(now_ms + ttl.as_millis() as u64))
        .bind(to_sql(now_ms))
        .fetch_optional(&self.write)
        .await?;
        let Some(row) = taken else { return Ok(None) };
        Ok(Some(Lease { catalog: self.clone(), name: name.to_owned(), token: from_sql(row.try_get("token")?) }))
    }
}

impl Lease {
    /// The fencing token: each owner's is greater than those of all before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Makes sure, inside `tx`, that nobody has taken the lease over, and that nobody can until `tx` ends.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`]; then `tx` must be rolled back.
    pub async fn guard(&self, tx: &mut Tx) -> Result<(), CatalogError> {
        let held = sqlx::query("UPDATE leases SET until_ms = until_ms WHERE name = $1 AND token = $2")
            .bind(&self.name)
            .bind(to_sql(self.token))
            .execute(&mut **tx)
            .await?;
        self.held(held.rows_affected())
    }

    /// Keeps the lease for another `ttl` from now.
    ///
    /// # Errors
    /// [`CatalogError::LeaseLost`] when somebody else has it.
    pub async fn renew(&self, ttl: Duration) -> Result<(), CatalogError> {
        let until = now_ms() + ttl.as_millis() as u64;
        let renewed = sqlx::query("UPDATE leases SET until_ms = $3 WHERE name = $1 AND token = $2")
            .bind(&self.name)
            .bind(to_sql(self.token))
            .bind(to_sql(until))
            .execute(&self.catalog.write)
            .await?;
        self.held(renewed.rows_affected())
    }

    /// Gives it back, so that others need not wait for its end.
    ///
    /// # Errors
    /// When the database fails; then it runs out by itself.
    pub async fn release(self) -> Result<(), CatalogError> {
        sqlx::query("UPDATE leases SET until_ms = 0 WHERE name = $1 AND token = $2")
            .bind(&self.name)
            .bind(to_sql(self.token))
            .execute(&self.catalog.write)
            .await?;
        Ok(())
    }

    fn held(&self, rows: u64) -> Result<(), CatalogError> {
        if rows == 1 { Ok(()) } else { Err(CatalogError::LeaseLost { name: self.name.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::catalog::Location;

    const TTL: Duration = Duration::from_secs(60);

    async fn catalog(dir: &tempfile::TempDir) -> Catalog {
        Catalog::connect(&Location::File(dir.path().join("catalog.sqlite"))).await.unwrap()
    }

    #[tokio::test]
    async fn one_of_two_has_the_lease_until_it_ends_or_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(&dir).await;
        let first = catalog.lease("compact", TTL).await.unwrap().unwrap();
        assert!(catalog.lease("compact", TTL).await.unwrap().is_none());
        assert!(catalog.lease("retain", TTL).await.unwrap().is_some(), "another job is another lease");
        first.renew(TTL).await.unwrap();
        let token = first.token();
        first.release().await.unwrap();
        assert!(catalog.lease("compact", TTL).await.unwrap().unwrap().token() > token);
    }

    /// The first owner slept through its lease, and wakes up with its work half done.
    #[tokio::test]
    async fn whoever_slept_through_the_end_of_a_lease_changes_nothing_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(&dir).await;
        let slow = catalog.lease("compact", TTL).await.unwrap().unwrap();
        let later = now_ms() + 2 * TTL.as_millis() as u64;
        let next = catalog.lease_at("compact", TTL, later).await.unwrap().unwrap();
        assert!(next.token() > slow.token());

        let swap = async |lease: &Lease, service: &str| -> Result<(), CatalogError> {
            let mut tx = catalog.begin().await?;
            sqlx::query("INSERT INTO services (name, first_seen_ms, last_seen_ms) VALUES ($1, 0, 0)")
                .bind(service)
                .execute(&mut *tx)
                .await?;
            lease.guard(&mut tx).await?;
            Ok(tx.commit().await?)
        };
        assert!(matches!(swap(&slow, "slow").await, Err(CatalogError::LeaseLost { .. })));
        swap(&next, "next").await.unwrap();
        assert!(matches!(slow.renew(TTL).await, Err(CatalogError::LeaseLost { .. })));
        // Giving back what one no longer has takes nothing from the one who has it.
        slow.release().await.unwrap();
        next.renew(TTL).await.unwrap();
        let names: Vec<_> = catalog.services().await.unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["next"]);
    }
}
