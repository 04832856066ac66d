//! What is told of requests: their lines in the log, what is never in them, and what Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::strangers::Asking;
use super::{Got, Lab, regression};
use crate::access::AccessOptions;
use crate::access::proxies::{Proxies, network};
use crate::access::role::Role;
use crate::http::REQUESTS;
use crate::serve::log::{Format, lines};

/// All that is logged on this thread, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let layer = lines(Format::Json, move || writer.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        (log, guard)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of requests.
    fn requests(&self) -> Vec<Value> {
        let text = self.text();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|line| line["target"] == REQUESTS).collect()
    }
}

async fn ask(lab: &Lab, method: &str, path: &str, said: &[(&str, &str)]) -> Got {
    let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    for (name, value) in [("host", "localhost")].iter().chain(said) {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request.headers_mut().append(HeaderName::try_from(*name).unwrap(), value);
    }
    lab.send(request).await
}

#[tokio::test]
async fn each_request_is_one_line_with_the_name_that_its_answer_carries() {
    let lab = Lab::new().await;
    let (log, _guard) = Log::begin();
    let named = ask(&lab, "GET", "/api/v1/services", &[("x-request-id", "ingress-7")]).await;
    assert_eq!(named.headers["x-request-id"], "ingress-7");
    let drawn = ask(&lab, "GET", "/api/v1/pins/none", &[("x-request-id", "two words")]).await;
    let id = drawn.headers["x-request-id"].to_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    ask(&lab, "BREW", "/wp-login.php", &[]).await;
    let call = ask(&lab, "POST", "/tephra.v1.ProfileService/Push", &[("content-type", "application/grpc")]).await;
    assert!(call.headers.contains_key("x-request-id"));
    let lines = log.requests();
    assert_eq!(lines.len(), 4, "{}", log.text());
    let of = |line: &Value, fields: [&str; 4]| fields.map(|field| line[field].clone());
    let first = of(&lines[0], ["id", "route", "method", "status"]);
    assert_eq!(first, [json!("ingress-7"), json!("/api/v1/services"), json!("GET"), json!(200)]);
    assert_eq!(lines[0]["bytes"], named.body.len());
    assert!(lines[0]["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(
        of(&lines[1], ["id", "route", "level", "who"]),
        [json!(id), json!("/api/v1/pins/{id}"), json!("DEBUG"), json!("anyone")]
    );
    assert_eq!(
        of(&lines[2], ["route", "method", "status", "who"]),
        [json!("{unmatched}"), json!("other"), json!(404), json!("")]
    );
    assert_eq!(lines[3]["route"], "/tephra.v1.ProfileService/Push");
    assert_ne!(lines[3]["grpc_status"], 0, "it was no push");
}

#[tokio::test]
async fn who_is_refused_and_what_fails_is_told_without_being_asked_for() {
    let asking = Asking::with(AccessOptions { required: true, ..AccessOptions::default() }).await;
    let (log, _guard) = Log::begin();
    let ask = async |path: &str, token: &str| {
        asking.ask_from([192, 0, 2, 1], &Method::GET, path, &[("authorization", token)]).await.status
    };
    let (reader, pusher) = (asking.token(Role::Read), asking.token(Role::Push));
    assert_eq!(ask("/api/v1/services", &reader).await, StatusCode::OK);
    assert_eq!(ask("/api/v1/services", &pusher).await, StatusCode::FORBIDDEN);
    assert_eq!(ask("/api/v1/services", "Bearer x").await, StatusCode::UNAUTHORIZED);
    asking.lab.store.conditions().begin("stopping", "", crate::conditions::Severity::Unready, "it stops");
    assert_eq!(ask("/readyz", "").await, StatusCode::SERVICE_UNAVAILABLE);
    let lines = log.requests();
    let told = |line: &Value| (line["level"].clone(), line["refused"].clone(), line["address"].clone());
    let here = json!("192.0.2.1");
    assert_eq!(told(&lines[0]), (json!("DEBUG"), json!(""), here.clone()));
    let who = lines[0]["who"].as_str().unwrap();
    assert!(who.starts_with("token ") && reader.contains(&who["token ".len()..]), "{who}");
    assert_eq!(told(&lines[1]), (json!("INFO"), json!("role"), here.clone()));
    assert_eq!(told(&lines[2]), (json!("INFO"), json!("unreadable"), here.clone()));
    assert_eq!(told(&lines[3]), (json!("INFO"), json!(""), here));
}

#[tokio::test]
async fn no_secret_of_a_request_is_in_the_log_at_any_level() {
    const PLANTED: &str = "planted-5ecret";
    let group_roles = vec![("ops".to_owned(), Role::Admin)];
    let proxies = Proxies { networks: vec![network("10.0.0.1").unwrap()], group_roles };
    let asking = Asking::with(AccessOptions { proxies, ..AccessOptions::default() }).await;
    let (log, _guard) = Log::begin();
    let admin = asking.token(Role::Admin);
    let (_, secret) = admin.rsplit_once('.').unwrap();
    let bearer = format!("Bearer {PLANTED}");
    let strange = format!("{PLANTED}\u{9b}31m\u{202e}");
    let headers = [
        ("cookie", PLANTED),
        ("x-forwarded-access-token", PLANTED),
        ("proxy-authorization", PLANTED),
        ("referer", PLANTED),
        ("x-request-id", "not well formed, planted-5ecret"),
        ("x-forwarded-for", PLANTED),
        ("x-strange", &strange),
    ];
    let query = format!("label.tenant={PLANTED}&filter=keep:{PLANTED}&x={PLANTED}");
    let paths = [
        format!("/api/v1/flamegraph?service=checkout&{query}"),
        format!("/s/{PLANTED}?{query}"),
        format!("/trace/{PLANTED}"),
        format!("/api/v1/labels/{PLANTED}/values?service={PLANTED}"),
        format!("/api/v1/services?token={PLANTED}"),
        format!("/{PLANTED}?{query}"),
        // What is audited says what it was done to, and nothing else.
        format!("/api/v1/services?service=checkout&{query}"),
        format!("/api/v1/retention/confirm?{query}"),
        format!("/api/v1/symbols?{query}"),
    ];
    let people = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "ops"), ("origin", "http://localhost")];
    for path in &paths {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            for who in [&[("authorization", admin.as_str())][..], &people, &[]] {
                let said = [who, &headers].concat();
                asking.ask_from([10, 0, 0, 1], &method, path, &said).await;
            }
        }
        let guess = [&[("authorization", bearer.as_str())][..], &headers].concat();
        asking.ask_from([10, 0, 0, 1], &Method::DELETE, path, &guess).await;
    }
    let text = log.text();
    assert!(log.requests().len() == paths.len() * 10 && text.contains("person:alice") && text.contains("\"audit\""));
    for line in text.lines() {
        assert!(!line.contains(PLANTED) && !line.contains(secret), "{line}");
    }
}

/// Values by name and labels.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Samples, and the kinds of the families, of text that is strictly in Prometheus' format 0.0.4.
fn parse(text: &str) -> (BTreeMap<String, &str>, Samples) {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .enumerate()
                .all(|(i, b)| b.is_ascii_alphabetic() || b"_:".contains(&b) || (i > 0 && b.is_ascii_digit()))
    };
    let (mut kinds, mut samples): (BTreeMap<String, &str>, BTreeMap<_, _>) = Default::default();
    let mut helped = BTreeSet::new();
    let mut current = "";
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').unwrap();
            assert!(is_name(name) && helped.insert(name), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(helped.contains(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind).is_none(), "{line}");
            current = name;
            continue;
        }
        let end = line.find(['{', ' ']).unwrap();
        let (name, mut rest) = line.split_at(end);
        let mut labels = BTreeMap::new();
        while let Some(more) = rest.strip_prefix(['{', ',']) {
            let (label, more) = more.split_once("=\"").unwrap();
            let (mut value, mut chars) = (String::new(), more.char_indices());
            let end = loop {
                match chars.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        c => panic!("\\{c}: {line}"),
                    }),
                    (_, c) => value.push(c),
                }
            };
            assert!(is_name(label) && labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = &more[end + 1..];
        }
        let value = rest.strip_prefix('}').unwrap_or(rest).strip_prefix(' ').unwrap();
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
        let family = match kinds[current] {
            "histogram" => ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap(),
            _ => name,
        };
        assert!(is_name(name) && family == current, "{line} belongs to {current}");
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "{line}: twice");
    }
    (kinds, samples)
}

/// What dashboards and alerts go by: none of them may go or change its kind.
const NAMES: [(&str, &str); 36] = [
    ("tephra_access_refused_total", "counter"),
    ("tephra_agent_dropped", "gauge"),
    ("tephra_agent_sampled", "gauge"),
    ("tephra_agent_stored", "gauge"),
    ("tephra_bodies_bytes", "gauge"),
    ("tephra_bodies_max_bytes", "gauge"),
    ("tephra_disk_free_bytes", "gauge"),
    ("tephra_ingest_coarsened_total", "counter"),
    ("tephra_ingest_duplicates_total", "counter"),
    ("tephra_ingest_full_total", "counter"),
    ("tephra_ingest_memory_bytes", "gauge"),
    ("tephra_ingest_memory_max_bytes", "gauge"),
    ("tephra_ingest_overflowed_total", "counter"),
    ("tephra_ingest_overloaded_total", "counter"),
    ("tephra_ingest_received_bytes_total", "counter"),
    ("tephra_ingest_refused_total", "counter"),
    ("tephra_ingest_relabelled_total", "counter"),
    ("tephra_ingest_samples_total", "counter"),
    ("tephra_ingest_segment_bytes_total", "counter"),
    ("tephra_ingest_segments_total", "counter"),
    ("tephra_ingest_unavailable_total", "counter"),
    ("tephra_ingest_windows_total", "counter"),
    ("tephra_process_cpu_seconds_total", "counter"),
    ("tephra_process_resident_memory_bytes", "gauge"),
    ("tephra_ready", "gauge"),
    ("tephra_store_bytes", "gauge"),
    ("tephra_store_damaged_windows", "gauge"),
    ("tephra_store_quarantined_segments", "gauge"),
    ("tephra_store_samples", "gauge"),
    ("tephra_store_segments", "gauge"),
    ("tephra_store_windows", "gauge"),
    ("tephra_symbol_builds", "gauge"),
    ("tephra_symbol_bytes", "gauge"),
    ("tephra_uptime_seconds", "gauge"),
    ("tephra_http_request_duration_seconds", "histogram"),
    ("tephra_queue_depth", "gauge"),
];

#[tokio::test]
async fn metrics_keep_their_names_and_are_what_prometheus_reads() {
    let asking = Asking::with(AccessOptions { required: true, ..AccessOptions::default() }).await;
    let lab = &asking.lab;
    lab.push(regression("check/out")).await;
    let mut told = regression("told").remove(0);
    told.header.agent_id = vec![9; 16];
    told.header.sampled = 5;
    told.header.drops =
        vec![tephra_proto::v1::DropCount { reason: tephra_proto::v1::DropReason::RingFull.into(), samples: 3 }];
    lab.push([told]).await;
    let reader = asking.token(Role::Read);
    let said = [("authorization", reader.as_str())];
    let get = async |path: &str, said: &[(&str, &str)]| asking.ask_from([127, 0, 0, 1], &Method::GET, path, said).await;
    assert_eq!(get("/api/v1/services", &[]).await.status, StatusCode::UNAUTHORIZED);
    for i in 0..50 {
        get(&format!("/api/v1/strange/{i}"), &said).await;
        get(&format!("/s/service-{i}"), &said).await;
    }
    let got = get("/metrics", &said).await;
    assert_eq!(got.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = got.text();
    let (kinds, samples) = parse(&text);
    // Nobody knows how much room a bucket has.
    for (name, kind) in NAMES.into_iter().filter(|(name, _)| !(lab.store.is_shared() && name.contains("disk_free"))) {
        assert_eq!(kinds.get(name), Some(&kind), "{name} in {text}");
    }
    assert!(
        samples.keys().any(|(_, labels)| labels.get("service").is_some_and(|service| service == "check/out")),
        "{text}"
    );

    const DURATION: &str = "tephra_http_request_duration_seconds";
    let with = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
        samples.get(&(name.to_owned(), labels)).copied()
    };
    let count =
        |route, status| with(&format!("{DURATION}_count"), &[("route", route), ("method", "GET"), ("status", status)]);
    assert_eq!(count("{unmatched}", "4xx"), Some(50.0), "{text}");
    assert_eq!(count("/api/v1/services", "4xx"), Some(1.0));
    assert!(
        count("/s/{service}", "2xx").or(count("/s/{service}", "5xx")) == Some(50.0),
        "with or without a built view"
    );
    let buckets = |route: &str| {
        let of =
            |(name, labels): &(String, BTreeMap<String, String>)| name.ends_with("_bucket") && labels["route"] == route;
        let of_route = samples.iter().filter(|(key, _)| of(key));
        let bound = |le: &str| if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() };
        let mut found: Vec<(f64, f64)> = of_route.map(|((_, labels), count)| (bound(&labels["le"]), *count)).collect();
        found.sort_by(|a, b| a.partial_cmp(b).unwrap());
        found
    };
    let unmatched = buckets("{unmatched}");
    assert!(unmatched.is_sorted_by(|(_, less), (_, more)| less <= more), "{unmatched:?}");
    assert_eq!(unmatched.last(), Some(&(f64::INFINITY, 50.0)));
    assert_eq!(with("tephra_access_refused_total", &[("reason", "missing")]), Some(1.0));
    assert_eq!(with("tephra_queue_depth", &[("queue", "query")]), Some(0.0));
    assert_eq!(with("tephra_http_requests_in_flight", &[]), Some(1.0), "this one");
    assert_eq!(with("tephra_store_write_errors_total", &[]), Some(0.0));
    assert!(
        with("tephra_compaction_waiting_segments", &[]) > Some(0.0)
            && with("tephra_compaction_lag_seconds", &[]).is_some()
    );
}
