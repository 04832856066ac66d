//! Sampled polls that handed down a waker of ours: a fixed, lock-free pool, each entry with the waker that the poll had been given.
//!
//! An entry belongs to the wrapper that claimed it, and to every waker of it that is alive. Wakers are numbers (an entry and a place in it), so
//! nothing is allocated for them. The last of them drops the waker of the task, as the last clone of that would: the wrapper, which is a part of the
//! task, does not keep the task alive. Once that one too has let go the entry is free again.
//!
//! An entry is *open* while its task waits: from then on its time is told by whoever takes it off [`Entry::take_since`], the task that is polled
//! again or the agent thread at the end of a window, and by nobody else.

use std::task::Waker;

#[cfg(loom)]
use loom::cell::UnsafeCell;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(loom))]
use self::cell::UnsafeCell;

/// Registrations that can be alive at once. 300 bytes each, and pages that are never used cost nothing. Whoever tries every order of
/// events has room for one.
pub(super) const REGISTRATIONS_MAX: usize = if cfg!(loom) { 1 } else { 4096 };
const WORDS: usize = REGISTRATIONS_MAX.div_ceil(64);

/// Leaves of one poll whose places are told apart.
pub(super) const PLACES: usize = if cfg!(loom) { 2 } else { 6 };

/// The place of wakers beyond these, and of those that another thread made: not known.
pub(super) const UNPLACED: usize = 15;

/// Low bits of [`Entry::woke`], which hold the place.
const PLACE_BITS: u64 = 15;

/// Wakers of one entry that can be alive. Nobody needs as many, and a count that wraps around would free what is used.
const WAKERS_MAX: u32 = 1 << 30;

/// The bit of [`Entry::holders`] that the wrapper has.
const OWNER: u32 = 1 << 31;

/// Where a leaf went to sleep, and for whom, as numbers. Written before the entry is opened, by whoever claimed it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the stack that the samplers were told. 0: not known.
    pub(super) stack_hash: u64,
    /// Both halves of the trace's id, and the span's.
    pub(super) ids: [u64; 3],
    /// Number of the string labels, and in the 8 bits above it the trace's flags and whether there is a trace.
    pub(super) labels: u32,
}

/// [`Place`] where it can be read by others.
struct SharedPlace {
    stack_hash: AtomicU64,
    ids: [AtomicU64; 3],
    labels: AtomicU32,
}

/// One sampled poll.
pub(super) struct Entry {
    /// How many wakers there are, the one of the poll under way included; and whether the wrapper holds it, as [`OWNER`].
    holders: AtomicU32,
    /// The waker that the poll had been given. There while there are wakers.
    parent: UnsafeCell<Option<Waker>>,
    /// When it was first woken, in nanoseconds, with the place of the waker in the low bits. 0: not yet.
    woke: AtomicU64,
    /// Up to when its waiting has been told, in nanoseconds. 0: its task does not wait.
    since: AtomicU64,
    /// What it stands for: 2 to this power of its like. With the agent's run that it belongs to, in the bits above 8.
    weight: AtomicU32,
    places: [SharedPlace; PLACES],
}

/// A pool of [`REGISTRATIONS_MAX`] entries.
pub(super) struct Registrations {
    /// One bit for each entry: it is taken.
    taken: [AtomicU64; WORDS],
    entries: [Entry; REGISTRATIONS_MAX],
}

// SAFETY: `parent` is written by whoever has the entry alone, before the first waker is made, and by the last waker; in between it is only
// read, and a `Waker` may be used by many threads.
unsafe impl Sync for Entry {}

impl Registrations {
    /// A pool with all entries free.
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self { taken: [const { AtomicU64::new(0) }; WORDS], entries: [const { Entry::new() }; REGISTRATIONS_MAX] }
    }

    /// The same where atomics cannot be made before the program runs.
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { taken: std::array::from_fn(|_| AtomicU64::new(0)), entries: std::array::from_fn(|_| Entry::new()) }
    }

    /// Takes a free entry, lowest first, for a poll that was given `parent`. The caller has it as its owner, to be [disowned](Self::disown), and as
    /// the poll's waker, to be [released](Self::release). `None`: there is none.
    pub(super) fn claim(&self, parent: &Waker) -> Option<u16> {
        for (word, taken) in self.taken.iter().enumerate() {
            let mut seen = taken.load(Ordering::Relaxed);
            loop {
                let bit = seen.trailing_ones() as usize;
                let at = word * 64 + bit;
                if bit == 64 || at >= REGISTRATIONS_MAX {
                    break;
                }
                match taken.compare_exchange_weak(seen, seen | 1 << bit, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => {
                        self.entries.get(at)?.begin(parent.clone());
                        return Some(at as u16);
                    }
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// An entry, whatever state it is in.
    pub(super) fn get(&self, number: u16) -> Option<&Entry> {
        self.entries.get(usize::from(number))
    }

    /// Drops a waker of an entry.
    pub(super) fn release(&self, number: u16) {
        let Some((parent, is_last)) = self.get(number).map(Entry::drop_waker) else { return };
        if is_last {
            self.free(number);
        }
        // Last, for it may run code of the host's.
        drop(parent);
    }

    /// Lets go of an entry that the caller claimed.
    pub(super) fn disown(&self, number: u16) {
        if self.get(number).is_some_and(Entry::drop_owner) {
            self.free(number);
        }
    }

    fn free(&self, number: u16) {
        if let Some(taken) = self.taken.get(usize::from(number) / 64) {
            taken.fetch_and(!(1 << (number % 64)), Ordering::Release);
        }
    }

    /// All entries that are taken now.
    pub(super) fn taken(&self) -> impl Iterator<Item = &Entry> {
        let words = self.taken.iter().enumerate().filter_map(|(word, taken)| {
            let bits = taken.load(Ordering::Acquire);
            (bits != 0).then(|| (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit))
        });
        words.flatten().filter_map(|at| self.entries.get(at))
    }
}

impl Entry {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            holders: AtomicU32::new(0),
            parent: UnsafeCell::new(None),
            woke: AtomicU64::new(0),
            since: AtomicU64::new(0),
            weight: AtomicU32::new(0),
            places: [const { SharedPlace::new() }; PLACES],
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            holders: AtomicU32::new(0),
            parent: UnsafeCell::new(None),
            woke: AtomicU64::new(0),
            since: AtomicU64::new(0),
            weight: AtomicU32::new(0),
            places: std::array::from_fn(|_| SharedPlace::new()),
        }
    }

    /// Called by whoever took the entry.
    fn begin(&self, parent: Waker) {
        // SAFETY: nobody else has the entry.
        self.parent.with_mut(|place| unsafe { *place = Some(parent) });
        self.woke.store(0, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
        self.holders.store(OWNER | 1, Ordering::Relaxed);
    }

    /// Makes one more waker; `false` when there are too many. Called by one who has one.
    pub(super) fn hold(&self) -> bool {
        let before = self.holders.fetch_add(1, Ordering::Relaxed) & !OWNER;
        if before >= WAKERS_MAX {
            self.holders.fetch_sub(1, Ordering::Relaxed);
        }
        before < WAKERS_MAX
    }

    /// One waker less. What the last one has to drop, and whether nobody has the entry any more.
    fn drop_waker(&self) -> (Option<Waker>, bool) {
        let mut seen = self.holders.load(Ordering::Acquire);
        while seen & !OWNER > 1 {
            match self.holders.compare_exchange_weak(seen, seen - 1, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return (None, false),
                Err(now) => seen = now,
            }
        }
        // The caller's is the only one: nobody can make another.
        // SAFETY: so nobody else reads or writes it. Only then may the owner find that there are no wakers.
        let parent = self.parent.with_mut(|place| unsafe { (*place).take() });
        let before = self.holders.fetch_sub(1, Ordering::AcqRel);
        (parent, before & OWNER == 0)
    }

    /// The owner lets go: whether nobody has the entry any more.
    fn drop_owner(&self) -> bool {
        self.holders.fetch_and(!OWNER, Ordering::AcqRel) == OWNER
    }

    /// How many wakers there are.
    pub(super) fn wakers(&self) -> u32 {
        self.holders.load(Ordering::Relaxed) & !OWNER
    }

    /// Wakes the task, and notes when it was the first to. Called by one who has a waker of the entry. `false`: it had been woken before.
    pub(super) fn wake(&self, place: usize, now_ns: u64) -> bool {
        let stamp = now_ns.max(PLACE_BITS + 1) & !PLACE_BITS | place as u64 & PLACE_BITS;
        let is_first = self.woke.load(Ordering::Relaxed) == 0
            && self.woke.compare_exchange(0, stamp, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.with_parent(Waker::wake_by_ref);
        is_first
    }

    /// The task's own waker. Called by one who has a waker of the entry.
    pub(super) fn parent(&self) -> Option<Waker> {
        let mut parent = None;
        self.with_parent(|waker| parent = Some(waker.clone()));
        parent
    }

    fn with_parent(&self, with: impl FnOnce(&Waker)) {
        self.parent.with(|place| {
            // SAFETY: the caller has a waker, so nobody writes.
            if let Some(parent) = unsafe { &*place } {
                with(parent);
            }
        });
    }

    /// When it was first woken and by the waker of which place.
    pub(super) fn woke(&self) -> Option<(u64, usize)> {
        let stamp = self.woke.load(Ordering::Acquire);
        (stamp != 0).then_some((stamp & !PLACE_BITS, (stamp & PLACE_BITS) as usize))
    }

    /// Says what its time stands for. Called by whoever claimed the entry, before it opens it.
    pub(super) fn weigh(&self, halvings: u32, run: u32) {
        self.weight.store(halvings & 0xff | run << 8, Ordering::Relaxed);
    }

    /// What [`Entry::weigh`] said: halvings, and the agent's run, of which the lower 24 bits.
    pub(super) fn weight(&self) -> (u32, u32) {
        let weight = self.weight.load(Ordering::Relaxed);
        (weight & 0xff, weight >> 8)
    }

    /// Says where a leaf sleeps. Called by whoever claimed the entry, before it opens it.
    pub(super) fn set_place(&self, number: usize, place: &Place) {
        if let Some(shared) = self.places.get(number) {
            shared.stack_hash.store(place.stack_hash, Ordering::Relaxed);
            shared.ids.iter().zip(place.ids).for_each(|(shared, id)| shared.store(id, Ordering::Relaxed));
            shared.labels.store(place.labels, Ordering::Relaxed);
        }
    }

    /// Where a leaf sleeps, if that is known.
    pub(super) fn place(&self, number: usize) -> Option<Place> {
        let shared = self.places.get(number)?;
        let place = Place {
            stack_hash: shared.stack_hash.load(Ordering::Relaxed),
            ids: shared.ids.each_ref().map(|id| id.load(Ordering::Relaxed)),
            labels: shared.labels.load(Ordering::Relaxed),
        };
        (place.stack_hash != 0).then_some(place)
    }

    /// The task waits from then on. Called by whoever claimed the entry.
    pub(super) fn open(&self, since_ns: u64) {
        self.since.store(since_ns.max(1), Ordering::Release);
    }

    /// From when its waiting is to be told; `None` while it does not wait.
    pub(super) fn since(&self) -> Option<u64> {
        let since = self.since.load(Ordering::Acquire);
        (since != 0).then_some(since)
    }

    /// Ends the waiting: the caller tells it, from the time that is returned on.
    pub(super) fn take_since(&self) -> Option<u64> {
        let since = self.since.swap(0, Ordering::AcqRel);
        (since != 0).then_some(since)
    }

    /// The caller, who saw that it waits `since`, tells it up to `now_ns`, and somebody else what follows. `false`: that was not so any more,
    /// and nothing that was read of the entry counts.
    ///
    /// Nobody waits twice since the same nanosecond: an entry that was reopened meanwhile is another one's, and later.
    pub(super) fn tell_until(&self, since_ns: u64, now_ns: u64) -> bool {
        self.since.compare_exchange(since_ns, now_ns.max(1), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

impl SharedPlace {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self { stack_hash: AtomicU64::new(0), ids: [const { AtomicU64::new(0) }; 3], labels: AtomicU32::new(0) }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            stack_hash: AtomicU64::new(0),
            ids: std::array::from_fn(|_| AtomicU64::new(0)),
            labels: AtomicU32::new(0),
        }
    }
}

/// The cell that loom has, of the standard library's.
#[cfg(not(loom))]
mod cell {
    pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(super) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(super) fn with<R>(&self, with: impl FnOnce(*const T) -> R) -> R {
            with(self.0.get())
        }

        #[inline(always)]
        pub(super) fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
            with(self.0.get())
        }
    }
}
