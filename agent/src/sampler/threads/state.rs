//! What is known of each sampled thread, in a pool whose memory is never freed or used for anything else.
//!
//! A timer carries the address of its thread's entry, and a signal may arrive long after the timer was deleted. So entries
//! are looked up by range check, and every field is an atomic that any value is safe in. A thread's entry lies near the
//! place that its number says, so that a signal without an address finds it too.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::sampler::arch;

/// Threads that can be sampled at once. 64 bytes each, and pages that are never used cost nothing.
pub(crate) const THREADS_MAX: usize = 8192;
/// How far from the place its number says an entry may lie. Thread numbers are handed out in sequence, so most are there.
const PROBES: usize = 16;

/// Periods that a sample stands for besides its own.
const MISSED_MAX: u32 = 32;

const FREE: u32 = 0;
const LIVE: u32 = 0x5452_4550;

/// The entry of one thread, in a cache line of its own.
#[repr(align(64))]
#[derive(Debug)]
pub(crate) struct ThreadState {
    /// [`LIVE`] while the entry belongs to a thread.
    cookie: AtomicU32,
    tid: AtomicU32,
    /// The thread has a timer of its own.
    timed: AtomicBool,
    /// Periods of its samples that found no room: its next one stands for them.
    missed: AtomicU32,
    /// The validated stack: `low..high` is one readable mapping as long as the thread with that control block lives.
    low: AtomicU64,
    /// 0: not validated.
    high: AtomicU64,
    control_block: AtomicU64,
    /// Left for the supervisor by a sample that had no bounds: its stack pointer (0: nothing asked) and control block.
    asked_sp: AtomicU64,
    asked_control_block: AtomicU64,
}

static POOL: [ThreadState; THREADS_MAX] = [const { ThreadState::new() }; THREADS_MAX];

/// A request to find a stack's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoundsRequest {
    pub(crate) sp: u64,
    pub(crate) control_block: u64,
}

/// A stack's validated bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// The entry of thread `tid`. Safe in a signal handler.
pub(crate) fn of(tid: u32) -> Option<&'static ThreadState> {
    near(tid).find(|state| state.tid() == tid && state.is_live())
}

/// Gives an entry to thread `tid`; `None` when there is no room near its place. One caller at a time.
pub(crate) fn assign(tid: u32) -> Option<&'static ThreadState> {
    let state = near(tid).find(|state| !state.is_live())?;
    state.assign(tid);
    Some(state)
}

fn near(tid: u32) -> impl Iterator<Item = &'static ThreadState> {
    let (from_here, from_start) = POOL.split_at(tid as usize % THREADS_MAX);
    from_start.iter().chain(from_here).take(PROBES)
}

/// The live entry at an address that came with a signal; `None` for every other number. Safe in a signal handler.
pub(crate) fn at_address(address: usize) -> Option<&'static ThreadState> {
    let offset = address.wrapping_sub(POOL.as_ptr() as usize);
    if !offset.is_multiple_of(size_of::<ThreadState>()) {
        return None;
    }
    POOL.get(offset / size_of::<ThreadState>()).filter(|state| state.is_live())
}

impl ThreadState {
    const fn new() -> Self {
        Self {
            cookie: AtomicU32::new(FREE),
            tid: AtomicU32::new(0),
            timed: AtomicBool::new(false),
            missed: AtomicU32::new(0),
            low: AtomicU64::new(0),
            high: AtomicU64::new(0),
            control_block: AtomicU64::new(0),
            asked_sp: AtomicU64::new(0),
            asked_control_block: AtomicU64::new(0),
        }
    }

    /// The address that a timer carries.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The thread.
    pub(crate) fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Whether the thread has a timer of its own.
    pub(crate) fn is_timed(&self) -> bool {
        self.timed.load(Ordering::Relaxed)
    }

    /// Notes whether the thread has a timer of its own.
    pub(crate) fn set_timed(&self, timed: bool) {
        self.timed.store(timed, Ordering::Relaxed);
    }

    /// Leaves periods to the thread's next sample. Beyond a few they stay unsampled: they are too long ago to say what it does now.
    pub(crate) fn miss(&self, periods: u32) {
        self.missed.store(periods.min(MISSED_MAX), Ordering::Relaxed);
    }

    /// Takes what [`ThreadState::miss`] left.
    pub(crate) fn take_missed(&self) -> u32 {
        self.missed.swap(0, Ordering::Relaxed)
    }

    fn assign(&self, tid: u32) {
        self.high.store(0, Ordering::Relaxed);
        self.asked_sp.store(0, Ordering::Relaxed);
        self.timed.store(false, Ordering::Relaxed);
        self.missed.store(0, Ordering::Relaxed);
        self.tid.store(tid, Ordering::Relaxed);
        self.cookie.store(LIVE, Ordering::Release);
    }

    /// Takes the entry back. Signals still under way will find it free.
    pub(crate) fn release(&self) {
        self.cookie.store(FREE, Ordering::Release);
        self.high.store(0, Ordering::Relaxed);
        self.tid.store(0, Ordering::Relaxed);
    }

    /// Whether the entry belongs to a thread.
    pub(crate) fn is_live(&self) -> bool {
        self.cookie.load(Ordering::Acquire) == LIVE
    }

    /// The end of the running thread's stack, if it is known and `sp` lies in it.
    ///
    /// The control block is compared because it, unlike a thread id, cannot belong to another thread's stack: whoever runs
    /// with this control block owns the stack that was validated with it.
    pub(crate) fn stack_end(&self, sp: u64) -> Option<u64> {
        let high = self.high.load(Ordering::Acquire);
        let inside = sp < high && sp >= self.low.load(Ordering::Relaxed);
        let same = self.control_block.load(Ordering::Relaxed) == arch::thread_pointer();
        (inside && same).then_some(high)
    }

    /// Asks the supervisor to find the bounds of the stack the running thread is on.
    pub(crate) fn ask_for_bounds(&self, sp: u64) {
        self.asked_control_block.store(arch::thread_pointer(), Ordering::Relaxed);
        self.asked_sp.store(sp, Ordering::Release);
    }

    /// Takes a waiting request.
    pub(crate) fn take_request(&self) -> Option<BoundsRequest> {
        let sp = self.asked_sp.swap(0, Ordering::Acquire);
        let control_block = self.asked_control_block.load(Ordering::Relaxed);
        (sp != 0).then_some(BoundsRequest { sp, control_block })
    }

    /// Publishes bounds. `high` and the control block never change between two of one thread's calls: only a main
    /// thread's stack grows, and downwards.
    pub(crate) fn set_bounds(&self, bounds: Bounds, control_block: u64) {
        self.low.store(bounds.low, Ordering::Relaxed);
        self.control_block.store(control_block, Ordering::Relaxed);
        self.high.store(bounds.high, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_outside_or_between_entries_are_refused() {
        // Numbers that no thread of this process has, and near no other test's.
        let tid = u32::MAX - 100;
        let state = assign(tid).unwrap();
        assert_eq!(at_address(state.address()).map(ThreadState::tid), Some(tid));
        for stray in [0, 1, state.address() + 1, state.address() + 64, POOL.as_ptr() as usize - 64, usize::MAX] {
            assert!(at_address(stray).is_none(), "{stray:#x}");
        }
        state.release();
        assert!(at_address(state.address()).is_none(), "free entries are nobody's");
    }

    #[test]
    fn bounds_hold_only_for_the_stack_and_the_thread_they_were_found_for() {
        let tid = u32::MAX - 200;
        let state = assign(tid).unwrap();
        assert_eq!(state.stack_end(0x5000), None);
        state.set_bounds(Bounds { low: 0x4000, high: 0x8000 }, arch::thread_pointer());
        assert_eq!(state.stack_end(0x5000), Some(0x8000));
        assert_eq!(state.stack_end(0x3ff8), None);
        assert_eq!(state.stack_end(0x8000), None);
        std::thread::spawn(move || assert_eq!(state.stack_end(0x5000), None)).join().unwrap();
        state.release();
        state.assign(tid - 1);
        assert_eq!(state.stack_end(0x5000), None, "a new owner starts without bounds");
        state.release();
    }

    #[test]
    fn threads_whose_numbers_meet_have_entries_side_by_side_until_there_is_no_room() {
        let home = u32::MAX - 300;
        let tids: Vec<u32> = (0..PROBES as u32).map(|round| home - round * THREADS_MAX as u32).collect();
        let states: Vec<_> = tids.iter().map(|&tid| assign(tid).unwrap()).collect();
        assert!(assign(home - (PROBES * THREADS_MAX) as u32).is_none());
        for (tid, state) in tids.iter().zip(&states) {
            assert!(std::ptr::eq(of(*tid).unwrap(), *state));
        }
        states[0].release();
        assert!(of(tids[0]).is_none() && of(tids[15]).is_some(), "a gap hides nobody");
        states.iter().for_each(|state| state.release());
    }
}
