//! What the collector answers about windows it was given: diffs, alerts, traces, exports, and plain words when there is
//! nothing.

use serde_json::{Value, json};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Link, Window, aligned};

const WINDOWS: u64 = 12;
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Twelve windows of v1, then twelve of v2, which spends more on taxes and allocates more for receipts.
struct Releases {
    collector: Collector,
    before: (u64, u64),
    after: (u64, u64),
}

fn releases() -> Releases {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let end = aligned(now_ms(), 0);
    let middle = end - WINDOWS * 10_000;
    let start = middle - WINDOWS * 10_000;
    let mut v1 = Agent::new("checkout", 1).label("version", "v1");
    let mut v2 = Agent::new("checkout", 2).label("version", "v2");
    for i in 0..WINDOWS {
        // Real load is never the same twice.
        let wobble = i * 7 % 5;
        pusher.accept(v1.seal(start + i * 10_000, &work(100 + wobble, 20 + wobble, 2)));
        pusher.accept(v2.seal(middle + i * 10_000, &work(100 + (wobble + 2) % 5, 90 + wobble, 20)));
    }
    Releases { collector, before: (start, middle), after: (middle, end) }
}

fn work(parse: u64, tax: u64, receipts: u64) -> Window {
    let window = Window::new()
        .cpu(&["main", "handle_order", "json::parse"], parse)
        .cpu(&["main", "handle_order", "tax::rate_for"], tax)
        .cpu(&["main", "idle_loop"], 10);
    (0..receipts).fold(window, |window, _| window.alloc(&["main", "handle_order", "receipt::render"], 1 << 20))
}

fn first_mover(releases: &Releases, profile_type: &str) -> Value {
    let (a, b) = (releases.before, releases.after);
    let diff = releases.collector.api.json(&format!(
        "/api/v1/diff?service=checkout&type={profile_type}&a.from={}&a.until={}&b.from={}&b.until={}",
        a.0, a.1, b.0, b.1
    ));
    diff["movers"][0].clone()
}

#[test]
fn a_diff_names_the_function_that_grew() {
    let releases = releases();
    let cpu = first_mover(&releases, "cpu");
    assert_eq!((&cpu["name"], &cpu["state"]), (&json!("tax::rate_for"), &json!("grew")), "{cpu}");
    let cores = cpu["delta"].as_f64().expect("a number");
    assert!(
        (cores - 70.0 / 990.0).abs() < 0.005,
        "70 samples of 99 Hz in 10 s are {} cores, not {cores}",
        70.0 / 990.0
    );
    assert_eq!(first_mover(&releases, "alloc_space")["name"], "receipt::render");
}

#[test]
fn a_diff_of_a_release_with_itself_finds_nothing() {
    let releases = releases();
    let (from, until) = releases.before;
    let middle = (from + until) / 2;
    let diff = releases
        .collector
        .api
        .json(&format!("/api/v1/diff?service=checkout&a.from={from}&a.until={middle}&b.from={middle}&b.until={until}"));
    assert_eq!(diff["movers"], json!([]), "{}", diff["movers"]);
}

#[test]
fn an_alert_says_what_changed_since_which_deploy() {
    let releases = releases();
    let api = &releases.collector.api;
    let deploy = json!({"kind": "deploy", "service": "checkout", "title": "checkout v2", "at": releases.after.0});
    api.post_json("/api/v1/events", &deploy);
    let payload = json!({
        "version": "4", "status": "firing", "alerts": [{
            "status": "firing", "labels": {"alertname": "CheckoutSlow", "service": "checkout"},
            "annotations": {"summary": "checkout is slow"},
            "startsAt": "2020-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
        }],
    });
    let answer = api.post_json("/api/v1/alerts", &payload);
    let link = answer.pointer("/alerts/0/link").and_then(Value::as_str).expect("a link");
    assert!(link.starts_with("/alert?"), "{link}");
    let at = releases.after.1;
    let told = api.json(&format!("/alert.json?service=checkout&at={at}&w=2m"));
    let headline = told["headline"].as_str().unwrap_or_default();
    assert!(headline.contains("rate_for"), "{told}");
    assert_eq!(told["deploy"]["title"], "checkout v2", "{told}");
    assert!(!told["baseline"]["why"].as_str().unwrap_or_default().is_empty(), "{told}");
}

#[test]
fn a_trace_shows_what_each_service_did_for_it() {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let start = aligned(now_ms(), 20_000);
    let link = |span: u8| -> Link { ([0x4b; 16], [span; 8]) };
    let gateway = Window::new().cpu_in(&["main", "forward"], 3, Some(link(1))).cpu(&["main", "other"], 50).span(
        "/checkout",
        250_000,
        link(1),
    );
    let checkout = Window::new().cpu_in(&["main", "rate_for"], 9, Some(link(2))).span("/orders", 200_000, link(2));
    pusher.accept(Agent::new("gateway", 1).seal(start, &gateway));
    pusher.accept(Agent::new("checkout", 2).seal(start, &checkout));
    let trace = collector.api.json(&format!("/api/v1/traces/{}", "4b".repeat(16)));
    let services = trace["services"].as_array().expect("services");
    let samples = |name: &str| {
        let service = services.iter().find(|service| service["service"] == name).expect(name);
        service["types"][0]["samples"].as_u64().expect("a count")
    };
    assert_eq!((samples("gateway"), samples("checkout")), (3, 9), "{trace}");
    let requests =
        collector.api.json(&format!("/api/v1/requests?service=gateway&from={start}&until={}", start + 20_000));
    assert_eq!(requests["routes"][0]["route"], "/checkout", "{requests}");
    assert_eq!(requests["routes"][0]["slowest"][0]["trace_id"], "4b".repeat(16), "{requests}");
}

#[test]
fn exports_hold_the_same_samples() {
    let releases = releases();
    let (from, until) = releases.before;
    let query = format!("/api/v1/flamegraph?service=checkout&from={from}&until={until}");
    let flame = releases.collector.api.json(&query);
    let total = flame["a"]["total"].as_u64().expect("a total");
    assert!(total > 0, "{flame}");
    let folded = releases.collector.api.get(&format!("{query}&format=folded")).text();
    let sum: u64 = folded.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert_eq!(sum, total, "{folded}");
    let speedscope = releases.collector.api.get(&format!("{query}&format=speedscope")).json();
    let weights = speedscope.pointer("/profiles/0/weights").and_then(Value::as_array).expect("weights");
    let sum: f64 = weights.iter().filter_map(Value::as_f64).sum();
    assert!((sum - total as f64).abs() <= total as f64 * 1e-9, "{sum} of {total}");
    assert!(releases.collector.api.get(&format!("{query}&format=svg")).text().contains("tax::rate_for"));
    let pprof = releases.collector.api.get(&format!("{query}&format=pprof"));
    assert_eq!(pprof.body.get(..2), Some(&[0x1f, 0x8b][..]), "pprof files are gzipped");
}

#[test]
fn pprof_goes_out_and_comes_back_in() {
    let releases = releases();
    let (from, until) = releases.before;
    let api = &releases.collector.api;
    let query = format!("/api/v1/flamegraph?service=checkout&from={from}&until={until}");
    let pprof = api.get(&format!("{query}&format=pprof")).body;
    let stored = api.post(&format!("/api/v1/profiles?service=copy&at={from}"), "application/octet-stream", &pprof);
    assert_eq!(stored.status, 200, "{}", stored.text());
    let copy = api.json(&format!("/api/v1/flamegraph?service=copy&from={}&until={}", from - 60_000, until + 60_000));
    assert_eq!(copy["a"]["total"], api.json(&query)["a"]["total"]);
}

#[test]
fn what_is_not_there_is_said_in_words() {
    let releases = releases();
    let api = &releases.collector.api;
    let cases = [
        ("/api/v1/flamegraph?service=nobody", 404, "not_found", "nobody"),
        (&format!("/api/v1/traces/{TRACE}"), 404, "not_found", TRACE),
        ("/api/v1/traces/xyz", 400, "invalid", "xyz"),
        ("/api/v1/flamegraph?service=checkout&from=yesterday", 400, "invalid", "yesterday"),
        ("/api/v1/flamegraph?service=checkout&from=now&until=now-1h", 400, "invalid", "from"),
        ("/api/v1/flamegraph", 400, "invalid", "service"),
        ("/api/v1/flamegraph?service=checkout&format=gif", 400, "invalid", "gif"),
        ("/api/v1/nothing", 404, "not_found", "/api/v1/nothing"),
    ];
    for (path, status, code, word) in cases {
        let answer = api.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let error = answer.json();
        assert_eq!(error["code"], code, "{path}: {error}");
        assert!(error["message"].as_str().unwrap_or_default().contains(word), "{path}: {error}");
        assert!(!error["hint"].as_str().unwrap_or_default().is_empty(), "{path}: {error}");
    }
    let empty = api.json("/api/v1/flamegraph?service=checkout&from=2001-01-01T00:00:00Z&until=2001-01-02T00:00:00Z");
    assert_eq!(empty["a"]["total"], 0, "{empty}");
    assert!(!empty["empty"].as_str().unwrap_or_default().is_empty(), "{empty}");
}
