//! What people keep beside profiles: events and pins. Nothing of it goes because more comes: when there is as much as there may be, a new one
//! is refused until somebody deletes, or the time of old pins is over.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Store;
use super::catalog::{Amount, CatalogError, Event, NewEvent, NewPin, Pin};
use crate::base::clock;
use crate::conditions::Severity;

/// How many events or pins there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many there may be.
    pub count: u64,
    /// Characters of all of them.
    pub bytes: u64,
}

/// Quotas of events and pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// A hundred deploys and alerts a day for years.
    pub events: Quota,
    /// An alert's pin holds its answer, some 20 KiB, for 90 days.
    pub pins: Quota,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { events: Quota { count: 200_000, bytes: 128 << 20 }, pins: Quota { count: 20_000, bytes: 256 << 20 } }
    }
}

/// Why an event or a pin was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// There are as many as there may be.
    #[error("there are {count} {what} of {bytes} bytes together, limits {} and {}", quota.count, quota.bytes)]
    Full {
        /// `events` or `pins`.
        what: &'static str,
        /// How many there are now.
        count: u64,
        /// What they take together.
        bytes: u64,
        /// How many there may be, and of how many bytes.
        quota: Quota,
    },
    /// The database fails.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Whoever asks for more often is answered from memory: counting reads a table.
const COUNTED_FOR: Duration = Duration::from_secs(60);

/// And whoever would be refused is worth another look.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// What is known of how much is kept.
#[derive(Debug, Default)]
pub(super) struct Counted {
    events: Mutex<Option<(Instant, Amount)>>,
    pins: Mutex<Option<(Instant, Amount)>>,
}

impl Store {
    /// Keeps an event.
    ///
    /// # Errors
    /// When there are as many as there may be, or the database fails.
    pub async fn keep_event(&self, event: NewEvent) -> Result<Event, KeepError> {
        let bytes = event.bytes();
        let (quota, counted) = (self.options.quotas.events, &self.counted.events);
        self.check_quota("events", quota, counted, bytes, self.catalog.amount_of_events()).await?;
        let event = self.catalog.insert_event(event).await?;
        add(counted, bytes);
        Ok(event)
    }

    /// Keeps a pin, and the data it names.
    ///
    /// # Errors
    /// When there are as many as there may be, or the database fails.
    pub async fn keep_pin(&self, pin: NewPin, now_ms: u64) -> Result<Pin, KeepError> {
        let bytes = pin.bytes();
        let (quota, counted) = (self.options.quotas.pins, &self.counted.pins);
        self.check_quota("pins", quota, counted, bytes, self.catalog.amount_of_pins()).await?;
        let pin = self.catalog.insert_pin(pin, now_ms).await?;
        add(counted, bytes);
        Ok(pin)
    }

    /// Deletes events from `from_ms` (inclusive) to `until_ms` (exclusive), of one service where it is given; answers how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_events(&self, service: Option<&str>, from_ms: u64, until_ms: u64) -> Result<u64, CatalogError> {
        let deleted = self.catalog.delete_events(service, from_ms, until_ms).await?;
        forget(&self.counted.events);
        Ok(deleted)
    }

    /// Deletes a pin; false when there is none. What only it kept goes when its time comes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_pin(&self, id: &str) -> Result<bool, CatalogError> {
        let deleted = self.catalog.delete_pin(id).await?;
        forget(&self.counted.pins);
        Ok(deleted)
    }

    async fn check_quota(
        &self,
        what: &'static str,
        quota: Quota,
        counted: &Mutex<Option<(Instant, Amount)>>,
        bytes: u64,
        count: impl Future<Output = Result<Amount, CatalogError>>,
    ) -> Result<(), KeepError> {
        let fits = |amount: Amount| amount.count < quota.count && amount.bytes.saturating_add(bytes) <= quota.bytes;
        let known = *counted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: Instant, amount| at.elapsed() < if fits(amount) { COUNTED_FOR } else { REFUSED_FOR };
        let amount = match known.filter(|(at, amount)| is_recent(*at, *amount)) {
            Some((_, amount)) => amount,
            None => {
                let amount = count.await?;
                *counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((clock::instant(), amount));
                amount
            }
        };
        let full = (!fits(amount)).then_some(KeepError::Full { what, count: amount.count, bytes: amount.bytes, quota });
        let kind = if what == "pins" { "pins_full" } else { "events_full" };
        let message = full
            .as_ref()
            .map(|full| format!("{full}: no further one is kept until some are deleted (DELETE /api/v1/{what})"));
        self.conditions.set(kind, Severity::Degraded, message);
        full.map_or(Ok(()), Err)
    }
}

fn add(counted: &Mutex<Option<(Instant, Amount)>>, bytes: u64) {
    if let Some((_, amount)) = counted.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        amount.count += 1;
        amount.bytes = amount.bytes.saturating_add(bytes);
    }
}

fn forget(counted: &Mutex<Option<(Instant, Amount)>>) {
    *counted.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use crate::store::catalog::{EventKind, PinRange};
    use crate::store::testing::TestPlace;

    fn event(at_ms: u64, title: &str) -> NewEvent {
        let (service, link) = ("checkout".to_owned(), String::new());
        NewEvent { at_ms, kind: EventKind::Note, service, title: title.to_owned(), labels: [].into(), link }
    }

    fn pin(note: &str) -> NewPin {
        let ranges = vec![PinRange { service: "checkout".to_owned(), from_ms: 1, until_ms: 2 }];
        NewPin { url: "/diff".to_owned(), note: note.to_owned(), answer: String::new(), expires_ms: u64::MAX, ranges }
    }

    async fn store(place: &TestPlace, count: u64, bytes: u64) -> Store {
        let quota = Quota { count, bytes };
        let options = Options { quotas: Quotas { events: quota, pins: quota }, ..Options::default() };
        Store::open_at(place.place(), options).await.unwrap()
    }

    #[tokio::test]
    async fn beyond_their_number_events_and_pins_are_refused_and_none_goes() {
        let place = TestPlace::new().await;
        let store = store(&place, 3, 1 << 20).await;
        let mut pins = Vec::new();
        for at_ms in 1..=3 {
            store.keep_event(event(at_ms, "x")).await.unwrap();
            pins.push(store.keep_pin(pin("x"), 1).await.unwrap());
        }
        for refused in
            [store.keep_event(event(4, "x")).await.unwrap_err(), store.keep_pin(pin("x"), 1).await.unwrap_err()]
        {
            assert!(refused.to_string().contains("limits 3 and"), "{refused}");
        }
        let kinds: Vec<_> = store.conditions().all().iter().map(|condition| condition.kind).collect();
        assert!(kinds.contains(&"events_full") && kinds.contains(&"pins_full"), "{kinds:?}");
        assert_eq!(store.catalog().events(None, 0, 10, None).await.unwrap().len(), 3);

        assert_eq!(store.delete_events(Some("other"), 0, 10).await.unwrap(), 0);
        assert_eq!(store.delete_events(Some("checkout"), 0, 2).await.unwrap(), 1);
        assert!(store.delete_pin(&pins[0].id).await.unwrap());
        assert!(!store.delete_pin(&pins[0].id).await.unwrap());
        assert!(store.catalog().pin(&pins[0].id).await.unwrap().is_none());
        store.keep_event(event(4, "x")).await.unwrap();
        store.keep_pin(pin("x"), 1).await.unwrap();
        assert_eq!(store.conditions().all(), []);
    }

    #[tokio::test]
    async fn so_they_are_beyond_their_bytes_and_after_a_restart() {
        let place = TestPlace::new().await;
        let first = store(&place, 1_000, 4_096).await;
        let long = "x".repeat(1_000);
        let mut kept = 0;
        while first.keep_event(event(1, &long)).await.is_ok() {
            kept += 1;
        }
        assert_eq!(kept, 3);
        assert!(first.keep_pin(pin(&long), 1).await.is_ok(), "each has its own");
        drop(first);
        let again = store(&place, 1_000, 4_096).await;
        assert!(matches!(again.keep_event(event(1, &long)).await, Err(KeepError::Full { count: 3, .. })));
        assert!(again.keep_event(event(1, "short")).await.is_ok(), "what fits is kept");
    }
}
