//! A fixed ring of words with one producer and one consumer: how samples leave a signal handler.
//!
//! Every word is an atomic, so even a misuse could only garble a record, never memory; and a garbled length is refused
//! when read. A record is its words behind one length word.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering};

/// 64 KiB: about 70 samples of 100 frames, ten times what a busy core takes at 99 Hz between two drains. Whoever tries every
/// order of events wants it to wrap around soon.
pub(crate) const RING_WORDS: usize = if cfg!(loom) { 5 } else { 8192 };

/// A ring of [`RING_WORDS`] words.
pub(crate) struct Ring {
    /// Words ever written; only the producer moves it.
    head: AtomicU64,
    /// Words ever read; only the consumer moves it.
    tail: AtomicU64,
    words: Box<[AtomicU64]>,
}

impl Ring {
    /// An empty ring.
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            words: (0..RING_WORDS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Appends one record made of two parts; `false` when there is no room. One producer at a time. Never allocates.
    pub(crate) fn push(&self, header: &[u64], body: &[u64]) -> bool {
        let length = header.len() + body.len();
        let head = self.head.load(Ordering::Relaxed);
        let used = head.wrapping_sub(self.tail.load(Ordering::Acquire)) as usize;
        if used + length + 1 > RING_WORDS {
            return false;
        }
        self.set(head, length as u64);
        let mut at = head + 1;
        for &word in header.iter().chain(body) {
            self.set(at, word);
            at += 1;
        }
        self.head.store(at, Ordering::Release);
        true
    }

    /// Takes the oldest record into `record`; `false` when there is none. One consumer at a time.
    pub(crate) fn pop(&self, record: &mut Vec<u64>) -> bool {
        record.clear();
        let tail = self.tail.load(Ordering::Relaxed);
        let head = self.head.load(Ordering::Acquire);
        let waiting = head.wrapping_sub(tail);
        if waiting == 0 {
            return false;
        }
        let length = self.get(tail);
        if length >= waiting {
            // Not a record: cannot happen with one producer. Starting afresh loses what is queued and nothing else.
            self.tail.store(head, Ordering::Release);
            return false;
        }
        record.extend((1..=length).map(|offset| self.get(tail + offset)));
        self.tail.store(tail + 1 + length, Ordering::Release);
        true
    }

    fn set(&self, at: u64, word: u64) {
        if let Some(place) = self.words.get(at as usize % RING_WORDS) {
            place.store(word, Ordering::Relaxed);
        }
    }

    fn get(&self, at: u64) -> u64 {
        self.words.get(at as usize % RING_WORDS).map_or(0, |place| place.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn records_survive_wrapping_around_many_times() {
        let ring = Ring::new();
        let mut record = Vec::new();
        for round in 0..2_000u64 {
            let body: Vec<u64> = (0..round % 97).map(|i| round * 1_000 + i).collect();
            assert!(ring.push(&[round, !round], &body));
            assert!(ring.pop(&mut record));
            assert_eq!(record[..2], [round, !round]);
            assert_eq!(record[2..], body);
        }
        assert!(!ring.pop(&mut record));
    }

    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let ring = Ring::new();
        let body = [7; 99];
        let accepted = (0..1_000u64).take_while(|&i| ring.push(&[i], &body)).count();
        assert_eq!(accepted, RING_WORDS / 101);
        let mut record = Vec::new();
        for i in 0..accepted as u64 {
            assert!(ring.pop(&mut record));
            assert_eq!((record[0], &record[1..]), (i, &body[..]));
        }
        assert!(!ring.pop(&mut record));
        assert!(ring.push(&[1], &body), "room comes back");
    }

    #[test]
    fn a_consumer_on_another_thread_sees_every_record_in_order() {
        let ring = Ring::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..50_000u64 {
                    while !ring.push(&[i], &[i + 1, i + 2]) {
                        std::thread::yield_now();
                    }
                }
            });
            let mut record = Vec::new();
            let mut next = 0;
            while next < 50_000 {
                if ring.pop(&mut record) {
                    assert_eq!(record, [next, next + 1, next + 2]);
                    next += 1;
                }
            }
        });
    }
}
