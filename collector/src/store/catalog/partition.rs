//! Compacted segments in the catalog: what a query may read, and the exchange of segments for others with the same content.
//!
//! The live segments of a service form a partition at every level: those of the level itself, and those of finer levels that
//! were not rolled up yet. One transaction moves data from one segment to another, so the partition holds at any moment.

use std::collections::{HashMap, HashSet};

use sqlx::Row;
use sqlx::any::AnyRow;
use tephra_proto::ids::TraceId;

use super::segments::{ServicePart, add_services, insert_row, read_segment};
use super::{Catalog, CatalogError, Lease, SegmentRow, Tx, from_sql, is_conflict, to_sql};
use crate::base::range::TimeRange;
use crate::store::compact::levels::{HORIZON_MS, LEVELS, TRACES};

/// A live segment, with what compaction and queries need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelSegment {
    /// The segment.
    pub segment: SegmentRow,
    /// Its content is also in a segment of the next level.
    pub rolled: bool,
    /// Counts changes of what of it counts.
    pub revision: u64,
    /// Something in it was deleted: it is to be written anew.
    pub dirty: bool,
    /// Its Parquet tables; none for level 0.
    pub tables: Vec<TableObject>,
    /// Services whose data in it counts, by name.
    pub services: Vec<String>,
}

/// One Parquet table of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableObject {
    /// `samples`, `stacks`, …
    pub name: String,
    /// The object's name.
    pub object: String,
    /// Size of the object, bytes.
    pub bytes: u64,
    /// Where its pages end and its footer begins, bytes from its start.
    pub data_bytes: u64,
    /// CRC-32 of the footer.
    pub crc: u32,
}

/// A segment that compaction wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSegment {
    /// The segment.
    pub segment: SegmentRow,
    /// Its content is in the next level too.
    pub rolled: bool,
    /// Its tables.
    pub tables: Vec<TableObject>,
    /// What it holds of which service.
    pub services: Vec<ServicePart>,
}

/// What happens to the segments that others were made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inputs {
    /// They are unlisted: the new ones hold the same.
    Replace,
    /// They stay, and count as rolled up: the new ones hold the same in coarser windows.
    Roll,
}

/// An exchange of segments.
#[derive(Debug, Clone)]
pub struct Swap {
    /// Segments that were read, as (id, revision).
    pub inputs: Vec<(String, u64)>,
    /// What becomes of the segments that were read.
    pub then: Inputs,
    /// What was made of them.
    pub outputs: Vec<NewSegment>,
    /// When, unix milliseconds.
    pub now_ms: u64,
    /// The job it is done for: whoever has lost it changes nothing.
    pub lease: Option<Lease>,
}

/// From when on a service has all windows of a level, and where a pin keeps older ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Horizons {
    /// Level → unix milliseconds.
    from_ms: HashMap<u32, u64>,
    /// Level → ranges that pins keep.
    pinned: HashMap<u32, Vec<TimeRange>>,
}

impl Horizons {
    /// Horizons as (level, unix ms), and ranges that pins keep, by level.
    pub fn with(
        from_ms: impl IntoIterator<Item = (u32, u64)>,
        pinned: impl IntoIterator<Item = (u32, TimeRange)>,
    ) -> Self {
        let mut horizons = Self { from_ms: from_ms.into_iter().collect(), pinned: HashMap::new() };
        for (level, range) in pinned {
            horizons.pinned.entry(level).or_default().push(range);
        }
        horizons
    }

    /// The first moment after this one from which another level may be complete, or no longer; `None` when nothing changes any more.
    pub fn next_change(&self, after_ms: u64) -> Option<u64> {
        let pinned = self.pinned.values().flatten().flat_map(|range| [range.from_ms, range.until_ms]);
        pinned.chain(self.from_ms.values().copied()).filter(|at_ms| *at_ms > after_ms).min()
    }

    /// True when all windows of `level` that start at `at_ms` are there.
    pub fn complete(&self, level: u32, at_ms: u64) -> bool {
        let kept = |ranges: &Vec<TimeRange>| ranges.iter().any(|range| range.contains(at_ms));
        at_ms >= self.from_ms.get(&level).copied().unwrap_or(0) || self.pinned.get(&level).is_some_and(kept)
    }
}

const COLUMNS: &str =
    "s.id, s.level, s.min_ms, s.max_ms, s.bytes, s.crc, s.windows, s.samples, s.traces, s.rolled, s.revision, s.dirty";

impl Catalog {
    /// Exchanges segments in one transaction. Answers false, and changes nothing, when any input is no longer what was read:
    /// so no two compactions ever count the same data twice.
    ///
    /// # Errors
    /// When the database fails; then nothing is changed.
    pub async fn swap(&self, swap: &Swap) -> Result<bool, CatalogError> {
        let mut tx = self.begin().await?;
        match exchange(&mut tx, swap).await {
            Ok(true) => {}
            Ok(false) | Err(CatalogError::LeaseLost { .. }) => return Ok(false),
            Err(CatalogError::Database(error)) if is_conflict(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        match tx.commit().await {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(CatalogError::Unsure(error)),
        }
    }

    /// Live segments of all levels with windows of `service` that start in the range; `services` names only this one. One
    /// statement, so what it answers is one moment of the catalog.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn levels_of(
        &self,
        service: &str,
        TimeRange { from_ms, until_ms }: TimeRange,
    ) -> Result<Vec<LevelSegment>, CatalogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM segment_services p JOIN segments s ON s.id = p.segment
             WHERE p.service = $1 AND p.max_ms >= $2 AND p.min_ms < $3 AND s.state = 'live' ORDER BY s.min_ms, s.id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(service)
            .bind(to_sql(from_ms))
            .bind(to_sql(until_ms))
            .fetch_all(&self.read)
            .await?;
        let tables = sqlx::query(
            "SELECT t.segment, t.name, t.object, t.bytes, t.data_bytes, t.crc
             FROM segment_services p JOIN segment_tables t ON t.segment = p.segment
             WHERE p.service = $1 AND p.max_ms >= $2 AND p.min_ms < $3",
        )
        .bind(service)
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .fetch_all(&self.read)
        .await?;
        let mut segments = join(&rows, &tables, &[])?;
        segments.iter_mut().for_each(|segment| segment.services.push(service.to_owned()));
        Ok(segments)
    }

    /// All live segments whose windows overlap the range; only those with traces or spans where asked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn levels_in(
        &self,
        TimeRange { from_ms, until_ms }: TimeRange,
        with_traces: bool,
    ) -> Result<Vec<LevelSegment>, CatalogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM segments s WHERE s.state = 'live' AND s.max_ms > $1 AND s.min_ms < $2
             AND s.traces >= $3 ORDER BY s.min_ms, s.id"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(to_sql(from_ms))
            .bind(to_sql(until_ms))
            .bind(i64::from(with_traces))
            .fetch_all(&self.read)
            .await?;
        let tables = sqlx::query(
            "SELECT t.segment, t.name, t.object, t.bytes, t.data_bytes, t.crc
             FROM segments s JOIN segment_tables t ON t.segment = s.id
             WHERE s.state = 'live' AND s.max_ms > $1 AND s.min_ms < $2 AND s.traces >= $3",
        )
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .bind(i64::from(with_traces))
        .fetch_all(&self.read)
        .await?;
        // After the segments: what is deleted in between is missing here, and whoever replaces the segment then finds that its
        // revision has changed.
        let services = sqlx::query(
            "SELECT p.segment, p.service FROM segments s JOIN segment_services p ON p.segment = s.id
             WHERE s.state = 'live' AND s.max_ms > $1 AND s.min_ms < $2 AND s.traces >= $3
             ORDER BY p.service",
        )
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .bind(i64::from(with_traces))
        .fetch_all(&self.read)
        .await?;
        join(&rows, &tables, &services)
    }

    /// Unlists segments of a level that ended before `before_ms`, whose content is in the next level too, and that no pin needs; from
    /// then on queries leave this level alone before that time. `before_ms` is a whole multiple of [`HORIZON_MS`]. Answers how
    /// many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_level(&self, level: u32, before_ms: u64, now_ms: u64) -> Result<u64, CatalogError> {
        let mut tx = self.begin().await?;
        let expired = sqlx::query(
            "UPDATE segments SET state = 'dropped', dropped_ms = $2 WHERE state = 'live' AND max_ms <= $1 AND level = $3
             AND rolled = 1
             AND NOT EXISTS (SELECT 1 FROM segment_services p JOIN pin_levels r ON r.service = p.service
                             WHERE p.segment = segments.id AND r.level = $3 AND r.from_ms <= p.max_ms
                             AND r.until_ms > p.min_ms)",
        )
        .bind(to_sql(before_ms))
        .bind(to_sql(now_ms))
        .bind(i64::from(level))
        .execute(&mut *tx)
        .await?;
        if expired.rows_affected() > 0 {
            raise_horizon(&mut tx, level, before_ms).await?;
        }
        tx.commit().await?;
        Ok(expired.rows_affected())
    }

    /// Unlists segments of traces that ended before `before_ms` and that no pin needs. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_traces(&self, before_ms: u64, now_ms: u64) -> Result<u64, CatalogError> {
        let expired = sqlx::query(
            "UPDATE segments SET state = 'dropped', dropped_ms = $2 WHERE state = 'live' AND max_ms <= $1 AND level = $3
             AND NOT EXISTS (SELECT 1 FROM segment_services p JOIN pin_ranges r ON r.service = p.service
                             WHERE p.segment = segments.id AND r.from_ms <= p.max_ms AND r.until_ms > p.min_ms)",
        )
        .bind(to_sql(before_ms))
        .bind(to_sql(now_ms))
        .bind(i64::from(TRACES))
        .execute(&self.write)
        .await?;
        Ok(expired.rows_affected())
    }

    /// Says that windows of a level that start before `from_ms` may not be there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_level(&self, level: u32, from_ms: u64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        raise_horizon(&mut tx, level, from_ms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// True when somebody had this trace deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_deleted(&self, trace_id: &TraceId) -> Result<bool, CatalogError> {
        let row = sqlx::query("SELECT 1 AS one FROM deleted_traces WHERE trace_id = $1")
            .bind(trace_id.to_string())
            .fetch_optional(&self.read)
            .await?;
        Ok(row.is_some())
    }

    /// Traces that somebody had deleted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deleted_traces(&self) -> Result<HashSet<TraceId>, CatalogError> {
        let rows = sqlx::query("SELECT trace_id FROM deleted_traces").fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                let text: String = row.try_get("trace_id")?;
                let corrupt = |_| CatalogError::Corrupt { what: "deleted_traces.trace_id", value: text.clone() };
                TraceId::parse(&text).map_err(corrupt)
            })
            .collect()
    }

    /// Which levels have all windows of a service from when on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn horizons(&self, service: &str) -> Result<Horizons, CatalogError> {
        let mut from_ms = Vec::new();
        for row in sqlx::query("SELECT level, from_ms FROM horizons").fetch_all(&self.read).await? {
            from_ms.push((level(row.try_get("level")?), from_sql(row.try_get("from_ms")?)));
        }
        let pinned = sqlx::query("SELECT level, from_ms, until_ms FROM pin_levels WHERE service = $1")
            .bind(service)
            .fetch_all(&self.read)
            .await?;
        let mut ranges = Vec::new();
        for row in pinned {
            let (from_ms, until_ms) = (from_sql(row.try_get("from_ms")?), from_sql(row.try_get("until_ms")?));
            ranges.push((level(row.try_get("level")?), TimeRange { from_ms, until_ms }));
        }
        Ok(Horizons::with(from_ms, ranges))
    }
}

/// Says that windows of a level that start before this may not be there.
pub(super) async fn raise_horizon(tx: &mut Tx, level: u32, from_ms: u64) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO horizons (level, from_ms) VALUES ($1, $2)
         ON CONFLICT (level) DO UPDATE SET from_ms = excluded.from_ms WHERE horizons.from_ms < excluded.from_ms",
    )
    .bind(i64::from(level))
    .bind(to_sql(from_ms))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps all levels for a pin, as far as they are complete: whole hours, so that no coarse window is half there.
pub(super) async fn pin_levels(
    tx: &mut Tx,
    pin: &str,
    service: &str,
    from_ms: u64,
    until_ms: u64,
) -> Result<(), CatalogError> {
    let (from_ms, until_ms) =
        (from_ms - from_ms % HORIZON_MS, until_ms.div_ceil(HORIZON_MS).saturating_mul(HORIZON_MS));
    for level in LEVELS {
        let row = sqlx::query("SELECT from_ms FROM horizons WHERE level = $1")
            .bind(i64::from(level.number))
            .fetch_optional(&mut **tx)
            .await?;
        let horizon_ms = row.map(|row| row.try_get("from_ms")).transpose()?.map_or(0, from_sql);
        if horizon_ms < until_ms {
            sqlx::query("INSERT INTO pin_levels (pin, level, service, from_ms, until_ms) VALUES ($1, $2, $3, $4, $5)")
                .bind(pin)
                .bind(i64::from(level.number))
                .bind(service)
                .bind(to_sql(from_ms.max(horizon_ms)))
                .bind(to_sql(until_ms))
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

async fn exchange(tx: &mut Tx, swap: &Swap) -> Result<bool, CatalogError> {
    if let Some(lease) = &swap.lease {
        lease.guard(tx).await?;
    }
    for (id, revision) in &swap.inputs {
        let (sql, third) = match swap.then {
            Inputs::Replace => (
                "UPDATE segments SET state = 'dropped', dropped_ms = $3 WHERE id = $1 AND state = 'live' AND revision = $2",
                to_sql(swap.now_ms),
            ),
            Inputs::Roll => (
                "UPDATE segments SET rolled = 1, revision = revision + $3 WHERE id = $1 AND state = 'live'
                 AND rolled = 0 AND revision = $2",
                1,
            ),
        };
        let changed = sqlx::query(sql).bind(id).bind(to_sql(*revision)).bind(third).execute(&mut **tx).await?;
        if changed.rows_affected() != 1 {
            return Ok(false);
        }
    }
    for output in &swap.outputs {
        insert(tx, output, swap.now_ms).await?;
    }
    Ok(true)
}

/// Lists a compacted segment.
pub(super) async fn insert(tx: &mut Tx, new: &NewSegment, now_ms: u64) -> Result<(), CatalogError> {
    let segment = &new.segment;
    insert_row(tx, segment, new.rolled, now_ms).await?;
    for table in &new.tables {
        sqlx::query(
            "INSERT INTO segment_tables (segment, name, object, bytes, data_bytes, crc) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&segment.id)
        .bind(&table.name)
        .bind(&table.object)
        .bind(to_sql(table.bytes))
        .bind(to_sql(table.data_bytes))
        .bind(i64::from(table.crc))
        .execute(&mut **tx)
        .await?;
    }
    add_services(tx, &segment.id, &new.services).await?;
    Ok(())
}

fn join(rows: &[AnyRow], tables: &[AnyRow], services: &[AnyRow]) -> Result<Vec<LevelSegment>, CatalogError> {
    let mut by_segment: HashMap<String, Vec<TableObject>> = HashMap::new();
    for row in tables {
        by_segment.entry(row.try_get("segment")?).or_default().push(TableObject {
            name: row.try_get("name")?,
            object: row.try_get("object")?,
            bytes: from_sql(row.try_get("bytes")?),
            data_bytes: from_sql(row.try_get("data_bytes")?),
            crc: from_sql(row.try_get("crc")?) as u32,
        });
    }
    let mut services_of: HashMap<String, Vec<String>> = HashMap::new();
    for row in services {
        services_of.entry(row.try_get("segment")?).or_default().push(row.try_get("service")?);
    }
    rows.iter()
        .map(|row| {
            let segment = read_segment(row)?;
            let tables = by_segment.remove(&segment.id).unwrap_or_default();
            let services = services_of.remove(&segment.id).unwrap_or_default();
            let rolled = from_sql(row.try_get("rolled")?) != 0;
            let dirty = from_sql(row.try_get("dirty")?) != 0;
            Ok(LevelSegment { segment, rolled, revision: from_sql(row.try_get("revision")?), dirty, tables, services })
        })
        .collect()
}

fn level(value: i64) -> u32 {
    from_sql(value) as u32
}
