//! L1+ segments: Parquet files that any reader of the format can open.
//!
//! A segment is six tables, one file each (see [`schema`]). Its unit is the [`Part`]: one service's samples together with
//! the dictionaries they use, so that a query for one service reads that service's row groups and nothing else, and so
//! that compaction needs memory for one part at a time. A service whose dictionaries outgrow the compactor's budget
//! simply has several parts in a segment.

mod part;
mod read;
pub mod schema;
mod write;

pub use part::{Part, PartRow, PartSeries, PartTrace, PartWindow};
pub use read::{ColumnarError, Segment};
pub use write::{SegmentFiles, SegmentWriter};

#[cfg(test)]
mod tests;
