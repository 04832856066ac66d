//! What labels threads without the program's saying so: spans of `tracing`, requests of `tower`.

#[cfg(feature = "tower")]
pub(crate) mod tower;
#[cfg(feature = "tracing")]
pub(crate) mod tracing;
