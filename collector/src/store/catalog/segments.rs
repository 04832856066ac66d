//! Segments in the catalog: listing one, what should exist of it, and letting go of old ones.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Catalog, CatalogError, Tx, from_sql, to_sql};

/// The name by which a segment's footer is listed among its tables.
pub(crate) const FOOTER: &str = "footer";

/// A segment as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// Hexadecimal id, which is the name of its object.
    pub id: String,
    /// 0: windows as they arrived.
    pub level: u32,
    /// Start of its first window, unix milliseconds.
    pub min_ms: u64,
    /// End of its last window, unix milliseconds.
    pub max_ms: u64,
    /// Size of its objects, bytes.
    pub bytes: u64,
    /// CRC-32 of its footer.
    pub crc: u32,
    /// Windows in it, as they were received.
    pub windows: u64,
    /// Samples in it, counted as agents count: an allocation once, gauges not at all.
    pub samples: u64,
    /// Entries of its trace index.
    pub traces: u64,
}

/// The part of a segment that belongs to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePart {
    /// The service.
    pub service: String,
    /// Start of its first window, unix milliseconds.
    pub min_ms: u64,
    /// Start of its last window.
    pub max_ms: u64,
    /// Windows received.
    pub windows: u64,
}

/// One object that should exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The segment it belongs to.
    pub segment: String,
    /// Its name in the object store.
    pub object: String,
    /// Its size as the catalog knows it, bytes.
    pub bytes: u64,
    /// Its segment is listed: it counts.
    pub live: bool,
    /// It is data; otherwise it only says what its segment is.
    pub is_data: bool,
    /// When its segment was listed: at the same moment those that it replaced were unlisted.
    pub created_ms: u64,
    /// When its segment was unlisted; 0: it is listed.
    pub dropped_ms: u64,
}

/// What the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogTotals {
    /// Live segments.
    pub segments: u64,
    /// What they take of the object store, bytes.
    pub bytes: u64,
    /// Windows in them; what is in two levels counts once.
    pub windows: u64,
    /// Samples in them, counted as agents count: an allocation once, gauges not at all.
    pub samples: u64,
    /// Segments that were found damaged and set aside.
    pub quarantined: u64,
}

impl Catalog {
    /// Unlists segments that ended before `before_ms` and that no pin needs. Answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire(&self, before_ms: u64, now_ms: u64) -> Result<u64, CatalogError> {
        let expired = sqlx::query(
            "UPDATE segments SET state = 'dropped', dropped_ms = $2 WHERE state = 'live' AND max_ms <= $1
             AND NOT EXISTS (SELECT 1 FROM segment_services p JOIN pin_ranges r ON r.service = p.service
                             WHERE p.segment = segments.id AND r.from_ms <= p.max_ms AND r.until_ms > p.min_ms)",
        )
        .bind(to_sql(before_ms))
        .bind(to_sql(now_ms))
        .execute(&self.write)
        .await?;
        Ok(expired.rows_affected())
    }

    /// Segments that were unlisted before `before_ms`: no query can still be reading them. In the order in which they were unlisted, so that
    /// what is removed leaves nothing behind that it had replaced.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dropped(&self, before_ms: u64) -> Result<Vec<String>, CatalogError> {
        let rows =
            sqlx::query("SELECT id FROM segments WHERE state = 'dropped' AND dropped_ms <= $1 ORDER BY dropped_ms")
                .bind(to_sql(before_ms))
                .fetch_all(&self.read)
                .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// Forgets a segment whose object is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, id: &str) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM segment_services WHERE segment = $1").bind(id).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM segment_tables WHERE segment = $1").bind(id).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM segments WHERE id = $1").bind(id).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Marks a damaged segment: it stays on record, and is never served again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn quarantine(&self, id: &str) -> Result<bool, CatalogError> {
        let marked = sqlx::query("UPDATE segments SET state = 'quarantined' WHERE id = $1 AND state = 'live'")
            .bind(id)
            .execute(&self.write)
            .await?;
        Ok(marked.rows_affected() > 0)
    }

    /// All objects that should exist.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn objects(&self) -> Result<Vec<StoredObject>, CatalogError> {
        let rows = sqlx::query(
            "SELECT s.id AS segment, s.id AS object, s.bytes AS bytes, s.state AS state, 'windows' AS name,
             s.created_ms AS created_ms, s.dropped_ms AS dropped_ms FROM segments s
             WHERE s.state <> 'quarantined' AND s.level = 0
             UNION ALL
             SELECT t.segment AS segment, t.object AS object, t.bytes AS bytes, s.state AS state, t.name AS name,
             s.created_ms AS created_ms, s.dropped_ms AS dropped_ms FROM segments s JOIN segment_tables t ON t.segment = s.id WHERE s.state <> 'quarantined'",
        )
        .fetch_all(&self.read)
        .await?;
        let read = |row: &AnyRow| -> Result<StoredObject, CatalogError> {
            Ok(StoredObject {
                created_ms: from_sql(row.try_get("created_ms")?),
                dropped_ms: from_sql(row.try_get("dropped_ms")?),
                segment: row.try_get("segment")?,
                object: row.try_get("object")?,
                bytes: from_sql(row.try_get("bytes")?),
                live: row.try_get::<String, _>("state")? == "live",
                is_data: row.try_get::<String, _>("name")? != FOOTER,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Segments that were found damaged and set aside.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn quarantined(&self) -> Result<Vec<String>, CatalogError> {
        let rows = sqlx::query("SELECT id FROM segments WHERE state = 'quarantined'").fetch_all(&self.read).await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// The objects of one segment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn objects_of(&self, id: &str) -> Result<Vec<String>, CatalogError> {
        let rows =
            sqlx::query("SELECT object FROM segment_tables WHERE segment = $1").bind(id).fetch_all(&self.read).await?;
        if rows.is_empty() {
            // As it arrived: one object of the same name.
            return Ok(vec![id.to_owned()]);
        }
        rows.iter().map(|row| Ok(row.try_get("object")?)).collect()
    }

    /// What the store holds in all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn totals(&self) -> Result<CatalogTotals, CatalogError> {
        let row = sqlx::query(
            // What was rolled up is in two levels, and counts once.
            "SELECT COUNT(*) AS segments, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes,
             CAST(COALESCE(SUM(CASE WHEN rolled = 0 THEN windows ELSE 0 END), 0) AS BIGINT) AS windows,
             CAST(COALESCE(SUM(CASE WHEN rolled = 0 THEN samples ELSE 0 END), 0) AS BIGINT) AS samples
             FROM segments WHERE state = 'live'",
        )
        .fetch_one(&self.read)
        .await?;
        let quarantined =
            sqlx::query("SELECT COUNT(*) AS n FROM segments WHERE state = 'quarantined'").fetch_one(&self.read).await?;
        Ok(CatalogTotals {
            segments: from_sql(row.try_get("segments")?),
            bytes: from_sql(row.try_get("bytes")?),
            windows: from_sql(row.try_get("windows")?),
            samples: from_sql(row.try_get("samples")?),
            quarantined: from_sql(quarantined.try_get("n")?),
        })
    }
}

/// What arrived, and compaction has yet to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How many segments.
    pub segments: u64,
    /// When the first of them was listed, unix milliseconds; 0 where there is none.
    pub since_ms: u64,
}

impl Catalog {
    /// What compaction has yet to take.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting(&self) -> Result<Waiting, CatalogError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS segments, CAST(COALESCE(MIN(created_ms), 0) AS BIGINT) AS since_ms
             FROM segments WHERE state = 'live' AND level = 0",
        )
        .fetch_one(&self.read)
        .await?;
        Ok(Waiting { segments: from_sql(row.try_get("segments")?), since_ms: from_sql(row.try_get("since_ms")?) })
    }
}

/// Lists a segment. `is_rolled`: it is in a coarser level already.
pub(super) async fn insert_row(
    tx: &mut Tx,
    segment: &SegmentRow,
    is_rolled: bool,
    now_ms: u64,
) -> Result<(), CatalogError> {
    sqlx::query(
        "INSERT INTO segments (id, level, state, min_ms, max_ms, bytes, crc, windows, samples, traces, created_ms,
                               dropped_ms, rolled, revision)
         VALUES ($1, $2, 'live', $3, $4, $5, $6, $7, $8, $9, $10, 0, $11, 0)",
    )
    .bind(&segment.id)
    .bind(i64::from(segment.level))
    .bind(to_sql(segment.min_ms))
    .bind(to_sql(segment.max_ms))
    .bind(to_sql(segment.bytes))
    .bind(i64::from(segment.crc))
    .bind(to_sql(segment.windows))
    .bind(to_sql(segment.samples))
    .bind(to_sql(segment.traces))
    .bind(to_sql(now_ms))
    .bind(i64::from(is_rolled))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Both databases take many more parameters.
const SERVICES_PER_STATEMENT: usize = 100;

/// Notes what a segment holds of which service.
pub(super) async fn add_services(tx: &mut Tx, segment: &str, parts: &[ServicePart]) -> Result<(), sqlx::Error> {
    for some in parts.chunks(SERVICES_PER_STATEMENT) {
        let rows: Vec<String> = (0..some.len())
            .map(|i| format!("(${}, $1, ${}, ${}, ${})", 4 * i + 2, 4 * i + 3, 4 * i + 4, 4 * i + 5))
            .collect();
        let rows = rows.join(", ");
        let sql = format!("INSERT INTO segment_services (service, segment, min_ms, max_ms, windows) VALUES {rows}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(segment);
        for ServicePart { service, min_ms, max_ms, windows } in some {
            query = query.bind(service).bind(to_sql(*min_ms)).bind(to_sql(*max_ms)).bind(to_sql(*windows));
        }
        query.execute(&mut **tx).await?;
    }
    Ok(())
}

pub(super) fn read_segment(row: &AnyRow) -> Result<SegmentRow, CatalogError> {
    Ok(SegmentRow {
        id: row.try_get("id")?,
        level: from_sql(row.try_get("level")?) as u32,
        min_ms: from_sql(row.try_get("min_ms")?),
        max_ms: from_sql(row.try_get("max_ms")?),
        bytes: from_sql(row.try_get("bytes")?),
        crc: from_sql(row.try_get("crc")?) as u32,
        windows: from_sql(row.try_get("windows")?),
        samples: from_sql(row.try_get("samples")?),
        traces: from_sql(row.try_get("traces")?),
    })
}
