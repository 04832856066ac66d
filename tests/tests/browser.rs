//! The view in a real browser, on the real collector: every page, both themes, a phone, the keyboard, hostile names.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Link, Window, aligned};

const WINDOWS: u64 = 12;

/// Stands in every hostile name, to be found in a page.
const WORD: &str = "hostile-word";

/// As long as names of functions are, without a place to break the line.
const LONG: &str =
    "<hyper::proto::h1::dispatch::Server<S,hyper::body::incoming::Incoming>_as_hyper::proto::h1::Dispatch>::recv_msg";

/// What a runtime puts above every request.
const TOWER: [&str; 30] = ["tokio::runtime::scheduler::multi_thread::worker::run"; 30];

/// A stack of the service's own code, under the tower.
fn served<'a>(own: &[&'a str]) -> Vec<&'a str> {
    ["main"].iter().chain(&TOWER).chain(own).copied().collect()
}

/// Names that a page must show and never believe.
fn hostile_names() -> [String; 5] {
    [
        format!("<img src={WORD} onerror=\"window.__ran='img'\">"),
        format!("</script><script>window.__ran='script'</script>{WORD}"),
        format!("javascript:window.__ran='url'//{WORD}"),
        format!("\"><svg onload=window.__ran='svg'>{WORD}"),
        format!("{{{{constructor.constructor('window.__ran=1')()}}}} {WORD} &lt;b&gt;"),
    ]
}

#[test]
fn the_view_works_in_a_browser() {
    let collector = Collector::start();
    let pusher = Pusher::new(&collector.endpoint());
    let end = aligned(now_ms(), 0);
    let middle = end - WINDOWS * 10_000;
    let start = middle - WINDOWS * 10_000;
    fill(&pusher, start, middle);
    fill_leaking(&pusher, start, end);
    fill_hostile(&pusher, start, middle);
    let deploy = json!({"kind": "deploy", "service": "checkout", "title": "checkout v2", "at": middle});
    collector.api.post_json("/api/v1/events", &deploy);

    let trace = "4b".repeat(16);
    let range = format!("from={start}&until={end}");
    let versions = "a.label.version=v1&b.label.version=v2";
    let visit = json!({
        "base": collector.api.base(),
        "chromium": chromium(),
        "pages": [
            {"name": "overview", "path": "/", "shows": ["checkout", "gateway"]},
            {"name": "service", "path": format!("/s/checkout?{range}"), "shows": ["checkout"]},
            {"name": "service, without frameworks", "path": format!("/s/checkout?{range}&t=hide:@frameworks"), "shows": ["runtimes and servers"], "draws": ["handle_order"]},
            {"name": "diff", "path": format!("/diff?service=checkout&{range}&{versions}"), "shows": ["tax::rate_for"]},
            {"name": "trace", "path": format!("/trace/{trace}"), "shows": ["gateway", "checkout"]},
            {"name": "trace, by memory", "path": format!("/trace/{trace}?svc=checkout&type=alloc_space"), "shows": ["12 allocation samples"], "draws": ["cart::copy_lines"]},
            {"name": "alert", "path": format!("/alert?service=checkout&at={end}&w=2m"), "shows": ["rate_for"]},
            // Two instances, 51.7 MiB each on average over the time.
            {"name": "heap in use", "path": format!("/s/sessions?type=inuse_space&{range}"), "shows": ["103 MiB"], "draws": ["catalog::load"]},
            {"name": "growth", "path": format!("/growth?service=sessions&{range}"), "shows": ["grew steadily", "sessions::remember"], "draws": ["sessions::remember"]},
            {"name": "status", "path": "/status", "shows": ["checkout"]},
        ],
        "flames": [
            {
                "name": "service",
                "path": format!("/s/checkout?{range}"),
                "names": ["tax::rate_for", "json::parse", "handle_order"],
            },
            {
                "name": "growth",
                "path": format!("/growth?service=sessions&{range}"),
                "names": ["sessions::remember", "catalog::load", "main"],
            },
        ],
        "growth": {
            "path": format!("/growth?service=sessions&{range}"),
            "leak": "sessions::remember",
            "standing": "catalog::load",
        },
        "sight": {
            "service": format!("/s/checkout?{range}"),
            "diff": format!("/diff?service=checkout&{range}&{versions}"),
            "alert": format!("/alert?service=checkout&at={end}&w=2m"),
            "tower": TOWER[0],
            "own": "handle_order",
            "thin": "ledger::settle",
            "moved": "tax::rate_for",
            "trace": format!("/trace/{trace}"),
        },
        "hostile": {
            "word": WORD,
            "paths": [
                format!("/s/hostile?{range}"),
                format!("/diff?service=hostile&{range}&{versions}"),
                format!("/trace/{}", "66".repeat(16)),
                format!("/alert?service=hostile&at={end}&w=2m"),
                format!("/growth?service=hostile&{range}"),
            ],
        },
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("visit.json");
    std::fs::write(&file, visit.to_string()).expect("writes");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/visit.mjs");
    let walked =
        Command::new("node").arg(script).arg(&file).status().expect("node is there: `cargo xtask test` checks");
    assert!(walked.success(), "the lines above say which claims do not hold");
}

fn fill(pusher: &Pusher, start: u64, middle: u64) {
    let link = |span: u8| -> Link { ([0x4b; 16], [span; 8]) };
    let mut gateway = Agent::new("gateway", 1);
    let mut v1 = Agent::new("checkout", 2).label("version", "v1");
    let mut v2 = Agent::new("checkout", 3).label("version", "v2");
    let work = |parse: u64, tax: u64| {
        Window::new()
            .cpu(&served(&["handle_order", "json::parse"]), parse)
            .cpu(&served(&["handle_order", "tax::rate_for"]), tax)
            .cpu(&served(&["handle_order", "ledger::book", "ledger::append", "ledger::settle"]), 1)
            .alloc(&["main", "handle_order", "receipt::render"], 1 << 20)
    };
    for i in 0..WINDOWS {
        let (early, late) = (start + i * 10_000, middle + i * 10_000);
        pusher.accept(v1.seal(early, &work(100 + i % 3, 20 + i % 2)));
        let traced = work(100 + i % 2, 90 + i % 3).cpu_in(&["main", "handle_order"], 5, Some(link(2)));
        let traced = traced.cpu(&served(&["handle_order", LONG]), 30);
        let traced = traced.alloc_in(&["main", "handle_order", "cart::copy_lines"], 3 << 20, Some(link(2)));
        pusher.accept(v2.seal(late, &traced.span("/orders", 200_000, link(2))));
        let forward = Window::new().cpu_in(&["main", "forward"], 7, Some(link(1))).span("/checkout", 250_000, link(1));
        pusher.accept(gateway.seal(late, &forward));
    }
}

/// A service that forgets nothing it is told, beside a catalog it loaded once and what it frees again.
fn fill_leaking(pusher: &Pusher, start: u64, end: u64) {
    let mut instances = [Agent::new("sessions", 6), Agent::new("sessions", 7)];
    for (i, at) in (start..end).step_by(10_000).enumerate() {
        let i = i as u32;
        let window = Window::new()
            .cpu(&["main", "serve"], 20)
            .live(&["main", "serve", "sessions::remember"], 6 + 3 * i)
            .live(&["main", "catalog::load"], 60)
            .live(&["main", "serve", "report::render"], 1 + i * 7 % 5);
        for instance in &mut instances {
            pusher.accept(instance.seal(at, &window));
        }
    }
}

/// A service whose every name is an attempt.
fn fill_hostile(pusher: &Pusher, start: u64, middle: u64) {
    let names = hostile_names();
    let stack: Vec<&str> = names.iter().map(String::as_str).collect();
    let link: Link = ([0x66; 16], [0x66; 8]);
    let agent =
        |number: u8, version: &str| Agent::new("hostile", number).label("version", version).label("zone", &names[0]);
    let (mut v1, mut v2) = (agent(4, "v1"), agent(5, "v2"));
    for i in 0..WINDOWS {
        let window = |samples: u64| {
            let traced = Window::new().cpu_in(&stack, samples + i % 3, Some(link)).span(&names[1], 250_000, link);
            traced.live(&stack, samples as u32)
        };
        pusher.accept(v1.seal(start + i * 10_000, &window(50)));
        pusher.accept(v2.seal(middle + i * 10_000, &window(150)));
    }
}

/// The browser: `CHROMIUM` names it, else it is on the path.
fn chromium() -> PathBuf {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found =
        std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name))).find(|file| file.is_file());
    found.expect("Chromium is there: install it, name it in CHROMIUM, or run `cargo xtask test`, which installs it")
}
