//! Says what a profile means: which functions changed, whether it is noise, what kind of work it is, in plain words.

pub mod costs;
pub mod families;
pub mod filter;
pub mod function;
pub mod growth;
pub mod lives;
pub mod movers;
pub mod origin;
pub mod quantity;
pub mod requests;
pub mod slow;
pub mod summary;
pub mod table;
pub mod view;

pub use filter::{FilterError, Filters};
pub use growth::{Growth, growth};
pub use view::{
    Findings, View, ViewOptions, compare, filtered_comparison, filtered_flamegraph, findings, flamegraph, pprof,
};

#[cfg(test)]
mod tests;
