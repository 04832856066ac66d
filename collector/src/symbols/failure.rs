//! Why a build has no symbol table, and when its agents are asked for its file again.
//!
//! Nothing is wrong for ever: a child process that was killed may come through another time, and a file that has no names may be followed by
//! one that has. So every failure is tried again, ever more seldom.

use serde::{Deserialize, Serialize};

/// What became of a build's file, where that is no table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// Why, as a sentence for the status page.
    pub reason: String,
    /// It was read, and is of no use. Otherwise nobody knows: whoever should have read it could not.
    pub of_file: bool,
    /// Size of the file, bytes; 0: not known. One of another size is another file.
    pub file_bytes: u64,
    /// Failures in a row; a success sets it back.
    pub attempts: u32,
    /// From when on agents are asked for the file again, unix milliseconds.
    pub again_ms: u64,
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How long to wait after each failure of the machine: memory that is short now may not be in a minute.
const AFTER_MACHINE_MS: [u64; 5] = [MINUTE_MS, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS];

/// How long after each file that was of no use. Agents know stripped files and do not send them: this was another one.
const AFTER_FILE_MS: [u64; 3] = [HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS];

impl Failure {
    /// A failure now, after those of before.
    pub(super) fn after(before: Option<&Self>, of_file: bool, reason: String, file_bytes: u64, now_ms: u64) -> Self {
        let attempts = before.filter(|before| before.of_file == of_file).map_or(0, |before| before.attempts);
        let attempts = attempts.saturating_add(1);
        let mut failure = Self { reason, of_file, file_bytes, attempts, again_ms: 0 };
        failure.again_ms = now_ms.saturating_add(failure.pause_ms());
        failure
    }

    /// As releases before this one noted it: they did not tell a bad file from a killed process.
    pub(super) fn of_before(reason: String) -> Self {
        Self { reason, of_file: false, file_bytes: 0, attempts: 0, again_ms: 0 }
    }

    fn pause_ms(&self) -> u64 {
        let pauses = if self.of_file { &AFTER_FILE_MS[..] } else { &AFTER_MACHINE_MS };
        let last = pauses.len() - 1;
        pauses[(self.attempts.max(1) as usize - 1).min(last)]
    }

    /// True when the build's agents are to be asked.
    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.again_ms
    }

    /// What an operator must know, where it is the machine's failure and not the file's.
    pub(super) fn told(&self, build_id: &str) -> Option<String> {
        let Self { reason, attempts, .. } = self;
        let minutes = self.pause_ms() / MINUTE_MS;
        let again = if minutes < 60 { format!("{minutes} min") } else { format!("{} h", minutes / 60) };
        let tried = if *attempts > 1 { format!("tried {attempts} times") } else { "tried once".to_owned() };
        let message = format!(
            "build {build_id} has no function names: {reason} ({tried}; its file is asked for again {again} after that)"
        );
        (!self.of_file).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_tried_again_ever_more_seldom() {
        for (of_file, first_ms, last_ms) in [(false, MINUTE_MS, 6 * HOUR_MS), (true, HOUR_MS, 24 * HOUR_MS)] {
            let mut failure = Failure::after(None, of_file, "x".into(), 1, 1_000);
            assert_eq!(failure.again_ms, 1_000 + first_ms);
            assert!(!failure.is_over(failure.again_ms - 1) && failure.is_over(failure.again_ms));
            for _ in 0..20 {
                let next = Failure::after(Some(&failure), of_file, "x".into(), 1, failure.again_ms);
                assert!(next.pause_ms() >= failure.pause_ms());
                failure = next;
            }
            assert_eq!(failure.pause_ms(), last_ms);
            let other = Failure::after(Some(&failure), !of_file, "x".into(), 1, 0);
            assert_eq!(other.attempts, 1, "of another kind");
        }
        assert!(Failure::of_before("killed".into()).is_over(0));
    }
}
