//! The memory that compaction takes for ten million distinct stacks of one service: in processes of their own, so that nothing else
//! counts.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tephra_collector::store::bench_data::Shape;
use tephra_collector::store::{Options, Store, compact};
use tephra_tests::bench::Report;
use tephra_tests::clock::now_ms;

const HOUR: u64 = 3_600_000;
/// Each of these is a segment with stacks of its own.
const SEGMENTS: u64 = 20;
const STACKS: u32 = 500_000;

pub(crate) fn measure(report: &mut Report) {
    let data = tempfile::tempdir().expect("a temporary folder");
    write(data.path());
    let peak = run("compact", data.path());
    report.at_most("memory of compacting 10 M distinct stacks, peak of the process", peak, "MB", 512.0);
}

/// Leaves ten million stacks in a folder, to be compacted.
pub(crate) fn write(data: &Path) {
    run("write", data);
}

fn run(what: &str, data: &Path) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).args(["child", what]).arg(data).output().expect("a process of our own");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("megabytes")
}

/// Does one half of the work, if that is what this process was started for.
pub(crate) fn is_child(args: &[String]) -> bool {
    let [child, what, data] = args else { return false };
    if child != "child" {
        return false;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let options = Options { cache_bytes: 16 << 20, ..Options::default() };
        let store = Arc::new(Store::open(Path::new(data), options).await.expect("a store"));
        let start = now_ms() / HOUR * HOUR - 3 * HOUR;
        match what.as_str() {
            "write" => {
                for i in 0..SEGMENTS {
                    let shape = Shape { service: "wide".to_owned(), instances: 1, stacks: STACKS, samples: 1_000_000 };
                    shape.write_distinct(&store, start + i * 60_000, i).await.expect("a segment");
                }
            }
            // The hour is over: it is added up to the next level and becomes one.
            _ => while compact::step(&store, start + 30 * HOUR, 0, None).await.expect("compaction") {},
        }
        store.catalog().close().await;
    });
    println!("{}", peak_mb());
    true
}

/// The most memory that was resident at one moment.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kb: f64 = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).expect("a number");
    kb / 1_000.0
}
