//! Reads ELF, as far as an agent needs it: the section table of a file, and the notes that name a build. Of 64-bit little-endian
//! objects only, which is what runs where samples are taken.
//!
//! What is read may be anything, for a file may have been replaced since it was mapped: every offset is checked.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod numbers;
mod sections;

pub(crate) mod notes;

pub(crate) use self::sections::{Section, Sections, read};
