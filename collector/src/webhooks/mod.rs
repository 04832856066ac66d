//! Webhooks of alerting systems.

pub mod payload;
