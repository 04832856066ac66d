//! What a segment says of itself at its end, so that a catalog can be built again from the segments alone: whose it is, which commits'
//! windows it holds, what it was made from, and which windows of which agents those were.
//!
//! An arrived segment says it in its own footer ([`super::segment::Footer`]); a compacted one, which is several Parquet objects, in a
//! footer that is an object too. It is named by the segment's id and written last: a segment without one was never finished.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::bulk::Bulk;
pub(crate) use super::catalog::FOOTER;
use super::catalog::{ServicePart, TableObject};
use super::compact::levels::{TRACES, block_of};
use super::ranges::Ranges;
use super::segment::{self, Footer, SegmentError};

/// Around the footer of a compacted segment.
const MAGIC: &[u8; 8] = b"TEPHRASF";

/// Which windows of an agent instance a segment holds.
#[derive(Clone, PartialEq, Message)]
pub struct AgentWindows {
    /// The agent instance.
    #[prost(bytes = "vec", tag = "1")]
    pub agent_id: Vec<u8>,
    /// When it started, unix nanoseconds.
    #[prost(uint64, tag = "2")]
    pub boot_id: u64,
    /// When the last of them was stored, unix milliseconds.
    #[prost(uint64, tag = "3")]
    pub seen_ms: u64,
    /// Their sequence numbers, as pairs of first and last.
    #[prost(uint64, repeated, tag = "4")]
    pub sequences: Vec<u64>,
}

/// What a compacted segment says of itself.
#[derive(Clone, PartialEq, Message)]
pub struct SegmentFooter {
    /// The store it belongs to.
    #[prost(string, tag = "1")]
    pub store: String,
    /// Its id.
    #[prost(string, tag = "2")]
    pub segment: String,
    /// See [`super::compact::levels`].
    #[prost(uint32, tag = "3")]
    pub level: u32,
    /// Segments that hold the same content together, because it was too large for one, have this in common.
    #[prost(string, tag = "4")]
    pub family: String,
    /// Its number in the family, from 0.
    #[prost(uint32, tag = "5")]
    pub part: u32,
    /// It is the last of the family.
    #[prost(bool, tag = "6")]
    pub last: bool,
    /// The segments that were read.
    #[prost(string, repeated, tag = "7")]
    pub sources: Vec<String>,
    /// What the family holds.
    #[prost(message, repeated, tag = "8")]
    pub content: Vec<Block>,
    /// Windows of the last day in it.
    #[prost(message, repeated, tag = "9")]
    pub agents: Vec<AgentWindows>,
    /// How many deletions were known when it was begun; what they took away is not in it.
    #[prost(uint64, tag = "10")]
    pub deletions: u64,
    /// As in the catalog, and so are all of these.
    #[prost(uint64, tag = "11")]
    pub min_ms: u64,
    /// End of its last window.
    #[prost(uint64, tag = "12")]
    pub max_ms: u64,
    /// Windows in it.
    #[prost(uint64, tag = "13")]
    pub windows: u64,
    /// Samples in it.
    #[prost(uint64, tag = "14")]
    pub samples: u64,
    /// Rows of traces and spans.
    #[prost(uint64, tag = "15")]
    pub traces: u64,
    /// Its other objects.
    #[prost(message, repeated, tag = "16")]
    pub tables: Vec<TableEntry>,
    /// What it holds of which service.
    #[prost(message, repeated, tag = "17")]
    pub services: Vec<ServiceEntry>,
    /// Its content was in the next level too when this was written.
    #[prost(bool, tag = "18")]
    pub rolled: bool,
}

/// The windows of a block of time: of an hour, or, in segments of traces, of a day.
#[derive(Clone, PartialEq, Message)]
pub struct Block {
    /// Its start, unix milliseconds.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// The commits whose windows that start in this block it holds, as pairs of first and last.
    #[prost(uint64, repeated, tag = "2")]
    pub commits: Vec<u64>,
    /// Segments of before commits were numbered whose windows it holds.
    #[prost(string, repeated, tag = "3")]
    pub others: Vec<String>,
}

/// One Parquet table; see [`super::catalog::TableObject`].
#[derive(Clone, PartialEq, Message)]
pub struct TableEntry {
    /// `samples`, `stacks`, …
    #[prost(string, tag = "1")]
    pub name: String,
    /// The object's name.
    #[prost(string, tag = "2")]
    pub object: String,
    /// Its size.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    /// Where its pages end.
    #[prost(uint64, tag = "4")]
    pub data_bytes: u64,
    /// CRC-32 of its footer.
    #[prost(uint32, tag = "5")]
    pub crc: u32,
}

/// The part of one service; see [`super::catalog::ServicePart`].
#[derive(Clone, PartialEq, Message)]
pub struct ServiceEntry {
    /// The service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Start of its first window, unix milliseconds.
    #[prost(uint64, tag = "2")]
    pub min_ms: u64,
    /// Start of its last window.
    #[prost(uint64, tag = "3")]
    pub max_ms: u64,
    /// Windows received.
    #[prost(uint64, tag = "4")]
    pub windows: u64,
}

impl From<TableEntry> for TableObject {
    fn from(TableEntry { name, object, bytes, data_bytes, crc }: TableEntry) -> Self {
        Self { name, object, bytes, data_bytes, crc }
    }
}

impl From<TableObject> for TableEntry {
    fn from(TableObject { name, object, bytes, data_bytes, crc }: TableObject) -> Self {
        Self { name, object, bytes, data_bytes, crc }
    }
}

impl From<ServiceEntry> for ServicePart {
    fn from(ServiceEntry { service, min_ms, max_ms, windows }: ServiceEntry) -> Self {
        Self { service, min_ms, max_ms, windows }
    }
}

impl From<ServicePart> for ServiceEntry {
    fn from(ServicePart { service, min_ms, max_ms, windows }: ServicePart) -> Self {
        Self { service, min_ms, max_ms, windows }
    }
}

impl SegmentFooter {
    /// As an object; and the CRC-32 of what it says.
    pub(crate) fn encode_object(&self) -> (Vec<u8>, u32) {
        segment::frame(MAGIC, &self.encode_to_vec())
    }

    /// Reads and checks one; `crc` where the catalog knows it. Answers the CRC-32 too.
    ///
    /// # Errors
    /// When the object cannot be read, or is not one.
    pub fn read(bulk: &dyn Bulk, name: &str, object_bytes: u64, crc: Option<u32>) -> Result<(Self, u32), SegmentError> {
        let damaged = |problem: String| SegmentError::Damaged { segment: name.to_owned(), problem };
        let (bytes, _) = segment::read_framed(bulk, name, object_bytes, MAGIC, crc)?;
        let footer = Self::decode(bytes.as_slice()).map_err(|e| damaged(e.to_string()))?;
        let readable = Content::read(&footer.content).is_some()
            && footer.agents.iter().all(|agent| Ranges::from_pairs(&agent.sequences).is_some());
        if footer.segment != name || !readable {
            return Err(damaged("its footer is not that of this segment".to_owned()));
        }
        Ok((footer, crc32fast::hash(&bytes)))
    }

    /// What its family holds.
    pub(crate) fn holds(&self) -> Content {
        Content::read(&self.content).unwrap_or_default()
    }
}

/// Which windows a segment holds: all of these commits that start in these blocks of time.
///
/// What was merged, added up to coarser windows or split holds the same, so two segments are told to hold the same data whatever was done
/// with it in between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content(BTreeMap<u64, Held>);

/// What is held of one block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Commits.
    pub(crate) commits: Ranges,
    /// Segments of before commits were numbered.
    pub(crate) others: BTreeSet<String>,
}

impl Held {
    fn contains_all(&self, other: &Self) -> bool {
        self.commits.contains_all(&other.commits) && self.others.is_superset(&other.others)
    }

    fn intersects(&self, other: &Self) -> bool {
        self.commits.intersects(&other.commits) || !self.others.is_disjoint(&other.others)
    }
}

impl Content {
    /// Windows of one commit, or of a segment that has no number, in one block.
    pub(crate) fn of(at_ms: u64, commit: u64, segment: &str) -> Self {
        let held = match commit {
            0 => Held { others: BTreeSet::from([segment.to_owned()]), ..Held::default() },
            _ => Held { commits: Ranges::of(commit), ..Held::default() },
        };
        Self(BTreeMap::from([(at_ms, held)]))
    }

    /// An arrived segment's, at a level or among the traces.
    pub(crate) fn of_arrived(id: &str, footer: &Footer, level: u32) -> Self {
        let mut content = Self::default();
        let mut blocks = BTreeSet::new();
        for info in &footer.windows {
            let block = key_block(level, info.start_ms);
            if blocks.insert(block) {
                content.add(&Self::of(block, footer.commit, id));
            }
        }
        content
    }

    fn read(blocks: &[Block]) -> Option<Self> {
        let read = |block: &Block| {
            let others = block.others.iter().cloned().collect();
            Some((block.at_ms, Held { commits: Ranges::from_pairs(&block.commits)?, others }))
        };
        blocks.iter().map(read).collect::<Option<_>>().map(Self)
    }

    /// As a footer has it.
    pub(crate) fn to_blocks(&self) -> Vec<Block> {
        let block = |(at_ms, held): (&u64, &Held)| Block {
            at_ms: *at_ms,
            commits: held.commits.to_pairs(),
            others: held.others.iter().cloned().collect(),
        };
        self.0.iter().map(block).collect()
    }

    /// Adds what another segment holds.
    pub(crate) fn add(&mut self, other: &Self) {
        for (at_ms, held) in &other.0 {
            let own = self.0.entry(*at_ms).or_default();
            own.commits.add(&held.commits);
            own.others.extend(held.others.iter().cloned());
        }
    }

    /// What it holds of blocks that start in a block of `level`.
    pub(crate) fn within(&self, level: u32, block: u64) -> Self {
        let inside = |at_ms: &u64| block_of(level, *at_ms) == block;
        Self(self.0.iter().filter(|(at_ms, _)| inside(at_ms)).map(|(at_ms, held)| (*at_ms, held.clone())).collect())
    }

    /// True when everything of `other` is in it.
    pub(crate) fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(at_ms, held)| self.0.get(at_ms).is_some_and(|own| own.contains_all(held)))
    }

    /// True when they have something in common.
    pub(crate) fn intersects(&self, other: &Self) -> bool {
        other.0.iter().any(|(at_ms, held)| self.0.get(at_ms).is_some_and(|own| own.intersects(held)))
    }

    /// Blocks of which `other` has something that this has not.
    pub(crate) fn lacking(&self, other: &Self) -> Vec<u64> {
        let lacks = |(at_ms, held): &(&u64, &Held)| !self.0.get(*at_ms).is_some_and(|own| own.contains_all(held));
        other.0.iter().filter(lacks).map(|(at_ms, _)| *at_ms).collect()
    }

    /// How much it is: commits by block.
    pub(crate) fn size(&self) -> u64 {
        self.0.values().map(|held| held.commits.count() + held.others.len() as u64).sum()
    }

    /// True when none of it is of a commit with a number.
    pub(crate) fn is_unnumbered(&self) -> bool {
        self.0.values().all(|held| held.commits.is_empty())
    }

    /// The highest commit.
    pub(crate) fn last_commit(&self) -> u64 {
        self.0.values().filter_map(|held| held.commits.max()).max().unwrap_or(0)
    }
}

/// The block that tells where a window belongs in a [`Content`].
pub(crate) fn key_block(level: u32, start_ms: u64) -> u64 {
    // The finest level's, for profiles: blocks of the others are made of whole ones.
    block_of(if level == TRACES { TRACES } else { 1 }, start_ms)
}

/// Which windows of which agents: the union of what segments say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Agents(BTreeMap<([u8; 16], u64), (u64, Ranges)>);

impl Agents {
    /// Adds a window that was stored at `seen_ms`.
    pub(crate) fn insert(&mut self, agent: ([u8; 16], u64), sequence: u64, seen_ms: u64) {
        let (seen, sequences) = self.0.entry(agent).or_default();
        *seen = seen_ms.max(*seen);
        sequences.insert(sequence);
    }

    /// Adds the windows of an arrived segment that start in a block of the finest level.
    pub(crate) fn add_arrived(&mut self, footer: &Footer, block: u64) {
        for info in footer.windows.iter().filter(|info| key_block(1, info.start_ms) == block) {
            if let Some(id) = info.id() {
                self.insert((id.agent_id, id.boot_id), id.sequence, footer.written_ms);
            }
        }
    }

    /// Adds what a footer says.
    pub(crate) fn add(&mut self, agents: &[AgentWindows]) {
        for agent in agents {
            let (Ok(id), Some(found)) =
                (<[u8; 16]>::try_from(agent.agent_id.as_slice()), Ranges::from_pairs(&agent.sequences))
            else {
                continue;
            };
            let (seen, sequences) = self.0.entry((id, agent.boot_id)).or_default();
            *seen = agent.seen_ms.max(*seen);
            sequences.add(&found);
        }
    }

    /// Keeps what the catalog would remember: of agents that were heard of since `since_ms`, so many sequence numbers below the highest.
    pub(crate) fn trim(&mut self, since_ms: u64, remembered: u64) {
        self.0.retain(|_, (seen_ms, _)| *seen_ms >= since_ms);
        for (_, sequences) in self.0.values_mut() {
            sequences.keep_from(sequences.max().unwrap_or(0).saturating_sub(remembered));
        }
    }

    /// As a footer has it.
    pub(crate) fn to_entries(&self) -> Vec<AgentWindows> {
        let entry = |((id, boot_id), (seen_ms, sequences)): (&([u8; 16], u64), &(u64, Ranges))| AgentWindows {
            agent_id: id.to_vec(),
            boot_id: *boot_id,
            seen_ms: *seen_ms,
            sequences: sequences.to_pairs(),
        };
        self.0.iter().map(entry).collect()
    }

    /// True when a window is among them.
    pub(crate) fn contains(&self, agent: ([u8; 16], u64), sequence: u64) -> bool {
        self.0.get(&agent).is_some_and(|(_, sequences)| sequences.contains(sequence))
    }

    /// All, with when they were last heard of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (([u8; 16], u64), u64, &Ranges)> {
        self.0.iter().map(|(agent, (seen_ms, sequences))| (*agent, *seen_ms, sequences))
    }
}
