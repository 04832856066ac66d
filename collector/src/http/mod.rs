//! The HTTP edge: the JSON API, the web view's pages, and what Prometheus reads.

pub mod error;
pub mod guard;
pub mod pages;
pub mod params;
pub mod work;
