//! Tenants: each is answered as if it had a collector of its own, and none hears of another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use prost::Message;
use serde_json::{Value, json};
use tephra_proto::v1;
use tonic::{Code, Status};
use tower::ServiceExt;

use super::Got;
use crate::access::proxies::{Proxies, network};
use crate::access::role::Role;
use crate::access::token::Token;
use crate::access::{Access, AccessOptions};
use crate::base::tenant::TenantName;
use crate::http::{AppState, router_beside, routes};
use crate::ingest::Peer;
use crate::ingest::testing::{TestWindow, recent_ms, row, traced};
use crate::serve::{Collector, Tenants, Times};
use crate::store::access::{AccessCatalog, NewToken, TenantLimits};
use crate::store::testing::{TestPlace, options};
use crate::symbols::Worker;

const PUSH: &str = "/tephra.v1.ProfileService/Push";

/// The tenants of these tests, and what only they store.
const SECRETS: [(&str, &str); 3] = [("default", "oursecret"), ("acme", "acmesecret"), ("initech", "initechsecret")];

/// A collector with tenants, and an administrator of each.
struct House {
    place: TestPlace,
    catalog: AccessCatalog,
    collector: Collector,
    tenants: Tenants,
    state: AppState,
    app: Router,
    admins: BTreeMap<String, String>,
}

/// Long enough for everything: nothing is closed, or opened again, by itself.
const NEVER: Times = Times { idle: Duration::from_secs(1 << 30), every: Duration::from_secs(1 << 30) };
/// Whoever is not being answered is idle.
const AT_ONCE: Times = Times { idle: Duration::ZERO, ..NEVER };

impl House {
    async fn of(names: &[&str], times: Times) -> Self {
        let place = TestPlace::folder();
        let worker = Worker::this_program().unwrap();
        let mut collector = Collector::open(place.place(), options(), worker).await.unwrap();
        let catalog = AccessCatalog::beside(&place.place(), collector.store.catalog()).await.unwrap();
        let mut admins = BTreeMap::new();
        for name in names {
            catalog.create_tenant(name, 1).await.unwrap();
        }
        for name in names.iter().chain(&["default"]) {
            admins.insert((*name).to_owned(), token(&catalog, name, Role::Admin).await);
        }
        let proxies = Proxies {
            networks: vec![network("10.0.0.0/8").unwrap()],
            group_roles: vec![("staff".to_owned(), Role::Read)],
        };
        let options = AccessOptions { required: true, proxies, ..AccessOptions::default() };
        let access = Access::open(options, catalog.clone(), collector.store.conditions()).await.unwrap();
        collector.access = access.clone();
        let Collector { store, query, ingest, symbols, .. } = collector.clone();
        let state = AppState::new(store, query, symbols, ingest, [], access);
        let tenants = Tenants::with_times(collector.clone(), state.clone(), times);
        let app = router_beside(state.clone(), Arc::new(tenants.clone()));
        Self { place, catalog, collector, tenants, state, app, admins }
    }

    async fn read_again(&self) {
        self.collector.access.read_again(self.collector.store.conditions()).await.unwrap();
    }

    async fn send(&self, peer: [u8; 4], method: &Method, path: &str, said: &[(&str, &str)], body: Bytes) -> Got {
        send(&self.app, peer, method, path, said, body).await
    }

    async fn ask(&self, tenant: &str, method: &Method, path: &str, said: &[(&str, &str)], body: Bytes) -> Got {
        let own = [("authorization", self.admins[tenant].as_str())];
        self.send([127, 0, 0, 1], method, path, &[&own[..], said].concat(), body).await
    }

    async fn get(&self, tenant: &str, path: &str) -> Got {
        self.ask(tenant, &Method::GET, path, &[], Bytes::new()).await
    }

    async fn push(&self, tenant: &str, window: &TestWindow) -> Result<v1::PushResponse, Status> {
        push(&self.app, &self.admins[tenant], window).await
    }

    async fn windows(&self, tenant: &str) -> u64 {
        let status = self.get(tenant, "/api/v1/status").await;
        assert_eq!(status.status, StatusCode::OK, "{}", status.text());
        status.json()["store"]["windows"].as_u64().unwrap()
    }

    /// The folders of tenants.
    fn folders(&self) -> Vec<String> {
        let found = std::fs::read_dir(self.place.data().join("tenants")).into_iter().flatten();
        let mut names: Vec<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn token(catalog: &AccessCatalog, tenant: &str, role: Role) -> String {
    let token = Token::draw().unwrap();
    let new = NewToken {
        id: token.id().to_owned(),
        digest: token.digest(),
        role: role.as_str().to_owned(),
        tenant: tenant.to_owned(),
        note: String::new(),
        expires_ms: None,
    };
    catalog.create_token(&new, 1).await.unwrap();
    format!("Bearer {}", token.reveal())
}

async fn send(app: &Router, peer: [u8; 4], method: &Method, path: &str, said: &[(&str, &str)], body: Bytes) -> Got {
    let request = Request::builder().method(method).uri(path).extension(Peer(peer.into()));
    let mut request = request.header("host", "localhost").body(Body::from(body)).unwrap();
    for (name, value) in said {
        request.headers_mut().append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    let (parts, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let mut headers = parts.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    Got { status: parts.status, headers, body: collected.to_bytes() }
}

/// As an agent does.
async fn push(app: &Router, token: &str, window: &TestWindow) -> Result<v1::PushResponse, Status> {
    let content = window.clone().request().encode_to_vec();
    let mut framed = vec![0];
    framed.extend((content.len() as u32).to_be_bytes());
    framed.extend(content);
    let said = [("content-type", "application/grpc"), ("te", "trailers"), ("authorization", token)];
    let got = send(app, [127, 0, 0, 1], &Method::POST, PUSH, &said, framed.into()).await;
    let status = Status::from_header_map(&got.headers).unwrap_or_else(|| panic!("{}: {}", got.status, got.text()));
    if status.code() != Code::Ok {
        return Err(status);
    }
    Ok(v1::PushResponse::decode(&got.body[5..]).unwrap())
}

/// Six windows before a moment and six after it, of the same service for everybody, and one of a service that only this one has.
fn windows(secret: &str, turn: u64) -> Vec<TestWindow> {
    let mut all: Vec<_> = (0..12u64)
        .map(|i| {
            let cost = if i < 6 { 10_000_000 } else { 90_000_000 };
            let stacks = [traced(&format!("main;{secret}::work"), cost, 7), row("main;serve", 50_000_000)];
            let window = TestWindow::new("checkout", 1, i + 1, turn - 60_000 + i * 10_000);
            window.label("region", secret).cpu(&stacks).span(7, &format!("/{secret}"), 100, 5_000)
        })
        .collect();
    all.push(TestWindow::new(&format!("of-{secret}"), 2, 1, turn).cpu(&[row(secret, 1)]));
    all
}

/// What is asked of a path: with what it needs to answer from what is stored.
fn examples(path: &str, secret: &str, turn: u64) -> Vec<String> {
    let (from, until) = (turn - 60_000, turn + 60_000);
    let range = format!("service=checkout&from={from}&until={until}");
    let sides = format!("service=checkout&a.from={from}&a.until={turn}&b.from={turn}&b.until={until}");
    let plain = |path: &str| {
        path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
    };
    match path {
        "/api/v1/services" => vec![format!("{path}?from={from}&until={until}")],
        "/api/v1/profile-types" => vec![format!("{path}?service=checkout"), format!("{path}?service=of-{secret}")],
        "/api/v1/labels" | "/api/v1/timeline" | "/api/v1/requests" | "/api/v1/requests/heatmap" | "/api/v1/growth" => {
            vec![format!("{path}?{range}")]
        }
        "/api/v1/flamegraph" => {
            let of = |secret: &str| format!("{path}?service=of-{secret}&from={from}&until={until}&format=json");
            let all = SECRETS.map(|(_, secret)| of(secret));
            [vec![format!("{path}?{range}&format=json"), format!("{path}?{range}&format=folded")], all.to_vec()]
                .concat()
        }
        "/api/v1/labels/{name}/values" => vec![format!("/api/v1/labels/region/values?{range}")],
        "/api/v1/diff" => vec![format!("{path}?{sides}"), format!("{path}?{sides}&format=markdown")],
        "/api/v1/functions/requests" => vec![format!("{path}?{range}&function={secret}::work")],
        "/api/v1/traces/{trace_id}" => vec![format!("/api/v1/traces/{}", "07".repeat(16)), plain(path)],
        "/alert.json" | "/alert" => vec![format!("{path}?service=checkout&at={turn}&w=1m")],
        "/pyroscope/render" => {
            let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds%7Bservice_name%3D%22checkout%22%7D";
            vec![format!("{path}?query={query}&from={from}&until={until}")]
        }
        "/s/{service}" => vec!["/s/checkout".to_owned(), format!("/s/of-{secret}")],
        _ => vec![plain(path)],
    }
}

/// Without what is drawn anew, or is the time.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["id", "created_ms", "at_ms", "last_seen", "url"].contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = plain(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = plain(item.take())),
        _ => {}
    }
    value
}

/// Paths whose answers are about the process, which two collectors apart have one each of.
const OF_PROCESS: [&str; 4] = ["/api/v1/status", "/metrics", "/api/v1/audit", "/readyz"];

#[tokio::test]
async fn two_tenants_are_answered_as_two_collectors_apart_by_every_route() {
    let turn = recent_ms();
    let house = House::of(&["acme", "initech"], NEVER).await;
    let apart = [House::of(&[], NEVER).await, House::of(&[], NEVER).await];
    let mut pairs = Vec::new();
    for (tenant, secret) in SECRETS {
        for window in windows(secret, turn) {
            house.push(tenant, &window).await.unwrap();
        }
        let Some(alone) = ["acme", "initech"].iter().position(|name| *name == tenant).map(|i| &apart[i]) else {
            continue;
        };
        for window in windows(secret, turn) {
            alone.push("default", &window).await.unwrap();
        }
        pairs.push((tenant, secret, alone));
    }
    assert_eq!(house.folders(), ["acme", "initech"]);
    let said = [("content-type", "application/json")];
    let event = |secret: &str| {
        Bytes::from(json!({"kind": "deploy", "service": "checkout", "title": secret, "at": turn}).to_string())
    };
    let (mut asked, mut told) = (0, 0);
    for (tenant, secret, alone) in &pairs {
        let others: Vec<&str> = SECRETS.iter().map(|(_, other)| *other).filter(|other| other != secret).collect();
        for ask in [
            house.ask(tenant, &Method::POST, "/api/v1/events", &said, event(secret)).await,
            alone.ask("default", &Method::POST, "/api/v1/events", &said, event(secret)).await,
        ] {
            assert_eq!(ask.status, StatusCode::CREATED, "{}", ask.text());
        }
        // What deletes comes last.
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let routes = routes::all(&house.state);
            for route in routes.iter().filter(|route| route.methods.contains(&method)) {
                let content = if route.is_call() { "application/grpc" } else { "application/json" };
                let said = [("content-type", content), ("accept", "application/json")];
                for path in examples(route.path, secret, turn) {
                    let here = house.ask(tenant, &method, &path, &said, Bytes::new()).await;
                    let there = alone.ask("default", &method, &path, &said, Bytes::new()).await;
                    let code = |got: &Got| Status::from_header_map(&got.headers).map(|status| status.code());
                    let what = format!("{method} {path} of {tenant}");
                    assert_eq!((here.status, code(&here)), (there.status, code(&there)), "{what}: {}", here.text());
                    let text = here.text();
                    for other in &others {
                        assert!(
                            !text.contains(&other.replace("secret", "secret::")),
                            "{what} tells of {other}: {text}"
                        );
                        let is_echo = path.contains(other);
                        assert!(is_echo || !text.contains(other), "{what} tells of {other}: {text}");
                    }
                    told += usize::from(text.contains(secret));
                    asked += 1;
                    if OF_PROCESS.contains(&route.path) {
                        continue;
                    }
                    match serde_json::from_slice::<Value>(&here.body) {
                        Ok(json) => assert_eq!(plain(json), plain(there.json()), "{what}"),
                        Err(_) => assert_eq!(text, there.text(), "{what}"),
                    }
                }
            }
        }
        let delete = "/api/v1/services?service=checkout";
        for got in [
            house.ask(tenant, &Method::DELETE, delete, &[], Bytes::new()).await,
            alone.ask("default", &Method::DELETE, delete, &[], Bytes::new()).await,
        ] {
            assert_eq!(got.status, StatusCode::OK, "{}", got.text());
        }
        let left = house.get(tenant, &format!("/api/v1/flamegraph?service=checkout&from={}", turn - 60_000)).await;
        assert_eq!(left.status, StatusCode::NOT_FOUND, "{}", left.text());
        let ours = house
            .get(
                "default",
                &format!(
                    "/api/v1/flamegraph?service=checkout&format=folded&from={}&until={}",
                    turn - 60_000,
                    turn + 60_000
                ),
            )
            .await;
        assert!(ours.text().contains("oursecret::work"), "{}", ours.text());
    }
    assert!(asked > 120 && told > 20, "{asked} {told}");
}

#[tokio::test]
async fn no_name_leads_anywhere_but_to_its_own_store() {
    let house = House::of(&["acme"], NEVER).await;
    let (anywhere, proxy, path) = ([192, 0, 2, 1], [10, 0, 0, 1], "/api/v1/services");
    let get = async |peer, said: &[(&str, &str)]| house.send(peer, &Method::GET, path, said, Bytes::new()).await;
    let alice = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "staff")];
    let acme = house.admins["acme"].as_str();
    for name in [
        "nobody",
        "..",
        "../default",
        "acme/../..",
        "acme%2f..",
        "a'; DROP TABLE access_tenants; --",
        "ACME",
        "acme\tx",
        "",
    ] {
        let person = get(proxy, &[&alice[..], &[("x-scope-orgid", name)]].concat()).await;
        assert_eq!(person.status, StatusCode::FORBIDDEN, "{name:?}: {}", person.text());
        let machine = get(anywhere, &[("authorization", acme), ("x-scope-orgid", name)]).await;
        assert_eq!(machine.status, StatusCode::FORBIDDEN, "{name:?}: {}", machine.text());
        assert!(machine.text().contains("X-Scope-OrgID names another tenant"), "{}", machine.text());
    }
    let strange = get(anywhere, &[&alice[..], &[("x-scope-orgid", "acme")]].concat()).await;
    assert_eq!(strange.status, StatusCode::UNAUTHORIZED, "who is no proxy is nobody");
    let nobody = get(proxy, &[&alice[..], &[("x-scope-orgid", "nobody")]].concat()).await;
    assert!(nobody.text().contains("no such tenant") && nobody.text().contains("tephra tenant"), "{}", nobody.text());
    assert!(house.folders().is_empty(), "nothing was made: {:?}", house.folders());
    let call = [("authorization", acme), ("x-scope-orgid", "other"), ("content-type", "application/grpc")];
    let call = house.send(anywhere, &Method::POST, PUSH, &call, Bytes::new()).await;
    assert_eq!(Status::from_header_map(&call.headers).unwrap().code(), Code::PermissionDenied);

    assert_eq!(get(proxy, &[&alice[..], &[("x-scope-orgid", "acme")]].concat()).await.status, StatusCode::OK);
    assert_eq!(get(anywhere, &[("authorization", acme), ("x-scope-orgid", "acme")]).await.status, StatusCode::OK);
    assert_eq!(house.folders(), ["acme"]);
    assert_eq!(house.catalog.tenants().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_that_is_closed_and_opened_under_load_loses_nothing_and_counts_nothing_twice() {
    const SENDERS: u64 = 4;
    const WINDOWS: u64 = 25;
    let house = Arc::new(House::of(&["acme"], AT_ONCE).await);
    let acme = TenantName::parse("acme").unwrap();
    let start = recent_ms();
    let window = move |sender: u64, sequence: u64| {
        TestWindow::new("checkout", 1 + sender as u8, sequence, start).cpu(&[row("main", 1)])
    };
    let done = Arc::new(AtomicBool::new(false));
    let closing = tokio::spawn({
        let (house, acme, done) = (house.clone(), acme.clone(), done.clone());
        async move {
            let mut closed = 0;
            while !done.load(Ordering::Relaxed) {
                let was_open = house.tenants.is_open(&acme).await;
                house.tenants.round().await;
                closed += u64::from(was_open && !house.tenants.is_open(&acme).await);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            closed
        }
    });
    let senders = (0..SENDERS).map(|sender| {
        let house = house.clone();
        tokio::spawn(async move {
            for sequence in 1..=WINDOWS {
                // As agents do: again until it is acked.
                while let Err(status) = house.push("acme", &window(sender, sequence)).await {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(sender * 3)).await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    // Whatever happened until now: nobody asks any more, so it is closed.
    while house.tenants.is_open(&acme).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(closing.await.unwrap() > 0);
    assert_eq!(house.windows("acme").await, SENDERS * WINDOWS);
    for sender in 0..SENDERS {
        for sequence in [1, WINDOWS] {
            assert!(house.push("acme", &window(sender, sequence)).await.unwrap().duplicate, "{sender} {sequence}");
        }
    }
    assert_eq!((house.windows("acme").await, house.windows("default").await), (SENDERS * WINDOWS, 0));
}

#[tokio::test]
async fn a_store_is_opened_for_what_is_old_in_it_though_nobody_asks() {
    let house = House::of(&["acme", "initech"], NEVER).await;
    assert!(house.folders().is_empty());
    house.tenants.round().await;
    assert_eq!(house.folders().len(), 1, "one after the other");
    house.tenants.round().await;
    assert_eq!(house.folders(), ["acme", "initech"]);
}

#[tokio::test]
async fn who_is_deleted_is_let_in_no_more_and_leaves_nothing() {
    let house = House::of(&["acme", "initech"], NEVER).await;
    let window = TestWindow::new("checkout", 1, 1, recent_ms()).cpu(&[row("main", 1)]);
    for tenant in ["acme", "initech"] {
        house.push(tenant, &window).await.unwrap();
    }
    house.catalog.delete_tenant("acme", 2).await.unwrap();
    house.read_again().await;
    assert_eq!(house.push("acme", &window).await.unwrap_err().code(), Code::Unauthenticated);
    house.tenants.round().await;
    assert_eq!(house.folders(), ["initech"]);
    let names: Vec<String> = house.catalog.tenants().await.unwrap().into_iter().map(|tenant| tenant.name).collect();
    assert_eq!((names, house.windows("initech").await), (vec!["initech".to_owned()], 1));

    // Another of the same name has nothing of it.
    house.catalog.create_tenant("acme", 3).await.unwrap();
    let token = token(&house.catalog, "acme", Role::Admin).await;
    house.read_again().await;
    assert!(!push(&house.app, &token, &window).await.unwrap().duplicate);
    assert_eq!(house.push("acme", &window).await.unwrap_err().code(), Code::Unauthenticated, "old tokens stay revoked");
}

#[tokio::test]
async fn a_tenant_may_use_what_it_is_given() {
    let house = House::of(&["acme", "initech"], AT_ONCE).await;
    let limits = TenantLimits { retention_ms: Some(2 * 86_400_000), bytes_per_s: Some(1), series: Some(3) };
    house.catalog.limit_tenant("acme", limits).await.unwrap();
    house.read_again().await;
    let status = async |tenant: &str| house.get(tenant, "/api/v1/status").await.json();
    let (acme, initech) = (status("acme").await, status("initech").await);
    assert_eq!((&acme["retention_s"], &acme["ingest"]["series_max"]), (&json!(2 * 86_400), &json!(3)));
    assert_eq!((&initech["retention_s"], &initech["ingest"]["series_max"]), (&json!(90 * 86_400), &json!(2_000)));
    let window = |sequence| TestWindow::new("checkout", 1, sequence, recent_ms()).cpu(&[row("main", 1)]);
    house.push("acme", &window(1)).await.unwrap();
    let status = house.push("acme", &window(2)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("come again in"), "{status}");
    let by_http = house.ask("acme", &Method::POST, "/api/v1/profiles?service=x", &[], Bytes::from("x")).await;
    assert_eq!(by_http.status, StatusCode::TOO_MANY_REQUESTS, "{}", by_http.text());
    assert!(by_http.headers.contains_key("retry-after"));
    assert_eq!(house.get("acme", "/api/v1/services").await.status, StatusCode::OK, "it may read");
    house.push("initech", &window(1)).await.unwrap();
    house.push("initech", &window(2)).await.unwrap();

    // A change counts: the rate at once, the others when the store is opened again.
    house.catalog.limit_tenant("acme", TenantLimits::default()).await.unwrap();
    house.read_again().await;
    house.push("acme", &window(2)).await.unwrap();
    house.tenants.round().await;
    assert_eq!(house.get("acme", "/api/v1/status").await.json()["retention_s"], json!(90 * 86_400));
}

#[tokio::test]
async fn deeds_are_told_with_their_tenant_to_it_and_to_who_keeps_the_collector() {
    let house = House::of(&["acme", "initech"], NEVER).await;
    let delete = "/api/v1/services?service=nothing";
    let reader = token(&house.catalog, "initech", Role::Read).await;
    house.read_again().await;
    for tenant in ["acme", "default"] {
        house.ask(tenant, &Method::DELETE, delete, &[], Bytes::new()).await;
    }
    let refused =
        house.send([127, 0, 0, 1], &Method::DELETE, delete, &[("authorization", &reader)], Bytes::new()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let deeds = async |tenant: &str| -> Vec<(String, String)> {
        let got = house.get(tenant, "/api/v1/audit").await.json();
        let words = |deed: &Value, name: &str| deed[name].as_str().unwrap().to_owned();
        got["deeds"].as_array().unwrap().iter().map(|deed| (words(deed, "tenant"), words(deed, "outcome"))).collect()
    };
    let one = |tenant: &str, outcome: &str| (tenant.to_owned(), outcome.to_owned());
    assert_eq!(deeds("acme").await, [one("acme", "404")]);
    assert_eq!(deeds("initech").await, [one("initech", "refused")]);
    let mut all = deeds("default").await;
    all.sort();
    assert_eq!(all, [one("acme", "404"), one("default", "404"), one("initech", "refused")]);
}

#[tokio::test]
async fn metrics_name_no_tenant_and_tell_each_of_its_own_requests() {
    let house = House::of(&["acme", "initech"], NEVER).await;
    house.get("acme", "/api/v1/pins").await;
    let metrics = async |tenant: &str| house.get(tenant, "/metrics").await.text();
    let (ours, acme, initech) = (metrics("default").await, metrics("acme").await, metrics("initech").await);
    let pins = "route=\"/api/v1/pins\"";
    assert!(ours.contains(pins) && acme.contains(pins) && !initech.contains(pins), "{initech}");
    for text in [&ours, &acme, &initech] {
        assert!(!text.contains("acme") && !text.contains("initech"), "{text}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_told_to_who_keeps_the_collector_and_holds_up_nobody() {
    let house = House::of(&["acme", "initech"], NEVER).await;
    std::fs::create_dir_all(house.place.data().join("tenants")).unwrap();
    std::fs::write(house.place.data().join("tenants/acme"), "a file").unwrap();
    let got = house.get("acme", "/api/v1/services").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{}", got.text());
    assert!(!got.text().contains("file"), "where it is, is not a tenant's to know: {}", got.text());
    let window = TestWindow::new("checkout", 1, 1, recent_ms()).cpu(&[row("main", 1)]);
    assert_eq!(house.push("acme", &window).await.unwrap_err().code(), Code::Unavailable, "agents come again");
    assert_eq!(house.get("initech", "/api/v1/services").await.status, StatusCode::OK);
    let conditions = house.get("default", "/api/v1/status").await.json()["conditions"].clone();
    let condition = &conditions[0];
    assert_eq!(
        (&condition["kind"], &condition["subject"]),
        (&json!("tenant_not_opened"), &json!("acme")),
        "{conditions}"
    );
}
