//! How long to wait after a failure: exponential, capped, with full jitter, so that a fleet that lost its collector at
//! one instant does not come back at one instant.

use std::time::Duration;

use crate::random;

const FIRST: Duration = Duration::from_secs(1);
const CAP: Duration = Duration::from_secs(60);

/// Waits of one run of failures.
#[derive(Debug)]
pub(super) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// The next wait: uniform between nothing and a ceiling that doubles from 1 s to 60 s.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(CAP);
        Duration::from_micros(random::below(ceiling.as_micros() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_spread_over_a_ceiling_that_doubles_to_a_minute() {
        let mut longest = [Duration::ZERO; 8];
        for _ in 0..1_000 {
            let mut backoff = Backoff::new();
            for longest in &mut longest {
                *longest = backoff.next().max(*longest);
            }
        }
        for (longest, ceiling) in longest.into_iter().zip([1, 2, 4, 8, 16, 32, 60, 60]) {
            let ceiling = Duration::from_secs(ceiling);
            assert!(longest <= ceiling && longest > ceiling.mul_f64(0.9), "{longest:?} of {ceiling:?}");
        }
    }
}
