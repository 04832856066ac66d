//! A copy of a whole catalog: what a backup keeps of it, and what a restore makes of that.
//!
//! A copy is of one moment, and the catalog is used on meanwhile: SQLite copies itself in one read transaction, PostgreSQL answers from
//! one snapshot. What is copied is whatever tables there are, so a table of a later release is never forgotten.

use std::path::Path;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tokio_stream::StreamExt;

use super::{Catalog, CatalogError, Location, from_sql};
use crate::store::migrations::MIGRATIONS;

/// Under this name the settings of a backup say when it was taken.
const TAKEN: &str = "backup_ms";

/// Rows are written so many values at a time: SQLite takes no more than 32 766, and some hundreds are as fast.
const VALUES_AT_ONCE: usize = 500;

/// Tables that are of a place and not of the data in it: who does which job, and which symbol tables lie in its bucket.
const OF_THE_PLACE: [&str; 3] = ["schema_version", "leases", "symbols"];

impl Catalog {
    /// Connects to a catalog that others use: nothing is made where there is none, and its schema stays as it is.
    ///
    /// # Errors
    /// When it cannot be reached, is no catalog, or was written by a later release.
    pub async fn attach(location: &Location) -> Result<Self, CatalogError> {
        let catalog = Self::attach_unchecked(location).await?;
        let (found, known) = (catalog.version().await?, MIGRATIONS.len() as i64);
        if found > known {
            return Err(CatalogError::TooNew { found, known });
        }
        Ok(catalog)
    }

    /// True when this release would leave the schema as it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_current(&self) -> Result<bool, CatalogError> {
        Ok(self.version().await? == MIGRATIONS.len() as i64)
    }

    async fn version(&self) -> Result<i64, CatalogError> {
        let row = sqlx::query("SELECT MAX(version) AS version FROM schema_version").fetch_one(&self.read).await?;
        Ok(row.try_get::<Option<i64>, _>("version")?.unwrap_or(0))
    }

    /// Copies a catalog in SQLite as it is at one moment into a new file.
    ///
    /// # Errors
    /// When the database fails, or the file is there already.
    pub async fn copy_file(&self, file: &Path) -> Result<(), CatalogError> {
        let file = file.to_str().ok_or_else(|| CatalogError::Location(format!("{} is not UTF-8", file.display())))?;
        sqlx::query("VACUUM INTO $1").bind(file).execute(&self.read).await?;
        Ok(())
    }

    /// Copies all rows, as they are at one moment, into an empty catalog of the same version, in one transaction.
    ///
    /// # Errors
    /// When a database fails; then nothing was copied.
    pub async fn copy_rows(&self, to: &Self) -> Result<(), CatalogError> {
        let tables = if self.shared { to.tables().await? } else { self.tables().await? };
        let mut from = self.read.begin().await?;
        if self.shared {
            for sql in [
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
                "SET LOCAL statement_timeout = 0",
                "SET LOCAL idle_in_transaction_session_timeout = 0",
            ] {
                sqlx::query(sql).execute(&mut *from).await?;
            }
        }
        let mut into = to.begin().await?;
        if to.shared {
            sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut *into).await?;
        }
        for table in &tables {
            // A new catalog has rows of its own.
            let sql = format!("DELETE FROM {}", table.name);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *into).await?;
            table.copy(&mut from, &mut into).await?;
        }
        into.commit().await?;
        Ok(())
    }

    /// Makes a copy in SQLite a backup of its own: without segments that were let go of, whose objects nobody keeps, and with a mark.
    /// Answers the id of the store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_backup(&self, taken_ms: Option<u64>) -> Result<String, CatalogError> {
        let id = self.store_id().await?;
        let mut tx = self.begin().await?;
        for sql in [
            "DELETE FROM segment_services WHERE segment IN (SELECT id FROM segments WHERE state = 'dropped')",
            "DELETE FROM segment_tables WHERE segment IN (SELECT id FROM segments WHERE state = 'dropped')",
            "DELETE FROM segments WHERE state = 'dropped'",
            "DELETE FROM leases",
            "DELETE FROM symbols",
        ] {
            sqlx::query(sql).execute(&mut *tx).await?;
        }
        sqlx::query("DELETE FROM settings WHERE name = $1").bind(TAKEN).execute(&mut *tx).await?;
        if let Some(taken_ms) = taken_ms {
            sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2)")
                .bind(TAKEN)
                .bind(taken_ms.to_string())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// When a backup was taken, unix milliseconds; `None` for a store that is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn backup_taken(&self) -> Result<Option<u64>, CatalogError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = $1").bind(TAKEN);
        let text: Option<String> = row.fetch_optional(&self.read).await?.map(|row| row.try_get("value")).transpose()?;
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// Makes a store of a backup: from now on it has a life of its own. Answers when the backup was taken, if it was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_backup(&self) -> Result<Option<u64>, CatalogError> {
        let taken = self.backup_taken().await?;
        if taken.is_some() {
            sqlx::query("DELETE FROM settings WHERE name = $1").bind(TAKEN).execute(&self.write).await?;
        }
        Ok(taken)
    }

    /// The id of the store, if it has one already: see [`Catalog::store_id`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn known_store_id(&self) -> Result<Option<String>, CatalogError> {
        let row = sqlx::query("SELECT value FROM settings WHERE name = 'store_id'").fetch_optional(&self.read).await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    /// True when nothing was ever stored.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_empty(&self) -> Result<bool, CatalogError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM segments) + (SELECT COUNT(*) FROM agents) + (SELECT COUNT(*) FROM services)
             + (SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM pins) AS n",
        );
        let count: i64 = row.fetch_one(&self.read).await?.try_get("n")?;
        Ok(count == 0)
    }

    /// Remembers that a segment's objects are lost: it is not served, and answers say so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lose(&self, objects: &[String]) -> Result<u64, CatalogError> {
        let mut lost = 0;
        for object in objects {
            let row = sqlx::query(
                "SELECT id AS segment FROM segments WHERE id = $1
                 UNION SELECT segment FROM segment_tables WHERE object = $1",
            );
            for row in row.bind(object).fetch_all(&self.read).await? {
                lost += u64::from(self.quarantine(row.try_get("segment")?).await?);
            }
        }
        Ok(lost)
    }

    /// Brings all that was committed into the file itself, of a catalog in SQLite, and closes it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_whole(self) -> Result<(), CatalogError> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&self.write).await?;
        self.close().await;
        Ok(())
    }

    /// Until when a lease is held, unix milliseconds: 0 when nobody ever had it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn lease_until(&self, name: &str) -> Result<u64, CatalogError> {
        let row = sqlx::query("SELECT until_ms FROM leases WHERE name = $1").bind(name);
        let until: Option<i64> =
            row.fetch_optional(&self.read).await?.map(|row| row.try_get("until_ms")).transpose()?;
        Ok(until.map_or(0, from_sql))
    }

    /// The tables of a catalog in SQLite.
    async fn tables(&self) -> Result<Vec<Table>, CatalogError> {
        let names = sqlx::query(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        );
        let mut tables = Vec::new();
        for row in names.fetch_all(&self.read).await? {
            let name: String = row.try_get("name")?;
            if OF_THE_PLACE.contains(&name.as_str()) {
                continue;
            }
            let rows =
                sqlx::query("SELECT name, type FROM pragma_table_info($1)").bind(&name).fetch_all(&self.read).await?;
            let column = |row: &AnyRow| -> Result<Column, CatalogError> {
                Ok(Column { name: row.try_get("name")?, is_number: row.try_get::<String, _>("type")? == "BIGINT" })
            };
            tables.push(Table { columns: rows.iter().map(column).collect::<Result<_, _>>()?, name });
        }
        Ok(tables)
    }
}

/// A table, whose name and columns are ours.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    is_number: bool,
}

/// A value of a row: our schema knows two types, and no NULL.
#[derive(Debug)]
enum Value {
    Number(i64),
    Text(String),
}

impl Table {
    async fn copy(&self, from: &mut AnyConnection, into: &mut AnyConnection) -> Result<(), CatalogError> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let names = names.join(", ");
        let sql = format!("SELECT {names} FROM {}", self.name);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(from);
        let mut values = Vec::new();
        while let Some(row) = rows.next().await {
            let row = row?;
            for column in &self.columns {
                let name = column.name.as_str();
                values.push(match column.is_number {
                    true => Value::Number(row.try_get(name)?),
                    false => Value::Text(row.try_get(name)?),
                });
            }
            if values.len() + self.columns.len() > VALUES_AT_ONCE {
                self.insert(&names, &mut values, into).await?;
            }
        }
        self.insert(&names, &mut values, into).await
    }

    async fn insert(&self, names: &str, values: &mut Vec<Value>, into: &mut AnyConnection) -> Result<(), CatalogError> {
        if values.is_empty() {
            return Ok(());
        }
        let width = self.columns.len();
        let one = |first: usize| {
            let places: Vec<String> = (first..first + width).map(|i| format!("${}", i + 1)).collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..values.len()).step_by(width).map(one).collect();
        let sql = format!("INSERT INTO {} ({names}) VALUES {}", self.name, rows.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values.drain(..) {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        query.execute(into).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::catalog::{EventKind, NewEvent};

    #[tokio::test]
    async fn every_table_is_copied_with_every_row() {
        let dir = tempfile::tempdir().unwrap();
        let open = async |name: &str| Catalog::connect(&Location::File(dir.path().join(name))).await.unwrap();
        let (from, to) = (open("from").await, open("to").await);
        // More rows than are written at once, and in every table.
        for table in from.tables().await.unwrap() {
            for i in 0..(VALUES_AT_ONCE / table.columns.len()) as i64 * 2 + 3 {
                let values: Vec<String> = (0..table.columns.len())
                    .map(|c| if table.columns[c].is_number { i.to_string() } else { format!("'{i} ☃ ''{c}'") })
                    .collect();
                let sql = format!("INSERT INTO {} VALUES ({})", table.name, values.join(", "));
                sqlx::query(AssertSqlSafe(sql)).execute(&from.write).await.unwrap();
            }
        }
        from.copy_rows(&to).await.unwrap();
        for table in from.tables().await.unwrap() {
            let all = async |catalog: &Catalog| {
                let sql = format!("SELECT * FROM {} ORDER BY 1, 2", table.name);
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&catalog.read).await.unwrap();
                let cell = |row: &AnyRow, column: &Column| match column.is_number {
                    true => row.get::<i64, _>(column.name.as_str()).to_string(),
                    false => row.get(column.name.as_str()),
                };
                let line = |row| table.columns.iter().map(|column| cell(row, column)).collect::<Vec<_>>();
                rows.iter().map(line).collect::<Vec<_>>()
            };
            let expected = all(&from).await;
            assert!(expected.len() > 1, "{}", table.name);
            assert_eq!(all(&to).await, expected, "{}", table.name);
        }
    }

    #[tokio::test]
    async fn a_catalog_that_is_not_there_is_not_made_by_looking_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.sqlite");
        Catalog::attach(&Location::File(file.clone())).await.unwrap_err();
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn a_copy_is_of_one_moment_and_marked() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::File(dir.path().join("catalog.sqlite"));
        let catalog = Catalog::connect(&location).await.unwrap();
        let title = "v2".to_owned();
        let event = NewEvent {
            at_ms: 7,
            kind: EventKind::Deploy,
            service: String::new(),
            title,
            labels: [].into(),
            link: String::new(),
        };
        catalog.insert_event(event).await.unwrap();
        let copy = dir.path().join("copy.sqlite");
        Catalog::attach(&location).await.unwrap().copy_file(&copy).await.unwrap();
        let copied = Catalog::connect(&Location::File(copy.clone())).await.unwrap();
        assert_eq!(copied.events(None, 0, 100, None).await.unwrap().len(), 1);
        let id = copied.make_backup(Some(123)).await.unwrap();
        assert_eq!(copied.backup_taken().await.unwrap(), Some(123));
        copied.close_whole().await.unwrap();
        assert!(!dir.path().join("copy.sqlite-wal").exists(), "one file is all of it");
        let copied = Catalog::attach(&Location::File(copy)).await.unwrap();
        assert_eq!((copied.known_store_id().await.unwrap(), copied.end_backup().await.unwrap()), (Some(id), Some(123)));
        assert_eq!(copied.end_backup().await.unwrap(), None);
    }
}
