//! The pure model: what a profile is, and everything that can be computed from one without a disk, a clock or a network.
//!
//! | module | what lives there |
//! |---|---|
//! | [`model`], [`address`], [`decode`] | the vocabulary, and windows from the wire in its terms |
//! | [`durations`] | how long requests took, as counts that add up |
//! | [`meaning`] | what the numbers of a type mean, for every door and every answer |
//! | [`span`], [`pieces`], [`since_start`] | when an imported profile was taken, windows of a long one, and what was added to one that counts since its start |
//! | `union` | many prefix trees as one, by content |
//! | [`resolution`], [`names`], `source_path`, [`demangle`], [`said`] | what frames turned out to be, names that compare across builds, and as people say them |
//! | [`tree`], [`prune`], `reshape` | one tree over one or two profiles, the part of it worth showing, and its stacks made others |
//! | [`diff`], [`stats`] | making two sides comparable, and what is noise |
//! | [`written_out`], [`alone`] | a tree as a profile again, and a file as one that nobody stored |
//! | `wire` | serialized messages, read where they lie |
//! | [`import`], [`pprof`], [`otlp`], [`formats`], [`fit`], [`remarks`] | other people's files, and what was done to them on the way |
//! | [`report`], [`flame`] | the answer the web view draws from |

pub mod address;
pub mod alone;
pub mod decode;
pub mod demangle;
pub mod diff;
pub mod durations;
pub mod fit;
pub mod flame;
pub mod fold;
pub mod formats;
pub mod import;
pub mod markdown;
pub mod meaning;
pub mod model;
pub mod names;
pub mod otlp;
pub mod pieces;
pub mod pprof;
pub mod prune;
pub mod remarks;
pub mod report;
mod reshape;
pub mod resolution;
pub mod said;
pub mod since_start;
mod source_path;
pub mod span;
pub mod speedscope;
pub mod stats;
pub mod svg;
pub mod tree;
pub(crate) mod union;
pub(crate) mod wire;
pub mod written_out;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
