//! What is known of spans that were opened lately, found without a lock and without a write: a span of a future is entered and left
//! with every poll, on whichever processor.
//!
//! An entry is its span's and no other's, or nobody's: whoever finds another span there asks the registry.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A power of two, 64 KiB of them. Whoever tries every order of events wants spans to meet in one.
const ENTRIES: usize = if cfg!(loom) { 1 } else { 1024 };

/// Two are enough to be torn apart.
const WORDS: usize = if cfg!(loom) { 2 } else { 4 };

/// What is known of a span.
pub(super) type Words = [u64; WORDS];

/// Entries for spans of one registry, whose keys are not 0.
pub(super) struct OpenSpans(Box<[Entry]>);

impl std::fmt::Debug for OpenSpans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSpans").finish_non_exhaustive()
    }
}

/// Guarded by a sequence number: odd while somebody writes, another one afterwards.
#[repr(align(64))]
struct Entry {
    sequence: AtomicU64,
    /// 0: nobody's.
    key: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl OpenSpans {
    pub(super) fn new() -> Self {
        let entry = || Entry {
            sequence: AtomicU64::new(0),
            key: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        };
        Self((0..ENTRIES).map(|_| entry()).collect())
    }

    /// Remembers a span, in place of another one. One call at a time for the same key.
    pub(super) fn set(&self, key: u64, words: Words) {
        self.write(key, key, words);
    }

    /// Forgets a span, and maybe another one. After the last call of [`set`](Self::set) for it.
    pub(super) fn remove(&self, key: u64) {
        if self.entry(key).is_some_and(|entry| entry.key.load(Ordering::Relaxed) == key) {
            self.write(key, 0, [0; WORDS]);
        }
    }

    pub(super) fn get(&self, key: u64) -> Option<Words> {
        let entry = self.entry(key)?;
        let before = entry.sequence.load(Ordering::Acquire);
        let is_it = entry.key.load(Ordering::Relaxed) == key;
        let words = entry.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let untouched = before.is_multiple_of(2) && entry.sequence.load(Ordering::Relaxed) == before;
        (is_it && untouched).then_some(words)
    }

    /// When another thread is writing there, this leaves it at that: what the other one writes is of another span, or nothing.
    fn write(&self, at: u64, key: u64, words: Words) {
        let Some(entry) = self.entry(at) else { return };
        let before = entry.sequence.load(Ordering::Relaxed) & !1;
        let claimed = entry.sequence.compare_exchange(before, before + 1, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_err() {
            return;
        }
        fence(Ordering::Release);
        entry.key.store(key, Ordering::Relaxed);
        for (place, word) in entry.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        entry.sequence.store(before + 2, Ordering::Release);
    }

    fn entry(&self, key: u64) -> Option<&Entry> {
        // Fibonacci hashing: a registry counts in the low bits and the high ones.
        self.0.get((key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % ENTRIES)
    }
}
