//! Compacted segments: Parquet tables that any reader of the format can open.
//!
//! A segment is a few tables, an object each (see [`tables`]). Its unit is the [`Part`]: one service's samples with the
//! dictionaries they use, so that a query for one service reads that service's row groups and nothing else, and so that
//! compaction needs memory for one part at a time. A service whose dictionaries outgrow the compactor's budget simply has
//! several parts in a segment.
//!
//! | module | what it does |
//! |---|---|
//! | [`tables`] | the tables, a file each: rows, columns, write, read. A new column is a change in one of them |
//! | [`column`] | what a column is: its name and type, from which the Parquet schema follows |
//! | [`text`] | labels and types as texts in columns |
//! | [`part`], [`dictionary`] | one service's share of a segment, in memory; what its ids stand for |
//! | [`write`], [`files`] | parts to tables, row group by row group |
//! | [`table`], [`rows`] | ranges of an object, each checked against its checksum before it is decoded; rows of it by column |
//! | [`segment`] | tables to parts, or to what a query needs of them |

mod column;
mod dictionary;
mod files;
mod part;
mod rows;
mod segment;
mod table;
mod tables;
mod text;
mod write;

pub(crate) use dictionary::Dictionary;
pub(crate) use part::Part;
pub(crate) use segment::{Segment, SpanGroup};
pub(crate) use table::{Problem, TableFile};
pub(crate) use tables::{
    PartRequests, PartRow, PartSeries, PartSpan, PartTotal, PartTrace, PartWindow, Processes, RequestSums,
    SampleColumns, SpanLook, Table, TotalSums, WindowSums,
};
pub(crate) use write::SegmentWriter;

#[cfg(test)]
mod tests;
