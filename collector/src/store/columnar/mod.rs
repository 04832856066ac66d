//! Compacted segments: Parquet tables that any reader of the format can open.
//!
//! A segment is a few tables, an object each (see [`schema`]). Its unit is the [`Part`]: one service's samples with the
//! dictionaries they use, so that a query for one service reads that service's row groups and nothing else, and so that
//! compaction needs memory for one part at a time. A service whose dictionaries outgrow the compactor's budget simply has
//! several parts in a segment.
//!
//! | module | what it does |
//! |---|---|
//! | [`schema`] | the tables and how their columns are stored |
//! | [`part`] | one service's share of a segment, in memory |
//! | [`write`] | parts to tables |
//! | [`table`] | one table: ranges of an object, each checked against its checksum before it is decoded |
//! | [`read`] | tables to parts, or to what a query needs of them |

mod part;
mod read;
pub(crate) mod schema;
mod table;
mod write;

pub(crate) use part::{Part, PartRow, PartSeries, PartSpan, PartTotal, PartTrace, PartWindow};
pub(crate) use read::{Dictionary, SampleColumns, Segment};
pub(crate) use table::{Problem, TableFile};
pub(crate) use write::SegmentWriter;

#[cfg(test)]
mod tests;
