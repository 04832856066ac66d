//! Other people's protocols, each a folder beside the native ones. What comes in is converted to windows at the edge and goes the way that
//! all windows go; what is asked for is answered by the one engine. None of them knows the store.
//!
//! | module | what it does |
//! |---|---|
//! | [`rpc`] | calls of one message as gRPC and Connect have them: read, answered, refused in the caller's own shape |
//! | [`json`] | proto3's JSON, as the message that it stands for |
//! | [`inflate`] | transport encodings, with a cap |
//! | [`received`] | profiles of others as windows: whose they are, and when they were taken |
//! | [`datadog`] | what Datadog's libraries send to the agent on their machine |
//! | [`debug_pprof`] | what viewers of pprof ask a Go program for |
//! | [`mcp`] | what assistants ask, by the Model Context Protocol |
//! | [`pyroscope`] | what SDKs and agents of Pyroscope send, and what Grafana asks Pyroscope for |
//! | [`scrape`] | profiles that are fetched where a file says so, in Prometheus' shape |
//! | [`otlp`] | what OpenTelemetry's senders send |

pub(super) mod datadog;
pub(super) mod debug_pprof;
pub(super) mod inflate;
pub(super) mod json;
pub(super) mod mcp;
pub(super) mod otlp;
pub(super) mod pyroscope;
pub(super) mod received;
pub(super) mod rpc;
pub(super) mod scrape;
