//! Names: the services there are, their profile types, and a bounded index of their labels.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row;
use sqlx::any::AnyRow;
use tephra_proto::limits::WINDOW_MS_MAX;

use super::segments::ServicePart;
use super::{Catalog, CatalogError, Tx, from_sql, to_sql};
use crate::profile::model::{Kind, OWN_TYPES, ProfileType};

/// Values of one label of one service that are offered for choosing. Data with further values is stored and found all the same.
pub const LABEL_VALUES_MAX: i64 = 2_000;

/// Profile types of one service that are listed, besides those of our own agents.
const TYPES_MAX: i64 = 128;

/// Names are remembered by the starts of windows: one that starts this early may still reach into a range that begins at `from_ms`.
fn reaching(from_ms: u64) -> u64 {
    from_ms.saturating_sub(WINDOW_MS_MAX.into())
}

/// A service's name and when it was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub name: String,
    /// Start of the first window, unix milliseconds.
    pub first_seen_ms: u64,
    /// Start of the last window, unix milliseconds.
    pub last_seen_ms: u64,
}

/// The part of a segment that belongs to one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpan {
    /// The service.
    pub service: String,
    /// Start of its first window, unix milliseconds.
    pub min_ms: u64,
    /// Start of its last window.
    pub max_ms: u64,
    /// How many windows.
    pub windows: u64,
    /// The types they carry.
    pub types: Vec<ProfileType>,
    /// Their labels, `instance` included, as (name, value).
    pub labels: Vec<(String, String)>,
    /// Labels of single samples in them.
    pub sample_labels: Vec<(String, String)>,
}

impl ServiceSpan {
    /// The same without the names.
    pub(super) fn part(&self) -> ServicePart {
        let Self { service, min_ms, max_ms, windows, .. } = self;
        ServicePart { service: service.clone(), min_ms: *min_ms, max_ms: *max_ms, windows: *windows }
    }
}

impl Catalog {
    /// Services, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(&self) -> Result<Vec<ServiceRow>, CatalogError> {
        let rows = sqlx::query("SELECT name, first_seen_ms, last_seen_ms FROM services").fetch_all(&self.read).await?;
        let read = |row: &AnyRow| {
            Ok(ServiceRow {
                name: row.try_get("name")?,
                first_seen_ms: from_sql(row.try_get("first_seen_ms")?),
                last_seen_ms: from_sql(row.try_get("last_seen_ms")?),
            })
        };
        let mut services = rows.iter().map(read).collect::<Result<Vec<_>, CatalogError>>()?;
        services.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(services)
    }

    /// True when something was ever received from the service.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn knows_service(&self, service: &str) -> Result<bool, CatalogError> {
        let row =
            sqlx::query("SELECT name FROM services WHERE name = $1").bind(service).fetch_optional(&self.read).await?;
        Ok(row.is_some())
    }

    /// Profile types of a service, by name, as they were sent last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn profile_types(&self, service: &str) -> Result<Vec<ProfileType>, CatalogError> {
        let rows = sqlx::query("SELECT name, unit, kind, period FROM profile_types WHERE service = $1")
            .bind(service)
            .fetch_all(&self.read)
            .await?;
        let read = |row: &AnyRow| {
            let kind: String = row.try_get("kind")?;
            Ok(ProfileType {
                name: row.try_get("name")?,
                unit: row.try_get("unit")?,
                kind: if kind == "gauge" { Kind::Gauge } else { Kind::Counter },
                period: from_sql(row.try_get("period")?),
            })
        };
        let mut types = rows.iter().map(read).collect::<Result<Vec<_>, CatalogError>>()?;
        types.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(types)
    }

    /// Names of a service's labels seen in the range, sorted; `instance` is one of them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn label_names(&self, service: &str, from_ms: u64, until_ms: u64) -> Result<Vec<String>, CatalogError> {
        let rows = sqlx::query(
            "SELECT DISTINCT name FROM labels WHERE service = $1 AND last_seen_ms >= $2 AND first_seen_ms < $3",
        )
        .bind(service)
        .bind(to_sql(reaching(from_ms)))
        .bind(to_sql(until_ms))
        .fetch_all(&self.read)
        .await?;
        sorted(&rows, "name")
    }

    /// Names of the labels that single samples of a service have, and not whole windows alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sample_label_names(&self, service: &str) -> Result<BTreeSet<String>, CatalogError> {
        let rows = sqlx::query("SELECT DISTINCT name FROM labels WHERE service = $1 AND of_samples = 1")
            .bind(service)
            .fetch_all(&self.read)
            .await?;
        Ok(rows.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?)
    }

    /// Values of one label seen in the range, sorted; at most 2000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn label_values(
        &self,
        service: &str,
        name: &str,
        from_ms: u64,
        until_ms: u64,
    ) -> Result<Vec<String>, CatalogError> {
        let rows = sqlx::query(
            "SELECT value FROM labels WHERE service = $1 AND name = $2 AND last_seen_ms >= $3 AND first_seen_ms < $4",
        )
        .bind(service)
        .bind(name)
        .bind(to_sql(reaching(from_ms)))
        .bind(to_sql(until_ms))
        .fetch_all(&self.read)
        .await?;
        sorted(&rows, "value")
    }

    /// Forgets label values and services not seen since `before_ms`: their data is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_names(&self, before_ms: u64) -> Result<(), CatalogError> {
        let mut tx = self.begin().await?;
        for sql in [
            "DELETE FROM labels WHERE last_seen_ms < $1",
            "DELETE FROM profile_types WHERE last_seen_ms < $1
             AND service NOT IN (SELECT service FROM segment_services)",
            "DELETE FROM services WHERE last_seen_ms < $1 AND name NOT IN (SELECT service FROM segment_services)",
        ] {
            sqlx::query(sql).bind(to_sql(before_ms)).execute(&mut *tx).await?;
        }
        // While nobody else can write.
        self.written.forget();
        tx.commit().await?;
        Ok(())
    }
}

/// By bytes, whatever order the database has been set up with.
fn sorted(rows: &[AnyRow], column: &str) -> Result<Vec<String>, CatalogError> {
    let mut values = rows.iter().map(|row| row.try_get(column)).collect::<Result<Vec<String>, _>>()?;
    values.sort();
    Ok(values)
}

/// Keeps first and last sight of everything a span names, in an order that all collectors share; of the service itself where it is
/// to be written.
pub(super) async fn remember(tx: &mut Tx, span: &ServiceSpan, is_service: bool) -> Result<(), CatalogError> {
    if is_service {
        remember_service(tx, span).await?;
    }
    let mut types: Vec<_> = span.types.iter().collect();
    types.sort_by(|a, b| a.name.cmp(&b.name));
    for kind in types {
        remember_type(tx, span, kind).await?;
    }
    // By name: the values of windows, and those of samples.
    let mut labels: BTreeMap<&str, [BTreeSet<&str>; 2]> = BTreeMap::new();
    for (which, of) in [&span.labels, &span.sample_labels].into_iter().enumerate() {
        for (name, value) in of {
            labels.entry(name).or_default()[which].insert(value);
        }
    }
    for (name, both) in labels {
        let all: Vec<&str> = both[0].union(&both[1]).copied().collect();
        hold_values(tx, span, name, &all).await?;
        for (values, of_samples) in both.iter().zip([false, true]) {
            let values: Vec<&str> = values.iter().copied().collect();
            for some in values.chunks(VALUES_PER_STATEMENT) {
                // Nearly always all of them are known.
                if see_values(tx, span, name, some, of_samples).await? < some.len() as u64 {
                    for value in some {
                        remember_label(tx, span, name, value, of_samples).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

async fn remember_service(tx: &mut Tx, span: &ServiceSpan) -> Result<(), CatalogError> {
    let (first, last) = (to_sql(span.min_ms), to_sql(span.max_ms));
    sqlx::query(
        "INSERT INTO services (name, first_seen_ms, last_seen_ms) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET
         first_seen_ms = CASE WHEN excluded.first_seen_ms < services.first_seen_ms THEN excluded.first_seen_ms ELSE services.first_seen_ms END,
         last_seen_ms = CASE WHEN excluded.last_seen_ms > services.last_seen_ms THEN excluded.last_seen_ms ELSE services.last_seen_ms END",
    )
    .bind(&span.service)
    .bind(first)
    .bind(last)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What makes room: not seen for so long before `$3`, a day where it was seen for an hour, ten minutes otherwise.
const IDLE: &str =
    "last_seen_ms < $3 - CASE WHEN last_seen_ms - first_seen_ms >= 3600000 THEN 86400000 ELSE 600000 END";

async fn remember_type(tx: &mut Tx, span: &ServiceSpan, kind: &ProfileType) -> Result<(), CatalogError> {
    if OWN_TYPES.contains(&kind.name.as_str()) {
        write_type(tx, span, kind, i64::MAX).await?;
    } else if !write_type(tx, span, kind, TYPES_MAX).await? {
        let own = OWN_TYPES.map(|name| format!("'{name}'")).join(", ");
        let sql =
            format!("DELETE FROM profile_types WHERE service = $1 AND name <> $2 AND {IDLE} AND name NOT IN ({own})");
        make_room(tx, sql, span, &kind.name).await?;
        write_type(tx, span, kind, TYPES_MAX).await?;
    }
    Ok(())
}

/// Lets go of what a service named and does not name any more.
async fn make_room(tx: &mut Tx, sql: String, span: &ServiceSpan, name: &str) -> Result<(), CatalogError> {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&span.service).bind(name).bind(to_sql(span.max_ms));
    query.execute(&mut **tx).await?;
    Ok(())
}

/// False when as many are listed as may be.
async fn write_type(
    tx: &mut Tx,
    span: &ServiceSpan,
    kind: &ProfileType,
    listed_max: i64,
) -> Result<bool, CatalogError> {
    let kind_name = match kind.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let written = sqlx::query(
        "INSERT INTO profile_types (service, name, unit, kind, period, first_seen_ms, last_seen_ms)
         SELECT $1, $2, $3, $4, $5, $6, $7
         WHERE (SELECT COUNT(*) FROM profile_types WHERE service = $1 AND name <> $2) < $8
         ON CONFLICT (service, name) DO UPDATE SET
         unit = CASE WHEN excluded.last_seen_ms >= profile_types.last_seen_ms THEN excluded.unit ELSE profile_types.unit END,
         kind = CASE WHEN excluded.last_seen_ms >= profile_types.last_seen_ms THEN excluded.kind ELSE profile_types.kind END,
         period = CASE WHEN excluded.last_seen_ms >= profile_types.last_seen_ms THEN excluded.period ELSE profile_types.period END,
         first_seen_ms = CASE WHEN excluded.first_seen_ms < profile_types.first_seen_ms THEN excluded.first_seen_ms ELSE profile_types.first_seen_ms END,
         last_seen_ms = CASE WHEN excluded.last_seen_ms > profile_types.last_seen_ms THEN excluded.last_seen_ms ELSE profile_types.last_seen_ms END",
    )
    .bind(&span.service)
    .bind(&kind.name)
    .bind(&kind.unit)
    .bind(kind_name)
    .bind(to_sql(kind.period))
    .bind(to_sql(span.min_ms))
    .bind(to_sql(span.max_ms))
    .bind(listed_max)
    .execute(&mut **tx)
    .await?;
    Ok(written.rows_affected() > 0)
}

/// Values of one label that one statement is about: both databases take many more parameters.
const VALUES_PER_STATEMENT: usize = 500;

/// Takes the rows of those values of a label that are known, in an order that all collectors share: an update takes them as it comes upon
/// them, and of two that meet each may have what the other waits for. In SQLite only one writes at a time.
async fn hold_values(tx: &mut Tx, span: &ServiceSpan, name: &str, values: &[&str]) -> Result<(), CatalogError> {
    if tx.backend_name() != "PostgreSQL" {
        return Ok(());
    }
    for some in values.chunks(VALUES_PER_STATEMENT) {
        let places: Vec<String> = (3..3 + some.len()).map(|i| format!("${i}")).collect();
        let places = places.join(", ");
        let sql = format!(
            "SELECT value FROM labels WHERE service = $1 AND name = $2 AND value IN ({places}) ORDER BY value FOR UPDATE"
        );
        let held = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&span.service).bind(name);
        some.iter().fold(held, |query, value| query.bind(*value)).fetch_all(&mut **tx).await?;
    }
    Ok(())
}

/// Keeps first and last sight of those values of a label that are known, and answers how many are.
async fn see_values(
    tx: &mut Tx,
    span: &ServiceSpan,
    name: &str,
    values: &[&str],
    of_samples: bool,
) -> Result<u64, CatalogError> {
    let places: Vec<String> = (6..6 + values.len()).map(|i| format!("${i}")).collect();
    let sql = format!(
        "UPDATE labels SET
         first_seen_ms = CASE WHEN first_seen_ms > $3 THEN $3 ELSE first_seen_ms END,
         last_seen_ms = CASE WHEN last_seen_ms < $4 THEN $4 ELSE last_seen_ms END,
         of_samples = CASE WHEN of_samples < $5 THEN $5 ELSE of_samples END
         WHERE service = $1 AND name = $2 AND value IN ({})",
        places.join(", ")
    );
    let seen = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&span.service)
        .bind(name)
        .bind(to_sql(span.min_ms))
        .bind(to_sql(span.max_ms))
        .bind(i64::from(of_samples));
    let seen = values.iter().fold(seen, |query, value| query.bind(*value));
    Ok(seen.execute(&mut **tx).await?.rows_affected())
}

async fn remember_label(
    tx: &mut Tx,
    span: &ServiceSpan,
    name: &str,
    value: &str,
    of_samples: bool,
) -> Result<(), CatalogError> {
    let known = see_values(tx, span, name, &[value], of_samples).await? > 0;
    if known || insert_label(tx, span, name, value, of_samples).await? {
        return Ok(());
    }
    make_room(tx, format!("DELETE FROM labels WHERE service = $1 AND name = $2 AND {IDLE}"), span, name).await?;
    insert_label(tx, span, name, value, of_samples).await?;
    Ok(())
}

/// False when as many values are listed as may be.
async fn insert_label(
    tx: &mut Tx,
    span: &ServiceSpan,
    name: &str,
    value: &str,
    of_samples: bool,
) -> Result<bool, CatalogError> {
    let inserted = sqlx::query(
        "INSERT INTO labels (service, name, value, first_seen_ms, last_seen_ms, of_samples)
         SELECT $1, $2, $3, $4, $5, $7 WHERE (SELECT COUNT(*) FROM labels WHERE service = $1 AND name = $2) < $6
         ON CONFLICT (service, name, value) DO NOTHING",
    )
    .bind(&span.service)
    .bind(name)
    .bind(value)
    .bind(to_sql(span.min_ms))
    .bind(to_sql(span.max_ms))
    .bind(LABEL_VALUES_MAX)
    .bind(i64::from(of_samples))
    .execute(&mut **tx)
    .await?;
    Ok(inserted.rows_affected() > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::testing::TestPlace;

    const NOW: u64 = 1_700_000_000_000;
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    fn span(at_ms: u64, types: &[String], versions: &[String]) -> ServiceSpan {
        let profile_type = |name: &String| ProfileType {
            name: name.clone(),
            unit: "count".to_owned(),
            kind: Kind::Counter,
            period: 0,
        };
        ServiceSpan {
            service: "shop".to_owned(),
            min_ms: at_ms,
            max_ms: at_ms,
            windows: 1,
            types: types.iter().map(profile_type).collect(),
            labels: versions.iter().map(|version| ("version".to_owned(), version.clone())).collect(),
            sample_labels: Vec::new(),
        }
    }

    async fn write(catalog: &Catalog, span: ServiceSpan) {
        let mut tx = catalog.begin().await.unwrap();
        remember(&mut tx, &span, true).await.unwrap();
        tx.commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_flood_of_names_keeps_none_from_being_listed_for_long() {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let catalog = store.catalog();
        let names = |what: &str, count: i64| (0..count).map(|i| format!("{what}{i:04}")).collect::<Vec<_>>();
        let one = |name: &str| [name.to_owned()];
        for at_ms in [NOW - 60 * MINUTE, NOW] {
            write(catalog, span(at_ms, &one("before"), &one("before"))).await;
        }
        write(catalog, span(NOW, &names("type", TYPES_MAX), &names("v", LABEL_VALUES_MAX))).await;
        let types = async || {
            let types = catalog.profile_types("shop").await.unwrap();
            types.into_iter().map(|t| t.name).collect::<BTreeSet<_>>()
        };
        let versions = async || catalog.label_values("shop", "version", 0, u64::MAX >> 2).await.unwrap();
        write(catalog, span(NOW + MINUTE, &["cpu", "late"].map(str::to_owned), &one("late"))).await;
        assert!(types().await.contains("cpu"), "our agents' types have room for ever");
        assert!(!types().await.contains("late") && !versions().await.contains(&"late".to_owned()));
        write(catalog, span(NOW + 11 * MINUTE, &one("late"), &one("late"))).await;
        for known in ["cpu", "late", "before"] {
            assert!(types().await.contains(known), "{known}");
        }
        assert_eq!(types().await.len(), 3, "what was named once is let go of");
        assert_eq!(versions().await, ["before", "late"]);
    }

    #[tokio::test]
    async fn known_and_new_values_of_one_commit_are_seen_alike() {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let catalog = store.catalog();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let values =
            async |from_ms, until_ms| catalog.label_values("shop", "version", from_ms, until_ms).await.unwrap();
        write(catalog, span(NOW, &[], &names(&["a", "b", "old"]))).await;
        let later = NOW + 2 * HOUR;
        write(catalog, span(later, &[], &names(&["c", "b", "a"]))).await;
        assert_eq!(values(later, later + MINUTE).await, ["a", "b", "c"]);
        assert_eq!(values(NOW, NOW + 1).await, ["a", "b", "old"]);
        assert_eq!(values(NOW + HOUR, NOW + HOUR + 1).await, ["a", "b", "old"], "a window may be as long as an hour");
        assert_eq!(values(NOW + HOUR + 1, later).await, ["a", "b"]);
        // What was taken earlier may come later.
        write(catalog, span(NOW - MINUTE, &[], &names(&["a", "c"]))).await;
        assert_eq!(values(NOW - MINUTE, NOW).await, ["a", "c"]);
        assert_eq!(values(later, later + MINUTE).await, ["a", "b", "c"]);
    }

    /// Two collectors that see the same values at one moment would wait in a circle if each took them as the table has them.
    #[tokio::test]
    async fn rows_of_values_are_taken_in_their_order_whatever_the_tables_is() {
        let Some(place) = TestPlace::shared().await else { return };
        let store = place.open().await;
        let catalog = store.catalog();
        let versions = ["c", "b", "a"].map(str::to_owned);
        for version in &versions {
            write(catalog, span(NOW, &[], std::slice::from_ref(version))).await;
        }
        let mut first = catalog.begin().await.unwrap();
        sqlx::query("SELECT value FROM labels WHERE value = 'a' FOR UPDATE").fetch_one(&mut *first).await.unwrap();
        let mut tx = catalog.begin().await.unwrap();
        // In which order an update comes upon rows is for the database to choose: here in that of the table.
        sqlx::query("SET LOCAL enable_indexscan = off").execute(&mut *tx).await.unwrap();
        let later = tokio::spawn(async move {
            remember(&mut tx, &span(NOW + MINUTE, &[], &versions), true).await.unwrap();
            tx.commit().await.unwrap();
        });
        let waiting = "SELECT COUNT(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query(waiting).fetch_one(&catalog.read).await.unwrap().get::<i64, _>("n") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut other = catalog.begin().await.unwrap();
        let free = sqlx::query("SELECT value FROM labels WHERE value <> 'a' FOR UPDATE SKIP LOCKED");
        assert_eq!(free.fetch_all(&mut *other).await.unwrap().len(), 2, "what comes after it is not taken yet");
        other.rollback().await.unwrap();
        first.rollback().await.unwrap();
        later.await.unwrap();
    }
}
