//! Events: deploys, alerts and notes, which mark a moment of a service.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Amount, Catalog, CatalogError, fresh_id, from_sql, to_sql};

/// Why a moment is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A new version went out.
    Deploy,
    /// An alert fired.
    Alert,
    /// Somebody wrote something down.
    Note,
}

impl EventKind {
    /// Its name in the API and the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Alert => "alert",
            Self::Note => "note",
        }
    }

    /// Reads the name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Deploy, Self::Alert, Self::Note].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An event to be stored. The caller has checked lengths and characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The moment it tells of, unix milliseconds.
    pub at_ms: u64,
    /// Why it is remembered.
    pub kind: EventKind,
    /// The service it is about.
    pub service: String,
    /// One line for people.
    pub title: String,
    /// Labels such as version.
    pub labels: BTreeMap<String, String>,
    /// Where to read more, or empty.
    pub link: String,
}

impl NewEvent {
    /// What it takes in the catalog, about.
    pub fn bytes(&self) -> u64 {
        let labels: usize = self.labels.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
        (self.title.len() + labels + self.link.len()) as u64 + Amount::ROW
    }
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// What was stored.
    pub event: NewEvent,
}

impl Event {
    /// As the API writes it.
    pub fn to_json(&self) -> Value {
        let NewEvent { at_ms, kind, service, title, labels, link } = &self.event;
        json!({
            "id": self.id, "at": at_ms, "kind": kind.as_str(), "service": service, "title": title, "labels": labels, "link": link,
        })
    }
}

/// Most events one answer holds: the newest win.
const EVENTS_MAX: i64 = 1_000;

impl Catalog {
    /// Stores an event.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_event(&self, event: NewEvent) -> Result<Event, CatalogError> {
        let id = fresh_id();
        let labels = serde_json::to_string(&event.labels).unwrap_or_else(|_| "{}".to_owned());
        sqlx::query(
            "INSERT INTO events (id, at_ms, kind, service, title, labels, link) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&id)
        .bind(to_sql(event.at_ms))
        .bind(event.kind.as_str())
        .bind(&event.service)
        .bind(&event.title)
        .bind(labels)
        .bind(&event.link)
        .execute(&self.write)
        .await?;
        Ok(Event { id, event })
    }

    /// Events from `from_ms` (inclusive) to `until_ms` (exclusive), by time; of one service and kind where given. At
    /// most 1000, the newest ones.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(
        &self,
        service: Option<&str>,
        from_ms: u64,
        until_ms: u64,
        kind: Option<EventKind>,
    ) -> Result<Vec<Event>, CatalogError> {
        let rows = sqlx::query(
            "SELECT id, at_ms, kind, service, title, labels, link FROM events
             WHERE at_ms >= $1 AND at_ms < $2 AND ($3 = '' OR service = $3) AND ($4 = '' OR kind = $4)
             ORDER BY at_ms DESC, id LIMIT $5",
        )
        .bind(to_sql(from_ms))
        .bind(to_sql(until_ms))
        .bind(service.unwrap_or_default())
        .bind(kind.map_or("", EventKind::as_str))
        .bind(EVENTS_MAX)
        .fetch_all(&self.read)
        .await?;
        let mut events = rows.iter().map(read_event).collect::<Result<Vec<_>, _>>()?;
        events.reverse();
        Ok(events)
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn amount_of_events(&self) -> Result<Amount, CatalogError> {
        self.amount(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(LENGTH(title) + LENGTH(labels) + LENGTH(link)), 0) AS BIGINT) AS bytes
             FROM events",
        )
        .await
    }

    /// Deletes events from `from_ms` (inclusive) to `until_ms` (exclusive), of one service where it is given; answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_events(&self, service: Option<&str>, from_ms: u64, until_ms: u64) -> Result<u64, CatalogError> {
        let deleted = sqlx::query("DELETE FROM events WHERE at_ms >= $1 AND at_ms < $2 AND ($3 = '' OR service = $3)")
            .bind(to_sql(from_ms))
            .bind(to_sql(until_ms))
            .bind(service.unwrap_or_default())
            .execute(&self.write)
            .await?;
        Ok(deleted.rows_affected())
    }

    /// One event by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event(&self, id: &str) -> Result<Option<Event>, CatalogError> {
        let row = sqlx::query("SELECT id, at_ms, kind, service, title, labels, link FROM events WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(read_event).transpose()
    }
}

fn read_event(row: &AnyRow) -> Result<Event, CatalogError> {
    let kind: String = row.try_get("kind")?;
    let labels: String = row.try_get("labels")?;
    let Some(parsed) = EventKind::parse(&kind) else {
        return Err(CatalogError::Corrupt { what: "events.kind", value: kind });
    };
    let Ok(labels) = serde_json::from_str(&labels) else {
        return Err(CatalogError::Corrupt { what: "events.labels", value: labels });
    };
    Ok(Event {
        id: row.try_get("id")?,
        event: NewEvent {
            at_ms: from_sql(row.try_get("at_ms")?),
            kind: parsed,
            service: row.try_get("service")?,
            title: row.try_get("title")?,
            labels,
            link: row.try_get("link")?,
        },
    })
}
