//! The pure model: what a profile is, and everything that can be computed from one without a disk, a clock or a network.

pub mod model;
