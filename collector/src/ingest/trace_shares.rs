//! Announces which share of all traces services tell of: so many halvings that of the busiest service some 54 to 108 requests a window are
//! left.
//!
//! All collectors of a store announce the same, two windows ahead: the first one decides, in the catalog, by what all counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tephra_proto::limits::WINDOW_MS;
use tephra_proto::trace_share::HALVINGS_MAX;
use tephra_proto::v1;

use crate::profile::decode::Window;
use crate::store::catalog::{Catalog, CatalogError, RequestCount};

/// Examples of a service's requests in a window: few enough to keep them for days. With the two slowest of each of five routes they are 64.
const EXAMPLES_MIN: f64 = 54.0;

/// What is announced stays while the examples are no fewer and no more than these: a service at the edge would change it all the time.
const STAYS: std::ops::Range<f64> = 45.0..135.0;

const WINDOW: u64 = WINDOW_MS as u64;

/// From when on an announcement counts: by then every agent has heard it, for each sends once a window.
const AHEAD: u64 = 2 * WINDOW;

/// By how many windows it is chosen, and how old the newest of them is: its agents have sent it.
const CHOSEN_BY: u64 = 3;
const SETTLED: u64 = 3 * WINDOW;

/// How long counts and announcements are remembered: an agent that was away for longer knows none, and tells more.
const REMEMBERED_MS: u64 = 10 * 60_000;

/// Services that one collector counts at a time, and windows: what else there is does not decide.
const COUNTS_MAX: usize = 4_096;

/// What one collector counts and announces.
#[derive(Debug, Default)]
pub(super) struct TraceShares {
    /// Requests since the last round, by window and service.
    counted: Mutex<BTreeMap<(u64, String), u64>>,
    announced: Mutex<Option<v1::TraceShare>>,
}

impl TraceShares {
    /// Counts the requests of a window that came.
    pub(super) fn count(&self, window: &Window) {
        let requests: u64 = window.requests.iter().map(|requests| requests.durations.count()).sum();
        if requests == 0 {
            return;
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (window.header.start_ms / WINDOW * WINDOW, window.header.service.as_str().to_owned());
        if counted.len() < COUNTS_MAX || counted.contains_key(&key) {
            let sum = counted.entry(key).or_default();
            *sum = sum.saturating_add(requests);
        }
    }

    /// What agents are told.
    pub(super) fn announced(&self) -> Option<v1::TraceShare> {
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what was counted to the catalog, and announces what is decided there.
    ///
    /// # Errors
    /// When the catalog fails: what was announced before stays.
    pub(super) async fn round(&self, catalog: &Catalog, now_ms: u64) -> Result<(), CatalogError> {
        let counted = std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        let oldest = now_ms.saturating_sub(REMEMBERED_MS);
        let counts = counted.into_iter().filter(|((window_ms, _), _)| *window_ms >= oldest);
        let counts: Vec<_> =
            counts.map(|((window_ms, service), requests)| RequestCount { window_ms, service, requests }).collect();
        let now = now_ms / WINDOW * WINDOW;
        let from_ms = now + WINDOW + AHEAD;
        let before = catalog.halvings_at(from_ms).await?;
        // Where nobody tells of requests nothing is written.
        if counts.is_empty() && before.is_none() {
            return Ok(());
        }
        catalog.add_request_counts(&counts, oldest).await?;
        let until_ms = now.saturating_sub(SETTLED - WINDOW);
        let busiest = catalog.busiest(until_ms.saturating_sub(CHOSEN_BY * WINDOW), until_ms).await?;
        let halvings = catalog.announce_halvings(from_ms, choose(busiest as f64 / CHOSEN_BY as f64, before)).await?;
        let announced = v1::TraceShare { halvings: halvings.min(HALVINGS_MAX), from_unix_ms: from_ms };
        *self.announced.lock().unwrap_or_else(PoisonError::into_inner) = Some(announced);
        Ok(())
    }
}

/// How often to halve, where the busiest service answers so many requests a window.
fn choose(requests: f64, before: Option<u32>) -> u32 {
    let left = |halvings: u32| requests / f64::from(halvings).exp2();
    match before {
        // Nobody knows: what is told now may be all there is.
        Some(before) if requests == 0.0 || STAYS.contains(&left(before)) => before,
        _ => (0..HALVINGS_MAX).take_while(|halvings| left(halvings + 1) >= EXAMPLES_MIN).count() as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::TestWindow;
    use crate::profile::decode::{Lateness, decode};
    use crate::store::testing::TestPlace;

    const NOW: u64 = 1_800_000_004_000;

    fn window(service: &str, start_ms: u64, requests: usize) -> Window {
        let window = TestWindow::new(service, 1, 1, start_ms);
        let window = window.requests("/", v1::SpanStatus::Ok, &vec![1_000; requests]);
        let request = window.request();
        decode(&request.header.unwrap(), &request.payload, request.payload_bytes, Lateness::Stored).unwrap()
    }

    #[test]
    fn the_busiest_service_keeps_some_fifty_to_a_hundred_examples() {
        for (requests, halvings) in [(0.0, 0), (10.0, 0), (107.0, 0), (108.0, 1), (400.0, 2), (1e6, 14), (1e18, 32)] {
            assert_eq!(choose(requests, None), halvings, "{requests}");
        }
    }

    #[test]
    fn what_is_announced_stays_until_it_no_longer_fits() {
        assert_eq!([195.0, 320.0, 520.0].map(|requests| choose(requests, Some(2))), [2, 2, 2]);
        assert_eq!([100.0, 700.0].map(|requests| choose(requests, Some(2))), [0, 3]);
        assert_eq!(choose(0.0, Some(7)), 7);
    }

    #[tokio::test]
    async fn two_collectors_announce_what_both_counted_and_the_same() {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let catalog = store.catalog();
        let (one, other) = (TraceShares::default(), TraceShares::default());
        for back in 1..=6 {
            let start_ms = NOW / WINDOW * WINDOW - back * WINDOW;
            // 400 requests a window: neither collector sees them all.
            one.count(&window("gateway", start_ms, 300));
            other.count(&window("gateway", start_ms, 100));
            other.count(&window("quiet", start_ms, 3));
        }
        assert_eq!(one.announced(), None);
        // What only one has counted decides nothing yet; whoever comes next knows all.
        other.add_to(catalog).await;
        one.round(catalog, NOW).await.unwrap();
        let from_unix_ms = NOW / WINDOW * WINDOW + 3 * WINDOW;
        assert_eq!(one.announced(), Some(v1::TraceShare { halvings: 2, from_unix_ms }));
        // The other has seen far more since: what is announced for this window stands.
        for back in 1..=6 {
            other.count(&window("gateway", NOW / WINDOW * WINDOW - back * WINDOW, 9_000));
        }
        other.round(catalog, NOW + 500).await.unwrap();
        assert_eq!(other.announced(), one.announced());
        one.round(catalog, NOW + WINDOW).await.unwrap();
        other.round(catalog, NOW + WINDOW).await.unwrap();
        assert_eq!(one.announced(), other.announced());
        assert!(one.announced().unwrap().halvings > 2, "and the next announcement knows of them");
    }

    impl TraceShares {
        async fn add_to(&self, catalog: &Catalog) {
            let counted = std::mem::take(&mut *self.counted.lock().unwrap());
            let count = |((window_ms, service), requests)| RequestCount { window_ms, service, requests };
            catalog.add_request_counts(&counted.into_iter().map(count).collect::<Vec<_>>(), 0).await.unwrap();
        }
    }
}
