//! Alert links and webhooks: which windows to compare, and the answer in words.
//!
//! A link is stateless and fixed for ever; a webhook only makes its link's answer ready before the click.
//!
//! | module | what it does |
//! |---|---|
//! | [`link`] | the grammar of links |
//! | [`payload`] | what alerting systems post |
//! | [`baseline`] | what to compare with, and why |
//! | [`answers`] | looks up, compares and remembers |
//! | [`answer`], [`words`] | what is answered, in words |
//! | [`onset`], [`routes`] | since when, and which requests |
//! | [`frozen`] | a page of the view whose times stand still, for pins |

pub mod answer;
pub mod answers;
pub mod baseline;
pub mod frozen;
pub mod link;
pub mod onset;
pub mod payload;
pub mod routes;
pub mod words;
