//! The contract between the agent and the collector.
//!
//! | module | what both sides agree on |
//! |---|---|
//! | [`v1`] | the messages and services of `tephra/v1/*.proto`, generated |
//! | [`ids`] | names and ids; the only constructor of each is a fallible `parse` |
//! | [`address`] | what of a server's address may be shown |
//! | [`label`] | the one grammar of label names and values |
//! | [`limits`] | every shared number, with its reason |
//! | [`durations`] | the bins in which requests are counted by how long they took |
//! | [`trace_share`] | which traces every service tells of |
//! | [`packing`] | columns of a window as small steps, which compress better |
//! | [`codec`] | zstd with caps: the only module that names the zstd crate |
//!
//! Versions: `v1` only ever gains fields. A change that cannot be made that way becomes `v2` beside it.

pub mod address;
pub mod codec;
pub mod durations;
pub mod ids;
pub mod label;
pub mod limits;
pub mod packing;
mod sha256;
pub mod trace_share;

/// The messages and services of `tephra.v1`, generated from `tephra/v1/*.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/tephra.v1.rs");
}
