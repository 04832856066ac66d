//! Where the time went: every step that took some, as a table at the end of a long command.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// In the order in which they ended.
static STEPS: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// Shorter ones are not worth a line.
const SHORTEST: Duration = Duration::from_secs(1);

/// Notes that a step is over.
pub(crate) fn record(what: &str, took: Duration) {
    if took >= SHORTEST {
        STEPS.lock().unwrap_or_else(PoisonError::into_inner).push((what.to_owned(), took));
    }
}

/// The table, the longest steps first. Some ran beside others, so they are more than `whole` together.
pub(crate) fn table(whole: Duration) -> String {
    let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
    steps.push(("from beginning to end".to_owned(), whole));
    let lines = steps.iter().map(|(what, took)| format!("{:>6.0} s  {what}\n", took.as_secs_f64()));
    lines.collect()
}
