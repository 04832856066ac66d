//! The doors, as the tests know them.

#[allow(dead_code)]
#[path = "../tests/hostile/targets.rs"]
pub(crate) mod targets;

/// libFuzzer bounds memory itself: `-rss_limit_mb`, `-malloc_limit_mb`.
mod memory {
    pub(crate) fn reset() -> usize {
        0
    }

    pub(crate) fn peak() -> usize {
        0
    }
}
