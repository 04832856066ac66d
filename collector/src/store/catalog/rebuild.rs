//! Fills an empty catalog with what was found in segments.

use tephra_proto::ids::TraceId;

use super::agents::{self, AgentUpdate};
use super::{
    Catalog, CatalogError, Counters, NewSegment, SegmentRow, ServiceSpan, Tx, counters, names, partition, segments,
};

/// All rows of a catalog, as the segments tell them.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The store's id.
    pub(crate) store: String,
    /// The highest numbers that were given to commits and deletions.
    pub(crate) counters: Counters,
    /// Arrived segments, and what they hold of which service.
    pub(crate) arrived: Vec<(SegmentRow, Vec<ServiceSpan>)>,
    /// Compacted ones; true: something in it was deleted, so it is to be written anew.
    pub(crate) compacted: Vec<(NewSegment, bool)>,
    /// What compacted ones name.
    pub(crate) names: Vec<ServiceSpan>,
    /// Agents, with when they were last heard of, unix milliseconds.
    pub(crate) agents: Vec<(AgentUpdate, u64)>,
    /// From when on levels are complete.
    pub(crate) horizons: Vec<(u32, u64)>,
    /// Deleted traces, with when they were.
    pub(crate) deleted_traces: Vec<(TraceId, u64)>,
}

impl Catalog {
    /// Fills it, in one transaction.
    ///
    /// # Errors
    /// When the database fails; then it is as empty as before.
    pub(crate) async fn fill(&self, contents: &Contents, now_ms: u64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ('store_id', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(&contents.store)
        .execute(&mut *tx)
        .await?;
        counters::raise(&mut tx, "commits", contents.counters.commits).await?;
        counters::raise(&mut tx, "deletions", contents.counters.deletions).await?;
        for (segment, services) in &contents.arrived {
            segments::insert_row(&mut tx, segment, false, now_ms).await?;
            let parts: Vec<_> = services.iter().map(ServiceSpan::part).collect();
            segments::add_services(&mut tx, &segment.id, &parts).await?;
            for span in services {
                names::remember(&mut tx, span, true).await?;
            }
        }
        for (segment, dirty) in &contents.compacted {
            partition::insert(&mut tx, segment, now_ms).await?;
            if *dirty {
                set_dirty(&mut tx, &segment.segment.id).await?;
            }
        }
        for span in &contents.names {
            names::remember(&mut tx, span, true).await?;
        }
        for (agent, seen_ms) in &contents.agents {
            agents::save(&mut tx, agent, *seen_ms).await?;
        }
        for (level, from_ms) in &contents.horizons {
            partition::raise_horizon(&mut tx, *level, *from_ms).await?;
        }
        for (trace_id, at_ms) in &contents.deleted_traces {
            super::deletions::remember(&mut tx, trace_id, *at_ms).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

async fn set_dirty(tx: &mut Tx, segment: &str) -> Result<(), CatalogError> {
    sqlx::query("UPDATE segments SET dirty = 1 WHERE id = $1").bind(segment).execute(&mut **tx).await?;
    Ok(())
}
