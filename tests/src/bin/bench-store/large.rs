//! A service with 100 instances, 20 000 distinct stacks and 30 days of history, and ten million traces: what questions about it cost,
//! and that the cost follows what a question touches and not what is stored.

use std::path::Path;
use std::sync::Arc;

use tephra_collector::store::synthetic::Shape;
use tephra_collector::store::{Options, Store};
use tephra_tests::bench::{Random, Report};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};

use crate::ingest::{get, median, time};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const TRACES: u64 = 10_000_000;

fn shape(service: &str) -> Shape {
    Shape { service: service.to_owned(), instances: 100, stacks: 20_000, samples: 990 }
}

pub(crate) fn measure(report: &mut Report) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let end = now_ms() / HOUR * HOUR;
    let bench = shape("bench");
    let write = |days: std::ops::Range<u64>| {
        runtime.block_on(with_store(data.path(), async |store| {
            bench.write_level(&store, 4, end - days.end * DAY, end - days.start * DAY, false).await.expect("hours");
        }));
    };
    runtime.block_on(with_store(data.path(), async |store| {
        for (level, length) in [(3, 2 * DAY), (2, 2 * HOUR), (1, HOUR)] {
            bench.write_level(&store, level, end - length, end, true).await.expect("a level");
            store.catalog().begin_level(level, end - length).await.expect("a horizon");
        }
    }));
    write(0..2);
    let samples_per_day = 100.0 * 990.0 * 8_640.0;
    let level_bytes = |level: u32| runtime.block_on(bytes_of(data.path(), level));
    for (level, days) in [(1, 1.0 / 24.0), (2, 2.0 / 24.0), (3, 2.0), (4, 2.0)] {
        let name = format!("bytes per sample at level {level}, made-up service");
        report.note(&name, level_bytes(level) / (samples_per_day * days), "B");
    }
    // The curve: the same question, while more and more is stored.
    let (from, until) = (end - DAY - 17 * 60_000, end - 13 * 60_000);
    let day = format!("/api/v1/flamegraph?service=bench&from={from}&until={until}&format=flame");
    let ask_day = |report: &mut Report, stored: &str| {
        let collector = start(data.path(), end);
        let first = time(|| get(&collector, &day));
        let again = median(7, || get(&collector, &day));
        report.at_most(&format!("flame graph of 24 h, 100 instances, {stored} stored, first"), first, "ms", 300.0);
        report.at_most(
            &format!("flame graph of 24 h, 100 instances, {stored} stored, median of 7"),
            again,
            "ms",
            300.0,
        );
    };
    ask_day(report, "2 d");
    write(2..8);
    ask_day(report, "8 d");
    write(8..30);
    ask_day(report, "30 d");
    runtime.block_on(with_store(data.path(), async |store| {
        for i in 0..10 {
            let other = Shape { stacks: 5_000, ..shape(&format!("other-{i}")) };
            other.write_level(&store, 4, end - 30 * DAY, end, false).await.expect("hours");
        }
    }));
    ask_day(report, "30 d and ten more services");

    let known = runtime.block_on(with_store(data.path(), async |store| {
        bench.write_traces(&store, end - 7 * DAY, end, TRACES).await.expect("traces")
    }));
    report.at_most("bytes per trace-labelled row", level_bytes(10) / (2 * TRACES) as f64, "B", 24.0);
    let collector = start(data.path(), end);
    let month = format!("/api/v1/flamegraph?service=bench&from={}&until={until}&format=flame", end - 30 * DAY);
    report.at_most("flame graph of 30 d, 100 instances, first", time(|| get(&collector, &month)), "ms", 1_000.0);
    report.at_most(
        "flame graph of 30 d, 100 instances, median of 5",
        median(5, || get(&collector, &month)),
        "ms",
        1_000.0,
    );
    let hour = format!("/api/v1/flamegraph?service=bench&from={}&until={end}&format=flame", end - HOUR);
    report.at_most("flame graph of 1 h, 100 instances, median of 5", median(5, || get(&collector, &hour)), "ms", 300.0);
    let minutes = format!("/api/v1/flamegraph?service=bench&from={}&until={end}&format=flame", end - 600_000);
    report.at_most(
        "flame graph of 10 min, 100 instances, median of 5",
        median(5, || get(&collector, &minutes)),
        "ms",
        300.0,
    );
    let timeline = format!("/api/v1/timeline?service=bench&from={from}&until={until}");
    report.note("timeline of 24 h, median of 5", median(5, || get(&collector, &timeline)), "ms");
    let mut random = Random::seeded(7);
    let mut lookup = || {
        let trace = known[random.next() as usize % known.len()];
        get(&collector, &format!("/api/v1/traces/{trace}"));
    };
    report.at_most("trace to flame graph among 10 M traces, first", time(&mut lookup), "ms", 100.0);
    report.at_most("trace to flame graph among 10 M traces, median of 21", median(21, lookup), "ms", 100.0);
}

async fn with_store<T>(data: &Path, work: impl AsyncFnOnce(Arc<Store>) -> T) -> T {
    let store = Arc::new(Store::open(data, Options::default()).await.expect("a store"));
    let done = work(store.clone()).await;
    store.catalog().close().await;
    done
}

async fn bytes_of(data: &Path, level: u32) -> f64 {
    with_store(data, async |store| {
        let live = store.catalog().levels_in(0, i64::MAX as u64, false).await.expect("segments");
        let of_level = live.iter().filter(|row| row.segment.level == level);
        of_level.map(|row| row.segment.bytes as f64).sum()
    })
    .await
}

/// A collector on that folder, which has just heard of the services.
fn start(data: &Path, end: u64) -> Collector {
    let collector = Collector::start_on(data);
    // Far from what is asked about.
    let at = aligned(end, 5 * HOUR);
    let boot = (now_ms() % 200) as u8;
    let window = Window::new().cpu(&["main"], 1);
    Pusher::new(&collector.endpoint()).push(Agent::new("bench", boot).seal(at, &window)).expect("an ack");
    collector
}
