//! What it costs to ask why requests are slow over a day of many instances of a service, with all its traced samples and examples: real
//! windows, recorded under load and replayed, compacted as the collector compacts them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tephra_collector::base::range::TimeRange;
use tephra_collector::store::bench_data::{Recorded, Written};
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
/// The longer, the more of its rare stacks are seen. The first windows are sent before anything was announced.
const WATCH: Duration = Duration::from_secs(125);
const WINDOWS_BEFORE: usize = 2;

/// Of so many instances: a hundred take 4 GB on disk, and most of an hour on two cores.
pub(crate) fn measure(report: &mut Report, instances: u32) {
    let data = tempfile::tempdir().expect("a temporary folder");
    let start = now_ms() / DAY * DAY - DAY;
    make(report, data.path(), start, instances);
    ask_of_requests(report, data.path(), &format!("{HOURS} h of {instances} instances"), start, start + HOURS * HOUR);
}

fn make(report: &mut Report, data: &Path, start: u64, instances: u32) {
    let mut windows = recorded::shop(WATCH, Load::LIGHT_OF_MANY);
    windows.retain(|window| window.header.as_ref().is_some_and(|header| header.service == SERVICE));
    windows.sort_by_key(|window| window.header.as_ref().map(|header| header.sequence));
    let windows = windows.split_off(WINDOWS_BEFORE.min(windows.len()));
    let recorded = Recorded::read(&windows).expect("agents send valid windows");
    let recorded = recorded.into_iter().next().expect("windows of the service");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let store = Arc::new(Store::open(data, Options::default()).await.expect("a store"));
        let mut written = Written::default();
        for hour in 0..HOURS {
            let hours = recorded.write_hour(&store, start + hour * HOUR, instances, true).await;
            written = written.plus(hours.expect("a writable folder"));
            eprintln!("why: {} of {HOURS} h replayed", hour + 1);
            // As an hour later.
            while compact::step(&store, start + (hour + 2) * HOUR, 0, None).await.expect("compaction") {}
        }
        while compact::step(&store, start + 3 * DAY, 0, None).await.expect("compaction") {}
        let live = store.catalog().levels_in(TimeRange::ALL, false).await.expect("segments");
        let traces: u64 = live.iter().filter(|row| row.segment.level == TRACES).map(|row| row.segment.bytes).sum();
        report.note("why: windows replayed", written.windows as f64, "");
        report.note("why: examples of requests in them", written.spans as f64, "");
        report.note("why: rows with a trace in them", written.traced as f64, "");
        report.note("why: bytes of these two", traces as f64 / 1e6, "MB");
        store.catalog().close().await;
    });
}
