//! Compaction: windows as they arrived become Parquet segments, and those become coarser ones.

mod builder;

pub use builder::{PartBuilder, Rollup, merge_parts};

#[cfg(test)]
mod tests;
