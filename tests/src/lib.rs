//! What the whole-system tests share: real processes, a client for each of the collector's doors, and made-up windows.
//!
//! Nothing here looks inside the collector or the agent: the tests see what a user sees.

pub mod api;
pub mod bench;
pub mod binaries;
pub mod clock;
pub mod collector;
pub mod load;
pub mod process;
pub mod push;
pub mod recorded;
pub mod servers;
pub mod sink;
pub mod soak;
pub mod synthetic;
