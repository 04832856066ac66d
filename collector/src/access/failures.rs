//! Slows down who guesses, and nobody else: an answer to wrong credentials waits the longer, the more of them have come from an address.
//!
//! Right ones are never counted and never wait, so a fleet behind one address cannot lock itself out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::base::clock;

/// Wrong credentials that an address may send in one go before its answers wait: whoever restarts with an old token does that.
const FREE: u32 = 8;

/// The first wait; it doubles with each further failure.
const WAIT_MIN: Duration = Duration::from_millis(50);

/// And the longest.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// An address is forgiven one failure in this time.
const FORGIVEN_EVERY: Duration = Duration::from_secs(10);

/// Addresses that are remembered. Whoever has more than this to send from does not need to wait anyway.
const ADDRESSES_MAX: usize = 4_096;

/// Failures of late, by address.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<HashMap<IpAddr, Recent>>);

#[derive(Debug, Clone, Copy)]
struct Recent {
    failures: u32,
    at: Instant,
}

impl Recent {
    /// How many are left of them by now.
    fn left(self, now: Instant) -> u32 {
        let forgiven = now.saturating_duration_since(self.at).as_secs() / FORGIVEN_EVERY.as_secs();
        self.failures.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }
}

impl Failures {
    /// Counts a failure, and says how long its answer has to wait.
    pub(super) fn note(&self, address: IpAddr) -> Duration {
        let now = clock::task_instant();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&address) {
            all.retain(|_, recent| recent.left(now) > 0);
            if all.len() >= ADDRESSES_MAX {
                return WAIT_MAX;
            }
        }
        let recent = all.entry(address).or_insert(Recent { failures: 0, at: now });
        *recent = Recent { failures: recent.left(now).saturating_add(1), at: now };
        match recent.failures.checked_sub(FREE + 1) {
            None => Duration::ZERO,
            Some(doubled) => WAIT_MAX.min(WAIT_MIN * 2u32.saturating_pow(doubled.min(16))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_more_failures_the_longer_the_wait_until_they_are_forgiven() {
        let failures = Failures::default();
        let [here, there] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let waits: Vec<u128> = (0..FREE + 8).map(|_| failures.note(here).as_millis()).collect();
        let expected = [0, 0, 0, 0, 0, 0, 0, 0, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000];
        assert_eq!(waits, expected);
        assert_eq!(failures.note(there), Duration::ZERO, "each address has its own");
        tokio::time::advance(FORGIVEN_EVERY * 100).await;
        assert_eq!(failures.note(here), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_whoever_fails() {
        let failures = Failures::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..ADDRESSES_MAX as u32 {
            failures.note(address(n));
        }
        assert_eq!(failures.note(address(u32::MAX)), WAIT_MAX);
        assert_eq!(failures.0.lock().unwrap().len(), ADDRESSES_MAX);
        tokio::time::advance(FORGIVEN_EVERY * 2).await;
        assert_eq!(failures.note(address(u32::MAX)), Duration::ZERO, "room is made of those that are forgiven");
    }
}
