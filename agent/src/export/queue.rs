//! Sealed windows on their way out. Bounded in count and in bytes; when full, the oldest goes, and its samples are
//! counted in a later window, so nothing is lost in silence.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tephra_proto::v1::{DropReason, PushHeader, PushRequest};
use tokio::sync::Notify;

/// Ten minutes of windows: a longer outage is told by counts.
const WINDOWS_MAX: usize = 60;

/// A window that only needs to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) request: PushRequest,
    /// Samples in its payload.
    pub(crate) stored: u64,
}

impl Sealed {
    /// Headers and labels are small beside the payload.
    fn bytes(&self) -> usize {
        self.request.payload.len() + 1024
    }

    fn header(&self) -> Option<&PushHeader> {
        self.request.header.as_ref()
    }
}

/// Samples that were sealed and yet never reached a collector, by reason; indexed like [`DropReason`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost([u64; 7]);

impl Lost {
    pub(crate) fn add(&mut self, reason: DropReason, samples: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += samples;
        }
    }

    /// Everything a window stood for: its own samples for `reason`, and the drops that it would have reported.
    fn add_window(&mut self, window: &Sealed, reason: DropReason) {
        self.add(reason, window.stored);
        for drops in window.header().map(|header| &header.drops[..]).unwrap_or_default() {
            self.add(drops.reason(), drops.samples);
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (count, other) in self.0.iter_mut().zip(other.0) {
            *count += other;
        }
    }

    /// What was added since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (count, earlier) in since.0.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(earlier);
        }
        since
    }

    /// Non-zero counts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        let counted = (0i32..).zip(self.0).filter(|(_, samples)| *samples > 0);
        counted.filter_map(|(reason, samples)| Some((DropReason::try_from(reason).ok()?, samples)))
    }
}

/// What became of the windows so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
    pub(crate) failed_attempts: u64,
    pub(crate) waiting: u64,
    pub(crate) waiting_bytes: u64,
    /// All samples that were ever lost here.
    pub(crate) lost: Lost,
}

#[derive(Debug, Default)]
struct Inner {
    windows: VecDeque<Sealed>,
    /// Of the window that is being sent: it is never dropped for room, since it may have arrived.
    in_flight: Option<usize>,
    bytes: usize,
    /// Not yet reported by a window.
    lost: Lost,
    tally: Tally,
    closed: bool,
}

/// The queue between the agent thread and the shipping thread.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    bytes_max: usize,
    /// Something to send, or closed.
    changed: Notify,
    /// Nothing left to send.
    empty: Condvar,
}

impl Queue {
    /// A queue for at most `bytes_max` bytes of windows.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { inner: Mutex::default(), bytes_max, changed: Notify::new(), empty: Condvar::new() }
    }

    /// Appends a window, and drops the oldest ones for it if need be. Never waits for the network.
    pub(crate) fn push(&self, window: Sealed) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.bytes += window.bytes();
        inner.windows.push_back(window);
        while inner.windows.len() > WINDOWS_MAX || inner.bytes > self.bytes_max {
            let Some(oldest) = inner.windows.pop_front() else { break };
            inner.bytes -= oldest.bytes();
            inner.lose(&oldest, DropReason::QueueFull);
            inner.tally.dropped += 1;
        }
        self.changed.notify_waiters();
    }

    /// Whether something was lost that no window has reported yet.
    pub(crate) fn owes(&self) -> bool {
        self.lock().lost != Lost::default()
    }

    /// What was lost since the last call, to be reported by the next window.
    pub(crate) fn take_lost(&self) -> Lost {
        std::mem::take(&mut self.lock().lost)
    }

    /// The state of the queue.
    pub(crate) fn tally(&self) -> Tally {
        let inner = self.lock();
        let waiting = inner.windows.len() as u64 + u64::from(inner.in_flight.is_some());
        Tally { waiting, waiting_bytes: inner.bytes as u64, ..inner.tally }
    }

    /// Waits until everything was sent or given up; false when `patience` ends first.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut inner = self.lock();
        while !inner.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            inner = self.empty.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// No more windows will come: what is left is tried once each.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Resolves once the queue is closed.
    pub(super) async fn closed(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_closed() {
                return;
            }
            changed.await;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The oldest window, once there is one; `None` when the queue is closed and empty. Settle it before asking again.
    pub(super) async fn next(&self) -> Option<Sealed> {
        loop {
            let changed = self.changed.notified();
            {
                let mut inner = self.lock();
                if let Some(window) = inner.windows.pop_front() {
                    inner.in_flight = Some(window.bytes());
                    return Some(window);
                }
                if inner.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// The window that `next` gave was accepted.
    pub(super) fn delivered(&self, duplicate: bool) {
        self.settle(|inner| {
            inner.tally.delivered += 1;
            inner.tally.duplicates += u64::from(duplicate);
        });
    }

    /// The window that `next` gave is given up, for `reason`.
    pub(super) fn given_up(&self, window: &Sealed, reason: DropReason) {
        self.settle(|inner| {
            inner.lose(window, reason);
            match reason {
                DropReason::Refused => inner.tally.refused += 1,
                _ => inner.tally.dropped += 1,
            }
        });
    }

    /// An attempt to send failed and will be repeated.
    pub(super) fn attempt_failed(&self) {
        self.lock().tally.failed_attempts += 1;
    }

    fn settle(&self, count: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        inner.bytes -= inner.in_flight.take().unwrap_or_default();
        count(&mut inner);
        if inner.is_empty() {
            self.empty.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.in_flight.is_none()
    }

    fn lose(&mut self, window: &Sealed, reason: DropReason) {
        self.lost.add_window(window, reason);
        self.tally.lost.add(reason, window.stored);
    }
}

#[cfg(test)]
mod tests {
    use tephra_proto::v1::DropCount;

    use super::*;

    fn window(sequence: u64, payload_bytes: usize) -> Sealed {
        let drops = vec![DropCount { reason: DropReason::Busy.into(), samples: 1 }];
        let header = PushHeader { sequence, drops, ..PushHeader::default() };
        let request = PushRequest { header: Some(header), payload: vec![0; payload_bytes].into(), payload_bytes: 0 };
        Sealed { request, stored: 100 }
    }

    fn next(queue: &Queue) -> Option<Sealed> {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(queue.next())
    }

    fn sequence(window: &Sealed) -> u64 {
        window.header().unwrap().sequence
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_accounts_for_every_sample() {
        let queue = Queue::new(10_000);
        for sequence in 1..=5 {
            queue.push(window(sequence, 4_000 - 1024));
        }
        let tally = queue.tally();
        assert_eq!((tally.waiting, tally.dropped, tally.waiting_bytes), (2, 3, 8_000));
        let lost: Vec<_> = queue.take_lost().iter().collect();
        assert_eq!(lost, [(DropReason::Busy, 3), (DropReason::QueueFull, 300)]);
        assert_eq!(queue.take_lost(), Lost::default(), "reported once");
        assert_eq!(sequence(&next(&queue).unwrap()), 4);
    }

    #[test]
    fn the_window_in_flight_keeps_its_room_and_is_never_dropped() {
        let queue = Queue::new(10_000);
        queue.push(window(1, 7_000));
        let in_flight = next(&queue).unwrap();
        queue.push(window(2, 7_000));
        assert_eq!(queue.tally().dropped, 1, "there is no room beside the one in flight");
        assert!(!queue.wait_until_empty(Duration::ZERO));
        queue.delivered(false);
        assert!(queue.wait_until_empty(Duration::ZERO));
        assert_eq!((queue.tally().delivered, queue.tally().waiting_bytes), (1, 0));
        assert_eq!(sequence(&in_flight), 1);
    }

    #[test]
    fn the_number_of_windows_is_bounded_too() {
        let queue = Queue::new(usize::MAX);
        for sequence in 0..1_000 {
            queue.push(window(sequence, 0));
        }
        assert_eq!(queue.tally().waiting, WINDOWS_MAX as u64);
    }

    #[test]
    fn a_closed_queue_gives_out_what_is_left_and_then_ends() {
        let queue = Queue::new(1 << 20);
        queue.push(window(1, 10));
        queue.close();
        assert_eq!(sequence(&next(&queue).unwrap()), 1);
        queue.given_up(&window(1, 10), DropReason::Refused);
        assert!(next(&queue).is_none());
        assert_eq!(queue.tally().refused, 1);
    }
}
