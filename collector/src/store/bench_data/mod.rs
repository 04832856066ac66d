//! Made-up stores. They are written with what compaction writes with, which nobody outside the store needs: so they are made here. Only
//! benchmarks and tests do it.
//!
//! | module | what it makes |
//! |---|---|
//! | `made_up` | months of services that never were |
//! | `replayed` | recorded windows, as if many more had come |

mod made_up;
mod replayed;

#[cfg(test)]
pub(crate) use made_up::Random;
pub use made_up::Shape;
pub use replayed::{Recorded, Written};
