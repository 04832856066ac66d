//! What a day of the demo shop weighs, with a hundred instances of each of its services: real windows, recorded under load and replayed
//! with counts and traces drawn anew, compacted as the collector compacts them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tephra_collector::base::range::TimeRange;
use tephra_collector::store::bench_data::{Recorded, Written};
use tephra_collector::store::catalog::TableObject;
use tephra_collector::store::{Options, Store, compact};
use tephra_tests::bench::Report;
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};
use tephra_tests::{binaries, recorded};

use crate::ask::ask;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const MINUTE: u64 = 60_000;
const INSTANCES: u32 = 100;
/// The longer, the more of its rare stacks are seen.
const WATCH: Duration = Duration::from_secs(125);

/// Replays so many hours of a day; what they weigh at the finest levels grows with them, and is counted for all of it.
pub(crate) fn measure(report: &mut Report, hours: u64) {
    let windows = recorded::shop(WATCH, recorded::Load::HEAVY);
    report.note("shop: windows recorded", windows.len() as f64, "");
    let services = Recorded::read(&windows).expect("agents send valid windows");
    let data = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let start = now_ms() / DAY * DAY - 9 * DAY;
    let written = runtime.block_on(async {
        let store = Arc::new(Store::open(data.path(), Options::default()).await.expect("a store"));
        let mut written = Written::default();
        for hour in 0..hours {
            let tasks: Vec<_> = services
                .iter()
                .cloned()
                .map(|service| {
                    let store = Arc::clone(&store);
                    let from_ms = start + hour * HOUR;
                    tokio::spawn(async move { service.write_hour(&store, from_ms, INSTANCES, hour == 0).await })
                })
                .collect();
            for task in tasks {
                written = written.plus(task.await.expect("it does not panic").expect("a writable folder"));
            }
            eprintln!("shop: {} of {hours} h replayed", hour + 1);
            // As an hour later.
            while compact::step(&store, start + (hour + 2) * HOUR, 0, None).await.expect("compaction") {}
        }
        while compact::step(&store, start + 20 * DAY, 0, None).await.expect("compaction") {}
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.expect("segments");
        let bytes_of = |level: u32| -> f64 {
            live.iter().filter(|row| row.segment.level == level).map(|row| row.segment.bytes as f64).sum()
        };
        let samples = written.samples as f64;
        for (level, name) in [(1, "10 s"), (2, "1 min"), (3, "10 min"), (4, "1 h"), (5, "1 d")] {
            let name = format!("shop × {INSTANCES}, {hours} h: bytes per sample in windows of {name}");
            report.note(&name, bytes_of(level) / samples, "B");
        }
        let symbols = symbols_bytes();
        let merged: f64 = (1..=5).map(bytes_of).sum();
        report.note("shop: symbols of both services", symbols, "B");
        let name = format!("shop × {INSTANCES}, {hours} h: bytes per sample, all levels and symbols");
        report.at_most(&name, (merged + symbols) / samples, "B", 2.0);
        let of_traces = live.iter().filter(|row| row.segment.level == 10);
        let (spans, rows): (Vec<_>, Vec<_>) =
            of_traces.flat_map(|row| &row.tables).partition(|table| table.name == "spans");
        let bytes = |tables: &[&_]| tables.iter().map(|table: &&TableObject| table.bytes as f64).sum::<f64>();
        report.at_most(
            &format!("shop × {INSTANCES}: bytes per trace-labelled row, symbols included"),
            (bytes(&rows) + symbols) / written.traced as f64,
            "B",
            24.0,
        );
        report.note("shop: bytes per span", bytes(&spans) / written.spans as f64, "B");
        store.catalog().close().await;
        written
    });
    ask_map(report, data.path(), &format!("{hours} h of {INSTANCES} instances"), start, start + hours * HOUR, 500.0);
    // The hour whose traces were written.
    ask_of_requests(report, data.path(), &format!("an hour of {INSTANCES} instances"), start, start + HOUR);
    report.note("shop: windows replayed", written.windows as f64, "");
    report.note("shop: samples in them", written.samples as f64, "");
    report.note("shop: rows with a trace, in the first hour", written.traced as f64, "");
}

/// What questions about requests cost: the map of durations of all routes, and why the slowest of one are slow.
pub(crate) fn ask_of_requests(report: &mut Report, data: &Path, of: &str, from: u64, until: u64) {
    let asked = ask_map(report, data, of, from, until, 200.0);
    let why = format!("/api/v1/requests/compare?{asked}&route=POST%20/checkout");
    ask(&Collector::start_on(data), &why, 5).report(report, &format!("why the slowest are slow, {of}"), 500.0);
}

/// The map alone; answers what was asked.
fn ask_map(report: &mut Report, data: &Path, of: &str, from: u64, until: u64, goal_ms: f64) -> String {
    let collector = Collector::start_on(data);
    // Nothing was ever pushed: the catalog knows a service by its first window.
    let window = Window::new().cpu(&["main"], 1);
    let at = aligned(now_ms(), MINUTE);
    Pusher::new(&collector.endpoint()).push(Agent::new("gateway", 1).seal(at, &window)).expect("an ack");
    let asked = format!("service=gateway&from={from}&until={until}");
    let map = format!("/api/v1/requests/heatmap?{asked}");
    ask(&collector, &map, 5).report(report, &format!("map of durations, {of}"), goal_ms);
    let bytes = collector.api.get(&map).body.len() as f64;
    report.at_most(&format!("map of durations, {of}"), bytes / 1e3, "kB", 300.0);
    asked
}

/// What a collector keeps of the names of both services.
fn symbols_bytes() -> f64 {
    let data = tempfile::tempdir().expect("a temporary folder");
    let collector = Collector::start_on(data.path());
    for program in ["shop-checkout", "shop-gateway"] {
        let mut upload = Command::new(binaries::collector());
        upload.args(["symbols", "upload", "--server", &collector.endpoint()]).arg(binaries::shop("v2", program));
        assert!(upload.output().expect("it starts").status.success(), "the shop's names are taken");
    }
    folder_bytes(&data.path().join("symbols"))
}

pub(crate) fn folder_bytes(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| if path.is_dir() { folder_bytes(&path) } else { path.metadata().expect("a file").len() as f64 })
        .sum()
}
