//! Starts: refused with the three ways on, or as if nothing had been.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::store::Unknown;
use crate::store::bulk::{Bulk, BulkError, Folder};
use crate::store::spoiled::{Fate, Spoiled};

/// Refused, with all that can be done about it, and nothing touched.
async fn is_refused(data: &Path, because: &str) {
    let before = contents(data);
    for _ in 0..2 {
        let error = Shop::open(data).await.err().expect("the store must not open").to_string();
        assert!(error.contains(because), "{error}");
        for way in ["Put the catalog that belongs here back", "tephra repair", "--set-unknown-aside"] {
            assert!(error.contains(way), "{error}");
        }
        assert_eq!(error.lines().count(), 1);
    }
    assert!(contents(data) == before, "something was changed");
}

#[tokio::test]
async fn a_catalog_that_is_missing_is_not_made_anew_beside_segments() {
    let dir = folder();
    let shop = Shop::open(dir.path()).await.unwrap();
    shop.send(0..4).await;
    shop.close().await;
    let kept = folder();
    copy(dir.path(), kept.path());
    fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    is_refused(dir.path(), "catalog.sqlite is missing, and 4 objects").await;
    assert!(!dir.path().join("catalog.sqlite").exists());
    exchange_catalog(kept.path(), dir.path());
    assert_eq!(Shop::open(dir.path()).await.unwrap().total().await, bits(0..4));
}

#[tokio::test]
async fn a_catalog_of_another_store_is_refused() {
    for compacted in [false, true] {
        let (dir, other) = (folder(), folder());
        let shop = Shop::open(dir.path()).await.unwrap();
        shop.send(0..4).await;
        if compacted {
            shop.compact(None).await;
            // What was replaced is still there, as for some minutes it is.
        }
        shop.close().await;
        let theirs = Shop::open(other.path()).await.unwrap();
        theirs.send(0..9).await;
        theirs.close().await;
        exchange_catalog(other.path(), dir.path());
        is_refused(dir.path(), "belongs to other segments").await;
    }
}

#[tokio::test]
async fn an_older_catalog_is_refused_when_windows_arrived_since() {
    let (dir, _) = with_older_catalog(0..2, async |shop| drop(shop.send(2..5).await)).await;
    is_refused(dir.path(), "older than its segments").await;
}

/// Of the very last commit nobody can tell whether it was acked, so it counts.
#[tokio::test]
async fn a_catalog_older_by_one_commit_takes_that_commit_in() {
    let (dir, _) = with_older_catalog(0..2, async |shop| drop(shop.send(2..3).await)).await;
    let shop = Shop::open(dir.path()).await.unwrap();
    assert_eq!(shop.total().await, bits(0..3));
    assert_eq!(shop.send(0..4).await, [true, true, true, false]);
    assert_eq!(shop.total().await, bits(0..4));
    assert_eq!(aside(dir.path()), 0);
}

/// The sources are listed, and are no longer there: they were replaced by what is not listed.
#[tokio::test]
async fn a_catalog_from_before_a_compaction_is_refused_once_its_sources_are_gone() {
    let (dir, before) = with_older_catalog(0..4, async |shop| shop.compact(Some(1)).await).await;
    // While they are there, what was made of them is not needed.
    let early = folder();
    copy(dir.path(), early.path());
    let shop = Shop::open(early.path()).await.unwrap();
    assert_eq!(shop.total().await, bits(0..4));
    shop.compact(None).await;
    assert_eq!(shop.total().await, bits(0..4));
    shop.close().await;
    assert_eq!(Shop::open(early.path()).await.unwrap().total().await, bits(0..4));

    for (path, _) in before {
        fs::remove_file(path).unwrap();
    }
    is_refused(dir.path(), "which is gone").await;
}

#[tokio::test]
async fn what_is_unknown_is_set_aside_where_that_is_asked_for() {
    let (dir, _) = with_older_catalog(0..2, async |shop| drop(shop.send(2..6).await)).await;
    let all = bytes(dir.path());
    let without = Options { unknown: Unknown::SetAside, ..quick() };
    let shop = Shop::open_with(dir.path(), without.clone()).await.unwrap();
    assert_eq!(shop.total().await, bits(0..3), "the very next commit is no riddle");
    let told = shop.store.conditions().all();
    assert!(told.iter().any(|told| told.message.starts_with("3 objects")), "{told:?}");
    assert!(bytes(dir.path()) == all, "every byte is still there");
    shop.send(6..8).await;
    shop.close().await;
    // Also without any catalog at all.
    fs::remove_file(dir.path().join("catalog.sqlite")).unwrap();
    let shop = Shop::open_with(dir.path(), without).await.unwrap();
    assert_eq!((shop.total().await, aside(dir.path())), (0, 8));
    shop.close().await;
    Shop::open(dir.path()).await.unwrap();
}

/// Lets so many puts through, and then nothing more.
#[derive(Debug)]
struct Dying {
    left: AtomicUsize,
}

impl Fate for Dying {
    fn put(&self, folder: &Folder, name: &str, content: &[u8]) -> Result<(), BulkError> {
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => folder.put(name, content),
            Err(_) => Err(dead()),
        }
    }

    fn delete(&self, _: &Folder, _: &str) -> Result<(), BulkError> {
        Err(dead())
    }
}

fn dead() -> BulkError {
    BulkError::Full { folder: "/dead".into() }
}

/// Killed at each object that compaction writes, and again and again: it starts each time, and nothing is lost or counted twice.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_compaction_needs_nobody() {
    let dir = folder();
    let shop = Shop::open(dir.path()).await.unwrap();
    shop.send(0..6).await;
    shop.close().await;
    let mut deaths = 0;
    for puts in 0.. {
        let folder = Folder::open(&dir.path().join("segments")).unwrap();
        let dying = Arc::new(Spoiled { folder, fate: Dying { left: puts.into() } });
        let store = Arc::new(Store::open_with(dir.path(), quick(), dying).await.unwrap());
        let done = compact::step(&store, now_ms() + 40 * HOUR, 0, None).await;
        store.catalog().close().await;
        drop(store);
        let shop = Shop::open(dir.path()).await.unwrap();
        assert_eq!(shop.total().await, bits(0..6), "after {puts} puts");
        shop.close().await;
        if done.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 10, "{deaths}");
    let shop = Shop::open(dir.path()).await.unwrap();
    shop.compact(None).await;
    assert_eq!((shop.total().await, shop.send(0..6).await), (bits(0..6), vec![true; 6]));
    shop.close().await;
    Shop::open(dir.path()).await.unwrap();
}

/// An arrived segment whose windows were sent again after a kill, with others: each counts once.
#[tokio::test]
async fn what_was_in_flight_when_a_process_was_killed_counts_once() {
    let dir = folder();
    let shop = Shop::open(dir.path()).await.unwrap();
    shop.send(0..2).await;
    shop.close().await;
    let killed = folder();
    copy(dir.path(), killed.path());
    // What two processes had written for the same commit, one after the other, when they were killed.
    for numbers in [2..4, 3..5] {
        let again = folder();
        copy(dir.path(), again.path());
        let shop =
            Shop::open_with(again.path(), Options { batch_time: Duration::from_millis(300), ..quick() }).await.unwrap();
        let pushes: Vec<_> = numbers.map(|number| shop.ingest.push(window(number).request())).collect();
        futures_util::future::join_all(pushes).await.into_iter().for_each(|pushed| assert!(!pushed.unwrap().duplicate));
        shop.close().await;
        for (path, content) in contents(again.path()) {
            fs::write(killed.path().join("segments").join(path.file_name().unwrap()), content).unwrap();
        }
    }
    assert_eq!(contents(killed.path()).len(), 2 + 2);
    let shop = Shop::open(killed.path()).await.unwrap();
    assert_eq!(shop.total().await, bits(0..5));
    assert_eq!(shop.send(0..6).await, [true, true, true, true, true, false]);
    assert_eq!(shop.total().await, bits(0..6));
    shop.close().await;
    Shop::open(killed.path()).await.unwrap();
}
