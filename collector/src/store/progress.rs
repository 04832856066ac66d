//! How far a shared store has come, noted in its bucket now and then: a database that was restored from an earlier moment is told by it.
//! What happened within the last half hour it cannot tell; the sweep for unknown objects does, before it moves anything.

use super::bucket::Bucket;
use super::bulk::{Bulk, BulkError};
use super::catalog::Counters;

/// The object beside the marker.
const PROGRESS: &str = "tephra-progress";

/// The three ways on where a database does not fit its bucket.
pub(super) const WAYS: &str = "nothing was changed. Name the database that belongs here with --catalog; or let `tephra repair` build a \
                               catalog from the segments in an empty one; or choose an empty prefix with --bucket";

/// How far the store had come when it was noted last. Blocks.
pub(super) fn noted(bucket: &Bucket) -> Result<Option<Counters>, BulkError> {
    match bucket.beside("").get(PROGRESS) {
        Ok(content) => Ok(read(&content)),
        Err(BulkError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why this catalog cannot be the one of the bucket, if so. Blocks.
pub(super) fn problem(bucket: &Bucket, known: Counters) -> Result<Option<String>, BulkError> {
    let Some(noted) = noted(bucket)? else { return Ok(None) };
    let is_older = noted.commits > known.commits || noted.deletions > known.deletions;
    Ok(is_older.then(|| {
        format!(
            "the catalog is older than its segments: it knows {} commits and {} deletions, there were {} and {}",
            known.commits, known.deletions, noted.commits, noted.deletions
        )
    }))
}

/// Notes how far the store has come. Blocks.
pub(super) fn note(bucket: &Bucket, counters: Counters) -> Result<(), BulkError> {
    bucket.beside("").put(PROGRESS, format!("{} {}\n", counters.commits, counters.deletions).as_bytes())
}

fn read(content: &[u8]) -> Option<Counters> {
    let (commits, deletions) = std::str::from_utf8(content).ok()?.trim().split_once(' ')?;
    Some(Counters { commits: commits.parse().ok()?, deletions: deletions.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::place::Place;
    use crate::store::testing::{TestPlace, options};
    use crate::store::{Store, retain};

    #[test]
    fn only_what_was_noted_is_read() {
        assert_eq!(read(b"12 3\n"), Some(Counters { commits: 12, deletions: 3 }));
        for content in ["", "12", "x 3", "12 -3", "\u{0}"] {
            assert_eq!(read(content.as_bytes()), None, "{content:?}");
        }
    }

    /// The database was put back to an earlier moment; the bucket remembers a later one.
    #[tokio::test]
    async fn a_database_from_an_earlier_moment_is_refused() {
        let Some(place) = TestPlace::shared().await else { return };
        let store = place.open().await;
        store.catalog().skip_to(Counters { commits: 7, deletions: 0 }).await.unwrap();
        retain::round(&store, crate::base::clock::now_ms()).await.unwrap();
        let mut tx = store.catalog().begin().await.unwrap();
        sqlx::query("UPDATE counters SET value = 3 WHERE name = 'commits'").execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        drop(store);
        let beside = place.beside().unwrap();
        assert!(matches!(beside.place(), Place::Shared { .. }));
        let error = Store::open_at(beside.place(), options()).await.unwrap_err().to_string();
        assert!(error.contains("knows 3 commits") && error.contains("`tephra repair`"), "{error}");
    }
}
