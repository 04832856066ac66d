//! What it costs to ask why requests are slow over a day of many instances of a service, with all its counts, traced samples and examples: real
//! windows, recorded under load and replayed without what profiles keep of them, compacted as the collector compacts them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tephra_collector::base::range::TimeRange;
use tephra_collector::store::bench_data::{Recorded, Written};
use tephra_collector::store::catalog::TableObject;
use tephra_collector::store::compact::levels::TRACES;
use tephra_collector::store::{Options, Store, compact};
use tephra_tests::bench::Report;
use tephra_tests::clock::now_ms;
use tephra_tests::recorded::{self, Load};

use crate::shop::ask_of_requests;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const HOURS: u64 = 24;
const SERVICE: &str = "gateway";
/// Hours that are written at a time.
const ABREAST: usize = 2;
/// The longer, the more of its rare stacks are seen. The first windows are sent before anything was announced.
const WATCH: Duration = Duration::from_secs(125);
const WINDOWS_BEFORE: usize = 2;

/// What is replayed.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) instances: u32,
    pub(crate) hours: u64,
    /// Where the store is left, and asked again the next time.
    pub(crate) folder: Option<PathBuf>,
}

impl Asked {
    /// Reads `INSTANCES[,HOURS[,FOLDER]]`.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, ',');
        let instances = parts.next().and_then(|n| n.parse().ok()).expect("a number of instances");
        let hours = parts.next().map_or(HOURS, |n| n.parse().expect("a number of hours"));
        Self { instances, hours, folder: parts.next().map(PathBuf::from) }
    }
}

/// A day of a hundred instances takes 3 GB on disk.
pub(crate) fn measure(report: &mut Report, asked: &Asked) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let data = asked.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&data).expect("a folder");
    let note = data.join("replayed-from");
    let known = std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse().ok());
    let start = known.unwrap_or_else(|| {
        let start = now_ms() / DAY * DAY - DAY;
        make(report, &data, start, asked);
        std::fs::write(note, start.to_string()).expect("a writable folder");
        start
    });
    let of = format!("{} h of {} instances", asked.hours, asked.instances);
    ask_of_requests(report, &data, &of, start, start + asked.hours * HOUR);
}

fn make(report: &mut Report, data: &Path, start: u64, asked: &Asked) {
    let mut windows = recorded::shop(WATCH, Load::LIGHT_OF_MANY);
    windows.retain(|window| window.header.as_ref().is_some_and(|header| header.service == SERVICE));
    windows.sort_by_key(|window| window.header.as_ref().map(|header| header.sequence));
    let windows = windows.split_off(WINDOWS_BEFORE.min(windows.len()));
    let recorded = Recorded::read(&windows).expect("agents send valid windows");
    let recorded = recorded.into_iter().next().expect("windows of the service").without_profiles();
    let Asked { instances, hours, .. } = *asked;
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let store = Arc::new(Store::open(data, Options::default()).await.expect("a store"));
        let mut written = Written::default();
        for hour in (0..hours).step_by(ABREAST) {
            let abreast = (hour..hours).take(ABREAST).map(|hour| {
                let (recorded, store) = (recorded.clone(), store.clone());
                tokio::spawn(async move { recorded.write_hour(&store, start + hour * HOUR, instances, true).await })
            });
            for writing in abreast.collect::<Vec<_>>() {
                written = written.plus(writing.await.expect("it does not panic").expect("a writable folder"));
            }
            eprintln!("why: {} of {hours} h replayed", (hour + ABREAST as u64).min(hours));
            // As an hour later.
            while compact::step(&store, start + (hour + 3) * HOUR, 0, None).await.expect("compaction") {}
        }
        while compact::step(&store, start + 3 * DAY, 0, None).await.expect("compaction") {}
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.expect("segments");
        let tables = live.iter().filter(|row| row.segment.level == TRACES).flat_map(|row| &row.tables);
        let (spans, rows): (Vec<_>, Vec<_>) = tables.partition(|table| table.name == "spans");
        let bytes = |tables: &[&TableObject]| tables.iter().map(|table| table.bytes as f64).sum::<f64>();
        let days = hours as f64 / HOURS as f64;
        report.note("why: windows replayed", written.windows as f64, "");
        report.note("why: examples of requests in them", written.spans as f64, "");
        report.note("why: rows with a trace in them", written.traced as f64, "");
        report.note("why: what these rows take, per day", bytes(&rows) / days / 1e6, "MB");
        report.at_most("why: what examples of the service take, per day", bytes(&spans) / days / 1e6, "MB", 20.0);
        store.catalog().close().await;
    });
}
