//! The real thing, small: the shop's stock release builds with the agent inside, under load, against a real collector.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use shop::load::Outcome;
use tephra_tests::binaries;
use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::Collector;
use tephra_tests::process::{Running, free_port};

/// What the people who came to the shop know of their requests, by route.
type Tally = BTreeMap<String, Outcome>;

/// A shop under load.
struct Shop {
    load: Running,
    tally: tempfile::NamedTempFile,
    gateway: Running,
    checkout: Running,
}

impl Shop {
    fn open(collector: &Collector, version: &str) -> Self {
        let (gateway_port, checkout_port) = (free_port(), free_port());
        let service = |program: &str, port: u16| {
            let mut command = Command::new(binaries::shop(version, program));
            command.env("TEPHRA_ENDPOINT", collector.endpoint()).env("SHOP_WINDOW_MS", "1000");
            // Often, so that a leak stands out within seconds.
            command.env("SHOP_HEAP_MEAN_BYTES", "65536");
            command.env("SHOP_LISTEN", format!("127.0.0.1:{port}"));
            command.env("SHOP_CHECKOUT", format!("http://127.0.0.1:{checkout_port}"));
            let running = Running::start(&mut command);
            eventually("the shop opens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
            running
        };
        let checkout = service("shop-checkout", checkout_port);
        let gateway = service("shop-gateway", gateway_port);
        let mut load = Command::new(binaries::shop(version, "shop-load"));
        let tally = tempfile::NamedTempFile::new().expect("a temporary file");
        load.args(["--target", &format!("http://127.0.0.1:{gateway_port}"), "--rate", "200", "--tally"]);
        load.arg(tally.path());
        Self { load: Running::start(&mut load), tally, gateway, checkout }
    }

    /// Closes it as a deploy does: SIGTERM, so that the agents deliver what they have. Before that, the people get their answers.
    fn close(self) -> Tally {
        assert!(self.load.terminate().success());
        assert!(self.gateway.terminate().success());
        assert!(self.checkout.terminate().success());
        serde_json::from_slice(&std::fs::read(self.tally.path()).expect("a tally")).expect("a readable one")
    }
}

fn flame(collector: &Collector, service: &str, more: &str) -> Option<Value> {
    let answer = collector.api.get(&format!("/api/v1/flamegraph?service={service}&from=now-10m{more}"));
    (answer.status == 200).then(|| answer.json())
}

fn windows(collector: &Collector, service: &str, version: &str) -> u64 {
    let flame = flame(collector, service, &format!("&label.version={version}"));
    flame.and_then(|flame| flame.pointer("/a/windows").and_then(Value::as_u64)).unwrap_or(0)
}

#[test]
fn the_shop_is_profiled_by_name_trace_and_release() {
    let collector = Collector::start();
    for version in ["v1", "v2"] {
        let opened = now_ms();
        let shop = Shop::open(&collector, version);
        eventually("windows of both services arrive", || {
            let enough = |service| windows(&collector, service, version) >= 12;
            (enough("checkout") && enough("gateway")).then_some(())
        });
        if version == "v2" {
            the_leak_is_told_by_function(&collector, opened);
        }
        requests_are_those_that_were_sent(&collector, version, &shop.close());
    }
    names_are_real(&collector);
    the_release_that_regressed_is_told_by_function(&collector);
    work_is_told_apart_by_route(&collector);
    a_slow_request_is_seen_in_both_services(&collector);
    the_slowest_orders_are_explained_by_function_and_tenant(&collector);
    requests_show_what_they_allocated(&collector);
    every_sample_is_accounted_for(&collector);
}

fn names_are_real(collector: &Collector) {
    // Symbols follow the windows. The system's own libraries may be stripped; the service is not.
    let flame = eventually("symbols arrive", || {
        let flame = flame(collector, "checkout", "")?;
        let missing = flame.pointer("/symbols/missing")?.as_array()?;
        let own = missing.iter().filter(|module| module["module"] == "shop-checkout");
        let unnamed: f64 = own.filter_map(|module| module["share"].as_f64()).sum();
        (unnamed <= 0.01).then_some(flame)
    });
    let names: Vec<&str> = flame["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    for expected in ["shop::tax::", "shop::fingerprint::of", "shop::archive::"] {
        assert!(names.iter().any(|name| name.contains(expected)), "no {expected} among {names:?}");
    }
    let roots: Vec<&&str> = names.iter().filter(|name| name.contains("std::sys") || name.contains("main")).collect();
    assert!(!roots.is_empty(), "no stack reaches its thread's root: {names:?}");
}

fn the_release_that_regressed_is_told_by_function(collector: &Collector) {
    for (profile_type, planted) in [("cpu", "TaxOffice>::rate_for"), ("alloc_space", "receipt::render")] {
        let diff = collector.api.json(&format!(
            "/api/v1/diff?service=checkout&type={profile_type}&from=now-10m&a.label.version=v1&b.label.version=v2"
        ));
        let first = diff.pointer("/movers/0/name").and_then(Value::as_str).unwrap_or_default();
        assert!(first.contains(planted), "{profile_type}: expected {planted}, got {first:?} of {}", diff["movers"]);
    }
}

/// It grows for as long as the shop is open, until it stands out from the luck of sampling.
fn the_leak_is_told_by_function(collector: &Collector, opened: u64) {
    eventually("the leak stands out", || {
        let path = format!("/api/v1/growth?service=gateway&label.version=v2&from={opened}&until={}", now_ms());
        let growth = collector.api.get(&path);
        let growth = (growth.status == 200).then(|| growth.json())?;
        // On a busy machine the later half may not have arrived yet.
        (growth["b"]["windows"].as_u64()? > 0).then_some(())?;
        let first = growth.pointer("/growers/0")?;
        assert_eq!(first["state"], "grew", "{growth}");
        first["name"].as_str()?.contains("shop::sessions::").then_some(())
    });
}

/// Only orders are fingerprinted, taxes are for quotes too; and it was the tower layer that said which is which.
fn work_is_told_apart_by_route(collector: &Collector) {
    let routes = collector.api.json("/api/v1/labels/route/values?service=checkout&from=now-10m");
    assert_eq!(routes["values"], serde_json::json!(["POST /orders", "POST /quote"]));
    let works_in = |route: &str, function: &str| {
        let flame = flame(collector, "checkout", &format!("&label.route=POST%20/{route}")).expect("a flame graph");
        let names = flame["names"].as_array().expect("names").iter().filter_map(Value::as_str);
        names.into_iter().any(|name| name.contains(function))
    };
    assert!(works_in("orders", "shop::fingerprint::of") && works_in("orders", "shop::tax::"));
    assert!(works_in("quote", "shop::tax::") && !works_in("quote", "shop::fingerprint::of"));
}

fn a_slow_request_is_seen_in_both_services(collector: &Collector) {
    let requests = collector.api.json(&format!("/api/v1/requests?service=gateway&from=now-10m&until={}", now_ms()));
    let routes = requests["routes"].as_array().expect("routes");
    let checkout = routes.iter().find(|route| route["route"].as_str().is_some_and(|name| name.contains("/checkout")));
    let slowest = checkout.and_then(|route| route["slowest"].as_array()).expect("slow orders").clone();
    let both = slowest.iter().filter_map(|request| request["trace_id"].as_str()).find(|trace| {
        let answer = collector.api.get(&format!("/api/v1/traces/{trace}"));
        answer.status == 200 && answer.text().contains("\"gateway\"") && answer.text().contains("\"checkout\"")
    });
    assert!(both.is_some(), "no slow order was sampled in both services: {slowest:?}");
}

/// Both releases audit about one in a hundred orders, all of them one tenant's, and nobody told the collector.
fn the_slowest_orders_are_explained_by_function_and_tenant(collector: &Collector) {
    const PLANTED: &str = "audit::recheck_price_lists";
    let query = format!("service=checkout&route=POST%20/orders&slowest=1&from=now-10m&until={}", now_ms());
    let why = collector.api.json(&format!("/api/v1/requests/compare?{query}"));
    let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let cpu = all(&why["costs"]).into_iter().find(|cost| cost["type"] == "cpu").unwrap_or_default();
    let planted =
        all(&cpu["functions"]).into_iter().find(|function| function["full_name"].to_string().contains(PLANTED));
    let planted = planted.unwrap_or_else(|| panic!("{PLANTED} is not among what costs more: {why:#}"));
    let cost = |side: &str| planted[side].as_f64().expect("a cost per request");
    assert!(cost("chosen_per_request") > 2.0 * cost("others_per_request"), "{why:#}");
    assert!(planted["q"].as_f64().expect("evidence") <= 0.01, "{why:#}");
    let mut labels = all(&why["labels"]).into_iter();
    let tenant = labels.find(|label| label["name"] == "tenant" && label["value"] == "umbrella");
    let tenant = tenant.unwrap_or_else(|| panic!("tenant umbrella is not among the labels: {why:#}"));
    let share = |side: &str| tenant[side].as_f64().expect("a share");
    assert!(tenant["significant"] == true && share("chosen_share") > share("others_share"), "{why:#}");
    let sentences = why["sentences"].to_string();
    assert!(sentences.contains("recheck_price_lists") && sentences.contains("umbrella"), "{sentences}");
}

/// The planted waste again, this time in the requests it was done for.
fn requests_show_what_they_allocated(collector: &Collector) {
    let query = format!("service=checkout&from=now-10m&until={}&label.version=v2", now_ms());
    let requests = collector.api.json(&format!("/api/v1/requests?{query}"));
    let routes = requests["routes"].as_array().expect("routes");
    let slowest = routes.iter().filter_map(|route| route["slowest"].as_array()).flatten();
    let traces: Vec<&str> = slowest.filter_map(|request| request["trace_id"].as_str()).collect();
    let wasteful = traces.iter().find(|trace| {
        let trace = collector.api.json(&format!("/api/v1/traces/{trace}"));
        let services = trace["services"].as_array().expect("services").iter();
        let types = services.filter_map(|service| service["types"].as_array()).flatten();
        let mut of_heap = types.filter(|kind| kind["type"]["name"] == "alloc_space");
        of_heap.any(|kind| kind["flame"]["names"].to_string().contains("receipt::render"))
    });
    assert!(wasteful.is_some(), "none of {} requests shows that receipts were allocated for it", traces.len());
}

/// Every request of a release is counted, by route, in both services; and percentiles are those of the shop's own clocks.
fn requests_are_those_that_were_sent(collector: &Collector, version: &str, tally: &Tally) {
    let query = format!("from=now-10m&until={}&label.version={version}", now_ms());
    let routes_of = |service: &str| {
        let requests = collector.api.json(&format!("/api/v1/requests?service={service}&{query}"));
        requests["routes"].as_array().expect("routes").clone()
    };
    let told_of = |routes: &[Value], name: &str| {
        let route = routes.iter().find(|route| route["route"] == name).cloned();
        route.unwrap_or_else(|| panic!("{version}: nothing is told of {name}, but of {routes:#?}"))
    };
    let of_gateway = routes_of("gateway");
    assert_eq!(of_gateway.len(), tally.len(), "{version}: {of_gateway:#?}");
    for (name, known) in tally {
        let told = told_of(&of_gateway, name);
        let count = told["count"].as_u64().expect("a count");
        let (answered, sent, timed) = (known.answered, known.sent, known.served_ns.len() as u64);
        // Whoever got no answer does not know whether the shop heard.
        let seen =
            format!("{version} {name}: {count} counted, {sent} sent, {answered} answered, {timed} with their time");
        assert!(answered > 0 && timed == answered && (answered..=sent).contains(&count), "{seen}");
        percentiles_are_those_of(&told, known);
    }
    let of_checkout = routes_of("checkout");
    for (name, from) in [("POST /orders", "POST /checkout"), ("POST /quote", "POST /quote")] {
        let (told, known) = (told_of(&of_checkout, name), &tally[from]);
        let count = told["count"].as_u64().expect("a count");
        let passed_on = known.answered - known.failed..=known.sent;
        assert!(passed_on.contains(&count), "{version} {name}: {count} counted, {passed_on:?} passed on");
    }
}

/// Within 2.5 % of what the shop's own clocks say, of which 2.2 % are the collector's. One runs inside of the agent's layer and one around it,
/// so each request took at least what the one says and at most what the other does; and so does each percentile.
fn percentiles_are_those_of(told: &Value, known: &Outcome) {
    const OFF: f64 = 0.025;
    // The collector tells whole microseconds.
    const ROUNDED_US: f64 = 1.0;
    let [inside, around] = [0, 1].map(|clock| {
        let mut ns: Vec<u64> = known.served_ns.iter().map(|times| times[clock]).collect();
        ns.sort_unstable();
        ns
    });
    // Those that may have been counted although nobody got the answer move the ranks.
    let others = (known.sent - known.answered) as usize;
    for (name, share) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99)] {
        let rank = (inside.len() as f64 * share).ceil() as usize - 1;
        let low = inside[rank.saturating_sub(others)] as f64 / 1e3;
        let high = around[(rank + others).min(around.len() - 1)] as f64 / 1e3;
        let said = told[name].as_f64().expect("a percentile");
        let is_known = (low * (1.0 - OFF) - ROUNDED_US..=high * (1.0 + OFF) + ROUNDED_US).contains(&said);
        assert!(is_known, "{}: {name} is told as {said}, the shop says {low} to {high}", told["route"]);
    }
}

fn every_sample_is_accounted_for(collector: &Collector) {
    let status = collector.api.json("/api/v1/status");
    let agents = status["agents"].as_array().expect("agents");
    assert_eq!(agents.len(), 4, "{status}");
    for agent in agents {
        let dropped: u64 = agent["dropped"].as_object().expect("drops").values().filter_map(Value::as_u64).sum();
        let stored = agent["stored"].as_u64().expect("stored");
        assert_eq!(agent["sampled"].as_u64().expect("sampled"), stored + dropped, "{agent}");
        assert!(stored > 0, "{agent}");
    }
}
