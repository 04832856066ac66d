//! Deleting by service and by trace. What is deleted is not answered from the same moment on; its bytes go when compaction writes the
//! segments anew that held it, within minutes.

use sqlx::Row;
use tephra_proto::ids::TraceId;

use super::{Catalog, CatalogError, Counters, Tx, to_sql};
use crate::store::compact::levels::TRACES;

impl Catalog {
    /// Deletes all that is stored of a service: profiles of every level, traces, names, events, and pins that show it. Answers how far
    /// the store had come then; `None` when the service was never heard of. What its agents send afterwards is stored as ever.
    ///
    /// # Errors
    /// When the database fails; then nothing is deleted.
    pub(in crate::store) async fn delete_service(
        &self,
        service: &str,
        now_ms: u64,
    ) -> Result<Option<Counters>, CatalogError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query("DELETE FROM services WHERE name = $1").bind(service).execute(&mut *tx).await?;
        for sql in [
            "UPDATE segments SET revision = revision + 1, dirty = 1
             WHERE id IN (SELECT segment FROM segment_services WHERE service = $1)",
            "DELETE FROM segment_services WHERE service = $1",
            "DELETE FROM profile_types WHERE service = $1",
            "DELETE FROM labels WHERE service = $1",
            "DELETE FROM events WHERE service = $1",
            "DELETE FROM damaged_windows WHERE service = $1",
            // What is sent again from now on is no repeat: there is nothing that it would repeat.
            "DELETE FROM arrivals WHERE service = $1",
            "DELETE FROM pins WHERE id IN (SELECT pin FROM pin_ranges WHERE service = $1)",
            "DELETE FROM pin_ranges WHERE pin NOT IN (SELECT id FROM pins)",
            "DELETE FROM pin_levels WHERE pin NOT IN (SELECT id FROM pins)",
        ] {
            let query = sqlx::query(sql);
            let query = if sql.contains("$1") { query.bind(service) } else { query };
            query.execute(&mut *tx).await?;
        }
        // Segments in which nothing counts any more need not be written anew.
        sqlx::query(
            "UPDATE segments SET state = 'dropped', dropped_ms = $1 WHERE state = 'live' AND dirty = 1
             AND NOT EXISTS (SELECT 1 FROM segment_services p WHERE p.segment = segments.id)",
        )
        .bind(to_sql(now_ms))
        .execute(&mut *tx)
        .await?;
        if known.rows_affected() == 0 {
            return Ok(None);
        }
        let counters = super::counters::count_deletion(&mut tx).await?;
        // While nobody else can write.
        self.written.forget();
        tx.commit().await?;
        Ok(Some(counters))
    }

    /// Deletes what carries a trace id: its samples lose their trace, its spans are gone. What they add to the profiles of their
    /// services stays. `holders` are the compacted segments that hold it. Answers how far the store had come then.
    ///
    /// # Errors
    /// When the database fails; then nothing is deleted.
    pub(in crate::store) async fn delete_trace(
        &self,
        trace_id: &TraceId,
        holders: &[String],
        now_ms: u64,
    ) -> Result<Counters, CatalogError> {
        let mut tx = self.begin().await?;
        remember(&mut tx, trace_id, now_ms).await?;
        // A compaction that is under way has not heard of it: it finds the revision changed, and starts again.
        sqlx::query(
            "UPDATE segments SET revision = revision + 1 WHERE state = 'live' AND traces > 0 AND level IN (0, $1)",
        )
        .bind(i64::from(TRACES))
        .execute(&mut *tx)
        .await?;
        for id in holders {
            sqlx::query("UPDATE segments SET dirty = 1 WHERE id = $1").bind(id).execute(&mut *tx).await?;
        }
        let counters = super::counters::count_deletion(&mut tx).await?;
        tx.commit().await?;
        Ok(counters)
    }

    /// Listed segments of traces.
    ///
    /// # Errors
    /// When the database fails.
    pub(in crate::store) async fn trace_segments(&self) -> Result<Vec<String>, CatalogError> {
        let rows = sqlx::query("SELECT id FROM segments WHERE state = 'live' AND level = $1")
            .bind(i64::from(TRACES))
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// Forgets deleted traces that nothing stored can carry any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_deleted_traces(&self, before_ms: u64) -> Result<(), CatalogError> {
        sqlx::query("DELETE FROM deleted_traces WHERE at_ms < $1").bind(to_sql(before_ms)).execute(&self.write).await?;
        Ok(())
    }
}

/// Notes that a trace was deleted.
pub(super) async fn remember(tx: &mut Tx, trace_id: &TraceId, at_ms: u64) -> Result<(), CatalogError> {
    sqlx::query("INSERT INTO deleted_traces (trace_id, at_ms) VALUES ($1, $2) ON CONFLICT (trace_id) DO NOTHING")
        .bind(trace_id.to_string())
        .bind(to_sql(at_ms))
        .execute(&mut **tx)
        .await?;
    Ok(())
}
