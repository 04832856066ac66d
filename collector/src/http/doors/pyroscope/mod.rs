//! Pyroscope's protocols: what its SDKs and agents push (`push.v1.PusherService/Push`, `POST /ingest`), and what Grafana asks for
//! (`querier.v1.QuerierService`).
//!
//! Written after <https://github.com/grafana/pyroscope/tree/main/api>: names of fields and their numbers.

pub(in crate::http) mod query;
pub(in crate::http) mod types;
