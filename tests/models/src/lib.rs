//! The agent's lock-free parts, tried in every order of events that the memory model allows.
//!
//! The very files of the agent, compiled with [`loom`]'s atomics in place of the processor's, and so small that every
//! interleaving of a few threads, and every stale value that a relaxed load may return, can be gone through.
#![cfg(test)]
#![allow(dead_code, reason = "each model uses a part of what the agent uses")]
#![allow(clippy::modulo_one, reason = "a table with one entry is what threads meet in")]

#[path = "../../../agent/src/layers/tracing/open_spans.rs"]
mod open_spans;
#[path = "../../../agent/src/waits/registrations.rs"]
mod registrations;
#[path = "../../../agent/src/sampler/buffers/ring.rs"]
mod ring;
#[path = "../../../agent/src/heap/table.rs"]
mod table;

mod live_blocks;
mod records;
mod spans;
mod waits;
