//! What was acked is there after any restart; what is damaged is set aside and never served; what is old goes, unless pinned.

mod crashes;
mod open_data;
mod recovery;
mod upgrade;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tephra_proto::ids::TraceId;

use super::bulk::BulkError;
use super::catalog::{EventKind, NewEvent, NewPin, PinRange};
use super::segment::SegmentError;
use super::testing::{TestPlace, options};
use super::*;
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, recent_ms, row, traced};
use crate::query::{QueryEngine, QueryLimits, Selection};

/// Objects never change, so what was read once would be believed.
fn uncached() -> Options {
    Options { cache_bytes: 0, ..options() }
}

async fn push(store: &Arc<Store>, windows: &[TestWindow]) {
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    for window in windows {
        ingest.push(window.request()).await.unwrap();
    }
}

async fn total(store: &Arc<Store>, service: &str) -> u64 {
    let selection = Selection::everything(service, "cpu");
    QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total()
}

#[tokio::test]
async fn an_acked_window_is_there_after_a_restart_without_shutdown() {
    let place = TestPlace::new().await;
    let t = recent_ms();
    let store = place.open().await;
    push(&store, &[TestWindow::new("shop", 1, 1, t).cpu(&[row("main", 7)])]).await;
    // As a kill leaves it: nothing is closed.
    if let Some(other) = place.beside() {
        assert_eq!(total(&other.open().await, "shop").await, 7, "another collector sees it too");
        return;
    }
    // The copy is what the disk holds at this moment.
    let copy = TestPlace::new().await;
    fs::create_dir_all(copy.objects()).unwrap();
    for file in ["catalog.sqlite", "catalog.sqlite-wal"] {
        fs::copy(place.data().join(file), copy.data().join(file)).unwrap();
    }
    for path in place.segments() {
        fs::copy(&path, copy.objects().join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(total(&copy.open().await, "shop").await, 7);
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_told_so() {
    let place = TestPlace::new().await;
    let first = place.open().await;
    let error = Store::open_at(place.place(), options()).await.unwrap_err().to_string();
    assert!(error.contains("another tephra is using it: stop that one, or choose another with --data"), "{error}");
    first.catalog().close().await;
    drop(first);
    Store::open_at(place.place(), options()).await.unwrap();
}

#[tokio::test]
async fn an_unusable_folder_is_explained_in_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Store::open(&file, options()).await.unwrap_err().to_string();
    assert!(error.ends_with("it is a file: choose a folder with --data"), "{error}");
    let error = Store::open(&file.join("below"), options()).await.unwrap_err().to_string();
    assert!(error.contains("part of its path is a file"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[tokio::test]
async fn a_catalog_of_a_later_release_is_refused() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let mut tx = store.catalog().begin().await.unwrap();
    sqlx::query("INSERT INTO schema_version (version) VALUES (999)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    store.catalog().close().await;
    drop(store);
    let error = Store::open_at(place.place(), options()).await.unwrap_err().to_string();
    assert!(error.contains("catalog version 999") && error.contains("use a newer tephra"), "{error}");
}

/// Not that a pool has waited.
#[tokio::test]
async fn a_catalog_that_cannot_be_opened_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("catalog.sqlite"), [b'x'; 4096]).unwrap();
    let error = Store::open(dir.path(), options()).await.unwrap_err().to_string();
    assert!(error.contains("file is not a database"), "{error}");
}

/// The worst a crash or a disk can do to one object: at every length it is either set aside, or whole.
#[tokio::test]
async fn a_segment_cut_at_any_byte_is_quarantined_and_the_rest_is_served() {
    let place = TestPlace::new().await;
    let t = recent_ms();
    let store = place.open_with(uncached()).await;
    push(&store, &[TestWindow::new("good", 1, 1, t).cpu(&[row("main", 1)])]).await;
    let good = place.segments();
    push(&store, &[TestWindow::new("torn", 2, 1, t).cpu(&[traced("main", 2, 7)])]).await;
    let torn = place.segments().into_iter().find(|path| !good.contains(path)).unwrap();
    let name = torn.file_name().unwrap().to_str().unwrap().to_owned();
    let rows = store.catalog().levels_of("torn", TimeRange::ALL).await.unwrap();
    let whole = fs::read(&torn).unwrap();
    for len in 0..whole.len() {
        fs::write(&torn, &whole[..len]).unwrap();
        let result = segment::read_footer(store.bulk().as_ref(), &name, rows[0].segment.bytes, rows[0].segment.crc);
        assert!(matches!(result, Err(SegmentError::Damaged { .. })), "{len} of {} bytes", whole.len());
    }
    store.catalog().close().await;
    drop(store);

    let store = place.open().await;
    assert_eq!(total(&store, "good").await, 1);
    assert_eq!(total(&store, "torn").await, 0);
    assert_eq!(store.catalog().totals().await.unwrap().quarantined, 1);
    assert!(torn.with_extension("quarantined").exists());
}

#[tokio::test]
async fn no_flipped_bit_is_ever_served() {
    let place = TestPlace::new().await;
    let t = recent_ms();
    let store = place.open_with(uncached()).await;
    push(&store, &[TestWindow::new("shop", 1, 1, t).cpu(&[traced("main;tax", 2, 7)])]).await;
    let row = store.catalog().levels_of("shop", TimeRange::ALL).await.unwrap().remove(0).segment;
    let path = place.segments().remove(0);
    let whole = fs::read(&path).unwrap();
    let bulk = store.bulk().as_ref();
    let read_all = || -> Result<(), SegmentError> {
        let footer = segment::read_footer(bulk, &row.id, row.bytes, row.crc)?;
        segment::read_traces(bulk, &row.id, &footer)?;
        footer.windows.iter().try_for_each(|info| segment::read_window(bulk, &row.id, info).map(drop))
    };
    read_all().unwrap();
    // The head is for people and tools; readers go by the end.
    for at in 16..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(matches!(read_all(), Err(SegmentError::Damaged { .. })), "byte {at} of {}", whole.len());
    }
}

#[tokio::test]
async fn a_damaged_window_is_left_out_and_its_neighbours_are_served() {
    let place = TestPlace::new().await;
    let t = recent_ms();
    let store = place.open_with(uncached()).await;
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let windows = [1, 2, 3].map(|agent| TestWindow::new("shop", agent, 1, t).cpu(&[row("main", u64::from(agent))]));
    let pushes = windows.map(|window| {
        let ingest = ingest.clone();
        tokio::spawn(async move { ingest.push(window.request()).await.unwrap() })
    });
    for push in pushes {
        push.await.unwrap();
    }
    let row = store.catalog().levels_of("shop", TimeRange::ALL).await.unwrap().remove(0).segment;
    let footer = store.footer(&row).unwrap().unwrap();
    let victim = footer.windows.iter().find(|info| info.instance == "host-2").unwrap();
    let path = place.objects().join(&row.id);
    let mut bytes = fs::read(&path).unwrap();
    bytes[victim.offset as usize + 20] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    assert_eq!(total(&store, "shop").await, 1 + 3);
    assert_eq!(total(&store, "shop").await, 1 + 3);
    assert_eq!(store.damaged_windows(), 1);
}

#[tokio::test]
async fn a_lost_object_is_reported_and_never_fatal() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    push(&store, &[TestWindow::new("shop", 1, 1, recent_ms()).cpu(&[row("main", 1)])]).await;
    fs::remove_file(&place.segments()[0]).unwrap();
    assert_eq!(total(&store, "shop").await, 0);
    assert_eq!(store.catalog().totals().await.unwrap().quarantined, 1);
}

#[tokio::test]
async fn retention_drops_what_is_old_and_keeps_what_is_pinned() {
    let place = TestPlace::new().await;
    let t = recent_ms();
    let store = place.open().await;
    push(&store, &[TestWindow::new("pinned", 1, 1, t).cpu(&[row("main", 1)])]).await;
    push(&store, &[TestWindow::new("old", 2, 1, t).cpu(&[row("main", 2)])]).await;
    let later = t + options().retention.as_millis() as u64 + 20_000;
    let expires_ms = later + 1_000_000;
    let ranges = vec![PinRange { service: "pinned".to_owned(), from_ms: t - 60_000, until_ms: t + 60_000 }];
    let pin =
        NewPin { url: "/diff?x=1".to_owned(), note: "why".to_owned(), answer: "{}".to_owned(), expires_ms, ranges };
    let pin = store.catalog().insert_pin(pin, t).await.unwrap();
    assert_eq!(store.catalog().pin(&pin.id).await.unwrap(), Some(pin.clone()));

    let round = retain::round(&store, later).await.unwrap();
    assert_eq!((round.expired, round.removed), (1, 0));
    assert_eq!(place.segments().len(), 2, "a query may still be reading it");
    let round = retain::round(&store, later + 600_000).await.unwrap();
    assert_eq!((round.expired, round.removed), (0, 1));
    assert_eq!((place.segments().len(), total(&store, "pinned").await), (1, 1));

    let round = retain::round(&store, expires_ms + 1).await.unwrap();
    assert_eq!(round.expired, 1);
    assert_eq!(store.catalog().pin(&pin.id).await.unwrap(), None);
}

#[tokio::test]
async fn only_old_objects_that_nobody_knows_are_set_aside() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    push(&store, &[TestWindow::new("shop", 1, 1, recent_ms()).cpu(&[row("main", 1)])]).await;
    let known = place.segments().remove(0);
    let names = ["0".repeat(32), "1".repeat(32)];
    for name in &names {
        fs::write(place.objects().join(name), "orphan").unwrap();
    }
    let foreign = place.objects().join("notes.txt");
    fs::write(&foreign, "mine").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    for path in [&known, &place.objects().join(&names[0]), &foreign] {
        fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let round = retain::round(&store, now_ms()).await.unwrap();
    assert_eq!((round.set_aside, round.orphans), (1, 0));
    assert!(known.exists() && foreign.exists() && place.objects().join(&names[1]).exists());
    assert!(!place.objects().join(&names[0]).exists());
}

#[tokio::test]
async fn events_come_by_time_service_and_kind() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let catalog = store.catalog();
    for (at_ms, kind, service) in [
        (30, EventKind::Alert, "a"),
        (10, EventKind::Deploy, "a"),
        (20, EventKind::Deploy, "b"),
        (40, EventKind::Note, "a"),
    ] {
        let labels = [("version".to_owned(), "v\"2".to_owned())].into();
        let title = format!("at {at_ms}");
        let event = NewEvent { at_ms, kind, service: service.to_owned(), title, labels, link: String::new() };
        let stored = catalog.insert_event(event.clone()).await.unwrap();
        assert_eq!(catalog.event(&stored.id).await.unwrap().unwrap().event, event);
    }
    let at = async |service, from, until, kind| -> Vec<u64> {
        let events = catalog.events(service, from, until, kind).await.unwrap();
        events.iter().map(|event| event.event.at_ms).collect()
    };
    assert_eq!(at(None, 0, 100, None).await, [10, 20, 30, 40]);
    assert_eq!(at(Some("a"), 10, 40, None).await, [10, 30]);
    assert_eq!(at(Some("a"), 0, 100, Some(EventKind::Deploy)).await, [10]);
    assert_eq!(catalog.event("nobody' OR 1=1 --").await.unwrap(), None);
}

#[tokio::test]
async fn trace_keys_are_the_random_half_of_the_id() {
    let id = TraceId::parse("00000000000000000123456789abcdef").unwrap();
    assert_eq!(segment::trace_key(&id), 0x0123_4567_89ab_cdef);
}

#[tokio::test]
async fn any_range_of_an_object_is_what_was_written_there() {
    let place = TestPlace::new().await;
    let store = place.open().await;
    let (bulk, name) = (store.bulk(), "a".repeat(32));
    let content: Vec<u8> = (0..700_000u32).map(|i| (i / 7) as u8).collect();
    bulk.put(&name, &content).unwrap();
    let borders = [0u64, 1, 262_143, 262_144, 262_145, 524_288, 699_999, 700_000, 700_001, 900_000];
    for offset in borders {
        for bytes in [0usize, 1, 2, 262_144, 300_000, 9_000_000] {
            let (from, until) = (content.len().min(offset as usize), content.len().min(offset as usize + bytes));
            assert!(
                bulk.get_range(&name, offset, bytes).unwrap() == content[from..until],
                "{bytes} bytes from {offset}"
            );
        }
    }
    assert!(matches!(bulk.get_range(&"b".repeat(32), 0, 1), Err(BulkError::Missing { .. })));
}
