//! Words that every floor above uses in one meaning.
//!
//! | module | what it is |
//! |---|---|
//! | [`clock`] | now; pure code does not ask, it is told |
//! | [`range`] | a range of time |
//! | [`labels`] | labels, and what is selected by them |
//! | [`times`] | how people write times and durations |
//! | [`ids`] | names that nobody has given before, and bytes as text |
//! | [`certificate`] | who a client's certificate says that it is |
//! | [`tenant`] | the names of tenants |

pub mod certificate;
pub mod clock;
pub mod ids;
pub mod labels;
pub mod range;
pub mod tenant;
pub mod times;
