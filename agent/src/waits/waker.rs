//! The wakers that a sampled poll hands down, in two kinds. The *context's* waker lives as long as the poll, on the stack of whoever polls.
//! A clone of it is a *registration's*: a number that names an entry and a place in it, which may be cloned, sent and kept as every waker.
//!
//! Each wake is handed on to the task's own waker, at once and as often as it comes. What is noted beside that is when the first one came.

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::counters::{COUNTERS, count};
use super::registrations::{Entry, UNPLACED};
use super::state::REGISTRATIONS;
use super::workspace;
use crate::sampler::{Registers, monotonic_ns};

static OF_CONTEXT: RawWakerVTable =
    RawWakerVTable::new(clone_of_context, wake_context, wake_context_by_ref, drop_of_context);

static OF_REGISTRATION: RawWakerVTable =
    RawWakerVTable::new(clone_of_registration, wake, wake_by_ref, drop_of_registration);

/// Low bits of a registration's number, which hold the place.
const PLACE_BITS: usize = 4;

/// What a context's waker points to.
#[derive(Debug)]
pub(super) struct Handed<'a> {
    /// The waker that the poll had been given.
    pub(super) parent: &'a Waker,
    /// The entry that the poll claimed, and holds.
    pub(super) registration: u16,
}

/// Calls `with` with a waker of ours for the poll that `handed` describes.
pub(super) fn with_waker<R>(handed: &Handed<'_>, with: impl FnOnce(&Waker) -> R) -> R {
    let data = std::ptr::from_ref(handed).cast();
    // SAFETY: the functions of this table take the data for what it is; it outlives the waker, which is only lent and never dropped, and
    // whoever clones it gets one with other data.
    let waker = ManuallyDrop::new(unsafe { Waker::new(data, &OF_CONTEXT) });
    with(&waker)
}

/// Whether a waker is one that [`with_waker`] made: whoever polls with it samples already.
pub(super) fn is_context(waker: &Waker) -> bool {
    std::ptr::eq(waker.vtable(), &OF_CONTEXT)
}

/// # Safety
/// `data` is that of a waker of [`OF_CONTEXT`].
unsafe fn handed<'a>(data: *const ()) -> &'a Handed<'a> {
    // SAFETY: as the caller says, and `with_waker` keeps it in place while there is such a waker.
    unsafe { &*data.cast() }
}

/// # Safety
/// As [`handed`].
unsafe fn clone_of_context(data: *const ()) -> RawWaker {
    // In this very function: the walk begins here, and leaves out its first frame.
    let registers = Registers::here();
    // SAFETY: the caller's.
    let handed = unsafe { handed(data) };
    let is_held = REGISTRATIONS.get(handed.registration).is_some_and(Entry::hold);
    if !is_held {
        count(&COUNTERS.clones_refused);
        return raw(handed.parent.clone());
    }
    let place = workspace::note(handed.registration, &registers).unwrap_or(UNPLACED);
    of_registration(handed.registration, place)
}

/// # Safety
/// As [`handed`].
unsafe fn wake_context(data: *const ()) {
    // SAFETY: the caller's. Such a waker is only lent, so nobody owns one to wake by value.
    unsafe { wake_context_by_ref(data) };
}

/// # Safety
/// As [`handed`].
unsafe fn wake_context_by_ref(data: *const ()) {
    let registers = Registers::here();
    // SAFETY: the caller's.
    let handed = unsafe { handed(data) };
    if let Some(entry) = REGISTRATIONS.get(handed.registration) {
        // It yields: nobody else is going to say where.
        let place = if entry.woke().is_none() { workspace::note(handed.registration, &registers) } else { None };
        if !entry.wake(place.unwrap_or(UNPLACED), monotonic_ns()) {
            count(&COUNTERS.wakes_repeated);
        }
    }
}

fn drop_of_context(_: *const ()) {}

/// A registration's waker, which holds the entry as the caller does until then.
fn of_registration(registration: u16, place: usize) -> RawWaker {
    // Not 0: some look whether a waker's data is there at all.
    let number = (usize::from(registration) + 1) << PLACE_BITS | place;
    RawWaker::new(std::ptr::without_provenance(number), &OF_REGISTRATION)
}

/// Entry and place that a registration's waker names.
fn named(data: *const ()) -> (u16, usize) {
    let number = data.addr();
    let registration = (number >> PLACE_BITS).wrapping_sub(1);
    (registration as u16, number & ((1 << PLACE_BITS) - 1))
}

fn clone_of_registration(data: *const ()) -> RawWaker {
    let (registration, place) = named(data);
    let Some(entry) = REGISTRATIONS.get(registration) else { return raw(Waker::noop().clone()) };
    if entry.hold() {
        return of_registration(registration, place);
    }
    count(&COUNTERS.clones_refused);
    raw(entry.parent().unwrap_or_else(|| Waker::noop().clone()))
}

fn wake(data: *const ()) {
    wake_by_ref(data);
    drop_of_registration(data);
}

fn wake_by_ref(data: *const ()) {
    let (registration, place) = named(data);
    if let Some(entry) = REGISTRATIONS.get(registration)
        && !entry.wake(place, monotonic_ns())
    {
        count(&COUNTERS.wakes_repeated);
    }
}

fn drop_of_registration(data: *const ()) {
    REGISTRATIONS.release(named(data).0);
}

/// The parts of a waker that is given away.
fn raw(waker: Waker) -> RawWaker {
    let waker = ManuallyDrop::new(waker);
    RawWaker::new(waker.data(), waker.vtable())
}
