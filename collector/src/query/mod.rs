//! Selection → segments → one merged profile, with work limits.
mod answers;
mod selection;
pub use answers::*;
pub use selection::*;
