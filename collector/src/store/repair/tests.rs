//! A store that lost its catalog gets another one from its segments: in a folder, and in PostgreSQL and a bucket.

use std::sync::Arc;

use super::*;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, recent_ms, row};
use crate::query::{QueryEngine, QueryLimits, Selection};
use crate::store::testing::{TestPlace, options};
use crate::store::{Store, compact};

const HOUR_MS: u64 = 3_600_000;

/// Sends windows, of which each counts as a bit of its own; says for each whether it was stored already.
async fn send(store: &Arc<Store>, numbers: std::ops::Range<u64>) -> Vec<bool> {
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let mut duplicates = Vec::new();
    for number in numbers {
        let agent = 1 + (number % 2) as u8;
        let window = TestWindow::new("shop", agent, 1 + number / 2, recent_ms() + number * 10_000);
        let window = window.cpu(&[row(&format!("main;w{number}"), 1 << number)]);
        duplicates.push(ingest.push(window.request()).await.unwrap().duplicate);
    }
    duplicates
}

async fn total(store: &Arc<Store>) -> u64 {
    let selection = Selection::everything("shop", "cpu");
    QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total()
}

async fn close(store: Arc<Store>) {
    // What was sent may still be put in order.
    while Arc::strong_count(&store) > 1 {
        tokio::task::yield_now().await;
    }
    store.catalog().close().await;
}

/// A place whose catalog is lost, after some steps of compaction.
async fn without_catalog(windows: u64, steps: usize) -> TestPlace {
    let mut place = TestPlace::new().await;
    let store = place.open().await;
    send(&store, 0..windows).await;
    for _ in 0..steps {
        compact::step(&store, now_ms() + 40 * HOUR_MS, 0, None).await.unwrap();
    }
    close(store).await;
    place.lose_catalog().await;
    place
}

#[tokio::test]
async fn what_was_acked_is_answered_once_and_recognised_when_it_is_sent_again() {
    for steps in [0, 1, 40] {
        let place = without_catalog(6, steps).await;
        let refused = Store::open_at(place.place(), options()).await.unwrap_err().to_string();
        for way in ["nothing was changed", "`tephra repair`"] {
            assert!(refused.contains(way), "{refused}");
        }
        let report = repair(&place.place()).await.unwrap();
        assert_eq!((report.windows, report.services, report.agents), (6, 1, 2), "{steps} steps");
        let store = place.open().await;
        assert_eq!(total(&store).await, 0b11_1111, "{steps} steps");
        assert_eq!(send(&store, 0..7).await, [true, true, true, true, true, true, false]);
        while compact::step(&store, now_ms() + 40 * HOUR_MS, 0, None).await.unwrap() {}
        assert_eq!(total(&store).await, 0b111_1111, "{steps} steps");
        if let Some(beside) = place.beside() {
            assert_eq!(total(&beside.open().await).await, 0b111_1111, "another collector sees it too");
        }
    }
}

#[tokio::test]
async fn a_database_that_holds_something_is_not_repaired() {
    let Some(place) = TestPlace::shared().await else { return };
    let store = place.open().await;
    send(&store, 0..2).await;
    close(store).await;
    let before = place.segments();
    let error = repair(&place.place()).await.unwrap_err().to_string();
    assert!(error.contains("an empty database with --catalog"), "{error}");
    assert_eq!(place.segments(), before);
    assert_eq!(total(&place.open().await).await, 0b11);
}

/// Otherwise the next start would find the catalog older than what was noted.
#[tokio::test]
async fn a_database_is_repaired_to_no_earlier_moment_than_was_noted_in_the_bucket() {
    let Some(mut place) = TestPlace::shared().await else { return };
    let store = place.open().await;
    send(&store, 0..2).await;
    let noted = Counters { commits: 100, deletions: 7 };
    progress::note(store.bucket().unwrap(), noted).unwrap();
    close(store).await;
    place.lose_catalog().await;
    repair(&place.place()).await.unwrap();
    let store = place.open().await;
    let counters = store.catalog().counters().await.unwrap();
    assert!(counters.commits >= noted.commits && counters.deletions >= noted.deletions, "{counters:?}");
    assert_eq!(send(&store, 0..3).await, [true, true, false]);
    assert_eq!(total(&store).await, 0b111);
}
