//! The real thing, small: the shop's stock release builds with the agent inside, under load, against a real collector.

use std::process::Command;

use serde_json::Value;
use tephra_tests::binaries;
use tephra_tests::clock::{eventually, now_ms};
use tephra_tests::collector::Collector;
use tephra_tests::process::{Running, free_port};

/// A shop under load.
struct Shop {
    _load: Running,
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
        load.args(["--target", &format!("http://127.0.0.1:{gateway_port}"), "--rate", "200"]);
        Self { _load: Running::start(&mut load), gateway, checkout }
    }

    /// Closes it as a deploy does: SIGTERM, so that the agents deliver what they have.
    fn close(self) {
        drop(self._load);
        assert!(self.gateway.terminate().success());
        assert!(self.checkout.terminate().success());
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
        shop.close();
    }
    names_are_real(&collector);
    the_release_that_regressed_is_told_by_function(&collector);
    work_is_told_apart_by_route(&collector);
    a_slow_request_is_seen_in_both_services(&collector);
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
