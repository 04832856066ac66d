//! Pyroscope's protocols: what its SDKs and agents push (`push.v1.PusherService/Push`, `POST /ingest`), and what Grafana asks for
//! (`querier.v1.QuerierService`).
//!
//! Written after <https://github.com/grafana/pyroscope/tree/main/api> and the requests of its clients.
//!
//! | module | what it does |
//! |---|---|
//! | [`push`] | the call of newer SDKs and of Alloy: series of pprof profiles |
//! | [`ingest`] | the older upload: one profile in one of several formats |
//! | [`application`] | `app{label=value}`, which names whose it is |
//! | `stored` | one pprof profile of either, as windows |
//! | [`query`] | what Grafana asks for |
//! | [`types`] | their names of profile types, and ours |

pub(in crate::http) mod application;
pub(in crate::http) mod ingest;
pub(in crate::http) mod push;
pub(in crate::http) mod query;
mod stored;
pub(in crate::http) mod types;
