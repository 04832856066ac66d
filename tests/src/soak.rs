//! Tests that can go on for as long as they are given: `cargo xtask soak` says how long.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Whether there is time for one more round. Never, in a usual run.
///
/// # Panics
/// When `TEPHRA_SOAK_SECONDS` is not a number.
pub fn goes_on() -> bool {
    static BUDGET: LazyLock<Option<(Instant, Duration)>> = LazyLock::new(|| {
        let seconds = std::env::var("TEPHRA_SOAK_SECONDS").ok()?;
        Some((Instant::now(), Duration::from_secs(seconds.parse().expect("a number of seconds"))))
    });
    BUDGET.is_some_and(|(start, budget)| start.elapsed() < budget)
}
