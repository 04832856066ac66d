//! Where host threads report requests: several places, so that whoever finds one busy goes on to the next.
//!
//! A place is held for some tens of nanoseconds, by the agent thread only as long as it takes to put an empty one there. A thread
//! waits for another only if at this very moment there is one in every place; it never gives up, so all requests are counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::SHARDS;
use super::memory::Latest;
use super::span::{DURATION_NS_MAX, Span};
use super::tally::{Contents, Known, Tally};
use crate::random;

/// The places, and the window that they all add to. `None`: nobody wants to hear of requests.
#[derive(Debug)]
pub(super) struct Shards {
    places: [Mutex<Option<Shard>>; SHARDS],
    /// For the agent's threads.
    window: Mutex<Option<Arc<Tally>>>,
}

/// One place.
#[derive(Debug)]
struct Shard {
    window: Arc<Tally>,
    known: Known,
    latest: Latest,
}

/// What was reported in one window.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) contents: Contents,
    pub(super) latest: Vec<Latest>,
}

impl Shards {
    /// Places where nothing is wanted.
    pub(super) const fn new() -> Self {
        Self { places: [const { Mutex::new(None) }; SHARDS], window: Mutex::new(None) }
    }

    /// Takes what comes from now on.
    pub(super) fn open(&self) {
        self.replace(Some(Tally::new(0)));
    }

    /// Takes nothing more, and forgets what came.
    pub(super) fn close(&self) {
        self.replace(None);
    }

    /// Takes a request that ended.
    pub(super) fn report(&self, route: &str, span: Span) {
        let span = Span { duration_ns: span.duration_ns.min(DURATION_NS_MAX), ..span };
        let first = random::below(SHARDS as u64) as usize;
        let mut places = self.places.iter().cycle().skip(first).take(SHARDS);
        let free = places.find_map(|place| match place.try_lock() {
            Ok(place) => Some(place),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let mut place = match free {
            Some(place) => place,
            None => match self.places.get(first) {
                Some(place) => lock(place),
                None => return,
            },
        };
        if let Some(shard) = &mut *place {
            shard.add(route, &span);
        }
    }

    /// Ends the window, of whose traces those are told of that hold after `halvings`, and begins one with `next`.
    pub(super) fn take(&self, halvings: u32, next: u32) -> Taken {
        let mut window = lock(&self.window);
        if window.is_none() {
            return Taken::default();
        }
        let (ended, latest) = self.exchange(&mut window, Some(Tally::new(next)));
        // No place refers to it any more, so nobody adds to it.
        let contents = ended.and_then(Arc::into_inner).map(|tally| tally.finish(halvings));
        Taken { contents: contents.unwrap_or_default(), latest }
    }

    fn replace(&self, tally: Option<Tally>) {
        self.exchange(&mut lock(&self.window), tally);
    }

    /// Puts an empty window in the place of the one before, which is returned.
    fn exchange(&self, window: &mut Option<Arc<Tally>>, tally: Option<Tally>) -> (Option<Arc<Tally>>, Vec<Latest>) {
        let tally = tally.map(Arc::new);
        let ended = std::mem::replace(window, tally.clone());
        let mut latest = Vec::with_capacity(SHARDS);
        for place in &self.places {
            let empty = tally.as_ref().map(|tally| Shard::new(Arc::clone(tally)));
            // What was there is dropped after the place was given back.
            let shard = std::mem::replace(&mut *lock(place), empty);
            latest.extend(shard.map(|shard| shard.latest));
        }
        (ended, latest)
    }
}

impl Shard {
    fn new(window: Arc<Tally>) -> Self {
        Self { window, known: Known::default(), latest: Latest::default() }
    }

    fn add(&mut self, route: &str, span: &Span) {
        let number = self.window.add(&mut self.known, route, span);
        self.latest.add(number, span);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::requests::testing::{mix, span};

    fn counted(taken: &Taken) -> u64 {
        taken.contents.counts.iter().flat_map(|row| &row.counts.bins).map(|(_, count)| count).sum()
    }

    #[test]
    fn whatever_threads_report_while_windows_end_is_counted_once() {
        const THREADS: usize = 8;
        const EACH: u64 = 20_000;
        let (shards, done) = (Shards::new(), AtomicUsize::new(0));
        shards.open();
        let (mut total, mut by_status) = (0, std::collections::BTreeMap::<String, u64>::new());
        std::thread::scope(|scope| {
            for thread in 0..THREADS as u64 {
                let (shards, done) = (&shards, &done);
                scope.spawn(move || {
                    for n in 0..EACH {
                        let route = ["/a", "/b", "/c"][n as usize % 3];
                        shards.report(route, span(mix(thread << 32 | n), 1_000 + n * 1_000));
                    }
                    done.fetch_add(1, Ordering::Release);
                });
            }
            loop {
                let ended = done.load(Ordering::Acquire) == THREADS;
                let taken = shards.take(0, 0);
                total += counted(&taken);
                for row in &taken.contents.counts {
                    *by_status.entry(row.route.to_string()).or_default() +=
                        row.counts.bins.iter().map(|(_, count)| count).sum::<u64>();
                }
                if ended {
                    break;
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(total, THREADS as u64 * EACH);
        let of_first = THREADS as u64 * EACH.div_ceil(3);
        assert_eq!(by_status["/a"], of_first);
    }

    #[test]
    fn a_busy_place_is_passed_over() {
        let shards = Shards::new();
        shards.open();
        let busy: Vec<_> = shards.places.iter().skip(1).map(|place| place.lock().unwrap()).collect();
        for n in 0..100 {
            shards.report("/a", span(n, 1_000));
        }
        drop(busy);
        assert_eq!(counted(&shards.take(0, 0)), 100);
    }

    #[test]
    fn when_all_places_are_busy_a_request_is_counted_as_soon_as_one_is_free() {
        let shards = Shards::new();
        shards.open();
        std::thread::scope(|scope| {
            let busy: Vec<_> = shards.places.iter().map(|place| place.lock().unwrap()).collect();
            let shards = &shards;
            let waiting = scope.spawn(move || shards.report("/a", span(1, 1_000)));
            std::thread::yield_now();
            drop(busy);
            waiting.join().unwrap();
        });
        assert_eq!(counted(&shards.take(0, 0)), 1);
    }

    #[test]
    fn nothing_is_taken_before_it_is_wanted_and_after() {
        let shards = Shards::new();
        shards.report("/a", span(1, 1_000));
        shards.open();
        shards.report("/a", span(1, 1_000));
        shards.close();
        shards.report("/a", span(1, 1_000));
        assert_eq!((counted(&shards.take(0, 0)), shards.take(0, 0).latest.len()), (0, 0));
        shards.open();
        assert_eq!(counted(&shards.take(0, 0)), 0, "what was there before is forgotten");
    }

    #[test]
    fn each_window_has_its_own_share_of_traces() {
        let shards = Shards::new();
        shards.open();
        let report = || (0..1_000).for_each(|n| shards.report("/a", span(mix(n), 1_000)));
        let weights = |taken: Taken| taken.contents.examples.last().map(|example| example.weight);
        report();
        assert_eq!(weights(shards.take(0, 3)), Some(1.0));
        report();
        assert_eq!(weights(shards.take(0, 0)), Some(8.0));
        report();
        assert_eq!(weights(shards.take(2, 0)), Some(4.0), "it was announced meanwhile");
    }

    #[test]
    fn no_request_lasts_longer_than_can_be_told() {
        let shards = Shards::new();
        shards.open();
        shards.report("/a", span(1, u64::MAX));
        let taken = shards.take(0, 0);
        let week = tephra_proto::durations::DURATION_US_MAX;
        assert_eq!(taken.contents.counts[0].counts.max_us, week);
        assert_eq!(taken.contents.examples[0].span.duration_us(), week);
    }
}
