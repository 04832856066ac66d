//! The look at a folder before it is used: does the catalog fit the segments beside it?
//!
//! A kill leaves an object that the catalog does not know: an arrived segment whose commit was the next, or what a compaction had made of
//! segments that are all still there. Anything else that it does not know means that it is not the catalog of these segments, or an older
//! one: then nothing is touched, and the message says what can be done.

use std::collections::{HashMap, HashSet};

use tracing::{info, warn};

use super::adopt::adopt;
use super::bulk::{BulkError, ObjectInfo};
use super::catalog::{Counters, StoredObject};
use super::identity::{Content, SegmentFooter};
use super::segment::{self, Footer, SegmentError};
use super::{Store, StoreError};
use crate::base::clock::now_s;

/// What is to be done about segments that the catalog does not know and cannot explain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The store is not opened.
    #[default]
    Refuse,
    /// They are set aside, and the store opens without them.
    SetAside,
}

/// The three ways on, for a message that ends in them.
pub(super) const WAYS: &str = "nothing was changed. Put the catalog that belongs here back; or let `tephra repair` build one from the \
                               segments; or start with --set-unknown-aside, which keeps them as files and serves without them";

/// What an object is that the catalog does not know.
#[derive(Debug)]
pub(super) enum Found {
    /// An arrived segment, and the CRC-32 of its footer.
    Arrived(Footer, u32),
    /// What a finished compacted segment says of itself, and the CRC-32 of that.
    Finished(SegmentFooter, u32),
    /// A table of one, or something that cannot be read.
    Other,
}

/// Reads what an object says of itself. Blocks.
pub(super) fn look_at(bulk: &dyn super::Bulk, object: &ObjectInfo) -> Result<Found, BulkError> {
    match segment::read_footer_of(bulk, &object.name, object.bytes, None) {
        Ok((footer, crc)) => return Ok(Found::Arrived(footer, crc)),
        Err(SegmentError::Bulk(error)) => return Err(error),
        Err(SegmentError::Damaged { .. }) => {}
    }
    match SegmentFooter::read(bulk, &object.name, object.bytes, None) {
        Ok((footer, crc)) => Ok(Found::Finished(footer, crc)),
        Err(SegmentError::Bulk(error)) => Err(error),
        Err(SegmentError::Damaged { .. }) => Ok(Found::Other),
    }
}

/// What the catalog says, for comparison.
struct Known {
    store: String,
    counters: Counters,
    /// Segment → is every object of it there that should be?
    segments: HashMap<String, bool>,
    /// Objects that are listed and missing.
    missing: usize,
    /// Of such a segment, those that it replaced are still here: they would be removed in a moment.
    replaced_is_there: bool,
}

impl Known {
    fn new(store: &Store, counters: Counters, listed: &[StoredObject], sizes: &HashMap<&str, u64>) -> Self {
        let mut segments: HashMap<String, bool> = HashMap::new();
        let (mut missing, mut missing_since) = (0, HashSet::new());
        for StoredObject { segment, object, bytes, live, is_data, created_ms, .. } in listed {
            let there = !is_data || sizes.get(object.as_str()) == Some(bytes);
            if !there {
                missing += usize::from(*live);
                missing_since.insert(*created_ms);
            }
            *segments.entry(segment.clone()).or_insert(true) &= there || !live;
        }
        let is_replaced = |stored: &StoredObject| {
            !stored.live && missing_since.contains(&stored.dropped_ms) && sizes.contains_key(stored.object.as_str())
        };
        let replaced_is_there = listed.iter().any(is_replaced);
        Self { store: store.id().to_owned(), counters, segments, missing, replaced_is_there }
    }

    /// Why this cannot be what a kill left, if so.
    fn cannot_explain(&self, found: &Found) -> Option<String> {
        let later = |commit: u64| {
            format!(
                "the catalog is older than its segments: it knows {} commits, one here is of commit {commit}",
                self.counters.commits
            )
        };
        let foreign = |store: &str| {
            (!store.is_empty() && store != self.store)
                .then(|| "the catalog belongs to other segments than those that are here".to_owned())
        };
        let replaced = |source: &&String| self.segments.get(*source) != Some(&true);
        let problem = match found {
            Found::Arrived(footer, _) if footer.commit == self.counters.commits + 1 => return foreign(&footer.store),
            Found::Arrived(footer, _) => {
                foreign(&footer.store).or_else(|| (footer.commit > self.counters.commits).then(|| later(footer.commit)))
            }
            Found::Finished(footer, _) => {
                let last: u64 = Content::last_commit(&footer.holds());
                foreign(&footer.store).or_else(|| (last > self.counters.commits).then(|| later(last))).or_else(|| {
                    footer.sources.iter().find(replaced).map(|source| {
                        let what = if self.segments.contains_key(source) { "gone" } else { "unknown to it" };
                        let made = &footer.segment;
                        format!("the catalog is older than its segments: {made} was made of {source}, which is {what}")
                    })
                })
            }
            Found::Other => None,
        };
        // Of what the catalog knows something is missing, and there is something that it does not know: it may well be the same.
        problem.or_else(|| {
            let missing = self.missing;
            (missing > 0).then(|| {
                format!("the catalog does not fit its segments: {missing} objects that it lists are missing, and others are here")
            })
        })
    }
}

/// Compares catalog and objects. What a kill left is tidied up: an arrived segment that was not committed is committed now, the rest is
/// set aside.
pub(super) async fn check(store: &Store) -> Result<(), StoreError> {
    let listed = store.catalog().objects().await?;
    let quarantined = store.catalog().quarantined().await?;
    let bulk = store.bulk().clone();
    let objects = tokio::task::spawn_blocking(move || bulk.list()).await??;
    let sizes: HashMap<&str, u64> = objects.iter().map(|object| (object.name.as_str(), object.bytes)).collect();
    let mut names: HashSet<&str> = listed.iter().map(|stored| stored.object.as_str()).collect();
    names.extend(quarantined.iter().map(String::as_str));
    let unlisted: Vec<ObjectInfo> =
        objects.iter().filter(|object| !names.contains(object.name.as_str())).cloned().collect();
    let counters = store.catalog().counters().await?;
    let known = Known::new(store, counters, &listed, &sizes);
    if known.replaced_is_there && store.options().unknown == Unknown::Refuse {
        let problem = "what was made of segments that are still here is listed, and missing";
        return Err(store.refused(format!("the catalog is newer than its segments: {problem}; {WAYS}")));
    }
    if unlisted.is_empty() {
        return store.repeat_deletions().await;
    }
    let (bulk, refuse) = (store.bulk().clone(), store.options().unknown == Unknown::Refuse);
    let looked = tokio::task::spawn_blocking(move || {
        let (mut arrived, mut aside, mut seen) = (Vec::new(), Vec::new(), counters);
        let count = unlisted.len();
        let mut looked = Vec::with_capacity(count);
        for object in unlisted {
            looked.push((look_at(bulk.as_ref(), &object)?, object));
        }
        // What says what it is comes first: that is the better reason.
        looked.sort_by_key(|(found, _)| matches!(found, Found::Other));
        for (found, object) in looked {
            let problem = known.cannot_explain(&found);
            if let Some(problem) = problem.as_ref().filter(|_| refuse) {
                return Ok(Err(format!("{problem} ({count} objects in segments/ are not in the catalog); {WAYS}")));
            }
            match found {
                Found::Arrived(footer, _) => {
                    seen.commits = seen.commits.max(footer.commit);
                    if problem.is_none() && footer.commit == counters.commits + 1 {
                        arrived.push(object);
                        continue;
                    }
                }
                Found::Finished(footer, _) => seen.commits = seen.commits.max(footer.holds().last_commit()),
                Found::Other => {}
            }
            aside.push(object.name);
        }
        Ok::<_, BulkError>(Ok((arrived, aside, seen)))
    });
    let (arrived, mut aside, seen) = looked.await??.map_err(|problem| store.refused(problem))?;
    store.repeat_deletions().await?;
    for object in arrived {
        match adopt(store, &object).await? {
            0 => aside.push(object.name),
            windows => {
                info!(segment = %object.name, windows, "what had arrived when the last run ended is committed now")
            }
        }
    }
    // Nobody else writes to a folder: what is not listed now never will be.
    if !aside.is_empty() {
        warn!(objects = aside.len(), "set aside what the last run left and the catalog does not know");
        let (bulk, now) = (store.bulk().clone(), now_s());
        tokio::task::spawn_blocking(move || aside.iter().try_for_each(|name| bulk.set_aside(name, now))).await??;
    }
    // Numbers that something has which is not in the catalog are not given to anything else.
    store.catalog().skip_to(seen).await?;
    Ok(())
}
