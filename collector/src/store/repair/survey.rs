//! What is there: every object read as far as it says what it is.

use std::collections::{BTreeMap, HashMap};

use crate::base::ids::{hex, unique_bytes};
use crate::store::bulk::{Bulk, BulkError, ObjectInfo};
use crate::store::identity::SegmentFooter;
use crate::store::segment::Footer;
use crate::store::start::{Found, look_at};
use crate::store::tombstones::{self, Tombstone};

/// A compacted segment that is whole.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) footer: SegmentFooter,
    /// Size and CRC-32 of the footer's own object.
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

/// All objects of a store.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) store: String,
    /// Segments as they arrived, with the CRC-32 of their footers; by commit.
    pub(super) arrived: Vec<(ObjectInfo, Footer, u32)>,
    pub(super) finished: Vec<Finished>,
    /// Compacted segments of which tables are missing.
    pub(super) torn: usize,
    /// Segments of other stores.
    pub(super) foreign: usize,
    /// Objects that belong to no segment that says what it is.
    pub(super) strange: usize,
    pub(super) tombstones: Vec<Tombstone>,
    pub(super) unreadable_tombstones: usize,
    /// Everything.
    pub(super) objects: Vec<ObjectInfo>,
}

impl Survey {
    /// Looks at everything. `store`: whose it is, where that is known; otherwise the one that most segments belong to. Blocks.
    pub(super) fn of(bulk: &dyn Bulk, store: Option<String>) -> Result<Self, BulkError> {
        let mut survey = Self { objects: bulk.list()?, ..Self::default() };
        let (mut arrived, mut finished) = (Vec::new(), Vec::new());
        for object in &survey.objects {
            match look_at(bulk, object)? {
                Found::Arrived(footer, crc) => arrived.push((object.clone(), footer, crc)),
                Found::Finished(footer, crc) => finished.push((object.clone(), footer, crc)),
                Found::Other => {}
            }
        }
        let ids = arrived
            .iter()
            .map(|(_, footer, _)| &footer.store)
            .chain(finished.iter().map(|(_, footer, _)| &footer.store));
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        ids.filter(|id| !id.is_empty()).for_each(|id| *votes.entry(id).or_default() += 1);
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(id, _)| id.clone());
        survey.store = store.or(most).unwrap_or_else(|| hex(&unique_bytes()));
        let sizes: HashMap<&str, u64> =
            survey.objects.iter().map(|object| (object.name.as_str(), object.bytes)).collect();
        let mut named = arrived.len() + finished.len();
        for (object, footer, crc) in finished {
            named += footer.tables.iter().filter(|table| sizes.contains_key(table.object.as_str())).count();
            let whole = footer.tables.iter().all(|table| sizes.get(table.object.as_str()) == Some(&table.bytes));
            if footer.store != survey.store {
                survey.foreign += 1;
            } else if whole {
                survey.finished.push(Finished { footer, bytes: object.bytes, crc });
            } else {
                survey.torn += 1;
            }
        }
        for (object, footer, crc) in arrived {
            if footer.store.is_empty() || footer.store == survey.store {
                survey.arrived.push((object, footer, crc));
            } else {
                survey.foreign += 1;
            }
        }
        survey.arrived.sort_by(|(a, one, _), (b, other, _)| (one.commit, &a.name).cmp(&(other.commit, &b.name)));
        survey.strange = survey.objects.len().saturating_sub(named);
        let (tombstones, unreadable) = tombstones::read(&bulk.tombstones()?);
        survey.tombstones = tombstones.into_iter().filter(|tombstone| tombstone.store == survey.store).collect();
        survey.unreadable_tombstones = unreadable;
        Ok(survey)
    }
}
