//! Alert links: which windows to compare, and the answer in words. A link is stateless and fixed for ever.
//!
//! | module | what it does |
//! |---|---|
//! | [`link`] | the grammar of links |
//! | [`baseline`] | what to compare with, and why |
//! | [`answers`] | looks up, compares and remembers |
//! | [`answer`], [`words`] | what is answered, in words |
//! | [`onset`] | since when |

pub mod answer;
pub mod answers;
pub mod baseline;
pub mod link;
pub mod onset;
pub mod words;
