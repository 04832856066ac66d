//! Placeholder: the facade is being written.

mod sample;
