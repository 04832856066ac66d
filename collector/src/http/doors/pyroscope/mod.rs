//! Pyroscope's protocols: what its SDKs and agents push (`push.v1.PusherService/Push`, `POST /ingest`).
//!
//! Written after <https://github.com/grafana/pyroscope/tree/main/api>: names of fields and their numbers.

pub(in crate::http) mod types;
