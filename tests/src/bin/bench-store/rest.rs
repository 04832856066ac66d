//! What a small service weighs at rest: a day of one instance of each of the shop's services, at 40 requests a second, with all its traces.

use std::sync::Arc;
use std::time::Duration;

use tephra_collector::base::range::TimeRange;
use tephra_collector::store::bench_data::{Recorded, Written};
use tephra_collector::store::catalog::LevelSegment;
use tephra_collector::store::compact::levels::TRACES;
use tephra_collector::store::{Options, Store, compact};
use tephra_tests::bench::Report;
use tephra_tests::clock::now_ms;
use tephra_tests::recorded::{self, Load};

use crate::shop::{ask_of_requests, folder_bytes};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// The longer, the more of its rare stacks are seen. The first windows are sent before anything was announced.
const WATCH: Duration = Duration::from_secs(125);
const WINDOWS_BEFORE: usize = 2;

pub(crate) fn measure(report: &mut Report) {
    let mut windows = recorded::shop(WATCH, Load::LIGHT);
    let header = |window: &tephra_proto::v1::PushRequest| window.header.clone().unwrap_or_default();
    windows.sort_by_key(|window| header(window).sequence);
    let services = windows.iter().map(|window| header(window).service).collect::<std::collections::BTreeSet<_>>().len();
    let windows = windows.split_off((WINDOWS_BEFORE * services).min(windows.len()));
    let seconds = windows.iter().map(|window| header(window).window_duration_ms).sum::<u32>() as f64 / 1e3;
    let cpu = windows.iter().map(|window| header(window).process_cpu_ns).sum::<u64>() as f64 / 1e9;
    report.note("at rest: cores that one instance uses", cpu / seconds, "");
    let recorded = Recorded::read(&windows).expect("agents send valid windows");
    let data = tempfile::tempdir().expect("a temporary folder");
    let start = now_ms() / DAY * DAY - 2 * DAY;
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let store = Arc::new(Store::open(data.path(), Options::default()).await.expect("a store"));
        let mut by_service = vec![Written::default(); recorded.len()];
        for hour in 0..24 {
            for (service, written) in recorded.iter().zip(&mut by_service) {
                let hour = service.write_hour(&store, start + hour * HOUR, 1, true).await;
                *written = written.plus(hour.expect("a writable folder"));
            }
            // As an hour later.
            while compact::step(&store, start + (hour + 2) * HOUR, 0, None).await.expect("compaction") {}
        }
        let written = by_service.iter().fold(Written::default(), |sum, written| sum.plus(*written));
        let busiest = by_service.iter().max_by_key(|written| written.spans).copied().unwrap_or_default();
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.expect("segments");
        let bytes = |wanted: &dyn Fn(&LevelSegment, &str) -> bool| -> f64 {
            let tables = live.iter().flat_map(|row| row.tables.iter().map(move |table| (row, table)));
            tables.filter(|(row, table)| wanted(row, &table.name)).map(|(_, table)| table.bytes as f64).sum()
        };
        let services = services as f64;
        let is_traces = |row: &LevelSegment| row.segment.level == TRACES;
        let profiles = bytes(&|row, table| !is_traces(row) && table != "requests");
        let histograms = bytes(&|row, table| !is_traces(row) && table == "requests");
        let spans = bytes(&|row, table| is_traces(row) && table == "spans");
        let rows = bytes(&|row, table| is_traces(row) && table != "spans");
        store.catalog().close().await;
        let catalog = std::fs::metadata(data.path().join("catalog.sqlite")).map_or(0.0, |file| file.len() as f64);
        report.at_most("at rest: profiles of all levels, per instance and day", profiles / services / 1e6, "MB", 10.0);
        for (level, name) in [(1, "10 s"), (2, "1 min"), (3, "10 min"), (4, "1 h"), (5, "1 d")] {
            let of_level = bytes(&|row, table| row.segment.level == level && table != "requests");
            report.note(&format!("at rest: of it in windows of {name}"), of_level / services / 1e6, "MB");
        }
        let counts = (histograms + catalog) / services / 1e6;
        report.at_most("at rest: histograms and catalog, per instance and day", counts, "MB", 4.0);
        report.note("at rest: of it histograms", histograms / services / 1e6, "MB");
        let in_window = busiest.spans as f64 / busiest.windows as f64;
        report.at_least("at rest: spans in a window of the busier service", in_window, "", 64.0);
        let per_span = spans / written.spans as f64;
        report.note("at rest: bytes per span", per_span, "B");
        report.at_most("at rest: its spans, per day", per_span * busiest.spans as f64 / 1e6, "MB", 20.0);
        report.at_most("at rest: bytes per trace-labelled row", rows / written.traced as f64, "B", 24.0);
        report.note("at rest: trace-labelled rows, per instance and day", rows / services / 1e6, "MB");
    });
    let services = services as f64;
    report.note("at rest: the whole folder, per instance and day", folder_bytes(data.path()) / services / 1e6, "MB");
    ask_of_requests(report, data.path(), "a day of one instance", start, start + DAY);
}
