//! Objects that the catalog does not know: set aside first, told about, and removed days later.
//!
//! A crash between the two writes of a commit leaves such an object, and it is rubbish. A catalog that lost rows leaves them too, and then
//! they are data. Nobody can be sure which it is at once, so nothing is deleted in the belief that it is the former.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::bulk::{AsideObject, Bulk, ObjectInfo};
use super::catalog::Counters;
use super::start::{Found, look_at};
use super::{Store, StoreError, progress, tombstones};
use crate::base::clock::{now_ms, now_s};
use crate::conditions::Severity;

/// Younger objects may be on their way into the catalog.
const SETTLED_AFTER: Duration = Duration::from_secs(3600);

/// How long what was set aside is kept.
pub(super) const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A collector removes nothing that was set aside before it has run for so long: where a clock is days ahead, somebody has a day to see
/// it.
const LOOKED_AT: Duration = Duration::from_secs(24 * 3600);

/// The condition that tells of them.
pub(super) const CONDITION: &str = "objects_set_aside";

/// The condition that a shared catalog is older than its segments.
const OLDER: &str = "catalog_older";

/// What to do then.
const REPAIR: &str = "name the database that belongs here, or let `tephra repair` build a catalog in an empty one";

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Objects set aside.
    pub(super) set_aside: u64,
    /// Objects removed that had been aside for long.
    pub(super) removed: u64,
}

/// Sets aside what the catalog does not know, removes what has been aside for days, and tells of the rest.
pub(super) async fn sweep(store: &Store, opened: Instant) -> Result<Swept, StoreError> {
    let bulk = store.bulk().clone();
    let objects = tokio::task::spawn_blocking(move || bulk.list()).await??;
    let now = Duration::from_millis(now_ms());
    let old = |modified: SystemTime| {
        now.saturating_sub(modified.duration_since(UNIX_EPOCH).unwrap_or_default()) > SETTLED_AFTER
    };
    let old: Vec<_> = objects.into_iter().filter(|object| old(object.modified)).collect();
    // Asked for after the listing: whatever was registered meanwhile is known.
    let known: HashSet<String> = store.catalog().objects().await?.into_iter().map(|stored| stored.object).collect();
    let orphans: Vec<ObjectInfo> = old.into_iter().filter(|object| !known.contains(&object.name)).collect();
    if let Some(bucket) = store.bucket() {
        let counters = store.catalog().counters().await?;
        let (bucket, looked) = (bucket.clone(), orphans.clone());
        let later = tokio::task::spawn_blocking(move || {
            progress::note(&bucket, counters)?;
            later_than(&bucket, &looked, counters)
        });
        let later = later.await??;
        let message =
            later.map(|later| format!("{later}; nothing is set aside until then: stop all collectors, and {REPAIR}"));
        let is_older = message.is_some();
        store.conditions().set(OLDER, Severity::Degraded, message);
        if is_older {
            return Ok(Swept::default());
        }
    }
    let orphans: Vec<String> = orphans.into_iter().map(|object| object.name).collect();
    let set_aside = orphans.len() as u64;
    let bulk = store.bulk().clone();
    let now = now_s();
    let removed = tokio::task::spawn_blocking(move || {
        orphans.iter().try_for_each(|name| bulk.set_aside(name, now))?;
        let mut removed = 0;
        for object in bulk.list_aside()? {
            if is_over(&object, now, opened.elapsed()) {
                bulk.delete_aside(&object)?;
                removed += 1;
            }
        }
        Ok::<u64, StoreError>(removed)
    })
    .await??;
    if opened.elapsed() >= LOOKED_AT {
        // What they are about may lie aside for as long.
        let kept = tombstones::KEPT.max(store.options().retention).as_millis() as u64;
        store.forget_tombstones(now_ms().saturating_sub(kept)).await?;
    }
    tell(store).await?;
    Ok(Swept { set_aside, removed })
}

/// Why these cannot be what a crash left, if so: they are of commits that the catalog has not come to. Blocks.
fn later_than(bulk: &dyn Bulk, orphans: &[ObjectInfo], counters: Counters) -> Result<Option<String>, StoreError> {
    for object in orphans {
        let commit = match look_at(bulk, object)? {
            Found::Arrived(footer, _) => footer.commit,
            Found::Finished(footer, _) => footer.holds().last_commit(),
            Found::Other => 0,
        };
        if commit > counters.commits {
            let known = counters.commits;
            return Ok(Some(format!(
                "the catalog is older than its segments: it knows {known} commits, one is of commit {commit}"
            )));
        }
    }
    Ok(None)
}

/// True when an object may go: it was aside for long enough, as this collector has had time to see.
fn is_over(object: &AsideObject, now_s: u64, running: Duration) -> bool {
    running >= LOOKED_AT && now_s.saturating_sub(object.since_s) > KEPT.as_secs()
}

/// Tells how much lies aside, as long as anything does.
pub(super) async fn tell(store: &Store) -> Result<(), StoreError> {
    let bulk = store.bulk().clone();
    let aside = tokio::task::spawn_blocking(move || bulk.list_aside()).await??;
    let message = aside.iter().map(|object| object.since_s).min().map(|first| {
        let bytes: u64 = aside.iter().map(|object| object.bytes).sum();
        let days_left = KEPT.as_secs().saturating_sub(now_s().saturating_sub(first)).div_ceil(24 * 3600);
        format!(
            "{} objects ({bytes} bytes) that the catalog does not know lie aside, named *.orphan-*, in {}: after a crash that is rubbish; if \
             data is missing, keep a copy of them. They are removed {} days after they were set aside, the first in {days_left}",
            aside.len(),
            store.objects_place(),
            KEPT.as_secs() / (24 * 3600),
        )
    });
    store.conditions().set(CONDITION, Severity::Notice, message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::retain;
    use crate::store::testing::TestPlace;

    #[test]
    fn what_is_aside_goes_after_a_week_of_which_a_day_was_this_collectors_own() {
        let object = AsideObject { name: "0".repeat(32), bytes: 1, since_s: 1_000_000 };
        let (week, day) = (KEPT.as_secs(), LOOKED_AT);
        assert!(is_over(&object, 1_000_001 + week, day));
        assert!(!is_over(&object, 1_000_000 + week, day), "not a week");
        assert!(!is_over(&object, 1_000_000 + 100 * week, day - Duration::from_secs(1)), "a clock that jumped ahead");
        assert!(!is_over(&object, 0, day), "a clock that jumped back");
    }

    /// A catalog that has lost its rows, as an older copy of it has, makes orphans of everything.
    #[tokio::test]
    async fn no_object_is_removed_because_the_catalog_does_not_know_it() {
        let place = TestPlace::new().await;
        let store = place.open().await;
        let name = "0".repeat(32);
        fs::create_dir_all(place.objects()).unwrap();
        fs::write(place.objects().join(&name), "whose?").unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(100 * 24 * 3600);
        let file = fs::File::options().write(true).open(place.objects().join(&name)).unwrap();
        file.set_modified(long_ago).unwrap();
        for _ in 0..3 {
            retain::round(&store, crate::base::clock::now_ms()).await.unwrap();
        }
        let bulk = store.bulk().clone();
        let aside = tokio::task::spawn_blocking(move || bulk.list_aside()).await.unwrap().unwrap();
        assert_eq!(aside.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), [name]);
        assert_eq!(fs::read(place.objects().join(aside[0].file_name())).unwrap(), b"whose?");
        let told = store.conditions().all();
        assert_eq!((told.len(), told[0].kind), (1, CONDITION));
        assert!(told[0].message.starts_with("1 objects (6 bytes)"), "{}", told[0].message);
        fs::remove_file(place.objects().join(aside[0].file_name())).unwrap();
        retain::round(&store, crate::base::clock::now_ms()).await.unwrap();
        assert_eq!(store.conditions().all(), []);
    }
}
