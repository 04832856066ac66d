//! Asks a collector the same question several times, and says where the time went.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use tephra_tests::bench::Report;
use tephra_tests::collector::Collector;

/// The same question, several times.
pub(crate) struct Asked {
    /// The first time, wall-clock milliseconds.
    first: f64,
    /// The others, sorted.
    again: Vec<f64>,
    /// CPU time of the collector for each of the others, milliseconds.
    cpu: f64,
    /// Median of each step of the others, as the collector says, milliseconds.
    steps: BTreeMap<String, f64>,
}

/// Asks once, and then `times` more.
pub(crate) fn ask(collector: &Collector, path: &str, times: usize) -> Asked {
    let mut steps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let once = || {
        let start = Instant::now();
        let answer = collector.api.get(path);
        let took = start.elapsed().as_secs_f64() * 1e3;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        (took, answer.timing)
    };
    let (first, _) = once();
    let cpu_before = collector.cpu_seconds();
    let mut again = Vec::with_capacity(times);
    for _ in 0..times {
        let (took, timing) = once();
        again.push(took);
        timing.into_iter().for_each(|(step, ms)| steps.entry(step).or_default().push(ms));
    }
    let cpu = (collector.cpu_seconds() - cpu_before) * 1e3 / times.max(1) as f64;
    again.sort_by(f64::total_cmp);
    Asked { first, again, cpu, steps: steps.into_iter().map(|(step, ms)| (step, median(ms))).collect() }
}

impl Asked {
    /// What it took the first time.
    pub(crate) fn first_ms(&self) -> f64 {
        self.first
    }

    /// Reports the first and the median, with a goal for the median and for the first.
    pub(crate) fn report(&self, report: &mut Report, name: &str, goal_ms: f64) {
        report.at_most(&format!("{name}, first"), self.first, "ms", goal_ms);
        report.at_most(&format!("{name}, median of {}", self.again.len()), median(self.again.clone()), "ms", goal_ms);
    }

    /// Reports where the time of the median went, and what it took of the processors.
    pub(crate) fn report_steps(&self, report: &mut Report, name: &str) {
        for step in ["plan", "scan", "order", "view", "write"] {
            if let Some(ms) = self.steps.get(step) {
                report.note(&format!("{name}: {step}"), *ms, "ms");
            }
        }
        report.note(&format!("{name}: CPU time of all threads"), self.cpu, "ms");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Has the operating system forget what it keeps in memory of a folder's files, so that the next reads are of the disk.
pub(crate) fn forget_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let file = std::fs::File::open(entry.expect("an entry").path()).expect("a file");
        file.sync_all().expect("a disk");
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("Linux");
    }
}
