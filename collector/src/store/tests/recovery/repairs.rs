//! Repairs: what comes back, what does not, and what is said.

use std::collections::BTreeSet;

use tephra_proto::ids::TraceId;

use super::*;
use crate::store::place::Place;
use crate::store::repair::{Report, repair};

async fn mend(data: &Path) -> Report {
    repair(&Place::Folder(data.to_owned())).await.unwrap()
}

/// A folder whose catalog is gone, and how it looked before.
async fn without_catalog(prepare: impl AsyncFnOnce(&Shop)) -> tempfile::TempDir {
    let dir = folder();
    let shop = Shop::open(dir.path()).await.unwrap();
    prepare(&shop).await;
    shop.close().await;
    fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    dir
}

#[tokio::test]
async fn names_types_labels_and_sequences_come_back() {
    for steps in [Some(0), Some(1), None] {
        let mut before = None;
        let dir = without_catalog(async |shop| {
            shop.send(0..6).await;
            shop.compact(steps).await;
            before = Some(names(shop).await);
        })
        .await;
        let report = mend(dir.path()).await;
        assert_eq!((report.windows, report.services, report.agents, report.kept), (6, 1, 2, None), "{steps:?}");
        let shop = Shop::open(dir.path()).await.unwrap();
        assert_eq!(Some(names(&shop).await), before, "{steps:?}");
        assert_eq!(shop.total().await, bits(0..6));
        assert_eq!(shop.send(0..7).await, [true, true, true, true, true, true, false]);
        shop.compact(None).await;
        assert_eq!(shop.total().await, bits(0..7));
        shop.close().await;
        // It fits, and it can be built again.
        let again = mend(dir.path()).await;
        assert_eq!((again.windows, again.store), (7, report.store));
        assert!(again.kept.unwrap().exists());
        assert_eq!(Shop::open(dir.path()).await.unwrap().total().await, bits(0..7));
    }
}

/// What the catalog names.
async fn names(shop: &Shop) -> (Vec<String>, Vec<String>, BTreeSet<(String, String)>) {
    let catalog = shop.store.catalog();
    let services = catalog.services().await.unwrap().into_iter().map(|row| row.name).collect();
    let types = catalog.profile_types("shop").await.unwrap().into_iter().map(|t| format!("{t:?}")).collect();
    let mut labels = BTreeSet::new();
    for name in catalog.label_names("shop", 0, u64::MAX >> 2).await.unwrap() {
        for value in catalog.label_values("shop", &name, 0, u64::MAX >> 2).await.unwrap() {
            labels.insert((name.clone(), value));
        }
    }
    (services, types, labels)
}

#[tokio::test]
async fn what_was_deleted_stays_deleted() {
    for (before, after) in [(Some(0), Some(0)), (Some(1), Some(0)), (None, Some(0)), (None, None)] {
        let trace = TraceId::parse(&"03".repeat(16)).unwrap();
        let dir = without_catalog(async |shop| {
            shop.send(0..4).await;
            shop.compact(before).await;
            assert!(shop.store.delete_service("shop", now_ms()).await.unwrap());
            assert!(!shop.store.delete_service("other", now_ms()).await.unwrap());
            shop.send(4..6).await;
            let engine = QueryEngine::new(shop.store.clone(), QueryLimits::default());
            engine.delete_trace(trace).await.unwrap();
            shop.compact(after).await;
        })
        .await;
        let report = mend(dir.path()).await;
        assert_eq!(report.deletions, 2);
        let shop = Shop::open(dir.path()).await.unwrap();
        assert_eq!(shop.total().await, bits(4..6), "{before:?} {after:?}");
        assert!(shop.store.catalog().is_deleted(&trace).await.unwrap());
        // Nor does it come back by being sent again.
        assert_eq!(shop.send(0..6).await, [true; 6], "{before:?} {after:?}");
        shop.compact(None).await;
        assert_eq!(shop.total().await, bits(4..6));
    }
}

/// An older catalog, to which nothing else has happened since.
#[tokio::test]
async fn a_catalog_from_before_a_deletion_does_it_again() {
    let deletion = async |shop: &Shop| assert!(shop.store.delete_service("shop", now_ms()).await.unwrap());
    let (dir, _) = with_older_catalog(0..4, deletion).await;
    let shop = Shop::open(dir.path()).await.unwrap();
    assert_eq!(shop.total().await, 0);
    assert_eq!(shop.send(0..5).await, [true, true, true, true, false]);
    assert_eq!(shop.total().await, bits(4..5));
    shop.close().await;
    assert_eq!(Shop::open(dir.path()).await.unwrap().total().await, bits(4..5));
}

/// Segments of before say too little: windows as they arrived are found, the rest is kept and told.
#[tokio::test]
async fn what_segments_of_an_earlier_release_cannot_tell_is_told() {
    let dir = folder();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/store/v1");
    copy(&fixture, dir.path());
    fs::remove_file(dir.path().join("catalog.sqlite.gz")).unwrap();
    let before = bytes(dir.path());
    let error = Shop::open(dir.path()).await.err().unwrap().to_string();
    assert!(error.contains("catalog.sqlite is missing"), "{error}");
    let report = mend(dir.path()).await;
    assert_eq!((report.compacted, report.services), (0, 1));
    assert!(report.windows > 0, "{report:?}");
    assert!(report.unknown.iter().any(|sentence| sentence.contains("compacted by a release before")), "{report:?}");
    assert!(bytes(dir.path()) == before, "every byte is still there");
    let shop = Shop::open(dir.path()).await.unwrap();
    assert!(shop.total().await > 0);
    assert_eq!(aside(dir.path()) as u64, report.aside);
}

#[tokio::test]
async fn a_folder_in_use_or_without_segments_is_not_repaired() {
    let dir = folder();
    let shop = Shop::open(dir.path()).await.unwrap();
    let place = Place::Folder(dir.path().to_owned());
    let error = repair(&place).await.unwrap_err().to_string();
    assert!(error.contains("another tephra is using it"), "{error}");
    shop.close().await;
    let error = repair(&place).await.unwrap_err().to_string();
    assert!(error.contains("no segment here"), "{error}");
}

/// A segment that is put back after it was set aside counts again.
#[tokio::test]
async fn what_was_set_aside_can_be_taken_back() {
    let dir = without_catalog(async |shop| drop(shop.send(0..4).await)).await;
    let without = Options { unknown: crate::store::Unknown::SetAside, ..quick() };
    let shop = Shop::open_with(dir.path(), without).await.unwrap();
    shop.send(4..6).await;
    shop.close().await;
    for (path, _) in contents(dir.path()) {
        if let Some((name, _)) = path.to_str().unwrap().split_once(".orphan-") {
            fs::rename(&path, name).unwrap();
        }
    }
    assert_eq!(mend(dir.path()).await.windows, 4, "of the store that has more segments here");
    assert_eq!(Shop::open(dir.path()).await.unwrap().total().await, bits(0..4));
}
