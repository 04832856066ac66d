//! Targets that are scraped: what is stored of them, and what a target cannot do.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as Part, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tokio::net::TcpListener;

use super::config::{Config, Job};
use super::fetch::{Client, Room};
use super::relabel::Labels;
use super::target::{Memory, Scraped, Target, scrape};
use super::*;
use crate::http::tests::Lab;
use crate::profile::pprof::testing::TestProfile;

const NS: &str = "nanoseconds";

/// A Go program: its profiles by name, and what it was asked.
#[derive(Clone, Default)]
struct Program(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    profiles: BTreeMap<&'static str, Vec<u8>>,
    asked: Vec<String>,
}

impl Program {
    fn says(&self, profile: &'static str, body: Vec<u8>) {
        self.0.lock().unwrap().profiles.insert(profile, body);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = Router::new().route("/debug/pprof/{profile}", get(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }
}

async fn answer(
    State(program): State<Program>,
    Part(profile): Part<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut inside = program.0.lock().unwrap();
    let who = headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    inside.asked.push(format!("{profile}?{} {who}", query.unwrap_or_default()).trim().to_owned());
    match inside.profiles.get(profile.as_str()) {
        Some(body) => Body::from(body.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "Unknown profile\nmore").into_response(),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn allocs(of: &[(&str, i64)]) -> Vec<u8> {
    let types =
        [("alloc_objects", "count"), ("alloc_space", "bytes"), ("inuse_objects", "count"), ("inuse_space", "bytes")];
    let profile = TestProfile::of(&types).period("space", "bytes", 1);
    gzip(&of.iter().fold(profile, |profile, (stack, n)| profile.sample(stack, &[*n, n * 100, 1, 50])).body())
}

fn locks(n: i64) -> Vec<u8> {
    let profile = TestProfile::of(&[("contentions", "count"), ("delay", NS)]);
    gzip(&profile.sample("main;lock", &[n, n * 1_000]).body())
}

fn cpu(samples: i64) -> Vec<u8> {
    let profile = TestProfile::of(&[("samples", "count"), ("cpu", NS)]).period("cpu", NS, 10_000_000);
    // Whatever its clock says, and shorter than what there is at a moment stands for.
    gzip(&profile.at(1_000_000_000_000).lasting(1).sample("main;work", &[samples, samples * 10_000_000]).body())
}

/// A collector that scrapes one program.
struct Scraping {
    lab: Lab,
    job: Job,
    client: Client,
    target: Target,
    memory: Memory,
}

impl Scraping {
    async fn of(address: &str, more: &str) -> Self {
        let text = format!(
            "scrape_configs:\n  - job_name: shop\n    static_configs: [{{targets: ['{address}'], labels: {{zone: eu-1}}}}]\n{more}"
        );
        let job = Config::parse(&text, Path::new("")).unwrap().jobs.remove(0);
        let group = &job.groups[0];
        let (_, target) = Target::of(&job, address, &group.labels).unwrap().unwrap();
        let client = Client::new(&job, Room::default()).unwrap();
        Self { lab: Lab::new().await, job, client, target, memory: Memory::default() }
    }

    async fn scrape(&mut self) -> Scraped {
        let Self { lab, job, client, target, memory } = self;
        // Time passes between two scrapes.
        tokio::time::sleep(Duration::from_millis(5)).await;
        scrape(&lab.state, client, job, target, memory, Duration::from_secs(3)).await
    }

    async fn folded(&self, profile_type: &str) -> Vec<String> {
        let query =
            format!("service=shop&type={profile_type}&from=now-1h&until=now%2B1m&label.zone=eu-1&format=folded");
        let got = self.lab.get(&format!("/api/v1/flamegraph?{query}")).await;
        if got.status == StatusCode::NOT_FOUND {
            return Vec::new();
        }
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
        let mut lines: Vec<String> = got.text().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

#[tokio::test]
async fn what_counts_since_the_start_is_stored_as_what_was_added() {
    let program = Program::default();
    let mut of = Scraping::of(&program.serve().await, "").await;
    program.says("allocs", allocs(&[("main;make", 5)]));
    for (profile, body) in [("mutex", locks(4)), ("block", locks(7)), ("profile", cpu(3))] {
        program.says(profile, body);
    }
    let goroutines = TestProfile::of(&[("goroutine", "count")]).sample("main;wait", &[12]).body();
    program.says("goroutine", gzip(&goroutines));

    let first = of.scrape().await;
    assert!(first.problems.is_empty() && !first.is_restarted, "{:?}", first.problems);
    let asked = program.asked();
    assert_eq!(asked[..4], ["allocs?", "mutex?", "block?", "goroutine?"]);
    assert!(["profile?seconds=1", "profile?seconds=2"].contains(&asked[4].as_str()), "{asked:?}");
    for (profile_type, expected) in [("alloc_space", &[][..]), ("mutex_delay", &[]), ("cpu", &["main;work 30000000"])] {
        assert_eq!(of.folded(profile_type).await, expected, "{profile_type} of the first scrape");
    }
    // Gauges are means over the time of whatever was received: CPU is measured a second beyond that of the others.
    for (profile_type, stack, value) in [("inuse_space", "main;make", 50), ("goroutine", "main;wait", 12)] {
        let folded = of.folded(profile_type).await;
        let told: u64 = folded[0].strip_prefix(stack).unwrap().trim().parse().unwrap();
        assert!(folded.len() == 1 && (value * 8 / 10..=value).contains(&told), "{profile_type}: {folded:?}");
    }

    program.says("allocs", allocs(&[("main;make", 9), ("main;new", 1)]));
    program.says("mutex", locks(5));
    let second = of.scrape().await;
    assert!(second.problems.is_empty() && !second.is_restarted, "{:?}", second.problems);
    for (profile_type, expected) in [
        ("alloc_space", &["main;make 400", "main;new 100"][..]),
        ("alloc_objects", &["main;make 4", "main;new 1"]),
        ("mutex_contentions", &["main;lock 1"]),
        ("block_delay", &[]),
    ] {
        assert_eq!(of.folded(profile_type).await, expected, "{profile_type} of the second scrape");
    }

    program.says("allocs", allocs(&[("main;make", 2)]));
    assert!(of.scrape().await.is_restarted, "it counts less than before");
    assert_eq!(of.folded("alloc_objects").await, ["main;make 6", "main;new 1"]);
}

#[tokio::test]
async fn what_fails_is_said_and_costs_the_others_nothing() {
    let program = Program::default();
    let address = program.serve().await;
    let mut of = Scraping::of(&address, "").await;
    program.says("allocs", allocs(&[("main;make", 5)]));
    of.scrape().await;
    program.says("allocs", b"no profile".to_vec());
    program.says("block", locks(1));
    program.says("profile", gzip(&vec![0; 40 << 20]));
    let failed = of.scrape().await;
    let problems = failed.problems.join("\n");
    for says in [
        "/debug/pprof/allocs: not a p",
        "/debug/pprof/mutex: it answers 404 Not Found: Unknown profile\n",
        "/debug/pprof/goroutine: it answers 404",
        "/debug/pprof/profile: the profile inflates to more than",
    ] {
        assert!(problems.contains(says), "{says}: {problems}");
    }
    assert_eq!(failed.problems.len(), 4, "block is stored: {problems}");
    program.says("allocs", allocs(&[("main;make", 8)]));
    of.scrape().await;
    assert_eq!(
        of.folded("alloc_objects").await,
        ["main;make 3"],
        "all that was added since the last one that was stored"
    );

    program.says("allocs", vec![0x1f; (16 << 20) + 1]);
    assert!(of.scrape().await.problems[0].contains("more than 16777216 bytes"));
    // Nobody listens there; a port that was given back is soon another test's.
    let mut of = Scraping::of("127.0.0.1:1", "").await;
    assert_eq!(of.scrape().await.problems.len(), 5);
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let only = "    scrape_timeout: 100ms\n    profiling_config: {pprof_config: {process_cpu: {enabled: false}, \
                block: {enabled: false}, mutex: {enabled: false}, goroutine: {enabled: false}}}\n";
    let mut of = Scraping::of(&address, only).await;
    let problems = of.scrape().await.problems;
    assert_eq!(problems, ["/debug/pprof/allocs: it did not answer within 0.1 s"]);
    drop(listener);
}

#[tokio::test]
async fn who_asks_is_said_as_the_file_says() {
    let program = Program::default();
    let address = program.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "from-a-file\n").unwrap();
    let in_file = format!("    authorization: {{type: Token, credentials_file: '{}'}}\n", file.display());
    for (auth, expected) in [
        ("    basic_auth: {username: u, password: p}\n", "Basic dTpw"),
        ("    authorization: {credentials: secret}\n", "Bearer secret"),
        (in_file.as_str(), "Token from-a-file"),
    ] {
        let mut of = Scraping::of(&address, auth).await;
        of.scrape().await;
        let asked = program.asked();
        assert!(asked.iter().all(|asked| asked.ends_with(expected)), "{asked:?}");
    }
    std::fs::remove_file(&file).unwrap();
    let mut of = Scraping::of(&address, &in_file).await;
    assert!(of.scrape().await.problems[0].contains("token: "));
    assert!(program.asked().is_empty(), "nobody is asked without it");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let elsewhere = async || (StatusCode::FOUND, [("location", "http://127.0.0.1:1/")]);
    let app = Router::new().fallback(elsewhere);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut of = Scraping::of(&address, "    authorization: {credentials: secret}\n").await;
    let problems = of.scrape().await.problems;
    assert!(problems.iter().all(|problem| problem.contains("it answers 302 Found")), "{problems:?}");
}

#[tokio::test]
async fn targets_of_files_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yml", "- targets: ['a:1', 'b:1']\n  labels: {zone: eu-1}\n");
    write("b.yml", "- targets: ['c:1']\n");
    let text = "scrape_configs:\n  - job_name: x\n    file_sd_configs: [{files: ['*.yml']}]\n    \
                relabel_configs: [{source_labels: [__address__], regex: 'b:.*', action: drop}]\n";
    let job = Config::parse(text, folder.path()).unwrap().jobs.remove(0);
    let found = |job: &Job| {
        discover(job).map(|(targets, problem)| (targets.into_values().map(|of| of.base).collect::<Vec<_>>(), problem))
    };
    let (mut targets, problem) = found(&job).unwrap();
    targets.sort();
    assert_eq!((targets, problem), (vec!["http://a:1".to_owned(), "http://c:1".to_owned()], None));
    write("b.yml", "- targets: ['c:1'\n");
    assert!(found(&job).unwrap_err().contains("b.yml: "), "a file that is half written changes nothing");
    let many: Vec<String> = (0..1_500).map(|i| format!("'t{i}:1'")).collect();
    for name in ["a.yml", "b.yml"] {
        write(name, &format!("- targets: [{}]\n  labels: {{file: '{name}'}}\n", many.join(",")));
    }
    let (targets, problem) = found(&job).unwrap();
    assert_eq!(targets.len(), TARGETS_MAX);
    assert!(problem.unwrap().contains("more than 2000 targets"));
}

#[tokio::test]
async fn the_status_says_how_targets_are() {
    let program = Program::default();
    let address = program.serve().await;
    let of = Scraping::of(&address, "").await;
    assert_eq!(of.lab.json("/api/v1/status").await["scrape"], json!({ "targets": [] }));
    let Scraping { lab, job, client, target, mut memory } = of;
    let id = ("shop".to_owned(), Labels::new());
    let begin = Health { base: target.base.clone(), service: "shop".to_owned(), ..Health::default() };
    lab.state.scrapes.lock().insert(id.clone(), begin);
    let status = |status: &Value| status["scrape"]["targets"][0].clone();
    assert_eq!(status(&lab.json("/api/v1/status").await)["health"], "unknown");
    scrape_and_tell(&lab.state, &client, &job, &target, &mut memory, &id).await;
    let down = lab.json("/api/v1/status").await;
    assert_eq!((&status(&down)["health"], &status(&down)["failed"]), (&json!("down"), &json!(1)), "{down}");
    assert_eq!(status(&down)["problems"].as_array().unwrap().len(), 5);
    let condition = &down["conditions"][0];
    assert_eq!((&condition["kind"], &condition["subject"]), (&json!("scrape_failing"), &json!(target.base)));
    for profile in ["allocs", "mutex", "block", "goroutine", "profile"] {
        program.says(profile, if profile == "profile" { cpu(1) } else { locks(1) });
    }
    scrape_and_tell(&lab.state, &client, &job, &target, &mut memory, &id).await;
    let up = lab.json("/api/v1/status").await;
    assert_eq!((&status(&up)["health"], &status(&up)["scrapes"]), (&json!("up"), &json!(2)), "{up}");
    assert_eq!(up["conditions"], json!([]));
    forget(&lab.state, &job, &Labels::new());
    assert_eq!(lab.json("/api/v1/status").await["scrape"], json!({ "targets": [] }));
}

#[tokio::test]
async fn a_started_collector_scrapes_what_its_file_says() {
    let program = Program::default();
    for profile in ["allocs", "mutex", "block", "goroutine"] {
        program.says(profile, locks(1));
    }
    program.says("profile", cpu(2));
    let address = program.serve().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scrape.yml");
    let write = |interval: &str| {
        let text = format!(
            "global: {{scrape_interval: {interval}}}\nscrape_configs:\n- job_name: shop\n  static_configs:\n  - targets: ['{address}']\n    labels: {{zone: eu-1}}\n"
        );
        std::fs::write(&file, text).unwrap();
    };
    write("1s");
    let refused = ScrapeConfig::read(&file).unwrap_err();
    assert!(refused.contains("scrape.yml: line 1: scrape_interval is \"1s\": limits 5000ms"), "{refused}");
    write("5s");
    let lab = Lab::new().await;
    ScrapeConfig::read(&file).unwrap().start(&lab.state).unwrap();
    // Within the first interval, and as long as the machine lets it wait.
    while lab.json("/api/v1/status").await["scrape"]["targets"][0]["health"] != "up" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let types = lab.json("/api/v1/profile-types?service=shop").await;
    assert!(types["types"].as_array().unwrap().iter().any(|of| of["name"] == "cpu"), "{types}");
}
