//! The collector: stores profiles, merges them by service and time window, and answers with flame graphs that can be
//! compared.
//!
//! Direction of imports, top to bottom; nothing points back up:
//!
//! | module | what lives there |
//! |---|---|
//! | [`cli`], [`serve`] | the commands of `tephra`, and the wiring of one collector |
//! | [`http`], [`ingest`] | the edges: HTTP API and pages; gRPC, admission and batching |
//! | [`webhooks`] | what alerting systems post: events, and answers that are ready before the click |
//! | [`pins`] | pages that stay as they are, and the data they need |
//! | [`alerts`] | alert links: which windows to compare, and the answer in words |
//! | [`backup`] | a whole store in a folder, taken while collectors run; and the way back |
//! | [`analysis`] | movers, significance, families, sentences |
//! | [`access`] | who may do what: tokens, roles, and what a request brings to say who sent it |
//! | [`query`] | selection → segments → one merged profile, with work limits |
//! | [`store`], [`symbols`] | bulk objects and the SQL catalog; build id → functions, files, lines |
//! | [`cards`] | pictures of pages, for chats |
//! | [`profile`] | the pure model: no I/O, no clock, no async |
//! | [`urls`] | what stands in URLs |
//! | [`work`] | room for heavy answers: a few at a time, each with a deadline |
//! | [`conditions`] | what an operator must know while it lasts; everything above may tell it |
//! | [`base`] | words of everybody: now, a range of time, labels, ids |

// Tests make files, and look at clocks, as they like: they are no part of the other build, which this is about.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod access;
pub mod alerts;
pub mod analysis;
pub mod backup;
pub mod base;
pub mod cards;
pub mod cli;
pub mod conditions;
pub mod http;
pub mod ingest;
#[cfg(test)]
mod needs;
pub mod pins;
pub mod profile;
pub mod query;
pub mod serve;
pub mod store;
pub mod symbols;
pub mod urls;
pub mod webhooks;
pub mod work;
