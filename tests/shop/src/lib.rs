//! A small web shop, as two services that a profiler can be pointed at.
//!
//! `shop-gateway` answers people and asks `shop-checkout` for prices and orders; `shop-load` is the people. The work is
//! ordinary: JSON, hashing, sorting, compression, text, a cache behind a lock. The feature `v2` is a second release, with
//! two mistakes of the kind that pass review: [`tax`] and [`receipt`]. Two more are in both releases: [`sessions`] leak, slowly, and an
//! [`audit`] makes about one order in a hundred slow.

pub mod archive;
pub mod audit;
pub mod cart;
pub mod catalog;
pub mod client;
pub mod fingerprint;
pub mod load;
pub mod receipt;
pub mod service;
pub mod sessions;
pub mod tax;
pub mod tenant;
