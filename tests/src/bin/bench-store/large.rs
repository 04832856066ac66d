//! A service with 100 instances, 20 000 distinct stacks and 30 days of history, and ten million traces: what questions about it cost,
//! and that the cost follows what a question touches and not what is stored.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tephra_collector::base::range::TimeRange;
use tephra_collector::store::bench_data::Shape;
use tephra_collector::store::{Options, Store, compact};
use tephra_proto::ids::TraceId;
use tephra_tests::bench::{Random, Report};
use tephra_tests::clock::now_ms;
use tephra_tests::collector::Collector;
use tephra_tests::push::Pusher;
use tephra_tests::synthetic::{Agent, Window, aligned};
use tokio::runtime::Runtime;

use crate::ask::{ask, forget_files};
use crate::ingest::{get, median, time};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// What one segment of hours or days spans.
const BLOCK: u64 = 8 * DAY;
const TRACES: u64 = 10_000_000;

fn shape(service: &str) -> Shape {
    Shape { service: service.to_owned(), instances: 100, stacks: 20_000, samples: 990 }
}

/// Makes the store, asking on the way; then asks more. With a folder the store is left there, and asked again the next time.
pub(crate) fn measure(report: &mut Report, folder: Option<&str>) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = folder.map_or(temporary.path().to_owned(), PathBuf::from);
    let large = Large { runtime: Runtime::new().expect("a runtime"), end: last_hour(&data), data };
    if large.data.join("catalog.sqlite").exists() {
        large.ask_day(report, "as found");
    } else {
        large.make(report);
    }
    large.ask_ranges(report);
    large.ask_traces(report);
}

/// When what the store holds ends: a whole hour, written down beside it.
fn last_hour(data: &Path) -> u64 {
    fs::create_dir_all(data).expect("a folder");
    let note = data.join("made-up-until");
    let known = fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
    known.unwrap_or_else(|| {
        let end = now_ms() / HOUR * HOUR;
        fs::write(note, end.to_string()).expect("a writable folder");
        end
    })
}

struct Large {
    runtime: Runtime,
    data: PathBuf,
    end: u64,
}

impl Large {
    /// The curve: the same question, while more and more is stored.
    fn make(&self, report: &mut Report) {
        let bench = shape("bench");
        self.hear_of(&bench.service);
        self.with_store(async |store| {
            for (level, length) in [(3, 2 * DAY), (2, 2 * HOUR), (1, HOUR)] {
                bench.write_level(&store, level, self.end - length, self.end, true).await.expect("a level");
                store.catalog().begin_level(level, self.end - length).await.expect("a horizon");
            }
        });
        let newest = self.end / BLOCK * BLOCK;
        // The first day asked about may begin in the block before.
        let mut from = self.write(&bench, newest - BLOCK, self.end);
        // As sampled by 100 instances.
        let samples = |ms: u64| 100.0 * 990.0 * ms as f64 / 10_000.0;
        for (level, ms) in [(1, HOUR), (2, 2 * HOUR), (3, 2 * DAY), (4, self.end - from)] {
            let name = format!("bytes per sample at level {level}, made-up service");
            report.note(&name, self.bytes_of(level) / samples(ms), "B");
        }
        let days = |from: u64| format!("{} d", (self.end - from) / DAY);
        self.ask_day(report, &days(from));
        from = self.write(&bench, from - BLOCK, from);
        self.ask_day(report, &days(from));
        while from > self.end - 30 * DAY {
            from = self.write(&bench, from - BLOCK, from);
        }
        self.ask_day(report, &days(from));
        for i in 0..10 {
            self.write(&Shape { stacks: 5_000, ..shape(&format!("other-{i}")) }, newest - 3 * BLOCK, self.end);
        }
        self.ask_day(report, "and ten more services");
        let known = self.with_store(async |store| {
            bench.write_traces(&store, self.end - 7 * DAY, self.end, TRACES).await.expect("traces")
        });
        let known: Vec<String> = known.iter().map(TraceId::to_string).collect();
        fs::write(self.data.join("made-up-traces"), known.join("\n")).expect("a writable folder");
        report.at_most("bytes per trace-labelled row", self.bytes_of(10) / (2 * TRACES) as f64, "B", 24.0);
    }

    /// Hours of whole blocks, and what compaction makes of them: days, once a block is over. Answers when they start.
    fn write(&self, shape: &Shape, from: u64, until: u64) -> u64 {
        let closed = (self.end / BLOCK * BLOCK).min(until);
        self.with_store(async |store| {
            shape.write_level(&store, 4, from, closed, true).await.expect("hours");
            shape.write_level(&store, 5, from, closed, false).await.expect("days");
            shape.write_level(&store, 4, closed, until, false).await.expect("hours");
        });
        from
    }

    fn ask_day(&self, report: &mut Report, stored: &str) {
        let day = flame_graph(self.end - DAY - 17 * MINUTE, self.end - 13 * MINUTE);
        let name = format!("flame graph of 24 h, 100 instances, {stored} stored");
        ask(&self.start(), &day, 9).report(report, &name, 300.0);
    }

    fn ask_ranges(&self, report: &mut Report) {
        for (name, from, until, goal_ms) in [
            ("24 h", self.end - DAY - 17 * MINUTE, self.end - 13 * MINUTE, 300.0),
            ("7 d", self.end - 7 * DAY, self.end - 13 * MINUTE, 1_000.0),
            ("30 d", self.end - 30 * DAY, self.end - 13 * MINUTE, 1_000.0),
            ("1 h", self.end - HOUR, self.end, 300.0),
            ("10 min", self.end - 10 * MINUTE, self.end, 300.0),
        ] {
            let path = flame_graph(from, until);
            let name = format!("flame graph of {name}, 100 instances");
            forget_files(&self.data.join("segments"));
            let cold = ask(&self.start(), &path, 0);
            report.at_most(&format!("{name}, first, from disk"), cold.first_ms(), "ms", goal_ms);
            let asked = ask(&self.start(), &path, 9);
            asked.report(report, &name, goal_ms);
            asked.report_steps(report, &name);
        }
        let collector = self.start();
        let (from, until) = (self.end - DAY - 17 * MINUTE, self.end - 13 * MINUTE);
        let timeline = format!("/api/v1/timeline?service=bench&from={from}&until={until}");
        report.note("timeline of 24 h, median of 5", median(5, || get(&collector, &timeline)), "ms");
    }

    fn ask_traces(&self, report: &mut Report) {
        let Ok(known) = fs::read_to_string(self.data.join("made-up-traces")) else {
            eprintln!("no traces were made up in {}", self.data.display());
            return;
        };
        let known: Vec<&str> = known.lines().collect();
        let collector = self.start();
        let mut random = Random::seeded(7);
        let mut lookup = || {
            let trace = known[random.next() as usize % known.len()];
            get(&collector, &format!("/api/v1/traces/{trace}"));
        };
        report.at_most("trace to flame graph among 10 M traces, first", time(&mut lookup), "ms", 100.0);
        report.at_most("trace to flame graph among 10 M traces, median of 21", median(21, lookup), "ms", 100.0);
    }

    fn with_store<T>(&self, work: impl AsyncFnOnce(Arc<Store>) -> T) -> T {
        self.runtime.block_on(async {
            let store = Arc::new(Store::open(&self.data, Options::default()).await.expect("a store"));
            let done = work(store.clone()).await;
            // What compaction would find to do is done before anything is asked.
            while compact::step(&store, self.end, 0, None).await.expect("compaction") {}
            store.catalog().close().await;
            done
        })
    }

    fn bytes_of(&self, level: u32) -> f64 {
        self.with_store(async |store| {
            let live = store.catalog().levels_in(TimeRange::ALL, false).await.expect("segments");
            let of_level = live.iter().filter(|row| row.segment.level == level);
            of_level.map(|row| row.segment.bytes as f64).sum()
        })
    }

    /// A collector on that folder, which has nothing else to do.
    fn start(&self) -> Collector {
        Collector::start_on(&self.data)
    }

    /// Has a service be heard of, with a window far from what is asked about.
    fn hear_of(&self, service: &str) {
        let at = aligned(self.end, 5 * HOUR);
        let window = Window::new().cpu(&["main"], 1);
        Pusher::new(&self.start().endpoint()).push(Agent::new(service, 1).seal(at, &window)).expect("an ack");
        self.with_store(async |_| ());
    }
}

fn flame_graph(from: u64, until: u64) -> String {
    format!("/api/v1/flamegraph?service=bench&from={from}&until={until}&format=flame")
}
