//! Who may send a file: a few at a time, each at a pace. When all places are taken, the slowest sender gives way to the next one, so that
//! senders who dribble hold up nobody but each other.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::base::clock;

/// Why a sender has no place, or has lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Others are uploading.
    #[error("other symbol files are being received")]
    NoRoom,
    /// Others were waiting, and this was the slowest.
    #[error("the upload was the slowest of several, and gave way to another")]
    GaveWay,
    /// It does not keep the pace.
    #[error("the upload is too slow: {received} bytes in {took_s} s")]
    TooSlow {
        /// Bytes that have come until then.
        received: u64,
        /// Seconds since its first byte.
        took_s: u64,
    },
}

/// Files being received or waiting to be read. What they take of the disk is bounded together.
const PLACES: usize = 4;

/// A sender that is silent for this long has gone.
const SILENCE: Duration = Duration::from_secs(30);

/// How long one may be slow before it is ended: connections begin slowly.
const PATIENCE: Duration = Duration::from_secs(30);

/// A slower sender is ended, bytes a second: a file of 50 MB would take it a quarter of an hour.
const RATE_MIN: u64 = 64 << 10;

/// The largest file takes so long at the most. Agents give up as early.
const TIME_MAX: Duration = Duration::from_secs(1_800);

/// A faster sender, bytes a second, and whoever began a moment ago, gives way to nobody.
const RATE_KEPT: u64 = 1 << 20;
const BEGINNING: Duration = Duration::from_secs(5);

/// The places. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Vec<Arc<Held>>>>);

#[derive(Debug)]
struct Held {
    since: Instant,
    received: AtomicU64,
    /// All of the file has come: it is no longer the sender who takes time.
    complete: AtomicBool,
    given_away: AtomicBool,
    notice: Notify,
}

impl Held {
    /// Bytes a second; `None` for one that gives way to nobody.
    fn slowness(&self) -> Option<u64> {
        let took = self.since.elapsed();
        if took < BEGINNING || self.complete.load(Ordering::Relaxed) {
            return None;
        }
        let rate = self.received.load(Ordering::Relaxed).saturating_mul(1000) / took.as_millis().max(1) as u64;
        (rate < RATE_KEPT).then_some(rate)
    }
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Places,
    held: Arc<Held>,
}

impl Places {
    /// A place, if need be that of the slowest sender.
    pub(super) fn take(&self) -> Result<Place, PlaceError> {
        let mut places = self.lock();
        if places.len() >= PLACES {
            let slowest = (0..places.len()).filter_map(|i| Some((places[i].slowness()?, i))).min();
            let (_, i) = slowest.ok_or(PlaceError::NoRoom)?;
            let slow = places.swap_remove(i);
            slow.given_away.store(true, Ordering::Relaxed);
            slow.notice.notify_one();
        }
        let held = Arc::new(Held {
            since: clock::task_instant(),
            received: AtomicU64::new(0),
            complete: AtomicBool::new(false),
            given_away: AtomicBool::new(false),
            notice: Notify::new(),
        });
        places.push(held.clone());
        Ok(Place { of: self.clone(), held })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().retain(|held| !Arc::ptr_eq(held, &self.held));
    }
}

impl Place {
    /// So much more has come.
    pub(super) fn received(&self, bytes: u64) {
        self.held.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All has come.
    pub(super) fn complete(&self) {
        self.held.complete.store(true, Ordering::Relaxed);
    }

    /// Waits for what comes next, as long as the sender keeps its pace and its place.
    pub(super) async fn next<T>(&self, next: impl Future<Output = T>) -> Result<T, PlaceError> {
        let began = self.held.since;
        let received = self.held.received.load(Ordering::Relaxed);
        let pace = began + PATIENCE + Duration::from_millis(received.saturating_mul(1000) / RATE_MIN);
        let silence = clock::task_instant() + SILENCE;
        let until = pace.min(silence).min(began + TIME_MAX);
        if self.held.given_away.load(Ordering::Relaxed) {
            return Err(PlaceError::GaveWay);
        }
        tokio::select! {
            () = self.held.notice.notified() => Err(PlaceError::GaveWay),
            next = timeout_at(until, next) => {
                let took_s = began.elapsed().as_secs();
                next.map_err(|_| PlaceError::TooSlow { received, took_s })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn senders_that_dribble_hold_up_nobody_but_each_other() {
        let places = Places::default();
        let slow: Vec<Place> = (0..PLACES).map(|_| places.take().unwrap()).collect();
        assert!(matches!(places.take(), Err(PlaceError::NoRoom)), "they began a moment ago");
        tokio::time::advance(BEGINNING).await;
        for (i, place) in slow.iter().enumerate() {
            place.received(10 + i as u64);
        }
        slow[1].received(RATE_KEPT * 5);
        let fast = places.take().unwrap();
        assert!(matches!(slow[0].next(pending::<()>()).await, Err(PlaceError::GaveWay)), "the slowest one");
        assert!(matches!(slow[0].next(ready(())).await, Err(PlaceError::GaveWay)), "and it stays away");
        for place in &slow[1..] {
            place.next(ready(())).await.unwrap();
        }
        slow[2].complete();
        let next = places.take().unwrap();
        assert!(matches!(slow[3].next(pending::<()>()).await, Err(PlaceError::GaveWay)));
        assert!(matches!(places.take(), Err(PlaceError::NoRoom)), "fast, complete, and two beginners");
        drop((slow, fast, next));
        assert!(places.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_without_pace_is_ended() {
        let places = Places::default();
        let place = places.take().unwrap();
        // A byte whenever it would be given up for silent.
        let dribble = async {
            loop {
                place.next(tokio::time::sleep(SILENCE - Duration::from_secs(1))).await?;
                place.received(1);
            }
        };
        let ended: Result<(), PlaceError> = dribble.await;
        assert!(matches!(ended, Err(PlaceError::TooSlow { received: 1, .. })), "{ended:?}");
        assert!(place.held.since.elapsed() <= PATIENCE + Duration::from_secs(1));
        // One that is just fast enough, for ever.
        let place = places.take().unwrap();
        let endless = async {
            loop {
                place.next(tokio::time::sleep(Duration::from_secs(1))).await?;
                place.received(RATE_MIN);
            }
        };
        let ended: Result<(), PlaceError> = endless.await;
        assert!(matches!(ended, Err(PlaceError::TooSlow { .. })));
        assert!(place.held.since.elapsed() <= TIME_MAX + Duration::from_secs(1));
    }
}
