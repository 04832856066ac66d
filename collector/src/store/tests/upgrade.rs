//! Stores of earlier versions open for ever, and say what they said.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{AssertSqlSafe, Executor};
use tephra_proto::ids::{ServiceName, TraceId};

use crate::analysis::requests::together;
use crate::base::clock::now_ms;
use crate::base::range::TimeRange;
use crate::ingest::Ingest;
use crate::ingest::testing::{TestWindow, row, traced};
use crate::query::{QueryEngine, QueryLimits, RequestsAsked, Selection};
use crate::store::catalog::Horizons;
use crate::store::migrations::MIGRATIONS;
use crate::store::testing::options;
use crate::store::*;

const HOUR: u64 = 3_600_000;

async fn total(store: &Arc<Store>, profile_type: &str, labels: &[(&str, &str)], from_ms: u64, until_ms: u64) -> u64 {
    let selection = Selection {
        service: ServiceName::parse("shop").unwrap(),
        profile_type: profile_type.to_owned(),
        from_ms,
        until_ms,
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        trace: None,
    };
    QueryEngine::new(store.clone(), QueryLimits::default()).merge(&selection).await.unwrap().total()
}

/// Windows of two instances over three hours, the last of them not compacted.
async fn fill(store: &Arc<Store>, base_ms: u64) {
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    for (number, slot) in [0u64, 1, 400, 700, 1_000].into_iter().enumerate() {
        for agent in 1..=2u8 {
            let version = if slot < 500 { "v1" } else { "v2" };
            let window = TestWindow::new("shop", agent, number as u64 + 1, base_ms + slot * 10_000)
                .label("version", version)
                .cpu(&[row("main;work", 10 + slot), traced("main;work;tax", u64::from(agent), 9)])
                .inuse(&[row("main;keep", 1_000)])
                .span(9, "GET /pay", 5, 7_000);
            ingest.push(window.request()).await.unwrap();
        }
        if number == 3 {
            while compact::step(store, now_ms() + 40 * HOUR, 0, None).await.unwrap() {}
        }
    }
    drop(ingest);
}

/// What a store that was filled so says.
async fn check(store: &Arc<Store>, base_ms: u64) {
    let all = (base_ms, base_ms + 4 * HOUR);
    let slots = 5 * 10 + 1 + 400 + 700 + 1_000;
    assert_eq!(total(store, "cpu", &[], all.0, all.1).await, 2 * slots + 5 * 3);
    assert_eq!(total(store, "cpu", &[("version", "v1")], all.0, all.1).await, 2 * (30 + 401) + 3 * 3);
    assert_eq!(total(store, "cpu", &[("instance", "host-2")], all.0, all.1).await, slots + 5 * 2);
    assert_eq!(total(store, "cpu", &[], base_ms, base_ms + 10_000).await, 2 * 10 + 3);
    assert_eq!(total(store, "inuse_space", &[], all.0, all.1).await, 2_000);
    let engine = QueryEngine::new(store.clone(), QueryLimits::default());
    let trace = engine.trace(TraceId::parse(&"09".repeat(16)).unwrap()).await.unwrap().unwrap();
    let service = &trace.services[0];
    assert_eq!((service.samples.len(), service.spans.len(), service.types[0].total()), (10, 10, 15));
    let (shop, range) = (ServiceName::parse("shop").unwrap(), TimeRange { from_ms: all.0, until_ms: all.1 });
    for (labels, requests) in [(vec![], 10), (vec![("version".to_owned(), "v1".to_owned())], 6)] {
        let asked = RequestsAsked { service: shop.clone(), range, labels, step_ms: None };
        let over = engine.requests(&asked).await.unwrap();
        let told: Vec<_> = over.in_all().map(|(route, by)| (route.to_owned(), together(&by))).collect();
        let [(route, durations)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((route.as_str(), durations.count(), durations.max_us()), ("GET /pay", requests, 7_000));
    }
}

/// Where fixtures lie: `catalog.sqlite.gz`, and the objects.
fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store").join(version)
}

/// Start of the first window in the fixture of version 1.
const V1_BASE_MS: u64 = 1_795_237_200_000;

#[tokio::test]
async fn a_store_of_version_1_opens_and_says_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("segments")).unwrap();
    let mut catalog = Vec::new();
    let packed = fs::File::open(fixture("v1").join("catalog.sqlite.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut catalog).unwrap();
    fs::write(dir.path().join("catalog.sqlite"), catalog).unwrap();
    for entry in fs::read_dir(fixture("v1").join("segments")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join("segments").join(path.file_name().unwrap())).unwrap();
    }
    let store = Arc::new(Store::open(dir.path(), options()).await.unwrap());
    assert_eq!(store.catalog().totals().await.unwrap().quarantined, 0);
    check(&store, V1_BASE_MS).await;
    // It goes on as any other: what had arrived is compacted by this version.
    while compact::step(&store, V1_BASE_MS + 60 * HOUR, 0, None).await.unwrap() {}
    check(&store, V1_BASE_MS).await;
}

/// What this version writes says the same. With `TEPHRA_FIXTURE` naming a folder, the store is left there: so fixtures are made.
#[tokio::test]
async fn a_store_of_this_version_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = std::env::var_os("TEPHRA_FIXTURE").map_or(dir.path().to_owned(), PathBuf::from);
    let base_ms = now_ms() / HOUR * HOUR - 5 * HOUR;
    let store = Arc::new(Store::open(&data, options()).await.unwrap());
    fill(&store, base_ms).await;
    check(&store, base_ms).await;
    // Only objects that count.
    for id in store.catalog().dropped(u64::MAX >> 2).await.unwrap() {
        store.catalog().objects_of(&id).await.unwrap().iter().for_each(|object| store.bulk().delete(object).unwrap());
        store.catalog().forget(&id).await.unwrap();
    }
    check(&store, base_ms).await;
    store.catalog().close().await;
    println!("the first window starts at {base_ms}");
}

/// Before compaction there was one step of the schema, and segments as they arrived.
#[tokio::test]
async fn a_catalog_from_before_compaction_is_brought_up_to_date() {
    let (dir, old) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base_ms = now_ms() / HOUR * HOUR - 5 * HOUR;
    let store = Arc::new(Store::open(dir.path(), options()).await.unwrap());
    let ingest = Ingest::start(store.clone(), Arc::new(|_| Vec::new()));
    let window = TestWindow::new("shop", 1, 1, base_ms).cpu(&[row("main", 7)]);
    ingest.push(window.request()).await.unwrap();
    drop(ingest);
    store.catalog().close().await;
    drop(store);

    fs::create_dir(old.path().join("segments")).unwrap();
    for entry in fs::read_dir(dir.path().join("segments")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, old.path().join("segments").join(path.file_name().unwrap())).unwrap();
    }
    let file = format!("sqlite://{}?mode=rwc", old.path().join("catalog.sqlite").display());
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect(&file).await.unwrap();
    pool.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)").await.unwrap();
    pool.execute("INSERT INTO schema_version (version) VALUES (1)").await.unwrap();
    for statement in MIGRATIONS[0] {
        pool.execute(*statement).await.unwrap();
    }
    let from = dir.path().join("catalog.sqlite");
    pool.execute(AssertSqlSafe(format!("ATTACH '{}' AS newer", from.display()))).await.unwrap();
    for (table, columns) in [
        ("segments", "id, level, state, min_ms, max_ms, bytes, crc, windows, samples, traces, created_ms, dropped_ms"),
        ("segment_services", "service, segment, min_ms, max_ms, windows"),
        ("services", "name, first_seen_ms, last_seen_ms"),
        ("profile_types", "service, name, unit, kind, period, first_seen_ms, last_seen_ms"),
        ("labels", "service, name, value, first_seen_ms, last_seen_ms"),
    ] {
        let copy = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM newer.{table}");
        pool.execute(AssertSqlSafe(copy)).await.unwrap();
    }
    let pin = format!(
        "INSERT INTO pin_ranges (pin, service, from_ms, until_ms) VALUES ('p', 'shop', {base_ms}, {})",
        base_ms + 5
    );
    pool.execute(AssertSqlSafe(pin)).await.unwrap();
    pool.close().await;

    let store = Arc::new(Store::open(old.path(), options()).await.unwrap());
    assert_eq!(total(&store, "cpu", &[], base_ms, base_ms + HOUR).await, 7);
    let hour = TimeRange { from_ms: base_ms, until_ms: base_ms + HOUR };
    assert_eq!(store.catalog().horizons("shop").await.unwrap(), Horizons::with([], (1..=4).map(|level| (level, hour))));
    while compact::step(&store, base_ms + 60 * HOUR, 0, None).await.unwrap() {}
    assert_eq!(total(&store, "cpu", &[], base_ms, base_ms + HOUR).await, 7);
}
