//! Alert links and webhooks: which windows to compare, and the answer in words.
//!
//! A link is stateless and fixed for ever; a webhook only makes its link's answer ready before the click.

pub mod baseline;
pub mod link;
pub mod onset;
pub mod payload;
pub mod routes;
pub mod time;
