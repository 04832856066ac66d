//! Which role each path needs, by method: the one table of it. A path that is not in it is answered to nobody, and a test walks them all.

use axum::http::Method;

use crate::access::role::Role;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Everybody: it tells nothing.
    Nothing,
    /// Whoever may do this.
    Role(Role),
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Permission {
    method: &'static str,
    path: &'static str,
    /// Who may.
    pub(super) need: Need,
    /// Whether it is written into the audit trail, however it ends.
    pub(super) audited: bool,
}

const fn open(method: &'static str, path: &'static str) -> Permission {
    Permission { method, path, need: Need::Nothing, audited: false }
}

const fn needs(role: Role, method: &'static str, path: &'static str) -> Permission {
    Permission { method, path, need: Need::Role(role), audited: false }
}

const fn audited(role: Role, method: &'static str, path: &'static str) -> Permission {
    Permission { audited: true, ..needs(role, method, path) }
}

use Role::{Admin, Push, Read, Write};

#[rustfmt::skip]
const TABLE: &[Permission] = &[
    // Load balancers, and the files of the view, which are everybody's.
    open("GET", "/healthz"),
    open("GET", "/readyz"),
    open("GET", "/assets/{*path}"),
    open("GET", "/favicon.svg"),
    // Machines that send.
    needs(Push, "POST", "/tephra.v1.ProfileService/Push"),
    needs(Push, "POST", "/tephra.v1.SymbolService/Offer"),
    audited(Push, "POST", "/tephra.v1.SymbolService/Upload"),
    needs(Push, "POST", "/api/v1/profiles"),
    needs(Push, "POST", "/push.v1.PusherService/Push"),
    needs(Push, "POST", "/ingest"),
    needs(Push, "POST", "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"),
    needs(Push, "POST", "/v1development/profiles"),
    needs(Push, "POST", "/v0.3/traces"),
    needs(Push, "PUT", "/v0.3/traces"),
    needs(Push, "POST", "/v0.4/traces"),
    needs(Push, "PUT", "/v0.4/traces"),
    needs(Push, "POST", "/v0.5/traces"),
    needs(Push, "PUT", "/v0.5/traces"),
    needs(Push, "POST", "/v0.7/traces"),
    needs(Push, "PUT", "/v0.7/traces"),
    needs(Push, "POST", "/v0.6/stats"),
    needs(Push, "PUT", "/v0.6/stats"),
    needs(Push, "POST", "/telemetry/proxy/api/v2/apmtelemetry"),
    needs(Push, "POST", "/profiling/v1/input"),
    needs(Push, "GET", "/info"),
    audited(Push, "POST", "/api/v1/symbols"),
    // Whoever looks.
    needs(Read, "GET", "/api/v1/services"),
    needs(Read, "GET", "/api/v1/profile-types"),
    needs(Read, "GET", "/api/v1/labels"),
    needs(Read, "GET", "/api/v1/labels/{name}/values"),
    needs(Read, "GET", "/api/v1/timeline"),
    needs(Read, "GET", "/api/v1/flamegraph"),
    needs(Read, "GET", "/api/v1/diff"),
    needs(Read, "GET", "/api/v1/growth"),
    needs(Read, "GET", "/api/v1/traces/{trace_id}"),
    needs(Read, "GET", "/api/v1/requests"),
    needs(Read, "GET", "/api/v1/requests/compare"),
    needs(Read, "GET", "/api/v1/requests/heatmap"),
    needs(Read, "GET", "/api/v1/functions/requests"),
    needs(Read, "GET", "/api/v1/events"),
    needs(Read, "GET", "/api/v1/pins"),
    needs(Read, "GET", "/api/v1/pins/{id}"),
    needs(Read, "GET", "/api/v1/status"),
    needs(Read, "GET", "/api/openapi.json"),
    needs(Read, "POST", "/querier.v1.QuerierService/ProfileTypes"),
    needs(Read, "POST", "/querier.v1.QuerierService/LabelNames"),
    needs(Read, "POST", "/querier.v1.QuerierService/LabelValues"),
    needs(Read, "POST", "/querier.v1.QuerierService/Series"),
    needs(Read, "POST", "/querier.v1.QuerierService/GetProfileStats"),
    needs(Read, "POST", "/querier.v1.QuerierService/SelectSeries"),
    needs(Read, "POST", "/querier.v1.QuerierService/SelectMergeStacktraces"),
    needs(Read, "POST", "/querier.v1.QuerierService/SelectMergeSpanProfile"),
    needs(Read, "POST", "/querier.v1.QuerierService/SelectMergeProfile"),
    needs(Read, "POST", "/querier.v1.QuerierService/Diff"),
    needs(Read, "POST", "/mcp"),
    needs(Read, "GET", "/debug/pprof/{profile}"),
    needs(Read, "GET", "/pyroscope/render"),
    needs(Read, "GET", "/pyroscope/render-diff"),
    needs(Read, "GET", "/alert.json"),
    needs(Read, "GET", "/metrics"),
    needs(Read, "GET", "/metrics/profiles"),
    needs(Read, "GET", "/"),
    needs(Read, "GET", "/s/{service}"),
    needs(Read, "GET", "/s/{service}/{*rest}"),
    needs(Read, "GET", "/diff"),
    needs(Read, "GET", "/growth"),
    needs(Read, "GET", "/trace/{id}"),
    needs(Read, "GET", "/alert"),
    needs(Read, "GET", "/p/{pin}"),
    needs(Read, "GET", "/status"),
    needs(Read, "GET", "/og.png"),
    // Whoever keeps something.
    needs(Write, "POST", "/api/v1/events"),
    audited(Write, "DELETE", "/api/v1/events"),
    needs(Write, "POST", "/api/v1/alerts"),
    needs(Write, "POST", "/api/v1/pins"),
    audited(Write, "DELETE", "/api/v1/pins/{id}"),
    // What cannot be undone, and who did it.
    audited(Admin, "DELETE", "/api/v1/services"),
    audited(Admin, "DELETE", "/api/v1/traces/{trace_id}"),
    audited(Admin, "POST", "/api/v1/retention/confirm"),
    needs(Admin, "GET", "/api/v1/audit"),
];

/// What a request to a path needs. HEAD is a GET whose answer is not sent.
pub(super) fn of(method: &Method, path: &str) -> Option<&'static Permission> {
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    TABLE.iter().find(|row| row.method == method && row.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stands_in_the_table_twice() {
        let mut rows: Vec<_> = TABLE.iter().map(|row| (row.method, row.path)).collect();
        rows.sort_unstable();
        let all = rows.len();
        rows.dedup();
        assert_eq!(rows.len(), all);
    }

    #[test]
    fn whatever_deletes_is_audited_and_nothing_is_open_that_writes() {
        for row in TABLE {
            assert!(row.method != "DELETE" || row.audited, "{} {}", row.method, row.path);
            assert!(row.need != Need::Nothing || row.method == "GET", "{} {}", row.method, row.path);
        }
    }
}
