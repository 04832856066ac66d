//! Where clones of the context's waker leave copies of the stack, while the poll goes on: one place for each poll under way, reached by the
//! thread that polls alone. A few are shared by all threads; taking one never waits, and a clone neither allocates nor locks.

use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::counters::{COUNTERS, count};
use super::registrations::{PLACES, Place};
use crate::labels::Labels;
use crate::sampler::{self, Registers};
use crate::trace_context::TraceContext;

/// Polls that are sampled at the same time. A poll takes some microseconds, and hundreds in a second are sampled.
const WORKSPACES_MAX: usize = 8;

/// 32 KiB, for all stacks of one poll.
const COPY_WORDS: usize = 4096;

/// Less than this of a stack is not worth being kept.
const COPY_WORDS_MIN: usize = 64;

/// How far above the stack pointer of whoever polls a copy reaches: a compiler may lower the pointer around a call.
const SLACK_BYTES: u64 = 128;

/// Looks for a workspace before a poll goes unsampled: whoever has the list has it for some nanoseconds.
const LOOKS: usize = 8;

thread_local! {
    /// The registration of the poll under way plus one; 0: none. Without a destructor, so that any clone may ask.
    static SAMPLED: Cell<u32> = const { Cell::new(0) };
    static WORKSPACE: RefCell<Option<Box<Workspace>>> = const { RefCell::new(None) };
}

#[allow(clippy::vec_box, reason = "they move between threads, each of a few hundred bytes besides its copies")]
static FREE: Mutex<Vec<Box<Workspace>>> = Mutex::new(Vec::new());
/// How many there are, free or not.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// One stack that was copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copied {
    registers: Registers,
    from: usize,
    until: usize,
    /// What the leaf works for.
    context: Option<TraceContext>,
    labels: Labels,
}

/// Copies of stacks of one poll.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Stack from here outwards stands still until the poll is over.
    stands_from: u64,
    words: Box<[u64]>,
    used: usize,
    copies: [Option<Copied>; PLACES],
    count: usize,
}

impl Workspace {
    fn new() -> Box<Self> {
        // Made where it stays: a task's stack may be small.
        let words = vec![0; COPY_WORDS].into_boxed_slice();
        Box::new(Self { stands_from: 0, words, used: 0, copies: [None; PLACES], count: 0 })
    }

    /// Walks the stacks that were copied, and tells the samplers. To be called while the function that polled has not returned.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, Place)> {
        let copies = self.copies.iter().take(self.count).flatten();
        let place = move |copied: &Copied| {
            let words = self.words.get(copied.from..copied.until).unwrap_or_default();
            let stack_hash = sampler::record_place(&copied.registers, words, self.stands_from);
            Place::of(stack_hash.unwrap_or(0), copied.context.as_ref(), copied.labels)
        };
        let known = copies.map(place);
        // What is left of whoever had the entry before goes.
        known.chain(std::iter::repeat(Place::default())).enumerate().take(PLACES)
    }

    fn note(&mut self, registers: &Registers) -> Option<usize> {
        let place = self.count;
        let slot = self.copies.get_mut(place)?;
        let room = self.words.get_mut(self.used..).filter(|room| room.len() >= COPY_WORDS_MIN)?;
        let words = sampler::copy_stack(registers, self.stands_from.saturating_add(SLACK_BYTES), room);
        let (from, until) = (self.used, self.used + words);
        let (context, labels) = (sampler::context::current(), sampler::context::labels());
        *slot = Some(Copied { registers: *registers, from, until, context, labels });
        self.used = until;
        self.count += 1;
        Some(place)
    }
}

/// The thread's sampled poll, until this is dropped; then the one around it goes on.
#[derive(Debug)]
pub(super) struct Sampling {
    outer: u32,
    outer_workspace: Option<Box<Workspace>>,
}

impl Sampling {
    /// From now on clones of `registration`'s context on this thread copy the stack from where they are to `stands_from`, the stack pointer of
    /// whoever polls. `None`: there is no place to copy it to.
    pub(super) fn begin(registration: u16, stands_from: u64) -> Option<Self> {
        let mut workspace = take()?;
        (workspace.stands_from, workspace.used, workspace.count) = (stands_from, 0, 0);
        let mut workspace = Some(workspace);
        let outer_workspace = WORKSPACE.try_with(|place| {
            let mut place = place.try_borrow_mut().ok()?;
            Some(std::mem::replace(&mut *place, workspace.take()))
        });
        let Some(outer_workspace) = outer_workspace.ok().flatten() else {
            workspace.into_iter().for_each(give_back);
            return None;
        };
        let outer = SAMPLED.replace(u32::from(registration) + 1);
        Some(Self { outer, outer_workspace })
    }

    /// What was copied meanwhile, with which `with` is called.
    pub(super) fn with_copies<R>(&self, with: impl FnOnce(&Workspace) -> R) -> Option<R> {
        WORKSPACE.try_with(|place| place.try_borrow().ok()?.as_deref().map(with)).ok().flatten()
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        SAMPLED.set(self.outer);
        let outer = self.outer_workspace.take();
        let own = WORKSPACE.try_with(|place| {
            let mut place = place.try_borrow_mut().ok()?;
            std::mem::replace(&mut *place, outer)
        });
        if let Ok(Some(own)) = own {
            give_back(own);
        }
    }
}

/// Copies the stack of the running thread for a clone of `registration`'s context, and says which place of the registration it is. `None`:
/// none, which is counted. Called in the clone: no lock, no allocation, no panic.
pub(super) fn note(registration: u16, registers: &Registers) -> Option<usize> {
    if SAMPLED.get() != u32::from(registration) + 1 {
        count(&COUNTERS.clones_foreign);
        return None;
    }
    let noted = WORKSPACE.try_with(|place| place.try_borrow_mut().ok()?.as_mut()?.note(registers));
    let noted = noted.ok().flatten();
    if noted.is_none() {
        count(&COUNTERS.clones_full);
    }
    noted
}

fn take() -> Option<Box<Workspace>> {
    if let Some(workspace) = look(Vec::pop)? {
        return Some(workspace);
    }
    let may_be_made = |made: usize| (made < WORKSPACES_MAX).then_some(made + 1);
    MADE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_be_made).ok().map(|_| Workspace::new())
}

fn give_back(workspace: Box<Workspace>) {
    let mut workspace = Some(workspace);
    look(|free| free.extend(workspace.take()));
    if workspace.is_some() {
        // Somebody is looking whenever this does. It goes, and another one can be made.
        MADE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls `with` with the free ones. `None`: the list was in use each time.
fn look<R>(with: impl FnOnce(&mut Vec<Box<Workspace>>) -> R) -> Option<R> {
    let mut free = (0..LOOKS).find_map(|_| FREE.try_lock().ok())?;
    Some(with(&mut free))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_inside_a_poll_has_copies_of_its_own_and_gives_the_outer_ones_back() {
        let registers = Registers::here();
        let outer = Sampling::begin(7, registers.sp()).unwrap();
        assert_eq!(note(7, &registers), Some(0));
        {
            let inner = Sampling::begin(8, registers.sp()).unwrap();
            assert_eq!((note(7, &registers), note(8, &registers)), (None, Some(0)), "only of the poll under way");
            assert_eq!(inner.with_copies(|copies| copies.count), Some(1));
        }
        assert_eq!((note(7, &registers), outer.with_copies(|copies| copies.count)), (Some(1), Some(2)));
        std::thread::spawn(move || assert_eq!(note(7, &registers), None)).join().unwrap();
        drop(outer);
        assert_eq!(note(7, &registers), None);
    }

    #[test]
    fn more_leaves_than_there_are_places_are_counted() {
        let registers = Registers::here();
        let sampling = Sampling::begin(9, registers.sp()).unwrap();
        let before = super::super::counters::read().clones_full;
        let places: Vec<_> = (0..PLACES + 2).map(|_| note(9, &registers)).collect();
        assert_eq!(places[..PLACES], (0..PLACES).map(Some).collect::<Vec<_>>());
        assert_eq!(places[PLACES..], [None, None]);
        assert!(super::super::counters::read().clones_full >= before + 2);
        assert_eq!(sampling.with_copies(|copies| copies.count), Some(PLACES));
    }
}
